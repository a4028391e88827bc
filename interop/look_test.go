package interop_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// picturesVar names the folder that pictures of all pages are written to.
const picturesVar = "INTEROP_SCREENSHOTS"

func now() time.Time { return time.Now() }

// badPage returns the address of a page that breaks its own policy and whose
// script fails.
func badPage(t testing.TB) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/fails.js" {
			w.Header().Set("Content-Type", "text/javascript")
			fmt.Fprint(w, "nothing.there()")
			return
		}
		w.Header().Set("Content-Security-Policy", "default-src 'self'")
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<!DOCTYPE html><html lang="en"><title>Bad</title><p id="app" style="color:red">x</p><script src="/fails.js"></script>`)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// faults finds what is wrong with a page for everybody: no single heading or
// main part, no language or title, a field without a label, text that runs out
// of a narrow window, ordinary words that are torn apart, text of too little
// contrast (WCAG 2.2, 1.4.3), and targets that are too small to hit (2.5.8).
const faults = `(() => {
	const all = []
	const one = (css) => { const n = document.querySelectorAll(css).length; if (n !== 1) all.push(n + ' of ' + css) }
	one('main'); one('h1')
	if (!document.documentElement.lang) all.push('no language')
	if (!document.title) all.push('no title')
	const root = document.documentElement
	if (root.scrollWidth > root.clientWidth) all.push('wider than the window: ' + root.scrollWidth + ' > ' + root.clientWidth)
	for (const i of document.querySelectorAll('input:not([type=hidden])')) if (!i.labels.length) all.push('no label: ' + i.name)
	const rgba = (s) => { const v = s.match(/[\d.]+/g).map(Number); return v.length > 3 ? v : [...v, 1] }
	const over = (top, under) => top.slice(0, 3).map((c, i) => c * top[3] + under[i] * (1 - top[3]))
	const ground = (e) => {
		const layers = []
		for (; e; e = e.parentElement) layers.push(rgba(getComputedStyle(e).backgroundColor))
		return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255])
	}
	const light = (c) => {
		const [r, g, b] = c.map((x) => (x /= 255) <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
		return 0.2126 * r + 0.7152 * g + 0.0722 * b
	}
	const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
	for (let n; (n = walker.nextNode());) {
		const e = n.parentElement, style = getComputedStyle(e)
		if (!n.data.trim() || !e.checkVisibility({ visibilityProperty: true }) || ['SCRIPT', 'STYLE'].includes(e.tagName)) continue
		if (e.closest(':disabled, [aria-disabled=true]') || e.getBoundingClientRect().width < 2) continue
		const under = ground(e)
		const [a, b] = [light(over(rgba(style.color), under)), light(under)].sort((x, y) => y - x)
		const ratio = (a + 0.05) / (b + 0.05)
		const size = parseFloat(style.fontSize)
		const large = size >= 24 || (size >= 18.66 && +style.fontWeight >= 700)
		for (const word of e.closest('code') ? [] : n.data.matchAll(/\p{L}{3,14}/gu)) {
			const r = document.createRange()
			r.setStart(n, word.index); r.setEnd(n, word.index + word[0].length)
			if (new Set([...r.getClientRects()].map((x) => Math.round(x.top))).size > 1) all.push('torn apart: ' + word[0])
		}
		if (ratio < (large ? 3 : 4.5)) all.push('contrast ' + ratio.toFixed(2) + ': ' + n.data.trim().slice(0, 40))
	}
	for (const e of document.querySelectorAll('main button, main input:not([type=hidden]), main a.button, main li > a')) {
		const r = e.getBoundingClientRect()
		if (r.width && (r.width < 22 || r.height < 22)) all.push('small target: ' + e.outerHTML.slice(0, 60))
	}
	return all
})()`

// look looks at the page in all the ways that people see it, down to the width of
// a window at four times its size (WCAG 2.2, 1.4.10), and keeps pictures if that
// was asked for.
func (b *tab) look(name string) {
	b.t.Helper()
	for _, width := range []int64{320, 360, 1280} {
		for _, scheme := range []string{"light", "dark"} {
			call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
				Width: width, Height: 800, DeviceScaleFactor: 1, Mobile: width < 600,
			})
			call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
			})
			shown := fmt.Sprintf("%s-%d-%s", name, width, scheme)
			for _, f := range read(b, chromedp.Evaluate[[]string](faults)) {
				b.t.Errorf("%s: %s", shown, f)
			}
			if width > 320 {
				b.picture(shown)
			}
		}
	}
}

func (b *tab) picture(name string) {
	b.t.Helper()
	dir := os.Getenv(picturesVar)
	if dir == "" {
		return
	}
	beyond := true
	shot := call(b, page.CaptureScreenshot, page.CaptureScreenshotParams{CaptureBeyondViewport: &beyond})
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), shot.Data, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// TestBrowserPages looks at every page, in a narrow and a wide window, in light
// and dark.
func TestBrowserPages(t *testing.T) {
	s := start(t, options{})
	s.orchard()
	a := newApp(t)
	b := newTab(t)
	end := s.metadata().EndSession
	visit := func(name, address string, wait chromedp.CSS) {
		t.Helper()
		b.do(chromedp.Navigate(address), chromedp.WaitVisible(wait))
		b.look(name)
	}
	const heading = chromedp.CSS("h1")
	tries := 0
	visit("signin-bare", s.Issuer+"/login", password)
	visit("signin", a.ask(s, "orchard", "x", nil), password)
	b.fill("ada", "wrong")
	b.do(chromedp.WaitVisible(alert))
	b.look("wrong-password")
	b.fill("ada", s.password(t, "ada"))
	b.do(chromedp.WaitVisible(chromedp.CSS("button[value=allow]")))
	b.look("consent")
	visit("select-account", a.ask(s, "orchard", "x", map[string]string{"prompt": "select_account"}), chromedp.CSS(".choices"))
	visit("confirm", a.ask(s, "demo-spa", "x", map[string]string{"prompt": "login"}), password)
	visit("signed-in", s.Issuer+"/login", heading)
	visit("error-client", a.ask(s, "no-such-client", "x", nil), heading)
	visit("error-request", a.ask(s, "demo-spa", "x", map[string]string{"redirect_uri": "https://elsewhere.example/"}), heading)
	visit("not-found", s.Issuer+"/nowhere", heading)
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	visit("form-post", a.ask(s, "demo-spa", "x", map[string]string{"response_mode": "form_post"}), submit)
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{})
	visit("sign-out", end, submit)
	b.do(chromedp.Click(submit), chromedp.WaitVisible(chromedp.Search(`//h1[contains(., "You are signed out")]`)))
	b.look("signed-out")

	p := newPerson(t, s)
	for v := p.open(s.Issuer + "/login"); v.status != http.StatusTooManyRequests; {
		if v = p.submit(v.form("password"), map[string]string{"username": "bob", "password": "wrong"}); v.status == http.StatusOK {
			t.Fatal("a wrong password signs bob in")
		}
		if tries++; tries > 200 {
			t.Fatalf("still asked for a password after %d wrong ones", tries)
		}
	}
	t.Logf("guessing is slowed down after %d wrong passwords", tries)
	b.do(chromedp.Navigate(a.ask(s, "orchard", "x", nil)))
	b.fill("bob", "wrong")
	b.do(chromedp.WaitVisible(alert))
	b.look("limited")
}

