package authorize_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/apptest"
	"github.com/fastbind/fastbind/internal/client"
)

// world is a server with a person, a client of the operator's own and one that
// needs consent.
type world struct {
	*apptest.Server
	own, foreign apptest.App
}

func open(t *testing.T, o apptest.Options) *world {
	t.Helper()
	w := &world{Server: apptest.Start(t, o)}
	w.Person("ada")
	w.Person("bob")
	w.Register("own", false, client.Meta{
		Name: "Own app", RedirectURIs: []string{"http://127.0.0.1/callback"}, GrantTypes: []string{"authorization_code", "refresh_token"},
		Scopes: []string{"openid", "profile", "email"}, Audiences: []string{"orders"}, Trusted: true, Policy: "spa",
	})
	w.own = apptest.App{ID: "own", Redirect: apptest.Redirect, Scope: "openid"}
	w.foreign = apptest.App{ID: "foreign", Redirect: "https://app.example.com/cb", Scope: "openid email"}
	w.foreign.Secret = w.Register("foreign", true, client.Meta{
		Name: "<b>Foreign</b> app", RedirectURIs: []string{"https://app.example.com/cb", "https://app.example.com/cb?x=1"},
		GrantTypes: []string{"authorization_code"}, Scopes: []string{"openid", "email"},
	})
	return w
}

// refused asserts that a request is answered at its redirect URI with an error,
// with its state and iss.
func (w *world) refused(t *testing.T, v url.Values, code string) {
	t.Helper()
	u := w.Browser().Open(w.Path(v)).Location(t)
	got := u.Query()
	if got.Get("error") != code || got.Get("state") != v.Get("state") || got.Get("iss") != w.Issuer || got.Has("code") {
		t.Errorf("answer %v, want error %q with state and iss", got, code)
	}
	if got := u.Scheme + "://" + u.Host + u.Path; got != v.Get("redirect_uri") {
		t.Errorf("answered at %q, want %q", got, v.Get("redirect_uri"))
	}
}

// onPage asserts that a request is answered with a page of our own.
func onPage(t *testing.T, a *apptest.Answer, status int) {
	t.Helper()
	if a.Status != status || a.Header.Get("Location") != "" || !strings.Contains(a.Header.Get("Content-Type"), "text/html") {
		t.Errorf("%d, Location %q, want a page with status %d", a.Status, a.Header.Get("Location"), status)
	}
	if csp := a.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors 'none'") {
		t.Errorf("Content-Security-Policy %q lets the page be framed", csp)
	}
}

func TestBadClientOrRedirectIsNeverRedirected(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	for name, change := range map[string]func(url.Values){
		"NoClient":       func(v url.Values) { v.Del("client_id") },
		"UnknownClient":  func(v url.Values) { v.Set("client_id", "nobody") },
		"TwoClients":     func(v url.Values) { v.Add("client_id", "own") },
		"OtherRedirect":  func(v url.Values) { v.Set("redirect_uri", "https://evil.example.com/") },
		"TwoRedirects":   func(v url.Values) { v.Add("redirect_uri", "https://evil.example.com/") },
		"ForeignQueries": func(v url.Values) { v.Set("redirect_uri", "http://127.0.0.1:9/callback?x=1") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, _ := w.own.Request()
			change(v)
			onPage(t, w.Browser().Open(w.Path(v)), 400)
		})
	}
}

func TestN25RedirectURIMissing(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	v, _ := w.foreign.Request()
	v.Del("redirect_uri")
	onPage(t, w.Browser().Open(w.Path(v)), 400)
}

