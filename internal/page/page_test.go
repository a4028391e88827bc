package page_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/page"
)

// all writes every page with v as everything that somebody else can choose.
func all(v string) map[string]func(http.ResponseWriter, *http.Request) {
	return map[string]func(http.ResponseWriter, *http.Request){
		"SignIn": func(w http.ResponseWriter, r *http.Request) {
			page.SignIn(w, r, 401, page.SignInData{
				Action: "/login", Transaction: v, ClientName: v, Username: v, Remember: true, Cancel: v,
				Problem: page.ProblemCredentials, Targets: []string{v}, Locales: v,
			})
		},
		"Reauth": func(w http.ResponseWriter, r *http.Request) {
			page.SignIn(w, r, 200, page.SignInData{Action: "/login", ClientName: v, Username: v, Reauth: true, Cancel: v})
		},
		"Consent": func(w http.ResponseWriter, r *http.Request) {
			page.Consent(w, r, 200, page.ConsentData{
				Action: "/consent", Transaction: v, ClientName: v, ClientID: v, RedirectHost: v, Username: v,
				Scopes: []page.Scope{{Name: "openid"}, {Name: v}}, Switch: v, Targets: []string{v},
			})
		},
		"SelectAccount": func(w http.ResponseWriter, r *http.Request) {
			page.SelectAccount(w, r, 200, page.SelectAccountData{Username: v, Continue: v, Other: v, ClientName: v, Cancel: v})
		},
		"SignOut": func(w http.ResponseWriter, r *http.Request) {
			page.SignOut(w, r, 200, page.SignOutData{Action: "/logout", Transaction: v, Username: v, ClientName: v, Stay: v, Targets: []string{v}})
		},
		"SignedOut": func(w http.ResponseWriter, r *http.Request) {
			page.SignedOut(w, r, page.SignedOutData{Continue: v, ClientName: v})
		},
		"SignedIn": func(w http.ResponseWriter, r *http.Request) {
			page.SignedIn(w, r, page.SignedInData{Username: v, SignOut: "/logout", Transaction: v})
		},
		"Error": func(w http.ResponseWriter, r *http.Request) {
			page.Error(w, r, 400, page.ErrorData{Problem: page.ProblemClient, Detail: v, RequestID: v, Continue: v, ContinueName: v, Locales: v})
		},
		"FormPost": func(w http.ResponseWriter, r *http.Request) {
			page.FormPost(w, r, page.FormPostData{Action: v, Fields: [][2]string{{v, v}}})
		},
	}
}

func render(t *testing.T, write func(http.ResponseWriter, *http.Request)) (http.Header, string) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	write(w, r)
	return w.Header(), w.Body.String()
}

var (
	styleTag  = regexp.MustCompile(`(?s)<style>(.*?)</style>`)
	scriptTag = regexp.MustCompile(`(?s)<script>(.*?)</script>`)
	outside   = regexp.MustCompile(`(?i)\s(?:src|srcset|href|action|formaction|background|poster|data)="([^"]*)"`)
	quoted    = regexp.MustCompile(`"[^"]*"`)
	handlers  = regexp.MustCompile(`(?i)<[^>]*\son[a-z]+\s*=`)
)

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// TestN38Escaping: nothing that somebody else chose becomes markup, a script, an
// address that runs one, or a part of the policy.
func TestN38Escaping(t *testing.T) {
	t.Parallel()
	for _, evil := range []string{
		`"><script>alert(1)</script>`, `'"><img src=x onerror=alert(1)>`, `</style><svg onload=alert(1)>`, `javascript:alert(1)`,
		` JaVaScRiPt:alert(1)`, "java\nscript:alert(1)", `data:text/html,<script>alert(1)</script>`, `vbscript:x`,
		`https://a.example; script-src 'unsafe-inline'`, "https://a.example\r\nX-Evil: 1", `{name}`, "\u202e\u2066evil", "{{.}}", "${x}",
	} {
		for name, write := range all(evil) {
			h, body := render(t, write)
			scripts := scriptTag.FindAllStringSubmatch(body, -1)
			want := 0
			if name == "FormPost" {
				want = 1
			}
			if len(scripts) != want || strings.Count(body, "<script") != want || strings.Count(body, "<style") != 1 {
				t.Errorf("%s with %+q: %d scripts", name, evil, len(scripts))
			}
			if handlers.MatchString(quoted.ReplaceAllString(body, `""`)) || strings.Contains(body, "<img") || strings.Count(body, "<svg") != 1 {
				t.Errorf("%s with %+q: markup came through: %s", name, evil, body)
			}
			for _, m := range outside.FindAllStringSubmatch(body, -1) {
				if s := strings.ToLower(m[1]); strings.Contains(s, "script:") || (strings.HasPrefix(s, "data:") && !strings.HasPrefix(s, "data:image/svg+xml,")) {
					t.Errorf("%s with %+q: address %q", name, evil, m[1])
				}
			}
			if csp := h.Get("Content-Security-Policy"); strings.Contains(csp, "unsafe") || strings.Contains(csp, "X-Evil") {
				t.Errorf("%s with %+q: policy %q", name, evil, csp)
			}
		}
	}
}

