package login_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/login"
	"github.com/fastbind/fastbind/internal/revoke"
	"github.com/fastbind/fastbind/internal/web"
)

// TestN36No307: the answer to a password never has the browser post it again.
func TestN36No307(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser()
	if res := b.signIn(t, "ada", password, s.seal(t, web.Transaction{Return: "/authorize"})); res.StatusCode != http.StatusSeeOther {
		t.Errorf("sign-in answers %d, want 303", res.StatusCode)
	}
	if res := b.send(t, http.MethodPost, login.LogoutPath, url.Values{"client_id": {"app"}}); res.StatusCode != http.StatusSeeOther {
		t.Errorf("a posted logout request answers %d, want 303", res.StatusCode)
	}
}

// TestN37NoFraming: no page of the endpoints can be framed or cached.
func TestN37NoFraming(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser()
	for name, res := range map[string]*http.Response{
		"form":       b.send(t, http.MethodGet, login.Path, nil),
		"wrong":      b.signIn(t, "ada", "wrong", ""),
		"signed out": b.send(t, http.MethodGet, login.LogoutPath, nil),
		"refused":    b.send(t, http.MethodGet, login.LogoutPath+"?state=a&state=b", nil),
	} {
		h := res.Header
		if !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") || h.Get("X-Frame-Options") != "DENY" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", name, h)
		}
	}
}

// TestN38Escaping: what clients and people are called is text.
func TestN38Escaping(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const evil = `"><script>alert(1)</script>`
	page := body(t, s.browser().signIn(t, evil, "wrong", s.seal(t, web.Transaction{Return: "/authorize", ClientName: evil, Locales: evil, Cancel: "javascript:alert(1)"})))
	if strings.Contains(page, "<script") || strings.Contains(page, "javascript:") || !strings.Contains(page, "&lt;script&gt;") {
		t.Errorf("the page is not escaped: %s", page)
	}
}

// TestN100Enumeration: an unknown name, an impossible name, a disabled account
// and a wrong password look the same, and cost the same work.
func TestN100Enumeration(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	_, err := s.Revoke.End(t.Context(), revoke.Order{Kind: revoke.Subject, Value: s.bob.Subject, Reason: audit.UserDisabled, Disable: true})
	if err != nil {
		t.Fatal(err)
	}
	type answer struct {
		Status int
		Header http.Header
		Body   string
		Hashes int64
	}
	ask := func(network, username, password string) answer {
		b := s.browser()
		b.network = network
		before := s.hasher.Done()
		res := b.signIn(t, username, password, "")
		return answer{res.StatusCode, res.Header, strings.ReplaceAll(body(t, res), `"`+username+`"`, `"NAME"`), s.hasher.Done() - before}
	}
	want := ask("203.0.113.1", "ada", "wrong")
	if want.Status != http.StatusUnauthorized || want.Hashes != 1 {
		t.Fatalf("wrong password: status %d after %d hashes, want 401 after 1", want.Status, want.Hashes)
	}
	for name, got := range map[string]answer{
		"unknown":    ask("203.0.113.2", "eve", "wrong"),
		"impossible": ask("203.0.113.3", "e\u200bve", "wrong"),
		"disabled":   ask("203.0.113.4", "bob", password),
		"long":       ask("203.0.113.5", "bob", strings.Repeat("x", 2000)),
		"longKnown":  ask("203.0.113.5", "ada", strings.Repeat("x", 2000)),
	} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s differs from a wrong password: %s", name, diff)
		}
	}
	notes := map[string]int{}
	for _, e := range s.recorded(t, audit.SignInFailed) {
		notes[e.Note]++
	}
	// Ada twice, and bob with a long password.
	wantNotes := map[string]int{"wrong password": 3, "unknown account": 2, "account is disabled": 1}
	if diff := cmp.Diff(wantNotes, notes); diff != "" {
		t.Errorf("recorded reasons: %s", diff)
	}
}