// TestBrowserDemo plays stories on the demo page: two in which an honest user
// stays signed in, and a theft.
func TestBrowserDemo(t *testing.T) {
	s := start(t, options{})
	b := newTab(t)
	b.do(chromedp.Navigate(s.API+"/"), chromedp.WaitVisible(chromedp.CSS("#signin")))
	b.look("demo")
	b.do(chromedp.Click(chromedp.CSS("#signin")))
	b.fill("ada", s.password(t, "ada"))
	b.do(chromedp.WaitVisible(chromedp.CSS("#do-thief-first")))
	b.look("demo-signed-in")
	for _, story := range []string{"two-tabs", "lost-answer"} {
		lines := read(b, chromedp.Evaluate[int](`document.querySelectorAll('.log li').length`))
		b.do(chromedp.Click(chromedp.CSS("#do-" + story)))
		read(b, chromedp.Poll[bool](fmt.Sprintf(`document.querySelectorAll('.log li').length > %d && !document.body.hasAttribute('aria-busy')`, lines)))
		if over := read(b, chromedp.Evaluate[bool](`!!document.querySelector('#result')`)); over {
			t.Fatalf("%s ended the session:\n%s", story, b.page())
		}
	}
	b.do(chromedp.Click(chromedp.CSS("#do-thief-first")), chromedp.WaitVisible(chromedp.CSS("#result")))
	read(b, chromedp.Poll[bool](`!document.body.hasAttribute('aria-busy')`))
	shown := read(b, chromedp.Text(chromedp.CSS(".big")))
	t.Logf("the page says: %s", shown)
	var n float64
	var unit string
	if _, err := fmt.Sscan(shown, &n, &unit); err != nil || unit != "ms" || n <= 0 || n > float64(bound.Milliseconds()) {
		t.Errorf("the page says that all was gone after %q, want at most %s (%v)", shown, bound, err)
	}
	b.look("demo-theft")
}