func TestN26State(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	b := w.Browser()
	b.Tokens(w.own, "ada")
	for name, state := range map[string]string{
		"LineBreaks": "a\r\nSet-Cookie: x=1\r\n\r\n<script>", "Escaped": "%0d%0aX: y", "Emoji": "🦊 ü &=+#?", "Long": strings.Repeat("s", 60<<10),
	} {
		v, _ := w.own.Request()
		v.Set("state", state)
		a := b.Open(w.Path(v))
		if got := a.Location(t).Query().Get("state"); got != state {
			t.Errorf("%s: state came back as %.60q (%d bytes)", name, got, len(got))
		}
		if a.Header.Get("X") != "" || len(a.Header.Values("Set-Cookie")) > 0 {
			t.Errorf("%s: the state became a header", name)
		}
	}
}

// TestN110LongRequest: what is too long for the pages is refused at once, not
// when the person has typed their password.
func TestN110LongRequest(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	for state, status := range map[string]int{
		strings.Repeat("s", 60<<10): 200, strings.Repeat("s", 80<<10): 414, strings.Repeat(`"`, 30<<10): 414,
	} {
		v, _ := w.own.Request()
		v.Set("state", state)
		b := w.Browser()
		a := b.Open(w.Path(v))
		onPage(t, a, status)
		if status == 200 {
			if got := b.SignIn(a, "ada").Location(t).Query(); got.Get("code") == "" || got.Get("state") != state {
				t.Errorf("a state of %d bytes: no code, or another state", len(state))
			}
		}
	}
}

func TestN27ResponseMode(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	for _, mode := range []string{"fragment", "web_message", "query.jwt", "<script>"} {
		v, _ := w.own.Request()
		v.Set("response_mode", mode)
		w.refused(t, v, "invalid_request")
	}
	b := w.Browser()
	b.Tokens(w.own, "ada")
	v, _ := w.own.Request()
	v.Set("response_mode", "form_post")
	v.Set("state", `"><script>alert(1)</script>`)
	a := b.Open(w.Path(v))
	onPage(t, a, 200)
	if strings.Contains(a.Body, "<script>alert") {
		t.Error("the state is not escaped in the form")
	}
	f := a.Form(t)
	if f.Action != w.own.Redirect || f.Fields.Get("state") != v.Get("state") || f.Fields.Get("code") == "" || f.Fields.Get("iss") != w.Issuer {
		t.Errorf("form %v to %q", f.Fields, f.Action)
	}
}

func TestN28ResponseType(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	for typ, code := range map[string]string{
		"token": "unsupported_response_type", "id_token": "unsupported_response_type", "code id_token": "unsupported_response_type",
		"id_token code": "unsupported_response_type", "code code": "unsupported_response_type", "none": "unsupported_response_type",
		"CODE": "unsupported_response_type", "": "invalid_request",
	} {
		v, _ := w.own.Request()
		v.Set("response_type", typ)
		w.refused(t, v, code)
	}
	v, _ := w.own.Request()
	v.Del("response_type")
	w.refused(t, v, "invalid_request")
}

func TestN29ParameterPollution(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	for _, name := range []string{"scope", "nonce", "prompt", "code_challenge", "response_type", "max_age"} {
		v, _ := w.own.Request()
		v.Add(name, v.Get(name))
		v.Add(name, "x")
		w.refused(t, v, "invalid_request")
	}
	v, _ := w.own.Request()
	v.Add("state", "other")
	if got := w.Browser().Open(w.Path(v)).Location(t).Query(); got.Get("error") != "invalid_request" || got.Has("state") {
		t.Errorf("two states: %v, want invalid_request without a state", got)
	}
	v, _ = w.own.Request()
	v.Add("unknown", "1")
	v.Add("unknown", "2")
	if a := w.Browser().Open(w.Path(v)); a.Status != 200 {
		t.Errorf("an unknown parameter, repeated: %d, want it ignored", a.Status)
	}
	// Split between query and body.
	v, _ = w.own.Request()
	if a := w.Post("/authorize?scope=openid", v, nil); a.Status != 400 {
		t.Errorf("parameters in URL and body: %d, want 400", a.Status)
	}
}

