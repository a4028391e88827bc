package app

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fastbind/fastbind/internal/opaque"
)

// A Config is what an operator chooses. The zero value is not usable: an issuer
// and a place for the data are needed.
type Config struct {
	// Issuer is the public address of the server, an origin: everything that
	// is sent to clients and people is built from it, and from nothing else.
	Issuer string `toml:"issuer" env:"FASTBIND_ISSUER"`
	// Listen is the address to listen on.
	Listen string `toml:"listen" env:"FASTBIND_LISTEN"`
	// DatabaseURL is postgres://… or sqlite://…; empty: a SQLite file in Data.
	DatabaseURL string `toml:"database_url" env:"FASTBIND_DATABASE_URL"`
	// DatabaseConns is the most connections to PostgreSQL; 0: 16.
	DatabaseConns int `toml:"database_conns" env:"FASTBIND_DATABASE_CONNS"`
	// Data is the folder of the SQLite file and of the master key.
	Data string `toml:"data" env:"FASTBIND_DATA"`
	// MasterKeyFile holds the master secrets; empty: master.key in Data.
	MasterKeyFile string `toml:"master_key_file" env:"FASTBIND_MASTER_KEY_FILE"`
	// TrustedProxies are the networks whose X-Forwarded-For is believed.
	TrustedProxies []string `toml:"trusted_proxies" env:"FASTBIND_TRUSTED_PROXIES" envSeparator:","`
	// TLSCert and TLSKey are files; empty: no TLS here.
	TLSCert string `toml:"tls_cert" env:"FASTBIND_TLS_CERT"`
	TLSKey  string `toml:"tls_key" env:"FASTBIND_TLS_KEY"`
	// DPoPNonce says whether a proof of possession must hold a nonce of this
	// server (RFC 9449, section 8): required or optional; empty: required.
	DPoPNonce string `toml:"dpop_nonce" env:"FASTBIND_DPOP_NONCE"`
	// DPoPClockError is by how much the clock of a client may be wrong when the
	// nonce says how old its proof is, such as 10m, at most 24h; empty: 10m.
	// Without a nonce it is one minute.
	DPoPClockError string `toml:"dpop_clock_error" env:"FASTBIND_DPOP_CLOCK_ERROR"`
	// MetricsListen is the address of the listener for operators, with metrics
	// and who is connected; empty: there is none. It asks nobody who they are.
	MetricsListen string `toml:"metrics_listen" env:"FASTBIND_METRICS_LISTEN"`
	// AuditLog is where a copy of the security events goes, as lines of JSON:
	// off, stderr, or the path of a file; empty: off.
	AuditLog string `toml:"audit_log" env:"FASTBIND_AUDIT_LOG"`
	// LogLevel is debug, info, warn or error; LogFormat is text or json.
	LogLevel  string `toml:"log_level" env:"FASTBIND_LOG_LEVEL"`
	LogFormat string `toml:"log_format" env:"FASTBIND_LOG_FORMAT"`

	// MasterKey holds the master secrets themselves, from the environment
	// (FASTBIND_MASTER_KEY); zero: they are in MasterKeyFile.
	MasterKey opaque.Secrets `toml:"-" env:"-"`
}

// Check returns what is wrong with c, or nil.
func (c *Config) Check() error {
	if _, err := c.issuer(); err != nil {
		return err
	}
	if c.DatabaseURL == "" && c.Data == "" {
		return errors.New("set data (a folder for the embedded database; --data, FASTBIND_DATA) or database_url (--database-url, FASTBIND_DATABASE_URL)")
	}
	if c.MasterKey.IsZero() && c.MasterKeyFile == "" && c.Data == "" {
		return errors.New("set master_key_file, data or FASTBIND_MASTER_KEY: the master secrets are never kept in the database")
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("tls_cert and tls_key go together")
	}
	if !slices.Contains([]string{"", nonceRequired, nonceOptional}, c.DPoPNonce) {
		return fmt.Errorf("dpop_nonce %q is neither %s nor %s", c.DPoPNonce, nonceRequired, nonceOptional)
	}
	if _, err := c.clockError(); err != nil {
		return err
	}
	if c.DatabaseConns < 0 {
		return fmt.Errorf("database_conns %d is less than 0", c.DatabaseConns)
	}
	if to := c.AuditLog; to != "" && to != auditOff && to != auditStderr && !strings.ContainsRune(to, filepath.Separator) {
		return fmt.Errorf("audit_log %q is none of off, stderr and the path of a file, such as /var/log/fastbind/audit.jsonl", to)
	}
	if _, _, err := net.SplitHostPort(c.MetricsListen); c.MetricsListen != "" && err != nil {
		return fmt.Errorf("metrics_listen: %w", err)
	}
	_, err := c.proxies()
	return err
}

// Values of [Config.DPoPNonce].
const (
	nonceRequired = "required"
	nonceOptional = "optional"
)

