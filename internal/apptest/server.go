// Package apptest runs whole servers inside a test and drives them as browsers
// and clients do.
//
// A server that answers a test with a fault that the test did not announce,
// that writes a secret into its log, or that leaves a broken invariant in its
// database, fails the test.
package apptest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/account"
	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/opaque"
)

// Options are what a test chooses about a server. The zero value is a node of
// its own on SQLite.
type Options struct {
	// DatabaseURL is that of a database; empty: SQLite in Data.
	DatabaseURL string
	// Data is the folder of the server; empty: a new one.
	Data string
	// Now returns the time for all decisions; nil means time.Now.
	Now func() time.Time
	// Listen is where the node listens; empty: a free port of 127.0.0.1.
	Listen string
	// Issuer is the public address of a node that is not the first; empty: the
	// node's own address.
	Issuer string
	// Log receives the log instead of the test, which then does not look into
	// it; nil: the test does.
	Log io.Writer
	// Config changes the configuration before the start; may be nil.
	Config func(*app.Config)
}

// A Server is a running node.
type Server struct {
	App    *app.App
	Issuer string // what the node calls itself
	URL    string // where it listens
	Data   string

	t       testing.TB
	now     func() time.Time
	log     *safeBuffer
	faults  atomic.Bool
	secrets sync.Map // string -> struct{}: what must never be logged
	stop    func()
}

// Start starts a node that ends with the test.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	ln, err := net.Listen("tcp", cmp.Or(o.Listen, "127.0.0.1:0"))
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	if o.Data == "" {
		o.Data = t.TempDir()
	}
	s := &Server{t: t, now: o.Now, URL: "http://" + ln.Addr().String(), Data: o.Data, log: &safeBuffer{}}
	s.Issuer = s.URL
	if o.Issuer != "" {
		s.Issuer = o.Issuer
	}
	cfg := app.Config{Issuer: s.Issuer, Data: o.Data, DatabaseURL: o.DatabaseURL}
	if o.Config != nil {
		o.Config(&cfg)
	}
	log := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if o.Log != nil {
		log = slog.New(slog.NewTextHandler(o.Log, nil))
	}
	s.App, err = app.Open(t.Context(), cfg, log, app.Options{Now: o.Now})
	if err != nil {
		t.Fatalf("open server: %v", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	srv := &http.Server{Handler: s.watch(s.App.Handler()), ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 128 << 10}
	var work sync.WaitGroup
	work.Go(func() { srv.Serve(ln) }) //nolint:errcheck // it ends when the test does
	work.Go(func() {
		if err := s.App.Run(ctx); err != nil {
			t.Errorf("run server: %v", err)
		}
	})
	s.stop = sync.OnceFunc(func() {
		s.App.Drain()
		cancel()
		srv.Close() //nolint:errcheck // the test is over
		work.Wait()
		s.check(context.WithoutCancel(ctx))
		if err := s.App.Close(); err != nil {
			t.Errorf("close server: %v", err)
		}
	})
	t.Cleanup(func() {
		s.stop()
		s.checkLog()
	})
	return s
}

// check fails the test if what is stored breaks an invariant.
func (s *Server) check(ctx context.Context) {
	now := time.Now
	if s.now != nil {
		now = s.now
	}
	r, err := s.App.DB.Fsck(ctx, now())
	if err != nil && !s.faults.Load() {
		s.t.Error(err)
	}
	for _, f := range r.Findings {
		s.t.Errorf("a broken invariant: %s: %s: %s", f.Check, f.Row, f.Detail)
	}
}

// Stop ends the node before the test does.
func (s *Server) Stop() { s.stop() }

// ExpectFaults says that faults and errors in the log belong to the test.
func (s *Server) ExpectFaults() { s.faults.Store(true) }

// Secret says that v must never be in the log.
func (s *Server) Secret(v string) {
	if v != "" {
		s.secrets.Store(v, struct{}{})
	}
}

// Log returns what the server has logged.
func (s *Server) Log() string { return s.log.String() }

// watch fails the test for answers of 5xx that nobody announced, unless their
// client had left.
func (s *Server) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&statusWatch{w, func(status int) {
			if status >= 500 && !s.faults.Load() && !errors.Is(r.Context().Err(), context.Canceled) {
				s.t.Errorf("%s %s: status %d", r.Method, r.URL.Path, status)
			}
		}}, r)
	})
}