// TestN37Headers: what every page says of itself.
func TestN37Headers(t *testing.T) {
	t.Parallel()
	for name, write := range all("https://app.example") {
		h, body := render(t, write)
		for k, want := range map[string]string{
			"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
		} {
			if got := h.Get(k); got != want {
				t.Errorf("%s: %s is %q, want %q", name, k, got, want)
			}
		}
		csp := h.Get("Content-Security-Policy")
		want := []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "style-src " + hash(styleTag.FindStringSubmatch(body)[1])}
		if name == "FormPost" {
			want = append(want, "script-src "+hash(scriptTag.FindStringSubmatch(body)[1]))
		} else {
			want = append(want, "form-action 'self'")
		}
		for _, directive := range want {
			if !slices.ContainsFunc(strings.Split(csp, "; "), func(d string) bool { return d == directive || strings.HasPrefix(d, directive+" ") }) {
				t.Errorf("%s: policy %q lacks %q", name, csp, directive)
			}
		}
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	policy := func(targets ...string) string {
		h, _ := render(t, func(w http.ResponseWriter, r *http.Request) {
			page.SignIn(w, r, 200, page.SignInData{Targets: targets})
		})
		_, action, _ := strings.Cut(h.Get("Content-Security-Policy"), "form-action ")
		return action
	}
	for _, c := range []struct {
		targets []string
		want    string
	}{
		{nil, "'self'"},
		{[]string{"https://app.example:8443"}, "'self' https:"},
		{[]string{"com.example.app:", "com.example.app:"}, "'self' com.example.app:"},
		{[]string{"http://127.0.0.1:5555"}, "'self' http:"},
		{[]string{"http://[::1]:5555"}, "'self' http:"},
		{[]string{"https://a b", "https://a;script-src *", "https://a,b", "http://x"}, "'self' https: http:"},
		{[]string{"", "*", "'none'", "nothing", "a b:", "x;y:", "'unsafe-inline':"}, "'self'"},
	} {
		if got := policy(c.targets...); got != c.want {
			t.Errorf("targets %q: %q, want %q", c.targets, got, c.want)
		}
	}
}

// TestAccessible: what screen readers, browsers and password managers rely on.
func TestAccessible(t *testing.T) {
	t.Parallel()
	for name, write := range all("app") {
		_, body := render(t, write)
		for _, want := range []string{"<!doctype html>", `<html lang="en" dir="ltr">`, "<main>", "<title>", `name="viewport"`} {
			if !strings.Contains(body, want) {
				t.Errorf("%s lacks %s", name, want)
			}
		}
		if n := strings.Count(body, "<h1"); n != 1 {
			t.Errorf("%s has %d headings of the first level, want 1", name, n)
		}
		ids := regexp.MustCompile(`\sid="([^"]*)"`).FindAllStringSubmatch(body, -1)
		seen := map[string]bool{}
		for _, id := range ids {
			if seen[id[1]] {
				t.Errorf("%s has id %q twice", name, id[1])
			}
			seen[id[1]] = true
		}
		for _, ref := range regexp.MustCompile(`\s(?:for|aria-describedby|aria-labelledby)="([^"]*)"`).FindAllStringSubmatch(body, -1) {
			if !seen[ref[1]] {
				t.Errorf("%s refers to id %q, which is not there", name, ref[1])
			}
		}
	}
	_, body := render(t, all("ada")["SignIn"])
	for _, want := range []string{
		`name="username"`, `autocomplete="username"`, `name="password"`, `autocomplete="current-password"`, `type="password"`,
		`role="alert"`, `aria-describedby="problem"`, `aria-invalid="true"`, `name="remember"`, `<bdi class="name">ada</bdi>`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the sign-in page lacks %s:\n%s", want, body)
		}
	}
	if strings.Contains(body, "maxlength") || strings.Contains(body, "onpaste") {
		t.Error("the sign-in page cuts or refuses what is pasted")
	}
}

// TestLimited: how long to wait is said in words that fit.
func TestLimited(t *testing.T) {
	t.Parallel()
	for wait, want := range map[time.Duration]string{
		time.Millisecond: "in a moment", 30 * time.Second: "in 30 seconds", 89*time.Second + 1: "in 2 minutes",
		10 * time.Minute: "in 10 minutes", 3*time.Hour - time.Minute: "in 3 hours", 300 * 24 * time.Hour: "where you signed in before",
	} {
		_, body := render(t, func(w http.ResponseWriter, r *http.Request) {
			page.SignIn(w, r, 429, page.SignInData{Problem: page.ProblemLimited, Wait: wait})
		})
		if !strings.Contains(body, want) {
			t.Errorf("wait of %v: the page lacks %q", wait, want)
		}
	}
}

// TestLocales: a language that there is not falls back, whatever it is called.
func TestLocales(t *testing.T) {
	t.Parallel()
	for _, asked := range []string{"", "en", "en-GB", "tlh fr-CA en", "*", strings.Repeat("x ", 5000)} {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.Header.Set("Accept-Language", "tlh;q=0.9, *;q=0.5")
		page.SignIn(w, r, 200, page.SignInData{Locales: asked})
		if !strings.Contains(w.Body.String(), `<html lang="en"`) {
			t.Errorf("asked for %.20q: %.80s", asked, w.Body.String())
		}
	}
	if fmt.Sprint(page.Locales()) != "[en]" {
		t.Errorf("languages %v", page.Locales())
	}
}
