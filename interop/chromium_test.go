package interop_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// chromiumPath returns where the browser is; empty: there is none.
func chromiumPath() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			return p
		}
	}
	return ""
}

// chromium is the one browser process of all tests; each test has a jar of its
// own in it.
var chromium = sync.OnceValues(func() (context.Context, error) {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromiumPath()), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-quic", true),
		chromedp.Flag("lang", "en-US"), chromedp.Flag("force-prefers-reduced-motion", true),
	)
	allocator, _ := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, _ := chromedp.NewContext(allocator)
	chromiumStarted.Store(true)
	return ctx, chromedp.Do(ctx)
})

// chromiumStarted says that chromium was asked for.
var chromiumStarted atomic.Bool

func closeChromium() error {
	if !chromiumStarted.Load() {
		return nil
	}
	ctx, err := chromium()
	if err != nil {
		return nil // the tests have said so
	}
	limited, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return chromedp.Cancel(limited)
}

// A tab is a tab of the real browser. What the page and the browser complain
// about fails the test.
type tab struct {
	t   testing.TB
	ctx context.Context //nolint:containedctx // it is what chromedp calls the tab

	mu       sync.Mutex
	problems []string
	foreseen bool // somebody looks at the problems themselves
}

// newTab opens the first tab of a new cookie jar.
func newTab(t testing.TB) *tab {
	t.Helper()
	browser, err := chromium()
	if err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	return open(t, browser, chromedp.WithNewBrowserContext())
}

// another opens a tab beside b, with the same cookies.
func (b *tab) another() *tab {
	b.t.Helper()
	return open(b.t, b.ctx)
}

func open(t testing.TB, from context.Context, o ...chromedp.ContextOption) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(from, o...)
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx}
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	if err := chromedp.Listen(ctx, b.watch); err != nil {
		t.Fatalf("listen to the tab: %v", err)
	}
	call(b, log.Enable, cdp.Empty{})
	call(b, audits.Enable, cdp.Empty{})
	t.Cleanup(func() {
		if !b.foreseen {
			for _, p := range b.seen() {
				t.Errorf("the browser complains: %s", p)
			}
		}
	})
	return b
}

// watch collects what the browser says of violated policies and failed scripts.
func (b *tab) watch(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Source == "security" || e.Entry.Source == "violation" || e.Entry.Source == "deprecation" {
			b.problems = append(b.problems, e.Entry.Text)
		}
	case *runtime.EventExceptionThrown:
		b.problems = append(b.problems, "exception: "+e.ExceptionDetails.Text)
	case *audits.EventIssueAdded:
		switch code := string(e.Issue.Code); code {
		case "ContentSecurityPolicyIssue", "MixedContentIssue", "CookieIssue", "QuirksModeIssue", "GenericIssue":
			details, err := json.Marshal(e.Issue.Details)
			b.problems = append(b.problems, fmt.Sprintf("%s: %s %v", code, details, err))
		}
	}
}

// seen returns what the browser complained about.
func (b *tab) seen() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.problems
}

// limit is how long a step in the browser may take.
const limit = 30 * time.Second

// do carries out steps in the tab.
func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("in the browser: %v\n%s", err, b.page())
	}
}

// page describes the page for a message.
func (b *tab) page() string {
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	at, err1 := chromedp.Run(ctx, chromedp.Location())
	text, err2 := chromedp.Run(ctx, chromedp.Text(chromedp.CSS("body")))
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Sprintf("(%s: no page: %v)", at, err)
	}
	return at + "\n" + text
}

// read carries out an action in the tab and returns its value.
func read[T any](b *tab, a chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		b.t.Fatalf("in the browser: %v\n%s", err, b.page())
	}
	return v
}

// call sends a command to the tab.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	r, err := chromedp.Call(ctx, command, params)
	if err != nil {
		b.t.Fatalf("%s: %v", command.Method, err)
	}
	return r
}

// An element is a node of the accessibility tree: what a screen reader is told.
type element struct {
	role, name, description, value string
	is                             map[string]string // properties such as focused, required, level
}

func (b *tab) elements() []element {
	b.t.Helper()
	var all []element
	for _, n := range call(b, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes {
		if n.Ignored {
			continue
		}
		e := element{role: said(n.Role), name: said(n.Name), description: said(n.Description), value: said(n.Value), is: map[string]string{}}
		for _, p := range n.Properties {
			e.is[string(p.Name)] = said(p.Value)
		}
		all = append(all, e)
	}
	return all
}

func said(v *accessibility.Value) string {
	if v == nil {
		return ""
	}
	var x any
	if json.Unmarshal(v.Value, &x) != nil {
		return string(v.Value)
	}
	return fmt.Sprint(x)
}

// element returns the one element with the role and name.
func (b *tab) element(role, name string) element {
	b.t.Helper()
	var found []element
	all := b.elements()
	for _, e := range all {
		if e.role == role && (name == "" || e.name == name) {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		b.t.Fatalf("%d elements of role %s named %q, want one, of:\n%s", len(found), role, name, list(all))
	}
	return found[0]
}

func list(all []element) string {
	var s strings.Builder
	for _, e := range all {
		if e.role != "InlineTextBox" && e.role != "StaticText" {
			fmt.Fprintf(&s, "%s %q %q %v\n", e.role, e.name, e.description, e.is)
		}
	}
	return s.String()
}

// An app is what a client's callback address leads to: it notes what arrives.
type app struct {
	t       testing.TB
	address string // of the callback

	mu      sync.Mutex
	arrived map[string]chan arrival // by state
}

type arrival struct {
	method string
	fields url.Values
}

func newApp(t testing.TB) *app {
	t.Helper()
	a := &app{t: t, arrived: map[string]chan arrival{}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Errorf("callback: %v", err)
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		switch r.URL.Path {
		case "/callback", "/":
			fmt.Fprintf(w, `<!DOCTYPE html><html lang="en"><title>App</title><p id="app">%s</p>`, r.URL.Path)
			a.state(r.Form.Get("state")) <- arrival{r.Method, r.Form}
		default: // the icon
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	t.Cleanup(s.Close)
	a.address = s.URL + "/callback"
	return a
}

func (a *app) home() string { return strings.TrimSuffix(a.address, "callback") }

func (a *app) state(name string) chan arrival {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.arrived[name] == nil {
		a.arrived[name] = make(chan arrival, 8)
	}
	return a.arrived[name]
}

// wait waits for what arrives with a state.
func (a *app) wait(state string) arrival {
	a.t.Helper()
	select {
	case v := <-a.state(state):
		return v
	case <-time.After(limit):
		a.t.Fatalf("nothing with state %s arrived at the app", state)
		return arrival{}
	}
}

// ask returns the address of an authorization request of a client, with further
// parameters.
func (a *app) ask(s *server, client, state string, more map[string]string) string {
	v := url.Values{
		"client_id": {client}, "redirect_uri": {a.address}, "response_type": {"code"}, "scope": {"openid profile orders:read"},
		"state": {state}, "code_challenge": {challenge()}, "code_challenge_method": {"S256"},
	}
	for name, value := range more {
		v.Set(name, value)
	}
	return s.metadata().Authorize + "?" + v.Encode()
}

// code waits for the code that arrives with a state, and fails the test unless
// the server answered as it says it does.
func (a *app) code(s *server, state string) string {
	a.t.Helper()
	v := a.wait(state).fields
	if v.Get("code") == "" || v.Get("iss") != s.Issuer {
		a.t.Fatalf("with state %s arrived error %q, iss %q", state, v.Get("error"), v.Get("iss"))
	}
	s.secret(v.Get("code"))
	return v.Get("code")
}
