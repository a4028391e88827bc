package interop_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

const (
	username = chromedp.CSS("#username")
	password = chromedp.CSS("#password")
	submit   = chromedp.CSS("main form button")
	alert    = chromedp.CSS("main [role=alert]")
	arrived  = chromedp.CSS("#app")
)

// fill types a person's name and a password into the sign-in page and submits.
func (b *tab) fill(name, secret string) {
	b.t.Helper()
	b.do(
		chromedp.WaitVisible(username), chromedp.Clear(username), chromedp.SendKeys(username, name),
		chromedp.SendKeys(password, secret), chromedp.Click(submit),
	)
}

func TestBrowserSignIn(t *testing.T) {
	s := start(t, options{})
	a := newApp(t)
	b := newTab(t)
	b.do(chromedp.Navigate(a.ask(s, "demo-spa", "first", nil)))
	b.element("main", "")
	if h := b.element("heading", "Sign in"); h.is["level"] != "1" {
		t.Errorf("heading of level %s, want 1", h.is["level"])
	}
	if e := b.element("textbox", "Username"); e.is["required"] != "true" || e.is["focused"] != "true" || e.is["invalid"] != "false" {
		t.Errorf("username: %v, want required and focused", e.is)
	}
	if e := b.element("textbox", "Password"); e.is["required"] != "true" {
		t.Errorf("password: %v, want required", e.is)
	}
	b.element("button", "Sign in")
	b.element("link", "Cancel and go back to Demo app")
	const wrong = "not-the-password"
	s.secret(wrong)
	b.do(chromedp.SendKeys(username, "ada"), chromedp.SendKeys(password, wrong))
	if e := b.element("textbox", "Password"); strings.Contains(e.value, wrong) || len([]rune(e.value)) != len(wrong) {
		t.Errorf("the password is shown as %q", e.value)
	}

	b.do(chromedp.Click(submit), chromedp.WaitVisible(alert))
	b.element("alert", "")
	for _, name := range []string{"Username", "Password"} {
		e := b.element("textbox", name)
		if e.is["invalid"] != "true" || !strings.Contains(e.description, "not right") {
			t.Errorf("%s after a wrong password: %v, described as %q, want invalid and described by the alert", name, e.is, e.description)
		}
	}
	if e := b.element("textbox", "Password"); e.is["focused"] != "true" || e.value != "" {
		t.Errorf("the password after a wrong one: %v, value of %d characters, want focused and empty", e.is, len(e.value))
	}
	if e := b.element("textbox", "Username"); e.value != "ada" {
		t.Errorf("the username after a wrong password is %q, want ada", e.value)
	}

	b.do(chromedp.SendKeys(password, s.password(t, "ada")), chromedp.Click(submit), chromedp.WaitVisible(arrived))
	s.held(s.post(s.metadata().Token, s.client(t, "demo-spa"), at(a.address, redemption(a.code(s, "first")))))

	// Signed in: nothing is asked a second time.
	b.do(chromedp.Navigate(a.ask(s, "demo-spa", "second", nil)), chromedp.WaitVisible(arrived))
	a.code(s, "second")
}

// at returns a redemption for another callback.
func at(callback string, v map[string][]string) map[string][]string {
	v["redirect_uri"] = []string{callback}
	return v
}

func TestBrowserKeyboardOnly(t *testing.T) {
	s := start(t, options{})
	a := newApp(t)
	b := newTab(t)
	b.do(chromedp.Navigate(a.ask(s, "demo-spa", "k", nil)), chromedp.WaitVisible(username))
	order := []string{}
	for range 5 {
		order = append(order, b.focused())
		b.do(chromedp.KeyEvent(kb.Tab))
	}
	want := []string{"textbox Username", "textbox Password", "checkbox Keep me signed in", "button Sign in", "link Cancel and go back to Demo app"}
	if strings.Join(order, ", ") != strings.Join(want, ", ") {
		t.Errorf("Tab leads to %q, want %q", order, want)
	}
	b.do(chromedp.Navigate(a.ask(s, "demo-spa", "k", nil)), chromedp.WaitVisible(username))
	b.do(
		chromedp.KeyEvent("ada"), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(s.password(t, "ada")), chromedp.KeyEvent(kb.Enter),
		chromedp.WaitVisible(arrived),
	)
	a.code(s, "k")
}

