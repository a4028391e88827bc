package authorize_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/apptest"
	"github.com/fastbind/fastbind/internal/authorize"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/code"
	"github.com/fastbind/fastbind/internal/limit"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/policy"
	"github.com/fastbind/fastbind/internal/session"
	"github.com/fastbind/fastbind/internal/web"
	"github.com/fastbind/fastbind/oauth"
)

var errBroken = errors.New("no database")

// brokenCodes takes no code while it is broken.
type brokenCodes struct {
	code.Store
	broken bool
}

func (b *brokenCodes) Put(ctx context.Context, c code.Code) error {
	if b.broken {
		return errBroken
	}
	return b.Store.Put(ctx, c)
}

// brokenSessions finds no session while it is broken.
type brokenSessions struct {
	session.Store
	broken bool
}

func (b *brokenSessions) ByHandle(ctx context.Context, d opaque.Digest) (session.Session, error) {
	if b.broken {
		return session.Session{}, errBroken
	}
	return b.Store.ByHandle(ctx, d)
}

// alone is the endpoint with stores that can break, and a browser in which ada
// is signed in.
type alone struct {
	*authorize.Handler
	codes    *brokenCodes
	sessions *brokenSessions
	cookie   *http.Cookie
	request  url.Values
	now      time.Time // stands still
}

func newAlone(t *testing.T) *alone {
	t.Helper()
	s := apptest.Start(t, apptest.Options{})
	meta := client.Meta{RedirectURIs: []string{"https://app.example.com/cb"}, GrantTypes: []string{"authorization_code"}, Scopes: []string{"openid"}, Trusted: true}
	s.Register("public", false, meta)
	secret := s.Register("web", true, meta)
	a := &alone{codes: &brokenCodes{Store: s.App.DB.Codes()}, sessions: &brokenSessions{Store: s.App.Sessions}, now: time.Now()}
	clock := func() time.Time { return a.now }
	gate := &session.Gate{Store: a.sessions, Life: session.Life{Idle: time.Hour, Absolute: time.Hour}, Now: clock}
	a.Handler = &authorize.Handler{
		Issuer: s.Issuer, Clients: s.App.Clients, Auth: &client.Authenticator{Store: s.App.Clients, Throttle: &limit.Memory{}}, Gate: gate,
		Codes: a.codes, Store: s.App.DB.Requests(), Policy: func(string) policy.Policy { return policy.Presets()[0] },
		Throttle: &limit.Memory{}, Proofs: s.App.Proofs, Sealer: web.Sealer{Keys: opaque.NewSecrets().Keys("test")}, Cookies: web.Cookies{Port: "1"},
		Log: slog.New(slog.DiscardHandler), Now: clock,
	}
	h, in, err := gate.Enter(t.Context(), session.Entry{Subject: s.Person("ada")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	a.Cookies.SetSession(w, h, in.AbsoluteEnd, false)
	a.cookie = w.Result().Cookies()[0]
	a.request, _ = apptest.App{ID: "web", Secret: secret, Redirect: meta.RedirectURIs[0], Scope: "openid"}.Request()
	return a
}

func (a *alone) open(t *testing.T, v url.Values) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, authorize.Path+"?"+v.Encode(), nil)
	r.AddCookie(a.cookie)
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w.Result()
}

// push pushes the request for the public client from a network.
func (a *alone) push(t *testing.T, network string) (answer string, status int) {
	t.Helper()
	v := url.Values{}
	for k := range a.request {
		v.Set(k, a.request.Get(k))
	}
	v.Set("client_id", "public")
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, authorize.PushPath, strings.NewReader(v.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.RemoteAddr = network
	w := httptest.NewRecorder()
	a.Push(w, r)
	return w.Body.String(), w.Code
}

// TestFaultCostsNoRequest: a pushed request that could not be answered is
// answered when it is opened again.
func TestFaultCostsNoRequest(t *testing.T) {
	t.Parallel()
	a := newAlone(t)
	uri := opaque.New(opaque.Request)
	p := authorize.Pushed{Digest: uri.Digest(), Client: "web", Query: a.request.Encode(), Expires: a.now.Add(time.Minute)}
	if err := a.Store.Push(t.Context(), p, a.now, 10); err != nil {
		t.Fatal(err)
	}
	v := url.Values{"client_id": {"web"}, "request_uri": {oauth.RequestURIPrefix + uri.Reveal()}}
	a.codes.broken = true
	if res := a.open(t, v); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Fatalf("a code that cannot be stored: %d", res.StatusCode)
	}
	a.codes.broken = false
	for i, want := range []int{http.StatusSeeOther, http.StatusBadRequest} {
		res := a.open(t, v)
		if to := res.Header.Get("Location"); res.StatusCode != want || (want == http.StatusSeeOther) != (to != "") {
			t.Errorf("opened again %d times: %d, Location %q, want %d", i+1, res.StatusCode, to, want)
		}
	}
}

// TestFaultOfASilentRequest: where nobody looks a fault goes to the client, as
// one.
func TestFaultOfASilentRequest(t *testing.T) {
	t.Parallel()
	a := newAlone(t)
	a.sessions.broken = true
	if res := a.open(t, a.request); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("with somebody looking: %d, want a page with 503", res.StatusCode)
	}
	a.request.Set("prompt", "none")
	to, err := a.open(t, a.request).Location()
	if err != nil {
		t.Fatalf("no answer at the client: %v", err)
	}
	if got := to.Query(); got.Get("error") != "temporarily_unavailable" || got.Get("state") != a.request.Get("state") || got.Get("iss") != a.Issuer {
		t.Errorf("answer %v, want temporarily_unavailable with state and iss", got)
	}
}

// TestN113PushesOfStrangers: anybody can push for a public client, but no
// network can fill what it has room for.
func TestN113PushesOfStrangers(t *testing.T) {
	t.Parallel()
	a := newAlone(t)
	taken := 0
	for i := range 400 { // all from one network of IPv6
		if _, status := a.push(t, "[2001:db8::"+strconv.FormatInt(int64(i+1), 16)+"]:1"); status == http.StatusCreated {
			taken++
		} else if status != http.StatusTooManyRequests {
			t.Fatalf("status %d", status)
		}
	}
	if taken == 0 || taken > 100 {
		t.Errorf("%d pushes of one network were taken at once, want 1 to 100", taken)
	}
	if answer, status := a.push(t, "192.0.2.1:1"); status != http.StatusCreated {
		t.Errorf("and somebody else could not push: %d %s", status, answer)
	}
}