func TestN30PromptNone(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	silent := func(c apptest.App) url.Values {
		v, _ := c.Request()
		v.Set("prompt", "none")
		return v
	}
	w.refused(t, silent(w.own), "login_required")
	both := silent(w.own)
	both.Set("prompt", "none login")
	w.refused(t, both, "invalid_request")
	unknown := silent(w.own)
	unknown.Set("prompt", "create")
	w.refused(t, unknown, "invalid_request")

	b := w.Browser()
	b.Tokens(w.own, "ada")
	if got := b.Open(w.Path(silent(w.own))).Location(t).Query(); got.Get("code") == "" {
		t.Errorf("signed in and trusted: %v, want a code", got)
	}
	if got := b.Open(w.Path(silent(w.foreign))).Location(t).Query(); got.Get("error") != "consent_required" {
		t.Errorf("without consent: %v, want consent_required", got)
	}
	old := silent(w.own)
	old.Set("max_age", "0")
	if got := b.Open(w.Path(old)).Location(t).Query(); got.Get("error") != "login_required" {
		t.Errorf("signed in too long ago: %v, want login_required", got)
	}
}

func TestN31UnsolicitedRequestURI(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	for _, uri := range []string{"http://127.0.0.1:1/x", "https://example.com/r.jwt", "file:///etc/passwd", "http://169.254.169.254/latest", w.Issuer + "/jwks"} {
		v, _ := w.own.Request()
		v.Set("request_uri", uri)
		w.refused(t, v, "request_uri_not_supported")
	}
	v, _ := w.own.Request()
	v.Set("request", "eyJhbGciOiJub25lIn0.e30.")
	w.refused(t, v, "request_not_supported")
}

// push pushes a request and returns its request_uri.
func (w *world) push(t *testing.T, c apptest.App, v url.Values) string {
	t.Helper()
	a := w.Post("/par", v, c.Header())
	if a.Status != http.StatusCreated {
		t.Fatalf("push: %d %s", a.Status, a.Body)
	}
	m := a.JSON(t)
	if s, ok := m["expires_in"].(float64); !ok || s < 5 || s > 600 {
		t.Errorf("expires_in is %v, want 5 to 600", m["expires_in"])
	}
	return m["request_uri"].(string)
}

func pulled(c apptest.App, uri string) url.Values {
	return url.Values{"client_id": {c.ID}, "request_uri": {uri}}
}

