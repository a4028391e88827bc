package login_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/account"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/jose"
	"github.com/fastbind/fastbind/internal/limit"
	"github.com/fastbind/fastbind/internal/login"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/revoke"
	"github.com/fastbind/fastbind/internal/session"
	"github.com/fastbind/fastbind/internal/sqlstore"
	"github.com/fastbind/fastbind/internal/token"
	"github.com/fastbind/fastbind/internal/web"
)

const (
	password = "a phrase that nobody else would think of"
	issuer   = "https://id.example"
	appURI   = "https://app.example/out?from=id"
)

var errBroken = errors.New("database does not answer")

// site is a handler over a real database.
type site struct {
	*login.Handler
	db     *sqlstore.DB
	hasher *account.Hasher
	sealer web.Sealer
	key    *jose.Signer
	now    time.Time
	log    *safeBuffer
	broken *faults
	ada    account.Account
	bob    account.Account
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// faults makes single parts of the database fail.
type faults struct {
	limits, accounts, ends, sessions, begin atomic.Bool
}

type brokenLimits struct {
	limit.Store
	broken *atomic.Bool
}

func (b brokenLimits) Take(ctx context.Context, key opaque.Digest, r limit.Rate, now time.Time) (time.Duration, error) {
	if b.broken.Load() {
		return 0, errBroken
	}
	return b.Store.Take(ctx, key, r, now)
}

type brokenAccounts struct {
	account.Store
	broken *atomic.Bool
}

func (b brokenAccounts) ByUsername(ctx context.Context, username string) (account.Account, error) {
	if b.broken.Load() {
		return account.Account{}, errBroken
	}
	return b.Store.ByUsername(ctx, username)
}

type brokenSessions struct {
	session.Store
	broken *atomic.Bool
	begin  *atomic.Bool
}

func (b brokenSessions) Begin(ctx context.Context, n session.Session, e audit.Event) error {
	if b.begin.Load() {
		return errBroken
	}
	return b.Store.Begin(ctx, n, e)
}

func (b brokenSessions) ByHandle(ctx context.Context, d opaque.Digest) (session.Session, error) {
	if b.broken.Load() {
		return session.Session{}, errBroken
	}
	return b.Store.ByHandle(ctx, d)
}

type brokenEnds struct {
	revoke.Store
	broken *atomic.Bool
}

func (b brokenEnds) End(ctx context.Context, o revoke.Order) (revoke.Ended, error) {
	if b.broken.Load() {
		return revoke.Ended{}, errBroken
	}
	return b.Store.End(ctx, o)
}

type keySet struct{ *jose.Signer }

func (k keySet) Find(_ context.Context, kid string, alg jose.Algorithm) ([]*jose.Key, error) {
	return jose.NewKeySet(k.Key()).Find(kid, alg), nil
}

type people struct{ account.Store }

func (p people) Username(ctx context.Context, subject string) (string, error) {
	a, err := p.BySubject(ctx, subject)
	return a.Display, err
}

func newSite(t *testing.T) *site {
	t.Helper()
	ctx := t.Context()
	s := &site{now: time.Now(), log: &safeBuffer{}, broken: &faults{}}
	var err error
	s.db, err = sqlstore.Open(ctx, "sqlite://"+filepath.Join(t.TempDir(), "login.db"), sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.db.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := s.db.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return s.now }
	s.hasher = &account.Hasher{MemoryKiB: 64, Passes: 1}
	people := people{s.db.Accounts()}
	directory := &account.Directory{Store: brokenAccounts{s.db.Accounts(), &s.broken.accounts}, Hasher: s.hasher, Now: now}
	for name, a := range map[string]*account.Account{"Ada": &s.ada, "bob": &s.bob} {
		if *a, err = directory.Create(ctx, account.Person{Username: name, Password: password}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []client.Client{
		{ID: "app", Meta: client.Meta{Name: `<b>"Orchard"</b>`, PostLogoutRedirectURIs: []string{appURI}}, Created: s.now},
		{ID: "other", Meta: client.Meta{Name: "Other"}, Created: s.now},
	} {
		if err := s.db.Clients().Put(ctx, c, audit.Event{Time: s.now, Kind: audit.ClientChanged, Client: c.ID}); err != nil {
			t.Fatal(err)
		}
	}
	if s.key, err = jose.Generate("key", jose.ES256); err != nil {
		t.Fatal(err)
	}
	s.sealer = web.Sealer{Keys: opaque.NewSecrets().Keys(web.SealPurpose)}
	s.Handler = &login.Handler{
		Accounts: directory, People: people,
		Gate:     &session.Gate{Store: brokenSessions{s.db.Sessions(), &s.broken.sessions, &s.broken.begin}, Life: session.Life{Idle: time.Hour, Absolute: 8 * time.Hour}, Now: now},
		Attempts: &limit.Attempts{Store: brokenLimits{s.db.Limits(), &s.broken.limits}, Now: now},
		Revoke:   &revoke.Core{Store: brokenEnds{s.db.Revocations(), &s.broken.ends}, Now: now},
		Clients:  s.db.Clients(), Hints: &token.Reader{Issuer: issuer, Keys: keySet{s.key}}, Events: s.db,
		Sealer: s.sealer, Cookies: web.Cookies{Secure: true}, Remember: true,
		Log: slog.New(slog.NewJSONHandler(s.log, nil)), Now: now,
	}
	return s
}

// browser keeps cookies, as far as these tests need it.
type browser struct {
	s       *site
	network string
	site    string // Sec-Fetch-Site
	cookies map[string]string
}

func (s *site) browser() *browser {
	return &browser{s: s, network: "203.0.113.7", site: "same-origin", cookies: map[string]string{}}
}

func (b *browser) send(t *testing.T, method, target string, form url.Values) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(form.Encode()))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.Header.Set("Sec-Fetch-Site", b.site)
	r.RemoteAddr = b.network + ":4711"
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	if strings.HasPrefix(target, login.LogoutPath) {
		b.s.Logout(w, r)
	} else {
		b.s.ServeHTTP(w, r)
	}
	res := w.Result()
	for _, c := range res.Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return res
}

func (b *browser) signIn(t *testing.T, username, password, transaction string) *http.Response {
	t.Helper()
	return b.send(t, http.MethodPost, login.Path, url.Values{"username": {username}, "password": {password}, "transaction": {transaction}})
}

const sessionCookie = "__Host-fastbind-session"

// who returns the live session of the browser; nil: none.
func (b *browser) who(t *testing.T) *session.Session {
	t.Helper()
	v, err := b.s.Gate.Visit(t.Context(), b.cookies[sessionCookie])
	if errors.Is(err, session.ErrNone) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return &v
}

func body(t *testing.T, res *http.Response) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := b.ReadFrom(res.Body); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func wantStatus(t *testing.T, res *http.Response, want int) {
	t.Helper()
	if res.StatusCode != want {
		t.Fatalf("status %d, want %d: %s", res.StatusCode, want, body(t, res))
	}
}

func wantRedirect(t *testing.T, res *http.Response, to string) {
	t.Helper()
	if got := res.Header.Get("Location"); res.StatusCode != http.StatusSeeOther || got != to {
		t.Fatalf("status %d to %q, want 303 to %q", res.StatusCode, got, to)
	}
}

func (s *site) seal(t *testing.T, tx web.Transaction) string {
	t.Helper()
	v, err := s.sealer.Seal(web.SignInPurpose, tx)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

var hidden = regexp.MustCompile(`name="transaction" value="([^"]*)"`)

func transactionOn(t *testing.T, page string) string {
	t.Helper()
	m := hidden.FindStringSubmatch(page)
	if m == nil {
		t.Fatalf("no transaction on the page: %s", page)
	}
	return html.UnescapeString(m[1])
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser()
	res := b.send(t, http.MethodGet, login.Path, nil)
	wantStatus(t, res, http.StatusOK)
	page := body(t, res)
	for _, want := range []string{`name="username"`, `name="password"`, `autocomplete="current-password"`, `method="post"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s: %s", want, page)
		}
	}
	wantRedirect(t, b.signIn(t, " ADA ", password, ""), login.Path)
	who := b.who(t)
	if who == nil || who.Subject != s.ada.Subject || who.ACR != login.ACR || fmt.Sprint(who.AMR) != "[pwd]" || who.Remember {
		t.Fatalf("session %+v, want one of ada", who)
	}
	page = body(t, b.send(t, http.MethodGet, login.Path, nil))
	if !strings.Contains(page, "Ada") || !strings.Contains(page, "You are signed in") {
		t.Errorf("the page does not say who is signed in: %s", page)
	}
	wantStatus(t, b.send(t, http.MethodPost, login.LogoutPath, url.Values{"transaction": {transactionOn(t, page)}}), http.StatusOK)
	if b.who(t) != nil || b.cookies[sessionCookie] != "" {
		t.Error("still signed in after the button of the page")
	}
	s.wantEnd(t, who.ID, audit.Logout)
}

func (s *site) wantEnd(t *testing.T, id string, want audit.Reason) {
	t.Helper()
	list, err := s.db.Events(t.Context(), sqlstore.EventQuery{Session: id, Kind: audit.SessionEnded})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].Reason != want {
		t.Errorf("ends of the session: %+v, want one for %s", list, want)
	}
}

func TestRemember(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser()
	res := b.send(t, http.MethodPost, login.Path, url.Values{"username": {"ada"}, "password": {password}, "remember": {"yes"}})
	wantRedirect(t, res, login.Path)
	for _, c := range res.Cookies() {
		if c.Name == sessionCookie && (c.Expires.IsZero() || !c.Secure || !c.HttpOnly || c.Path != "/" || c.SameSite != http.SameSiteLaxMode) {
			t.Errorf("cookie %v, want one that is kept, Secure, HttpOnly, Lax", c)
		}
	}
	if who := b.who(t); who == nil || !who.Remember {
		t.Errorf("session %+v, want one that is remembered", who)
	}
	res = b.signIn(t, "ada", password, "")
	for _, c := range res.Cookies() {
		if c.Name == sessionCookie && !c.Expires.IsZero() {
			t.Errorf("cookie %v, want one that goes with the browser", c)
		}
	}
}

// TestTabs: twenty tabs that wait at the sign-in page each go on where they were
// going, in whatever order, also days later.
func TestTabs(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser()
	sealed := make([]string, 20)
	for i := range sealed {
		sealed[i] = s.seal(t, web.Transaction{Return: fmt.Sprintf("/authorize?tab=%d&x=%%2F%%2F", i), Started: s.now})
	}
	s.now = s.now.Add(72 * time.Hour)
	for i := range sealed {
		i = (i*7 + 3) % len(sealed)
		wantRedirect(t, b.signIn(t, "ada", password, sealed[i]), fmt.Sprintf("/authorize?tab=%d&x=%%2F%%2F", i))
	}
	list, err := s.db.Sessions().Sessions(t.Context(), s.ada.Subject)
	if err != nil || len(list) != 1 {
		t.Errorf("%d sessions (%v), want one for the one browser", len(list), err)
	}
}

func TestAnotherPersonReplacesTheSession(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser()
	b.signIn(t, "ada", password, "")
	first, cookie := b.who(t), b.cookies[sessionCookie]
	wantRedirect(t, b.signIn(t, "bob", password, ""), login.Path)
	if who := b.who(t); who == nil || who.Subject != s.bob.Subject || who.ID == first.ID {
		t.Fatalf("session %+v, want a new one of bob", who)
	}
	s.wantEnd(t, first.ID, audit.SessionReplaced)
	b.cookies[sessionCookie] = cookie
	if b.who(t) != nil {
		t.Error("the cookie of the first person still works")
	}
}

// TestN81SessionFixation: a cookie that was there before is worth nothing after.
func TestN81SessionFixation(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	victim := s.browser()
	planted := opaque.New(opaque.Session).Reveal()
	victim.cookies[sessionCookie] = planted
	victim.signIn(t, "ada", password, "")
	first := victim.cookies[sessionCookie]
	if first == planted || first == "" {
		t.Fatal("the planted cookie was kept")
	}
	id := victim.who(t).ID
	victim.signIn(t, "ada", password, "")
	if again := victim.who(t); again == nil || again.ID != id || victim.cookies[sessionCookie] == first {
		t.Errorf("after a second sign-in: %+v, want the same session with another cookie", again)
	}
	for name, old := range map[string]string{"planted": planted, "before the second sign-in": first} {
		thief := s.browser()
		thief.cookies[sessionCookie] = old
		if thief.who(t) != nil {
			t.Errorf("the cookie %s works", name)
		}
	}
}

// TestN90ReturnTargets: nobody is sent anywhere but on this server.
func TestN90ReturnTargets(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, to := range []string{
		"https://evil.example/", "//evil.example", `/\evil.example`, `\\evil.example`, "/\t/evil.example", "evil", "",
		"javascript:alert(1)", "/a\r\nX: y", "///evil.example", "/x#https://evil.example",
	} {
		wantRedirect(t, s.browser().signIn(t, "ada", password, s.seal(t, web.Transaction{Return: to})), login.Path)
	}
	for _, sealed := range []string{"rubbish", strings.Repeat("A", 4000), "/authorize"} {
		wantRedirect(t, s.browser().signIn(t, "ada", password, sealed), login.Path)
	}
	other, err := s.sealer.Seal(web.ConsentPurpose, web.Transaction{Return: "/authorize"})
	if err != nil {
		t.Fatal(err)
	}
	wantRedirect(t, s.browser().signIn(t, "ada", password, other), login.Path)
	wantRedirect(t, s.browser().signIn(t, "ada", password, s.seal(t, web.Transaction{Return: "/authorize?a=https%3A%2F%2Fevil.example"})), "/authorize?a=https%3A%2F%2Fevil.example")
}

// recorded returns the events of a kind.
func (s *site) recorded(t *testing.T, kind audit.Kind) []audit.Event {
	t.Helper()
	list, err := s.db.Events(t.Context(), sqlstore.EventQuery{Kind: kind})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
