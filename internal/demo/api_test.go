package demo_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fastbind/fastbind/guard/guardtest"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/demo"
)

var event = audit.Event{Time: now, Kind: audit.ClientChanged}

// brokenClients is a client store that knows nobody, and says why.
type brokenClients struct {
	client.Store
	err error
}

func (b brokenClients) Client(context.Context, string) (client.Client, error) {
	return client.Client{}, b.err
}

// patience is how long a test waits for what should happen at once.
const patience = 20 * time.Second

// start serves s on a loopback address until the test ends. A nil log is thrown
// away.
func start(t *testing.T, s *demo.Server, log io.Writer) *demo.Server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.URL = "http://" + ln.Addr().String()
	s.Log = slog.New(slog.DiscardHandler)
	if log != nil {
		s.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	ctx, cancel := context.WithCancel(t.Context())
	srv := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: patience}
	var work sync.WaitGroup
	work.Go(func() { srv.Serve(ln) }) //nolint:errcheck // it ends when the test does
	work.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Errorf("run demo: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		srv.Close()
		work.Wait()
	})
	wait, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	if err := s.Ready(wait); err != nil {
		t.Fatal(err)
	}
	return s
}

// guarded starts the demo behind an issuer that signs what the test wants.
func guarded(t *testing.T) (*demo.Server, *guardtest.Issuer) {
	t.Helper()
	i := guardtest.New(t)
	i.Audience, i.ClientID = demo.Audience, "demo-api"
	s := start(t, &demo.Server{
		Issuer: i.URL, Facts: demo.Facts{Clients: []demo.Client{{ID: "demo-api", Secret: i.ClientSecret}}},
	}, nil)
	return s, i
}

// An answer is one whose body may still be coming; it is closed with the test.
type answer struct {
	StatusCode int
	Header     http.Header
	Body       io.Reader
}

func get(t *testing.T, address, token string, header ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return answer{res.StatusCode, res.Header, res.Body}
}

func body(t *testing.T, res answer) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAPI(t *testing.T) {
	t.Parallel()
	s, i := guarded(t)
	full := i.Mint(guardtest.Claims{Subject: "ada", Scope: "openid orders:read", Family: "f1", Generation: 7})
	narrow := i.Mint(guardtest.Claims{Subject: "ada", Scope: "openid"})
	other := i.Mint(guardtest.Claims{Scope: "orders:read", More: map[string]any{"aud": "another-api"}})
	for _, c := range []struct {
		name, path, token string
		status            int
	}{
		{"MeAnyToken", "/me", narrow, 200},
		{"MeNoToken", "/me", "", 401},
		{"MeGarbage", "/me", "garbage", 401},
		{"MeOtherAudience", "/me", other, 401},
		{"Orders", "/orders", full, 200},
		{"OrdersNoScope", "/orders", narrow, 403},
		{"OrdersNoToken", "/orders", "", 401},
		{"StreamNoToken", "/stream", "", 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			res := get(t, s.URL+c.path, c.token)
			if res.StatusCode != c.status {
				t.Errorf("GET %s: %d, want %d: %s", c.path, res.StatusCode, c.status, body(t, res))
			}
			if (c.status == 401 || c.status == 403) && !strings.HasPrefix(res.Header.Get("WWW-Authenticate"), "Bearer ") {
				t.Errorf("GET %s: no challenge", c.path)
			}
			if v := res.Header.Get("Cache-Control"); v != "no-store" {
				t.Errorf("GET %s: Cache-Control %q", c.path, v)
			}
		})
	}
	t.Run("MeTellsTheClaims", func(t *testing.T) {
		t.Parallel()
		var claims struct {
			Subject    string `json:"sub"`
			Family     string `json:"family"`
			Generation int64  `json:"generation"`
			Scope      string `json:"scope"`
		}
		if err := json.Unmarshal([]byte(body(t, get(t, s.URL+"/me", full))), &claims); err != nil {
			t.Fatal(err)
		}
		if claims.Subject != "ada" || claims.Family != "f1" || claims.Generation != 7 || claims.Scope != "openid orders:read" {
			t.Errorf("claims %+v", claims)
		}
	})
	t.Run("OrdersAreSome", func(t *testing.T) {
		t.Parallel()
		var answer struct {
			Subject string `json:"sub"`
			Orders  []struct {
				ID string `json:"id"`
			} `json:"orders"`
		}
		if err := json.Unmarshal([]byte(body(t, get(t, s.URL+"/orders", full))), &answer); err != nil {
			t.Fatal(err)
		}
		if answer.Subject != "ada" || len(answer.Orders) < 3 || answer.Orders[0].ID == "" {
			t.Errorf("orders %+v", answer)
		}
	})
	t.Run("ScriptsOfAnyOrigin", func(t *testing.T) {
		t.Parallel()
		res := get(t, s.URL+"/me", full, "Origin", "http://127.0.0.1:3000")
		if v := res.Header.Get("Access-Control-Allow-Origin"); v != "*" {
			t.Errorf("Access-Control-Allow-Origin %q, want *", v)
		}
	})
}