func TestN33PushedRequests(t *testing.T) {
	t.Parallel()
	clock := apptest.NewClock()
	w := open(t, apptest.Options{Now: clock.Now})

	t.Run("OnceButReloadable", func(t *testing.T) {
		v, verifier := w.own.Request()
		uri := w.push(t, w.own, v)
		b := w.Browser()
		for range 3 { // reloads before signing in
			if a := b.Open(w.Path(pulled(w.own, uri))); a.Status != 200 {
				t.Fatalf("reload: %d", a.Status)
			}
		}
		got := b.Code(pulled(w.own, uri), "ada")
		if got.Get("state") != v.Get("state") || w.Redeem(w.own, got.Get("code"), verifier).Status != 200 {
			t.Errorf("answer %v", got)
		}
		onPage(t, b.Open(w.Path(pulled(w.own, uri))), 400)
	})
	t.Run("ForeignGuessedAndExpired", func(t *testing.T) {
		v, _ := w.own.Request()
		uri := w.push(t, w.own, v)
		onPage(t, w.Browser().Open(w.Path(pulled(w.foreign, uri))), 400)
		onPage(t, w.Browser().Open(w.Path(pulled(w.own, uri[:len(uri)-1]+"x"))), 400)
		onPage(t, w.Browser().Open(w.Path(pulled(w.own, "urn:ietf:params:oauth:request_uri:x"))), 400)
		slow := w.Browser()
		page := slow.Open(w.Path(pulled(w.own, uri))) // opened in time
		clock.Add(5 * time.Minute)
		onPage(t, w.Browser().Open(w.Path(pulled(w.own, uri))), 400)
		if got := slow.SignIn(page, "ada").Location(t).Query(); got.Get("code") == "" {
			t.Errorf("a slow person was lost: %v", got)
		}
	})
	t.Run("Refused", func(t *testing.T) {
		v, _ := w.own.Request()
		v.Set("request_uri", "urn:ietf:params:oauth:request_uri:x")
		for _, tt := range []struct {
			a      *apptest.Answer
			status int
			code   string
		}{
			{w.Post("/par", v, nil), 400, "invalid_request"},
			{w.Post("/par", url.Values{"scope": {"openid"}}, nil), 401, "invalid_client"},
			{w.Post("/par", url.Values{"client_id": {"foreign"}, "scope": {"openid"}}, nil), 401, "invalid_client"},
			{w.Post("/par", url.Values{"client_id": {"own"}, "redirect_uri": {"https://evil.example.com/"}}, nil), 400, "invalid_request"},
			{w.Do("GET", "/par", nil, nil), 405, ""},
		} {
			if tt.a.Status != tt.status || tt.a.Code() != tt.code {
				t.Errorf("push: %d %s, want %d %s", tt.a.Status, tt.a.Body, tt.status, tt.code)
			}
		}
	})
	t.Run("Required", func(t *testing.T) {
		w.Register("pushing", false, client.Meta{
			RedirectURIs: []string{apptest.Redirect}, GrantTypes: []string{"authorization_code"}, Scopes: []string{"openid"}, Trusted: true, RequirePAR: true,
		})
		c := apptest.App{ID: "pushing", Redirect: apptest.Redirect, Scope: "openid"}
		v, _ := c.Request()
		onPage(t, w.Browser().Open(w.Path(v)), 400)
		if got := w.Browser().Code(pulled(c, w.push(t, c, v)), "ada"); got.Get("code") == "" {
			t.Errorf("pushed: %v", got)
		}
	})
}

func TestN34Consent(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	ask := func(b *apptest.Browser, v url.Values, who string) *apptest.Answer {
		a := b.SignIn(b.Open(w.Path(v)), who)
		if a.Status != 200 || !strings.Contains(a.Body, `name="decision"`) {
			t.Fatalf("no consent page: %d", a.Status)
		}
		return a
	}
	b := w.Browser()
	v, verifier := w.foreign.Request()
	page := ask(b, v, "ada")

	t.Run("Forged", func(t *testing.T) {
		forged := b.Send("POST", "/consent", url.Values{"decision": {"allow"}, "scope": {"openid email"}, "client_id": {"foreign"}})
		onPage(t, forged, 400)
		f := page.Form(t)
		f.Fields.Set("decision", "allow")
		evil := w.Browser()
		evil.Header.Set("Sec-Fetch-Site", "cross-site")
		if a := evil.Send("POST", "/consent", f.Fields); a.Status != 403 {
			t.Errorf("from another site: %d, want 403", a.Status)
		}
	})
	t.Run("AnotherPerson", func(t *testing.T) {
		other := w.Browser()
		ask(other, v, "bob")
		a := other.Submit(page, map[string]string{"decision": "allow"}) // ada's page in bob's browser
		if a.Status != 200 || !strings.Contains(a.Body, `name="decision"`) {
			t.Errorf("bob answered ada's page: %d %s", a.Status, a.Header.Get("Location"))
		}
	})
	t.Run("AddedScopeAndDoubleSubmit", func(t *testing.T) {
		first := b.Submit(page, map[string]string{"decision": "allow", "scope": "openid email profile"}).Location(t).Query()
		again := b.Submit(page, map[string]string{"decision": "allow"}).Location(t).Query()
		if first.Get("code") == "" || again.Get("code") == "" || again.Get("state") != v.Get("state") {
			t.Fatalf("first %v, again %v", first, again)
		}
		m := w.Redeem(w.foreign, first.Get("code"), verifier).JSON(t)
		if m["scope"] != "openid email" {
			t.Errorf("scope %v, want what the page asked about", m["scope"])
		}
	})
	t.Run("RememberedAndDenied", func(t *testing.T) {
		v, _ := w.foreign.Request()
		if got := b.Open(w.Path(v)).Location(t).Query(); got.Get("code") == "" {
			t.Errorf("consent was not remembered: %v", got)
		}
		v.Set("prompt", "consent")
		denied := b.Submit(b.Open(w.Path(v)), map[string]string{"decision": "deny"}).Location(t).Query()
		if denied.Get("error") != "access_denied" || denied.Get("state") != v.Get("state") {
			t.Errorf("denied: %v", denied)
		}
	})
}