type statusWatch struct {
	http.ResponseWriter
	seen func(int)
}

func (w *statusWatch) WriteHeader(status int) {
	w.seen(status)
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWatch) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// secretForms are the forms of secrets that must never be in a log: handles,
// JWTs, private keys.
var secretForms = regexp.MustCompile(`fb[a-z]_[0-9A-Za-z]{24,}|eyJ[0-9A-Za-z_-]{10,}\.[0-9A-Za-z_-]{10,}|PRIVATE KEY`)

// HoldsNoSecret fails the test if there is a secret in a text, which is called
// what.
func (s *Server) HoldsNoSecret(what, text string) {
	s.t.Helper()
	if m := secretForms.FindString(text); m != "" {
		s.t.Errorf("a secret is in the %s: %.12s…", what, m)
	}
	s.secrets.Range(func(k, _ any) bool {
		if v, ok := k.(string); ok && strings.Contains(text, v) {
			s.t.Errorf("a secret that a test named is in the %s", what)
		}
		return true
	})
}

func (s *Server) checkLog() {
	log := s.log.String()
	s.HoldsNoSecret("log", log)
	for line := range strings.Lines(log) {
		if strings.Contains(line, "msg=panic") || !s.faults.Load() && strings.Contains(line, "level=ERROR") {
			s.t.Errorf("in the log: %s", line)
		}
	}
}

// Password is that of every person that [Server.Person] creates.
const Password = "marmot-lantern-quay-58"

// Person creates a person who signs in with the name and [Password], and returns
// their subject.
func (s *Server) Person(username string) string {
	s.t.Helper()
	s.Secret(Password)
	a, err := s.App.Accounts.Create(s.t.Context(), account.Person{Username: username, Password: Password, Claims: map[string]any{
		"name": username + " Example", "email": username + "@example.com", "email_verified": true,
	}})
	if err != nil {
		s.t.Fatalf("create %s: %v", username, err)
	}
	return a.Subject
}

// Register registers a client and returns its secret; empty for a public one.
func (s *Server) Register(id string, confidential bool, m client.Meta) string {
	s.t.Helper()
	c := client.Client{ID: id, Meta: m, Created: time.Now()}
	var secret opaque.Handle
	if confidential {
		secret = opaque.New(opaque.ClientSecret)
		c.Secrets = []opaque.Digest{secret.Digest()}
		s.Secret(secret.Reveal())
	}
	if err := c.Check(); err != nil {
		s.t.Fatalf("client %s: %v", id, err)
	}
	if err := s.App.Clients.Put(s.t.Context(), c, audit.Event{Time: time.Now(), Kind: audit.ClientChanged, Client: id}); err != nil {
		s.t.Fatalf("store client %s: %v", id, err)
	}
	return secret.Reveal()
}

// Post sends a form to a path of the server, without cookies.
func (s *Server) Post(path string, form url.Values, header http.Header) *Answer {
	s.t.Helper()
	return s.Do(http.MethodPost, path, strings.NewReader(form.Encode()), with(header, "Content-Type", "application/x-www-form-urlencoded"))
}

// Do sends a request to a path of the server, without cookies.
func (s *Server) Do(method, path string, body io.Reader, header http.Header) *Answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, body)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	maps.Copy(r.Header, header)
	return do(s.t, &http.Client{CheckRedirect: noRedirect}, r)
}

func with(h http.Header, name, value string) http.Header {
	out := h.Clone()
	if out == nil {
		out = http.Header{}
	}
	if out.Get(name) == "" {
		out.Set(name, value)
	}
	return out
}

// Random returns text that nobody can guess.
func Random() string { return rand.Text() + rand.Text() }

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func do(t testing.TB, c *http.Client, r *http.Request) *Answer {
	t.Helper()
	res, err := c.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	defer res.Body.Close() //nolint:errcheck // it was read to the end
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: read: %v", r.Method, r.URL.Path, err)
	}
	return &Answer{Status: res.StatusCode, Header: res.Header, Body: string(b), URL: r.URL}
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Basic returns a header with the credentials of a client (RFC 6749, section
// 2.3.1).
func Basic(id, secret string) http.Header {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	return r.Header
}

// Bearer returns a header with an access token.
func Bearer(token string) http.Header {
	return http.Header{"Authorization": {fmt.Sprintf("Bearer %s", token)}}
}