// events reads an event stream into a channel of its events' names and data,
// which is closed when the stream ends.
func events(res answer) <-chan [2]string {
	c := make(chan [2]string, 100)
	go func() {
		defer close(c)
		var e [2]string
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			if v, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				e[0] = v
			}
			if v, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				e[1] = v
				c <- e
			}
		}
	}()
	return c
}

// next returns the next event of a stream; ok is false if it has ended.
func next(t *testing.T, c <-chan [2]string) (e [2]string, ok bool) {
	t.Helper()
	select {
	case e, ok = <-c:
		return e, ok
	case <-time.After(patience):
		t.Fatal("the stream says nothing")
		return e, false
	}
}

func TestStreamEndsWithTheSession(t *testing.T) {
	t.Parallel()
	s, i := guarded(t)
	res := get(t, s.URL+"/stream", i.Mint(guardtest.Claims{SessionID: "session-1"}))
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("stream: %d, %s", res.StatusCode, res.Header.Get("Content-Type"))
	}
	other := events(get(t, s.URL+"/stream", i.Mint(guardtest.Claims{SessionID: "session-2"})))
	mine := events(res)
	for _, c := range []<-chan [2]string{mine, other} {
		if e, ok := next(t, c); !ok || e != [2]string{"tick", `{"n":1}`} {
			t.Fatalf("first event %v", e)
		}
	}
	i.Revoke("sid", "session-1")
	revoked := time.Now()
	for {
		e, ok := next(t, mine)
		if !ok {
			t.Fatal("the stream ended without saying why")
		}
		if e[0] == "end" {
			if e[1] != `{"reason":"revoked"}` {
				t.Errorf("last event %s", e[1])
			}
			break
		}
	}
	if took := time.Since(revoked); took > time.Second {
		t.Errorf("the stream ended %v after the session", took)
	}
	if e, ok := next(t, mine); ok {
		t.Errorf("after the last event comes %v", e)
	}
	if e, ok := next(t, other); !ok || e[0] != "tick" {
		t.Errorf("the stream of another session says %v, %v", e, ok)
	}
}

// TestStreamOutlivesItsToken: the stream ends with the session, and the session
// does not end when an access token does.
func TestStreamOutlivesItsToken(t *testing.T) {
	t.Parallel()
	s, i := guarded(t)
	// The guard allows a minute for clocks that differ: one second is left.
	issued := time.Now().Add(-5 * time.Minute)
	token := i.Mint(guardtest.Claims{Issued: issued, Expires: time.Now().Add(-58 * time.Second)})
	c := events(get(t, s.URL+"/stream", token))
	for n := range 4 {
		if e, ok := next(t, c); !ok || e[0] != "tick" {
			t.Fatalf("event %d: %v, %v", n, e, ok)
		}
	}
	if res := get(t, s.URL+"/me", token); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("the token should have expired meanwhile: %d", res.StatusCode)
	}
}