// TestN101KnownDevice: while strangers guess, the owner gets in from the browser
// that was used before.
func TestN101KnownDevice(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	owner := s.browser()
	wantRedirect(t, owner.signIn(t, "ada", password, ""), login.Path)
	stranger := s.browser()
	limited := 0
	for i := range 60 {
		stranger.network = "198.51.100." + strconv.Itoa(i%9+1)
		if res := stranger.signIn(t, "ada", "guess", ""); res.StatusCode == http.StatusTooManyRequests {
			limited++
			if n, err := strconv.Atoi(res.Header.Get("Retry-After")); err != nil || n < 1 {
				t.Fatalf("Retry-After %q", res.Header.Get("Retry-After"))
			}
		}
	}
	if limited != 40 {
		t.Errorf("%d of 60 guesses were held back, want 40", limited)
	}
	before := s.hasher.Done()
	wantStatus(t, stranger.signIn(t, "ada", password, ""), http.StatusTooManyRequests)
	if s.hasher.Done() != before {
		t.Error("a guess that was held back was checked all the same")
	}
	wantStatus(t, owner.signIn(t, "ada", "oops", ""), http.StatusUnauthorized)
	wantRedirect(t, owner.signIn(t, "ada", password, ""), login.Path)
	fresh := s.browser()
	fresh.network = "192.0.2.1"
	wantRedirect(t, fresh.signIn(t, "ada", password, ""), login.Path)

	// A device is known for the accounts that signed in there, and for no other.
	busy := s.browser()
	busy.network = "192.0.2.9"
	wantRedirect(t, busy.signIn(t, "bob", password, ""), login.Path)
	for range 6 {
		wantStatus(t, busy.signIn(t, "ada", "guess", ""), http.StatusUnauthorized)
	}
	wantStatus(t, busy.signIn(t, "ada", "guess", ""), http.StatusTooManyRequests)
	wantRedirect(t, busy.signIn(t, "bob", password, ""), login.Path)

	thief := s.browser()
	thief.network = stranger.network
	thief.cookies["__Host-fastbind-device"] = "forged"
	wantStatus(t, thief.signIn(t, "bob", "guess", ""), http.StatusUnauthorized)
	if n := len(s.recorded(t, audit.SignInLimited)); n != 10 {
		t.Errorf("%d records of attempts held back, want one for each network", n)
	}
}

// TestN103LongPassword: what is too long is refused before it is hashed, and
// what is no form of a page is no form at all.
func TestN103LongPassword(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	wantStatus(t, s.browser().signIn(t, "ada", strings.Repeat("x", 1<<20), ""), http.StatusRequestEntityTooLarge)
	wantStatus(t, s.browser().signIn(t, "ada", password+"\x00", ""), http.StatusUnauthorized)
	b := s.browser()
	res := b.send(t, http.MethodPost, login.Path, url.Values{"username": {"ada", "bob"}, "password": {password}})
	wantStatus(t, res, http.StatusBadRequest)
	wantStatus(t, b.signIn(t, "ada", "", ""), http.StatusBadRequest)
	wantStatus(t, b.send(t, http.MethodPost, login.Path+"?username=ada", url.Values{"username": {"ada"}, "password": {password}}), http.StatusBadRequest)
	if len(b.cookies) != 0 {
		t.Errorf("cookies %v after refused forms", b.cookies)
	}
}

// TestN80LoginCSRF: another site cannot sign somebody in.
func TestN80LoginCSRF(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, from := range []string{"cross-site", "same-site"} {
		b := s.browser()
		b.site = from
		wantStatus(t, b.signIn(t, "ada", password, ""), http.StatusForbidden)
		if len(b.cookies) != 0 {
			t.Errorf("%s: cookies %v", from, b.cookies)
		}
	}
}

// TestN116Log: nothing that was typed is in the log, and every line is one line.
func TestN116Log(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const typed = "eve\nlevel=ERROR msg=forged"
	b := s.browser()
	wantStatus(t, b.signIn(t, typed, "hunter-secret-2", ""), http.StatusUnauthorized)
	wantStatus(t, b.signIn(t, "ada", "hunter-secret-2\x00", ""), http.StatusUnauthorized)
	b.send(t, http.MethodGet, login.LogoutPath+"?state=hunter-secret-2&state=b", nil)
	s.broken.accounts.Store(true)
	wantStatus(t, b.signIn(t, "ada", "hunter-secret-2", ""), http.StatusServiceUnavailable)
	log := s.log.String()
	for _, bad := range []string{"hunter-secret-2", "forged", password} {
		if strings.Contains(log, bad) {
			t.Errorf("the log has %q: %s", bad, log)
		}
	}
	if !strings.Contains(log, errBroken.Error()) {
		t.Errorf("the fault is not in the log: %s", log)
	}
}

// leaving is a record in front of which the client hangs up.
type leaving struct {
	login.Events
	leave context.CancelFunc
}

func (l leaving) Record(ctx context.Context, events ...audit.Event) error {
	l.leave()
	return l.Events.Record(ctx, events...)
}