// focused returns the role and name of the element that has the focus.
func (b *tab) focused() string {
	b.t.Helper()
	for _, e := range b.elements() {
		if e.is["focused"] == "true" && e.role != "RootWebArea" {
			return e.role + " " + e.name
		}
	}
	return "nothing"
}

// TestBrowserTwentyTabs opens tabs before anybody is signed in. The first signs
// in; each of the others goes where it was going when it submits.
func TestBrowserTwentyTabs(t *testing.T) {
	const n = 20
	s := start(t, options{})
	a := newApp(t)
	tabs := []*tab{newTab(t)}
	for len(tabs) < n {
		tabs = append(tabs, tabs[0].another())
	}
	for i, b := range tabs {
		b.do(chromedp.Navigate(a.ask(s, "demo-spa", fmt.Sprint("tab-", i), nil)), chromedp.WaitVisible(username))
	}
	codes := map[string]bool{}
	for i, b := range tabs {
		b.fill("ada", s.password(t, "ada"))
		b.do(chromedp.WaitVisible(arrived))
		if got := read(b, chromedp.Location()); !strings.HasPrefix(got, a.address+"?") || !strings.Contains(got, fmt.Sprintf("state=tab-%d&", i)) {
			t.Errorf("tab %d ends at %s", i, got)
		}
		codes[a.code(s, fmt.Sprint("tab-", i))] = true
	}
	if len(codes) != n {
		t.Errorf("%d different codes for %d tabs", len(codes), n)
	}
	b := tabs[0]
	for i := range 3 {
		b.do(chromedp.Navigate(a.ask(s, "demo-web", fmt.Sprint("later-", i), nil)), chromedp.WaitVisible(arrived))
		a.code(s, fmt.Sprint("later-", i))
	}
}

func TestBrowserFormPost(t *testing.T) {
	s := start(t, options{})
	a := newApp(t)
	b := newTab(t)
	b.do(chromedp.Navigate(a.ask(s, "demo-spa", "posted", map[string]string{"response_mode": "form_post"})))
	b.fill("bob", s.password(t, "bob"))
	b.do(chromedp.WaitVisible(arrived))
	got := a.wait("posted")
	if got.method != "POST" || got.fields.Get("code") == "" || got.fields.Get("iss") != s.Issuer {
		t.Errorf("the app got a %s with error %q and iss %q, want a POST with a code", got.method, got.fields.Get("error"), got.fields.Get("iss"))
	}
	if at := read(b, chromedp.Location()); at != a.address {
		t.Errorf("the address is %s, want no parameters", at)
	}
}

// orchard registers a client of somebody else, which people are asked about.
func (s *server) orchard() {
	s.t.Helper()
	s.register("orchard", "--name", "Orchard Notes", "--public", "--redirect-uri", "http://127.0.0.1/callback",
		"--post-logout-redirect-uri", "http://127.0.0.1/", "--scope", "openid profile email orders:read", "--audience", "demo-api")
}

func TestBrowserConsent(t *testing.T) {
	s := start(t, options{})
	s.orchard()
	a := newApp(t)
	b := newTab(t)
	b.do(chromedp.Navigate(a.ask(s, "orchard", "no", nil)))
	b.fill("ada", s.password(t, "ada"))
	deny, allow := chromedp.CSS(`button[value=deny]`), chromedp.CSS(`button[value=allow]`)
	b.do(chromedp.WaitVisible(deny))
	b.element("heading", "Allow Orchard Notes to use your account?")
	b.element("button", "Allow")
	b.element("button", "Don’t allow")
	b.element("list", "It will be able to:")
	b.do(chromedp.Click(deny), chromedp.WaitVisible(arrived))
	if got := a.wait("no").fields; got.Get("error") != "access_denied" || got.Has("code") {
		t.Errorf("after a refusal the app got error %q", got.Get("error"))
	}
	b.do(chromedp.Navigate(a.ask(s, "orchard", "yes", nil)), chromedp.WaitVisible(allow), chromedp.Click(allow), chromedp.WaitVisible(arrived))
	s.held(s.post(s.metadata().Token, s.client(t, "orchard"), at(a.address, redemption(a.code(s, "yes")))))
}

