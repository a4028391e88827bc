package bench_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fastbind/fastbind/bench/fill"
	"github.com/fastbind/fastbind/internal/account"
	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/code"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/session"
	"github.com/fastbind/fastbind/internal/sqlstore"
)

// A fixture is a database with one person, one client and many families that
// nobody has refreshed yet, and the folder of the server that owns it.
type fixture struct {
	dbURL, dir string
	families   int64
	minter     refresh.Minter
	secret     string // of the client that may introspect and ask for itself

	current []uint32 // generations by family, from 1; who refreshes a family writes
}

// newFixture fills a new database.
func newFixture(tb testing.TB, dbURL string, families int64) *fixture {
	tb.Helper()
	dir := tb.TempDir()
	if dbURL == "" {
		dbURL = "sqlite://" + filepath.Join(dir, "fastbind.db")
	}
	cfg := app.Config{Data: dir}
	secrets, err := cfg.Secrets()
	must(tb, err)
	f := &fixture{
		dbURL: dbURL, dir: dir, families: families, minter: refresh.Minter{Keys: secrets.Keys(refresh.KeyPurpose)},
		current: slices.Repeat([]uint32{1}, int(families)+1),
	}
	f.furnish(tb)
	db, err := fill.Open(tb.Context(), dbURL)
	must(tb, err)
	must(tb, db.Copy(tb.Context(), "session", "true", families, map[string]string{"id": "'s' || i", "handle": db.Digest(families)}))
	must(tb, db.Copy(tb.Context(), "family", "true", families, map[string]string{"id": db.Key(families), "session": "'s' || i"}))
	must(tb, db.Close(tb.Context()))
	return f
}

