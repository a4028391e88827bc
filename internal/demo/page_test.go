package demo_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/apptest"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/demo"
)

// whole is a server with the demo beside it, as serve --dev starts them.
type whole struct {
	*apptest.Server
	demo *demo.Server
}

func startWhole(t *testing.T) whole {
	t.Helper()
	s := apptest.Start(t, apptest.Options{})
	facts := seed(t, demo.Stores{Clients: s.App.Clients, Accounts: s.App.Accounts}, filepath.Join(s.Data, "demo-secrets"))
	log := &safeBuffer{}
	d := start(t, &demo.Server{
		Issuer: s.Issuer, Facts: facts,
		Events: func(ctx context.Context, family string) ([]audit.Event, error) {
			return s.App.DB.Events(ctx, app.EventQuery{Family: family})
		},
	}, log)
	t.Cleanup(func() { noSecret(t, "the log of the demo", log.String()) })
	return whole{s, d}
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

// secretForms are the forms of tokens and secrets, but for their beginnings.
var secretForms = regexp.MustCompile(`fb[a-z]_[0-9A-Za-z]{12,}|eyJ[0-9A-Za-z_-]{12,}\.[0-9A-Za-z_-]{12,}`)

func noSecret(t *testing.T, where, text string) {
	t.Helper()
	if m := secretForms.FindString(text); m != "" {
		t.Errorf("a secret is in %s: %.10s…", where, m)
	}
}

func (w whole) password(username string) string {
	for _, u := range w.demo.Facts.Users {
		if u.Username == username {
			return u.Password
		}
	}
	return ""
}

// A browser keeps cookies and follows redirects, between both servers too. It
// fails the test for a page with a secret in it or in its address.
type browser struct {
	t      *testing.T
	w      whole
	client *http.Client
}

func (w whole) browser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, w, &http.Client{Jar: jar}}
}

func (b *browser) send(method, address string, form url.Values) *apptest.Answer {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	res, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close() // it was read to the end
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if res.Request.URL.Path != "/callback" { // the one address that has to hold a code
		noSecret(b.t, "an address", res.Request.URL.String())
	}
	if strings.HasPrefix(res.Request.URL.String(), b.w.demo.URL) {
		noSecret(b.t, "a page", string(text))
	}
	return &apptest.Answer{Status: res.StatusCode, Header: res.Header, Body: string(text), URL: res.Request.URL}
}

func (b *browser) open(path string) *apptest.Answer {
	b.t.Helper()
	return b.send(http.MethodGet, b.w.demo.URL+path, nil)
}

func (b *browser) do(what string) *apptest.Answer {
	b.t.Helper()
	return b.send(http.MethodPost, b.w.demo.URL+"/do/"+what, nil)
}

func (b *browser) signIn(username string) *apptest.Answer {
	b.t.Helper()
	a := b.send(http.MethodPost, b.w.demo.URL+"/signin", nil)
	f := a.Form(b.t)
	f.Fields.Set("username", username)
	f.Fields.Set("password", b.w.password(username))
	to, err := a.URL.Parse(f.Action)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.send(http.MethodPost, to.String(), f.Fields)
}

var headline = regexp.MustCompile(`<h1 id="headline">([^<]*)</h1>`)

func wants(t *testing.T, a *apptest.Answer, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(a.Body, text) {
			t.Errorf("%s (%d) does not say %q, but %q", a.URL.Path, a.Status, text, headline.FindString(a.Body))
		}
	}
}

// TestDemo tests one server with everything.
func TestDemo(t *testing.T) {
	t.Parallel()
	w := startWhole(t)
	for name, test := range map[string]func(*testing.T, whole){
		"Stories":            stories,
		"HonestMishapsHeal":  honestMishapsHeal,
		"OverlapIsSeen":      overlapIsSeen,
		"PageIsLocked":       pageIsLocked,
		"PageRefuses":        pageRefuses,
		"CallbackRefuses":    callbackRefuses,
		"VisitorsAreApart":   visitorsAreApart,
		"LiveCountsTicks":    liveCountsTicks,
		"Theft":              theft,
		"ServiceReadsOrders": serviceReadsOrders,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, w)
		})
	}
}

