// Package doctor looks for what is wrong with an installation, and says how to
// put it right.
//
// It changes nothing but a row that it removes again. The invariant: each
// finding that is not good says what to do.
package doctor

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/config"
	"github.com/fastbind/fastbind/internal/history"
	"github.com/fastbind/fastbind/internal/keys"
	"github.com/fastbind/fastbind/internal/limit"
	"github.com/fastbind/fastbind/internal/opaque"
)

// A Finding is what the doctor says of one thing.
type Finding struct {
	Check  string `json:"check"`
	State  State  `json:"state"`
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"`
}

// State says how good or bad a thing is.
type State string

// The states.
const (
	OK   State = "ok"
	Warn State = "warn" // works, but somebody should look
	Fail State = "fail"
)

// findings collects what the doctor finds.
type findings []Finding

func (f *findings) ok(check, format string, args ...any) {
	*f = append(*f, Finding{Check: check, State: OK, Detail: fmt.Sprintf(format, args...)})
}

func (f *findings) warn(check, fix, format string, args ...any) {
	*f = append(*f, Finding{Check: check, State: Warn, Detail: fmt.Sprintf(format, args...), Fix: fix})
}

func (f *findings) fail(check, fix, format string, args ...any) {
	*f = append(*f, Finding{Check: check, State: Fail, Detail: fmt.Sprintf(format, args...), Fix: fix})
}

// Examine looks at everything about an installation that can be seen without
// changing it.
func Examine(ctx context.Context, cfg app.Config) []Finding {
	f := new(findings)
	if err := cfg.Check(); err != nil {
		f.fail("configuration", "correct it; fastbind config check prints what is in force", "%v", err)
	} else {
		f.ok("configuration", "complete")
	}
	secrets, opened := masterKey(f, cfg)
	database(ctx, f, cfg, secrets, opened)
	issuer, err := url.Parse(cfg.Issuer)
	if err != nil || issuer.Host == "" {
		return *f // the configuration says what is wrong with it
	}
	cookies(f, issuer)
	edge(f, cfg, issuer)
	metrics(f, cfg)
	f.ok("proofs", "the htu of a DPoP proof is %s", strings.Join(cfg.ProofURLs(), ", "))
	served := discovery(ctx, f, cfg)
	port(ctx, f, cfg, served)
	return *f
}

// metrics looks at who can reach the listener for operators.
func metrics(f *findings, cfg app.Config) {
	const check = "metrics"
	host, _, err := net.SplitHostPort(cfg.MetricsListen)
	if cfg.MetricsListen == "" || err != nil {
		return // the configuration says what is wrong with it
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && !ip.IsLoopback() && !ip.IsPrivate() && !ip.IsLinkLocalUnicast() {
		f.warn(check, "set metrics_listen to a loopback or private address", "whoever reaches %s sees them: nobody is asked who they are", cfg.MetricsListen)
		return
	}
	f.ok(check, "at %s", cfg.MetricsListen)
}

// masterKey looks at the file of the master secrets. It makes none.
func masterKey(f *findings, cfg app.Config) (opaque.Secrets, bool) {
	const check = "master key"
	file := cfg.KeyFile()
	if file == "" {
		f.ok(check, "%s, from the environment", cfg.MasterKey)
		return cfg.MasterKey, true
	}
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && cfg.MasterKeyFile == "":
		f.warn(check, "the first start of fastbind serve makes it", "there is none yet at %s", file)
		return opaque.Secrets{}, false
	case err != nil:
		f.fail(check, "set master_key_file to the file that this installation began with", "%v", err)
		return opaque.Secrets{}, false
	case info.Mode().Perm()&0o077 != 0:
		f.fail(check, "chmod 600 "+file, "%s can be read by others", file)
		return opaque.Secrets{}, false
	}
	secrets, err := cfg.Secrets()
	if err != nil {
		f.fail(check, "restore the file from its backup", "%v", err)
		return opaque.Secrets{}, false
	}
	f.ok(check, "%s in %s, for its owner only", secrets, file)
	return secrets, true
}