func TestN35NoOpenRedirector(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	for _, evil := range []string{"https://evil.example.com/", "//evil.example.com", "https://app.example.com.evil.test/cb", "javascript:alert(1)"} {
		v, _ := w.foreign.Request()
		v.Set("redirect_uri", evil)
		v.Set("prompt", "none")
		onPage(t, w.Browser().Open(w.Path(v)), 400)
		v.Set("response_type", "token")
		onPage(t, w.Browser().Open(w.Path(v)), 400)
	}
}

func TestN38NamesAreEscaped(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	v, _ := w.foreign.Request()
	v.Set("ui_locales", `"><script>alert(1)</script>`)
	v.Set("login_hint", `"><script>alert(2)</script>`)
	b := w.Browser()
	page := b.Open(w.Path(v))
	for _, a := range []*apptest.Answer{page, b.SignIn(page, "ada")} {
		if strings.Contains(a.Body, "<script>alert") || strings.Contains(a.Body, "<b>Foreign") {
			t.Errorf("a name is not escaped:\n%s", a.Body)
		}
	}
}

// TestTwentyTabs: people open an app in many tabs, sign in in one of them, and
// then in the others: every tab ends where it was going.
func TestTwentyTabs(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	b := w.Browser()
	pages, states := make([]*apptest.Answer, 20), make([]string, 20)
	for i := range pages {
		v, _ := w.own.Request()
		states[i] = v.Get("state")
		pages[i] = b.Open(w.Path(v))
	}
	for i, p := range pages {
		got := b.SignIn(p, "ada").Location(t).Query()
		if got.Get("state") != states[i] || got.Get("code") == "" {
			t.Errorf("tab %d: %v", i, got)
		}
	}
	size := 0
	for _, c := range b.Cookies() {
		size += len(c.Name) + len(c.Value)
	}
	if size > 1024 {
		t.Errorf("%d bytes of cookies", size)
	}
}

// TestPostedRequest: a request may come by POST from another site, without the
// session cookie.
func TestPostedRequest(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	v, _ := w.own.Request()
	a := w.Post("/authorize", v, nil)
	if a.Status != http.StatusSeeOther {
		t.Fatalf("POST: %d, want 303", a.Status)
	}
	if got := a.Location(t).Query(); got.Encode() != v.Encode() {
		t.Errorf("leads to %v, want the same request", got)
	}
}

func TestHints(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	b := w.Browser()
	h := b.Tokens(w.own, "ada")
	v, _ := w.own.Request()
	v.Set("id_token_hint", h.ID)
	v.Set("prompt", "none")
	if got := b.Open(w.Path(v)).Location(t).Query(); got.Get("code") == "" {
		t.Errorf("own hint: %v", got)
	}
	bob := w.Browser()
	bob.Tokens(w.own, "bob")
	if got := bob.Open(w.Path(v)).Location(t).Query(); got.Get("error") != "login_required" {
		t.Errorf("hint of somebody else: %v, want login_required", got)
	}
	v.Del("prompt")
	page := bob.Open(w.Path(v))
	if got := bob.SignIn(page, "bob").Location(t).Query(); got.Get("error") != "login_required" {
		t.Errorf("the wrong person again: %v, want login_required", got)
	}
	if got := bob.SignIn(page, "ada").Location(t).Query(); got.Get("code") == "" {
		t.Errorf("the right person: %v", got)
	}
	for _, bad := range []string{h.Access, h.ID + "x", "x", "eyJhbGciOiJub25lIn0." + strings.Split(h.ID, ".")[1] + "."} {
		v.Set("id_token_hint", bad)
		w.refused(t, v, "invalid_request")
	}
}