func stories(t *testing.T, w whole) {
	for _, c := range []struct {
		story string
		wants []string
	}{
		{"victim-first", []string{
			"Ada renews: generation 1 → 2.", "Ada renews: generation 2 → 3.", "The thief shows generation 1 and is refused.",
			"The thief showed a token", "Ada renews as well: refused.",
		}},
		{"thief-first", []string{
			"The thief renews: generation 1 → 2.", "The thief renews: generation 2 → 3.", "The thief reads Ada’s orders.",
			"Ada shows generation 1 and is refused.", "Ada’s app showed a token", "The thief renews as well: refused.",
		}},
	} {
		t.Run(c.story, func(t *testing.T) {
			t.Parallel()
			b := w.browser(t)
			a := b.signIn("ada")
			wants(t, a, "Ada is signed in", "open, <span")
			a = b.do(c.story)
			wants(t, a, c.wants...)
			wants(t, a,
				"Noticed, and gone everywhere in", `<code class="answer bad">token_theft</code>`, "400 invalid_grant", "401 invalid_token",
				"ended: revoked", "127.0.0.1", "127.0.0.2", "DemoApp/1.0", "Thief/1.0", "Ada’s open stream ends.", "The thief’s open stream ends.",
			)
			m := regexp.MustCompile(`gone everywhere in (\d+) ms`).FindStringSubmatch(a.Body)
			if m == nil {
				t.Fatal("the page does not say how long it took")
			}
			if ms, err := strconv.Atoi(m[1]); err != nil || ms > 1000 {
				t.Errorf("gone everywhere in %s ms, want at most 1000", m[1])
			}
			wants(t, b.do("call"), "Ada calls the API and is refused.")
			wants(t, b.do("thief-call"), "The thief calls the API and is refused.")
			a = b.send(http.MethodPost, w.demo.URL+"/again", nil)
			wants(t, a, "Sign in as Ada")
			wants(t, b.signIn("ada"), "Ada is signed in") // the session ended: the password is asked for again
		})
	}
}

func honestMishapsHeal(t *testing.T, w whole) {
	b := w.browser(t)
	b.signIn("bob")
	for i, what := range []string{"two-tabs", "lost-answer", "tabs", "lost"} {
		a := b.do(what)
		wants(t, a, "Bob is signed in", "Both get the same successor, generation "+strconv.Itoa(i+2))
		if strings.Contains(a.Body, "An event is recorded") {
			t.Errorf("%s raises an alarm", what)
		}
	}
	wants(t, b.do("renew"), "Bob renews: generation 5 → 6.")
}

// overlapIsSeen: a thief who is one step behind gets what a second tab gets,
// and it is recorded.
func overlapIsSeen(t *testing.T, w whole) {
	b := w.browser(t)
	b.signIn("ada")
	b.do("steal")
	b.do("renew")
	wants(t, b.do("thief-renew"), "One family, two holders", "That is the same successor", "An event is recorded", ">replay</code>")
}

func pageIsLocked(t *testing.T, w whole) {
	a := w.browser(t).open("/")
	for _, name := range []string{"Content-Security-Policy", "X-Frame-Options", "Cross-Origin-Opener-Policy", "X-Content-Type-Options", "Referrer-Policy"} {
		if a.Header.Get(name) == "" {
			t.Errorf("no %s", name)
		}
	}
	csp := a.Header.Get("Content-Security-Policy")
	if !strings.HasPrefix(csp, "default-src 'none'; ") || strings.Contains(csp, "unsafe") {
		t.Errorf("Content-Security-Policy %s", csp)
	}
	if a.Header.Get("Set-Cookie") != "" {
		t.Error("who only looks gets a cookie")
	}
}