// furnish stores what the server itself would have stored for one sign-in.
func (f *fixture) furnish(tb testing.TB) {
	ctx := tb.Context()
	db, err := sqlstore.Open(ctx, f.dbURL, sqlstore.Options{})
	must(tb, err)
	_, err = db.Migrate(ctx)
	must(tb, err)
	now := time.Now()
	end := now.Add(24 * time.Hour)
	secret := opaque.New(opaque.ClientSecret)
	f.secret = secret.Reveal()
	for _, c := range []client.Client{
		{ID: "spa", Created: now, Meta: client.Meta{
			RedirectURIs: []string{"http://127.0.0.1/callback"}, GrantTypes: []string{"authorization_code", "refresh_token"},
			Scopes: []string{"openid", "orders:read"}, Audiences: []string{"orders"}, Trusted: true, Policy: "spa",
		}},
		{ID: "orders", Created: now, Secrets: []opaque.Digest{secret.Digest()}, Meta: client.Meta{
			ResourceServer: true, Audiences: []string{"orders"}, GrantTypes: []string{"client_credentials"}, Scopes: []string{"orders:read"},
			Policy: "service",
		}},
	} {
		must(tb, c.Check())
		must(tb, db.Clients().Put(ctx, c, audit.Event{}))
	}
	must(tb, db.Accounts().Put(ctx, account.Account{Subject: "1", Username: "ada", Display: "Ada", Created: now}))
	must(tb, db.Sessions().Begin(ctx, session.Session{
		ID: "s", Handle: opaque.New(opaque.Session).Digest(), Subject: "1", AuthTime: now, Begun: now, LastSeen: now, IdleEnd: end, AbsoluteEnd: end,
		Network: "127.0.0.1",
	}, audit.Event{}))
	g := refresh.Family{
		ID: refresh.NewFamilyID(),
		Grant: refresh.Grant{
			Client: "spa", Subject: "1", Session: "s", Scope: []string{"openid", "orders:read"}, Audience: []string{"orders"},
			Nonce: "n-0S6_WzA2Mj", ACR: "1", AMR: []string{"pwd"}, AuthTime: now, Begun: now, AbsoluteEnd: end,
		},
		State: refresh.State{Generation: 1, IdleEnd: end, Rotated: now, Network: "127.0.0.1", Agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
	}
	d := opaque.New(opaque.Code).Digest()
	must(tb, db.Codes().Put(ctx, code.Code{Digest: d, Issued: now, Expires: now.Add(code.Life), Family: g.ID, Grant: g.Grant}))
	must(tb, db.Codes().Redeem(ctx, d, now, g))
	must(tb, db.Close())
}

// token returns the refresh token of family i, from 1.
func (f *fixture) token(i, generation int64) string {
	return f.minter.Token(refresh.FamilyID(opaque.EncodeID(fill.ID(i, f.families))), generation).Reveal()
}

// A served is the server in a process of its own.
type served struct {
	address string
	pid     int
	ready   time.Duration // from its start until it said so
	stop    func()
}

var build struct { //nolint:gochecknoglobals // one binary serves all benchmarks
	once sync.Once
	exe  string
	err  error
}

// binary builds the server as it is shipped.
func binary(tb testing.TB) string {
	tb.Helper()
	build.once.Do(func() {
		var dir string
		if dir, build.err = os.MkdirTemp("", "fastbind-bench-*"); build.err != nil { //nolint:usetesting // it outlives the benchmark
			return
		}
		build.exe = filepath.Join(dir, "fastbind")
		c := exec.CommandContext(context.WithoutCancel(tb.Context()), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", build.exe, "../cmd/fastbind")
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		c.Stderr = os.Stderr
		build.err = c.Run()
	})
	must(tb, build.err)
	return build.exe
}

// serve starts the server on a fixture, with settings of the environment, and
// waits until it is ready.
func (f *fixture) serve(tb testing.TB, settings ...string) *served {
	tb.Helper()
	exe := binary(tb)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(tb, err)
	s := &served{address: ln.Addr().String()}
	must(tb, ln.Close())
	c := exec.CommandContext(context.WithoutCancel(tb.Context()), exe, "serve", "--json") // stop ends it
	c.Env = append(os.Environ(), "FASTBIND_ISSUER=http://"+s.address, "FASTBIND_LISTEN="+s.address, "FASTBIND_DATA="+f.dir, "FASTBIND_DATABASE_URL="+f.dbURL)
	c.Env = append(c.Env, settings...)
	log, err := os.Create(filepath.Join(tb.TempDir(), "log")) // as in earnest: one line a request
	must(tb, err)
	c.Stderr = log
	out, err := c.StdoutPipe()
	must(tb, err)
	began := time.Now()
	must(tb, c.Start())
	s.pid = c.Process.Pid
	s.stop = sync.OnceFunc(func() {
		c.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
		if err := c.Wait(); err != nil {
			tb.Errorf("server: %v", err)
		}
		log.Close() //nolint:errcheck // it is of no use any more
	})
	tb.Cleanup(s.stop)
	line, err := bufio.NewReader(out).ReadBytes('\n')
	s.ready = time.Since(began)
	if err != nil || !json.Valid(line) {
		text, _ := os.ReadFile(log.Name())
		tb.Fatalf("the server said %q, %v\n%s", line, err, text)
	}
	return s
}

// A conn sends requests to a server, one after the other, on one connection. It
// costs as little as possible: it shares the processors with the server.
type conn struct {
	c net.Conn
	r *bufio.Reader
	b []byte // the request, and then the answer
}

func dial(tb testing.TB, address string) *conn {
	tb.Helper()
	c, err := net.Dial("tcp", address)
	must(tb, err)
	tb.Cleanup(func() { c.Close() })
	return &conn{c: c, r: bufio.NewReaderSize(c, 8<<10)}
}

// post sends a form to a path and returns status and body, which lasts until the
// next call.
func (c *conn) post(path, authorization, form string) (status int, body []byte, err error) {
	b := append(c.b[:0], "POST "...)
	b = append(b, path...)
	b = append(b, " HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nContent-Type: application/x-www-form-urlencoded\r\n"...)
	b = append(b, authorization...)
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(form)), 10)
	b = append(b, "\r\n\r\n"...)
	b = append(b, form...)
	if _, err := c.c.Write(b); err != nil {
		return 0, nil, err
	}
	length := 0
	for first := true; ; first = false {
		line, err := c.r.ReadSlice('\n')
		switch {
		case err != nil:
			return 0, nil, err
		case first && len(line) > 12:
			status, _ = strconv.Atoi(string(line[9:12]))
		case len(line) > 16 && string(line[:16]) == "Content-Length: ":
			if length, err = strconv.Atoi(string(line[16 : len(line)-2])); err != nil {
				return 0, nil, err
			}
		}
		if len(line) == 2 {
			break
		}
	}
	if cap(b) < length {
		b = make([]byte, length)
	}
	c.b = b[:length]
	for n := 0; n < length; {
		k, err := c.r.Read(c.b[n:])
		if err != nil {
			return 0, nil, err
		}
		n += k
	}
	return status, c.b, nil
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