func TestBrowserSignOut(t *testing.T) {
	s := start(t, options{})
	a := newApp(t)
	b := newTab(t)
	b.do(chromedp.Navigate(a.ask(s, "demo-spa", "in", nil)))
	b.fill("ada", s.password(t, "ada"))
	b.do(chromedp.WaitVisible(arrived))
	k := s.held(s.post(s.metadata().Token, s.client(t, "demo-spa"), at(a.address, redemption(a.code(s, "in")))))
	end := s.metadata().EndSession
	b.do(chromedp.Navigate(end), chromedp.WaitVisible(submit))
	b.element("heading", "Sign out?")
	if a := s.get(s.API+"/me", k.Access); a.status != 200 {
		t.Errorf("a page that asks has signed the person out: %d", a.status)
	}
	b.do(chromedp.Click(submit), chromedp.WaitVisible(chromedp.Search(`//h1[contains(., "You are signed out")]`)))
	if cookies := read(b, chromedp.Evaluate[string](`document.cookie`)); cookies != "" {
		t.Errorf("script can read cookies")
	}
	if d := s.until(now(), "the API takes a token of a session that was signed out", func() bool {
		return s.get(s.API+"/me", k.Access).status == 401
	}); d > bound {
		t.Errorf("the API refused %s after the sign-out", d)
	}
	b.do(chromedp.Navigate(a.ask(s, "demo-spa", "silent", map[string]string{"prompt": "none"})), chromedp.WaitVisible(arrived))
	if got := a.wait("silent").fields.Get("error"); got != "login_required" {
		t.Errorf("prompt=none after the sign-out: %q", got)
	}

	// An app signs the person out and has them come back.
	b.do(chromedp.Navigate(a.ask(s, "demo-spa", "again", nil)))
	b.fill("ada", s.password(t, "ada"))
	b.do(chromedp.WaitVisible(arrived))
	k = s.held(s.post(s.metadata().Token, s.client(t, "demo-spa"), at(a.address, redemption(a.code(s, "again")))))
	b.do(chromedp.Navigate(end + "?" + url.Values{
		"id_token_hint": {k.ID}, "post_logout_redirect_uri": {a.home()}, "state": {"bye"},
	}.Encode()))
	if strings.HasPrefix(read(b, chromedp.Location()), s.Issuer) {
		b.do(chromedp.Click(submit))
	}
	b.do(chromedp.WaitVisible(arrived))
	a.wait("bye")
	if got := read(b, chromedp.Location()); got != a.home()+"?state=bye" {
		t.Errorf("the sign-out leads to %s", got)
	}
}

// TestBrowserWithoutScript does all that a person does in a browser that runs no
// script.
func TestBrowserWithoutScript(t *testing.T) {
	s := start(t, options{})
	s.orchard()
	a := newApp(t)
	b := newTab(t)
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.do(chromedp.Navigate(a.ask(s, "orchard", "plain", nil)))
	b.fill("ada", "wrong")
	b.do(chromedp.WaitVisible(alert))
	b.fill("ada", s.password(t, "ada"))
	allow := chromedp.CSS(`button[value=allow]`)
	b.do(chromedp.WaitVisible(allow), chromedp.Click(allow), chromedp.WaitVisible(arrived))
	a.code(s, "plain")
	b.do(
		chromedp.Navigate(a.ask(s, "demo-spa", "posted", map[string]string{"response_mode": "form_post"})),
		chromedp.WaitVisible(submit), chromedp.Click(submit), chromedp.WaitVisible(arrived),
	)
	if got := a.wait("posted"); got.method != "POST" {
		t.Errorf("the app got a %s", got.method)
	}
	b.do(
		chromedp.Navigate(s.metadata().EndSession), chromedp.WaitVisible(submit), chromedp.Click(submit),
		chromedp.WaitVisible(chromedp.Search(`//h1[contains(., "You are signed out")]`)),
	)
}

// TestBrowserComplaintsAreSeen shows that the tests notice what they are to
// notice: a violated policy and a failed script.
func TestBrowserComplaintsAreSeen(t *testing.T) {
	b := newTab(t)
	b.foreseen = true
	b.do(chromedp.Navigate(badPage(t)), chromedp.WaitVisible(arrived))
	all := strings.Join(b.seen(), "\n")
	for _, want := range []string{"Content Security Policy", "exception"} {
		if !strings.Contains(all, want) {
			t.Errorf("no complaint about %q, only: %s", want, all)
		}
	}
}