const (
	defaultClockError = 10 * time.Minute
	minClockError     = time.Minute
	maxClockError     = 24 * time.Hour
)

// clockError returns by how much the clock of a client may be wrong.
func (c *Config) clockError() (time.Duration, error) {
	if c.DPoPClockError == "" {
		return defaultClockError, nil
	}
	d, err := time.ParseDuration(c.DPoPClockError)
	if err != nil || d < minClockError || d > maxClockError {
		return 0, fmt.Errorf("dpop_clock_error %q is not a duration from 1m to 24h, such as 10m", c.DPoPClockError)
	}
	return d, nil
}

// issuer returns the issuer as a URL: an origin on https, or on http at a
// loopback address.
func (c *Config) issuer() (*url.URL, error) {
	u, err := url.Parse(c.Issuer)
	switch {
	case c.Issuer == "":
		return nil, errors.New("issuer is missing: set issuer in the configuration file, or FASTBIND_ISSUER, to the public address of this server, such as https://auth.example.com")
	case err != nil || u.Host == "" || u.User != nil:
		return nil, fmt.Errorf("issuer %q is not an address such as https://auth.example.com", c.Issuer)
	case u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return nil, fmt.Errorf("issuer %q must be scheme and host only, without a slash, path, query or fragment after it", c.Issuer)
	case u.Scheme == "https":
		return u, nil
	case u.Scheme != "http":
		return nil, fmt.Errorf("issuer %q must begin with https://", c.Issuer)
	}
	if a, err := netip.ParseAddr(u.Hostname()); u.Hostname() != "localhost" && (err != nil || !a.IsLoopback()) {
		return nil, fmt.Errorf("issuer %q must use https: http is for loopback addresses only", c.Issuer)
	}
	return u, nil
}

func (c *Config) proxies() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range c.TrustedProxies {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, errAddr := netip.ParseAddr(s)
			if errAddr != nil {
				return nil, fmt.Errorf("trusted_proxies: %q is neither an address nor a network", s)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if p.Bits() == 0 {
			return nil, fmt.Errorf("trusted_proxies: %q would let anybody choose their own address", s)
		}
		out = append(out, p)
	}
	return out, nil
}

// Database returns the URL of the database.
func (c *Config) Database() string {
	if c.DatabaseURL != "" {
		return c.DatabaseURL
	}
	return "sqlite://" + filepath.Join(c.Data, "fastbind.db")
}

// KeyFile returns the file of the master secrets; empty: they are in the
// environment.
func (c *Config) KeyFile() string {
	switch {
	case !c.MasterKey.IsZero():
		return ""
	case c.MasterKeyFile != "":
		return c.MasterKeyFile
	}
	return filepath.Join(c.Data, "master.key")
}

// secrets returns the master secrets. Where the file is the default one and
// there is none yet, it is made.
func (c *Config) secrets() (opaque.Secrets, error) {
	file := c.KeyFile()
	if file == "" {
		return c.MasterKey, nil
	}
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, os.ErrNotExist) && c.MasterKeyFile == "":
		return createSecrets(file)
	case err != nil:
		return opaque.Secrets{}, fmt.Errorf("master key: %w", err)
	case info.Mode().Perm()&0o077 != 0:
		return opaque.Secrets{}, fmt.Errorf("master key %s can be read by others: chmod 600 %s", file, file)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return opaque.Secrets{}, fmt.Errorf("master key: %w", err)
	}
	s, err := opaque.ParseSecrets(string(b))
	if err != nil {
		return opaque.Secrets{}, fmt.Errorf("master key %s: %w", file, err)
	}
	return s, nil
}

// createSecrets makes a file that exists either whole or not at all: of several
// processes that start at once all use the same secrets.
func createSecrets(file string) (opaque.Secrets, error) {
	s := opaque.NewSecrets()
	tmp, err := os.CreateTemp(filepath.Dir(file), ".master-*") // mode 0600
	if err != nil {
		return s, fmt.Errorf("create master key: %w", err)
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // what is left over is harmless
	_, err = tmp.WriteString("# The master secrets, newest first. Keep them apart from the database and its backups.\n" + s.Reveal())
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return s, fmt.Errorf("create master key: %w", err)
	}
	if err = os.Link(tmp.Name(), file); errors.Is(err, os.ErrExist) {
		b, err := os.ReadFile(file)
		if err != nil {
			return s, fmt.Errorf("master key: %w", err)
		}
		return opaque.ParseSecrets(string(b))
	}
	if err != nil {
		return s, fmt.Errorf("create master key: %w", err)
	}
	return s, nil
}

// port returns the port of the issuer.
func port(u *url.URL) string {
	if _, p, err := net.SplitHostPort(u.Host); err == nil {
		return p
	}
	return map[string]string{"http": "80", "https": "443"}[u.Scheme]
}