func TestPromptLoginReallySignsIn(t *testing.T) {
	t.Parallel()
	clock := apptest.NewClock()
	w := open(t, apptest.Options{Now: clock.Now})
	b := w.Browser()
	b.Tokens(w.own, "ada")
	clock.Add(time.Minute)
	v, _ := w.own.Request()
	v.Set("prompt", "login")
	page := b.Open(w.Path(v))
	if page.Status != 200 || !strings.Contains(page.Body, `name="password"`) {
		t.Fatalf("no sign-in page: %d", page.Status)
	}
	clock.Add(time.Minute)
	if got := b.SignIn(page, "ada").Location(t).Query(); got.Get("code") == "" {
		t.Errorf("after signing in: %v", got)
	}
	clock.Add(time.Minute)
	if a := b.Open(w.Path(v)); a.Status != 200 {
		t.Errorf("the same request again: %d, want the sign-in page", a.Status)
	}
}

func TestHarmlessParameters(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	v, _ := w.own.Request()
	for name, value := range map[string]string{
		"display": "popup", "ui_locales": "se xx-YY", "claims_locales": "de", "acr_values": "urn:x 1", "login_hint": "ada", "foo": "bar",
		"claims": `{"userinfo":{"name":{"essential":true},"unknown":null},"id_token":{"email":null}}`, "max_age": "10000",
	} {
		v.Set(name, value)
	}
	v.Del("nonce")
	if got := w.Browser().Code(v, "ada"); got.Get("code") == "" {
		t.Errorf("answer %v, want a code", got)
	}
	v.Set("claims", `{"id_token":{"acr":{"essential":true,"values":["urn:gold"]}}}`)
	w.refused(t, v, "unmet_authentication_requirements")
	v.Set("claims", "{")
	w.refused(t, v, "invalid_request")
	v.Del("claims")
	v.Set("max_age", "-1")
	w.refused(t, v, "invalid_request")
	v.Del("max_age")
	v.Set("scope", "openid root")
	w.refused(t, v, "invalid_scope")
	v.Set("scope", "openid")
	v.Set("resource", "billing")
	w.refused(t, v, "invalid_target")
}

// TestSignInLastsAsThePolicySays: all clients share a sign-on session, and each
// has its own say for how long a sign-in is good.
func TestSignInLastsAsThePolicySays(t *testing.T) {
	t.Parallel()
	clock := apptest.NewClock()
	w := open(t, apptest.Options{Now: clock.Now})
	w.Register("kiosk", false, client.Meta{
		RedirectURIs: []string{"http://127.0.0.1/callback"}, GrantTypes: []string{"authorization_code"}, Scopes: []string{"openid"}, Trusted: true, Policy: "kiosk",
	})
	kiosk := apptest.App{ID: "kiosk", Redirect: apptest.Redirect, Scope: "openid"}
	b := w.Browser()
	b.Tokens(w.own, "ada")
	silent := func(c apptest.App, maxAge string) string {
		v, _ := c.Request()
		v.Set("prompt", "none")
		if maxAge != "" {
			v.Set("max_age", maxAge)
		}
		return b.Open(w.Path(v)).Location(t).Query().Get("error")
	}
	clock.Add(2*time.Hour - time.Second) // times are kept in whole seconds
	if got := silent(kiosk, ""); got != "" {
		t.Errorf("at the end of what the policy allows: %q", got)
	}
	clock.Add(2 * time.Second)
	for _, maxAge := range []string{"", "100000"} {
		if got := silent(kiosk, maxAge); got != "login_required" {
			t.Errorf("after it, max_age %q: %q, want login_required", maxAge, got)
		}
	}
	if got := silent(w.own, ""); got != "" {
		t.Errorf("a client with more time: %q", got)
	}
}