// TestGuessAndHangUp: a wrong password is on record also when its guesser does not
// wait for the answer.
func TestGuessAndHangUp(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	s.Events = leaving{s.db, leave}
	form := url.Values{"username": {"ada"}, "password": {"wrong"}}
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, login.Path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	s.ServeHTTP(httptest.NewRecorder(), r)
	if got := s.recorded(t, audit.SignInFailed); len(got) != 1 || got[0].Subject != s.ada.Subject {
		t.Errorf("on record: %+v", got)
	}
}

// TestFaults: what does not work is said to not work. Nobody is told that a
// password is wrong, loses a cookie or gets in.
func TestFaults(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser()
	b.signIn(t, "ada", password, "")
	cookie := b.cookies[sessionCookie]
	page := body(t, b.send(t, http.MethodGet, login.Path, nil))
	logout := transactionOn(t, page)
	for name, f := range map[string]struct {
		broken interface{ Store(bool) }
		do     func() *http.Response
	}{
		"Limits":         {&s.broken.limits, func() *http.Response { return b.signIn(t, "ada", "wrong", "") }},
		"Accounts":       {&s.broken.accounts, func() *http.Response { return b.signIn(t, "ada", "wrong", "") }},
		"Sessions":       {&s.broken.sessions, func() *http.Response { return b.signIn(t, "ada", password, "") }},
		"Visit":          {&s.broken.sessions, func() *http.Response { return b.send(t, http.MethodGet, login.Path, nil) }},
		"LogoutSessions": {&s.broken.sessions, func() *http.Response { return b.send(t, http.MethodGet, login.LogoutPath, nil) }},
		"LogoutEnd": {&s.broken.ends, func() *http.Response {
			return b.send(t, http.MethodPost, login.LogoutPath, url.Values{"transaction": {logout}})
		}},
		"Begin":   {&s.broken.begin, func() *http.Response { return b.signIn(t, "bob", password, "") }},
		"Replace": {&s.broken.ends, func() *http.Response { return b.signIn(t, "bob", password, "") }},
	} {
		f.broken.Store(true)
		res := f.do()
		f.broken.Store(false)
		if res.StatusCode != http.StatusServiceUnavailable || len(res.Cookies()) != 0 || res.Header.Get("Retry-After") == "" {
			t.Errorf("%s: status %d with cookies %v, want 503 and none", name, res.StatusCode, res.Cookies())
		}
		if page := body(t, res); strings.Contains(page, errBroken.Error()) || strings.Contains(page, "is not right") {
			t.Errorf("%s: the page says too much or what is not so: %s", name, page)
		}
	}
	if b.cookies[sessionCookie] != cookie || b.who(t) == nil {
		t.Error("a fault signed somebody out")
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, path := range []string{login.Path, login.LogoutPath} {
		res := s.browser().send(t, http.MethodDelete, path, nil)
		if res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != "GET, POST" {
			t.Errorf("DELETE %s: %d, Allow %q", path, res.StatusCode, res.Header.Get("Allow"))
		}
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, login.Path, strings.NewReader(`{"username":"ada"}`))
	r.Header.Set("Content-Type", "application/json")
	s.ServeHTTP(w, r)
	if w.Code != http.StatusUnsupportedMediaType {
		t.Errorf("JSON: status %d, want 415", w.Code)
	}
}

// TestTransactionIsShown: the form of a pending sign-in, also for somebody who
// is signed in already: another account is to be used.
func TestTransactionIsShown(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser()
	b.signIn(t, "ada", password, "")
	sealed := s.seal(t, web.Transaction{
		Return: "/authorize?x", ClientName: "Orchard", Username: "carol", Cancel: "/authorize?cancel",
		Targets: []string{"https://app.example"}, Reauth: true, Started: s.now.Add(-time.Hour),
	})
	res := b.send(t, http.MethodGet, login.Path+"?transaction="+url.QueryEscape(sealed), nil)
	wantStatus(t, res, http.StatusOK)
	page := body(t, res)
	for _, want := range []string{"Orchard", `value="carol"`, `href="/authorize?cancel"`, sealed} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q: %s", want, page)
		}
	}
	if csp := res.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self' https:") {
		t.Errorf("policy %q does not let the answer go on to the app", csp)
	}
	res = b.signIn(t, "carol", "wrong", sealed)
	if page := body(t, res); !strings.Contains(page, sealed) || !strings.Contains(page, "Orchard") {
		t.Errorf("a wrong password loses where the person was going: %s", page)
	}
}