// database looks at the database, its schema, its clock and the keys in it.
func database(ctx context.Context, f *findings, cfg app.Config, secrets opaque.Secrets, opened bool) {
	const check = "database"
	if err := cfg.Exists(); err != nil {
		f.fail(check, "run fastbind migrate or fastbind serve with this configuration", "%v", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	db, err := app.OpenDatabase(ctx, cfg)
	if err != nil {
		f.fail(check, "check database_url, and that the server runs and lets us in", "%v", err)
		return
	}
	defer func() {
		if err := db.Close(); err != nil {
			f.fail(check, "look into the log of the database", "close: %v", err)
		}
	}()
	if err := db.Ping(ctx); err != nil {
		f.fail(check, "check database_url, and that the server runs and lets us in", "%v", err)
		return
	}
	switch pending, err := db.Pending(ctx); {
	case err != nil:
		f.fail("schema", "give the user of database_url the right to read its schema", "%v", err)
		return
	case pending > 0:
		f.fail("schema", "run fastbind migrate", "%d migrations are pending", pending)
		return
	}
	f.ok("schema", "up to date")
	past(ctx, f, cfg, db)
	key := opaque.KeyDigest("doctor", opaque.NewID())
	_, err = db.Limits().Take(ctx, key, limit.Rate{Burst: 1, Every: time.Second}, time.Now())
	if err = errors.Join(err, db.Limits().Forget(ctx, key)); err != nil {
		f.fail(check, "make it writable: disk space, permissions, a primary and not a standby", "%v", err)
	} else {
		f.ok(check, "%s can be read and written", config.Redact(cfg.Database()))
	}
	switch skew, err := db.Skew(ctx); {
	case err != nil:
		f.fail("clock", "look into the log of the database", "%v", err)
	case skew.Abs() > time.Second:
		f.warn("clock", "run a time service (NTP) on both machines", "the clock of the database is %s ahead of ours", skew.Round(time.Millisecond))
	default:
		f.ok("clock", "%s from that of the database", skew.Abs().Round(time.Millisecond))
	}
	set, err := db.Keys().Keys(ctx)
	switch {
	case err != nil:
		f.fail("signing keys", "look into the log of the database", "%v", err)
		return
	case len(set.Keys) == 0:
		f.warn("signing keys", "the first start of fastbind serve makes them", "there are none yet")
		return
	case !opened:
		return // of the master key everything has been said
	}
	ring := &keys.Ring{Store: db.Keys(), Seal: secrets.Keys(keys.SealPurpose)}
	if err := ring.Reload(ctx); err != nil {
		f.fail("signing keys", "use the master key that this database was made with, also if it is no longer the first in its file", "%v", err)
		return
	}
	f.ok("signing keys", "%d, all opened by the master key", len(set.Keys))
}

// past looks whether the database is older than a server has seen it.
func past(ctx context.Context, f *findings, cfg app.Config, db *app.Database) {
	const check = "history"
	noted, err := history.In(cfg.Data).Read()
	if err != nil {
		f.fail(check, "see docs/restore.md", "%v", err)
		return
	}
	found, err := db.Histories().Mark(ctx)
	switch {
	case err != nil:
		f.fail(check, "look into the log of the database", "%v", err)
	case found.After(noted) != nil:
		f.fail(check, "run fastbind restore finish", "%v", found.After(noted))
	case cfg.Data == "":
		f.warn(check, "set data to a folder that outlives the database", "there is no folder in which to note how far the database has come: a restore from a backup is not noticed at the start")
	case found.Epoch > 0:
		f.ok(check, "epoch %d, since the restore at %s", found.Epoch, time.Unix(found.Begun, 0).UTC().Format(time.DateTime))
	default:
		f.ok(check, "nothing is missing")
	}
}

// cookies says which kind of cookie browsers will be given.
func cookies(f *findings, issuer *url.URL) {
	if issuer.Scheme == "https" {
		f.ok("cookies", "__Host- cookies, for %s only", issuer.Hostname())
		return
	}
	f.ok("cookies", "plain cookies whose name holds the port: open %s under exactly that name, 127.0.0.1 and localhost are different sites", issuer)
}

// edge looks at what stands between browsers and the server.
func edge(f *findings, cfg app.Config, issuer *url.URL) {
	const check = "edge"
	switch {
	case cfg.TLSCert != "":
		pair, err := tls.LoadX509KeyPair(cfg.TLSCert, cfg.TLSKey)
		switch {
		case err != nil:
			f.fail(check, "set tls_cert and tls_key to a certificate and its key, both PEM", "%v", err)
		case pair.Leaf.VerifyHostname(issuer.Hostname()) != nil:
			f.fail(check, "get a certificate for the host of the issuer", "tls_cert is not for %s", issuer.Hostname())
		case time.Until(pair.Leaf.NotAfter) < 14*24*time.Hour:
			f.warn(check, "renew it", "tls_cert ends at %s", pair.Leaf.NotAfter.UTC().Format(time.DateTime))
		default:
			f.ok(check, "TLS here, certificate until %s", pair.Leaf.NotAfter.UTC().Format(time.DateTime))
		}
	case issuer.Scheme == "http":
		f.ok(check, "no TLS: loopback only")
	case len(cfg.TrustedProxies) == 0:
		f.warn(check, "set trusted_proxies to the address of the proxy", "TLS ends at a proxy that is not trusted: everybody seems to come from its address")
	default:
		f.ok(check, "TLS ends at a trusted proxy")
	}
}

// discovery fetches the metadata under the public address, as clients do, and
// reports whether that worked.
func discovery(ctx context.Context, f *findings, cfg app.Config) bool {
	const check = "discovery"
	address := cfg.Issuer + "/.well-known/openid-configuration"
	named, err := published(ctx, address)
	switch {
	case err != nil:
		f.warn(check, "start fastbind serve; then check DNS, the proxy and the firewall for this address", "%s: %v", address, err)
		return false
	case named != cfg.Issuer:
		f.fail(check, "route the public address to this server, and to no other", "%s names the issuer %q, not %q", address, named, cfg.Issuer)
		return false
	}
	f.ok(check, "%s names this issuer", address)
	return true
}

// published returns the issuer that the metadata at an address name.
func published(ctx context.Context, address string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := c.Do(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("answers %s", res.Status)
	}
	var meta struct {
		Issuer string `json:"issuer"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&meta); err != nil {
		return "", fmt.Errorf("is not metadata: %w", err)
	}
	return meta.Issuer, nil
}

// port looks whether the address to listen on is free, or whether it is this
// server that uses it.
func port(ctx context.Context, f *findings, cfg app.Config, served bool) {
	const check = "port"
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen)
	if err == nil {
		if err := ln.Close(); err != nil {
			f.warn(check, "", "%v", err)
		}
		if served {
			f.ok(check, "%s is free here; the issuer is served by another node", cfg.Listen)
		} else {
			f.ok(check, "%s is free", cfg.Listen)
		}
		return
	}
	scheme := "http"
	if cfg.TLSCert != "" {
		scheme = "https"
	}
	named, errPublished := published(ctx, scheme+"://"+cfg.Listen+"/.well-known/openid-configuration")
	if errPublished == nil && named == cfg.Issuer || served && scheme == "https" {
		f.ok(check, "%s is served by Fastbind", cfg.Listen)
		return
	}
	f.fail(check, "stop what listens there, or set listen to another address", "%v, and it is not this issuer that answers there", err)
}