func pageRefuses(t *testing.T, w whole) {
	signedIn := w.browser(t)
	signedIn.signIn("ada")
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	send := func(c *http.Client, method, path string, header ...string) int {
		r, err := http.NewRequestWithContext(t.Context(), method, w.demo.URL+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		if h := r.Header.Get("Host"); h != "" {
			r.Host = h
		}
		jar := *c
		jar.CheckRedirect = stay
		res, err := jar.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close() // nobody reads it
		return res.StatusCode
	}
	nobody := &http.Client{}
	for _, c := range []struct {
		name         string
		client       *http.Client
		method, path string
		header       []string
		status       int
	}{
		{"FormOfAnotherSite", signedIn.client, "POST", "/do/renew", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"FormOfAnotherPort", signedIn.client, "POST", "/again", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"SignInFromAnotherSite", nobody, "POST", "/signin", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"OtherHost", signedIn.client, "GET", "/", []string{"Host", "rebound.example"}, 421},
		{"UnknownStep", signedIn.client, "POST", "/do/nothing", nil, 404},
		{"StepByGet", signedIn.client, "GET", "/do/renew", nil, 404},
		{"StepOfNobody", nobody, "POST", "/do/renew", nil, 303},
		{"LiveOfNobody", nobody, "GET", "/live", nil, 404},
		{"Nowhere", nobody, "GET", "/nowhere", nil, 404},
		{"CallbackOfNobody", nobody, "GET", "/callback?code=c&state=s", nil, 400},
		{"CallbackLoadedAgain", signedIn.client, "GET", "/callback?code=c&state=s", nil, 303},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := send(c.client, c.method, c.path, c.header...); got != c.status {
				t.Errorf("%s %s: %d, want %d", c.method, c.path, got, c.status)
			}
		})
	}
}

// callbackRefuses: an answer is taken only by the browser that asked, from
// the server that it asked, and once.
func callbackRefuses(t *testing.T, w whole) {
	for name, change := range map[string]func(url.Values){
		"OtherState":  func(q url.Values) { q.Set("state", apptest.Random()) },
		"NoState":     func(q url.Values) { q.Del("state") },
		"OtherIssuer": func(q url.Values) { q.Set("iss", "https://other.example") },
		"NoIssuer":    func(q url.Values) { q.Del("iss") },
		"NoCode":      func(q url.Values) { q.Del("code"); q.Set("error", "access_denied") },
		"OtherCode":   func(q url.Values) { q.Set("code", "fbc_0") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := w.browser(t)
			var answer *url.URL
			b.client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
				if r.URL.Path == "/callback" {
					answer = r.URL
					return http.ErrUseLastResponse
				}
				return nil
			}
			b.signIn("ada")
			if answer == nil {
				t.Fatal("the issuer did not answer")
			}
			q := answer.Query()
			change(q)
			if a := b.open("/callback?" + q.Encode()); a.Status < 400 {
				t.Errorf("status %d", a.Status)
			}
			wants(t, b.open("/"), "Sign in as Ada")
			// The first answer has used up the request, whatever it was.
			if a := b.open("/callback?" + answer.RawQuery); a.Status != http.StatusBadRequest {
				t.Errorf("a second answer: status %d", a.Status)
			}
		})
	}
}

// visitorsAreApart: what one browser does, another does not see.
func visitorsAreApart(t *testing.T, w whole) {
	ada, bob := w.browser(t), w.browser(t)
	ada.signIn("ada")
	bob.signIn("bob")
	ada.do("victim-first")
	wants(t, bob.do("renew"), "Bob is signed in", "Bob renews: generation 1 → 2.")
	wants(t, w.browser(t).open("/"), "Sign in as Ada")
}

// liveCountsTicks: the page's stream goes on, and the script hears of it.
func liveCountsTicks(t *testing.T, w whole) {
	b := w.browser(t)
	b.signIn("ada")
	ticked := regexp.MustCompile(`"victim":[2-9]`)
	again, limit := time.NewTicker(50*time.Millisecond), time.After(patience)
	defer again.Stop()
	for !ticked.MatchString(b.open("/live").Body) {
		select {
		case <-again.C:
		case <-limit:
			t.Fatal("the stream does not tick")
		}
	}
}
