package grant_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/apptest"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/revoke"
)

// world is a server with a person and clients of each kind.
type world struct {
	*apptest.Server
	subject           string
	spa, web, service apptest.App
}

func open(t *testing.T, o apptest.Options) *world {
	t.Helper()
	w := &world{Server: apptest.Start(t, o)}
	w.subject = w.Person("ada")
	meta := func(grants ...string) client.Meta {
		return client.Meta{
			RedirectURIs: []string{"http://127.0.0.1/callback", "http://127.0.0.1/other"}, GrantTypes: grants, Trusted: true,
			Scopes: []string{"openid", "profile", "offline_access", "orders:read", "orders:write"}, Audiences: []string{"orders", "stock"}, Policy: "spa",
		}
	}
	w.Register("spa", false, meta("authorization_code", "refresh_token"))
	w.spa = apptest.App{ID: "spa", Redirect: apptest.Redirect, Scope: "openid orders:read"}
	w.web = apptest.App{ID: "web", Redirect: apptest.Redirect, Scope: "openid orders:read"}
	w.web.Secret = w.Register("web", true, meta("authorization_code", "refresh_token"))
	w.service = apptest.App{ID: "service"}
	w.service.Secret = w.Register("service", true, client.Meta{GrantTypes: []string{"client_credentials"}, Scopes: []string{"orders:read"}, Policy: "service"})
	return w
}

func want(t *testing.T, a *apptest.Answer, status int, code string) {
	t.Helper()
	if a.Status != status || a.Code() != code {
		t.Errorf("answer %d %s, want %d %q", a.Status, a.Body, status, code)
	}
	if a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control is %q, want no-store", a.Header.Get("Cache-Control"))
	}
}

// code returns a code of a client and its verifier.
func (w *world) code(t *testing.T, c apptest.App) (code, verifier string) {
	t.Helper()
	v, verifier := c.Request()
	got := w.Browser().Code(v, "ada")
	if got.Get("code") == "" {
		t.Fatalf("no code: %v", got)
	}
	return got.Get("code"), verifier
}

// lives reports whether what a client holds can be renewed.
func (w *world) lives(t *testing.T, h apptest.Tokens) bool {
	t.Helper()
	return w.Refresh(h.App, h.Refresh, "").Status == http.StatusOK
}

func TestN40CodeWithoutChallenge(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	for _, c := range []apptest.App{w.spa, w.web} {
		v, _ := c.Request()
		v.Del("code_challenge")
		v.Del("code_challenge_method")
		if got := w.Browser().Open(w.Path(v)).Location(t).Query(); got.Get("error") != "invalid_request" {
			t.Errorf("%s: answer %v, want invalid_request", c.ID, got)
		}
	}
	m := client.Client{ID: "exempt", Meta: client.Meta{PKCEOptional: true, RedirectURIs: []string{apptest.Redirect}, GrantTypes: []string{"authorization_code"}}}
	if m.Check() == nil {
		t.Error("a public client may be exempt from PKCE")
	}
}

func TestN41PKCEDowngrade(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	code, _ := w.code(t, w.spa)
	want(t, w.Redeem(w.spa, code, ""), 400, "invalid_grant")

	exempt := apptest.App{ID: "exempt", Redirect: apptest.Redirect, Scope: "openid"}
	exempt.Secret = w.Register("exempt", true, client.Meta{
		PKCEOptional: true, RedirectURIs: []string{apptest.Redirect}, GrantTypes: []string{"authorization_code"}, Scopes: []string{"openid"}, Trusted: true,
	})
	v, verifier := exempt.Request()
	v.Del("code_challenge")
	v.Del("code_challenge_method")
	got := w.Browser().Code(v, "ada")
	want(t, w.Redeem(exempt, got.Get("code"), verifier), 400, "invalid_grant")
	want(t, w.Redeem(exempt, got.Get("code"), ""), 200, "")
}

func TestN42BadChallengesAndVerifiers(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	_, good := apptest.PKCE()
	for name, change := range map[string]func(url.Values){
		"Plain":               func(v url.Values) { v.Set("code_challenge_method", "plain") },
		"UnknownMethod":       func(v url.Values) { v.Set("code_challenge_method", "S512") },
		"LowerCaseMethod":     func(v url.Values) { v.Set("code_challenge_method", "s256") },
		"NoMethodMeansPlain":  func(v url.Values) { v.Del("code_challenge_method") },
		"MethodWithoutChall.": func(v url.Values) { v.Del("code_challenge") },
		"FortyTwo":            func(v url.Values) { v.Set("code_challenge", good[:42]) },
		"TooLong":             func(v url.Values) { v.Set("code_challenge", strings.Repeat("a", 129)) },
		"Padded":              func(v url.Values) { v.Set("code_challenge", good+"=") },
	} {
		v, _ := w.spa.Request()
		change(v)
		if got := w.Browser().Open(w.Path(v)).Location(t).Query(); got.Get("error") != "invalid_request" {
			t.Errorf("%s: answer %v, want invalid_request", name, got)
		}
	}
	code, verifier := w.code(t, w.spa)
	for _, bad := range []string{verifier + "\n", verifier + "x", verifier[1:], strings.ToLower(verifier), strings.Repeat("a", 42), strings.Repeat("a", 129)} {
		want(t, w.Redeem(w.spa, code, bad), 400, "invalid_grant")
	}
	want(t, w.Redeem(w.spa, code, verifier), 200, "")
}

func TestN43CodeReplay(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	for _, c := range []apptest.App{w.spa, w.web} {
		v, verifier := c.Request()
		b := w.Browser()
		got := b.Code(v, "ada")
		first := w.Redeem(c, got.Get("code"), verifier)
		want(t, first, 200, "")
		h := apptest.Tokens{App: c, Refresh: first.JSON(t)["refresh_token"].(string), Access: first.JSON(t)["access_token"].(string)}
		want(t, w.Redeem(c, got.Get("code"), verifier), 400, "invalid_grant")
		if w.lives(t, h) {
			t.Errorf("%s: the tokens of a replayed code live on", c.ID)
		}
		if a := w.Do("GET", "/userinfo", nil, apptest.Bearer(h.Access)); a.Status != 401 {
			t.Errorf("%s: userinfo after the replay: %d", c.ID, a.Status)
		}
	}
}

func TestN44InvalidReplayRevokesNothing(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	code, verifier := w.code(t, w.web)
	h := apptest.Tokens{App: w.web}
	m := w.Redeem(w.web, code, verifier).JSON(t)
	h.Refresh = m["refresh_token"].(string)
	other, _ := apptest.PKCE()
	want(t, w.Redeem(w.web, code, other), 400, "invalid_grant")
	want(t, w.Redeem(w.spa, code, verifier), 400, "invalid_grant")
	want(t, w.Redeem(apptest.App{ID: "web", Secret: "wrong", Redirect: w.web.Redirect}, code, verifier), 401, "invalid_client")
	if !w.lives(t, h) {
		t.Error("somebody who could not redeem the code logged its holder out")
	}
}

func TestN45CodeInjection(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	code, verifier := w.code(t, w.web)
	want(t, w.Redeem(w.spa, code, verifier), 400, "invalid_grant")
	_, mine := w.code(t, w.web) // the thief's own request at the same client
	want(t, w.Redeem(w.web, code, mine), 400, "invalid_grant")
	want(t, w.Redeem(w.web, code, verifier), 200, "")
}

func TestN46ParallelRedemption(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	code, verifier := w.code(t, w.spa)
	var mu sync.Mutex
	seen := map[int]int{}
	var work sync.WaitGroup
	for range 50 {
		work.Go(func() {
			a := w.Redeem(w.spa, code, verifier)
			mu.Lock()
			defer mu.Unlock()
			seen[a.Status]++
		})
	}
	work.Wait()
	if seen[200] != 1 || seen[400] != 49 {
		t.Errorf("answers by status: %v, want one 200 and 49 of 400", seen)
	}
}

func TestN47ExpiredCodeAndOtherRedirectURI(t *testing.T) {
	t.Parallel()
	clock := apptest.NewClock()
	w := open(t, apptest.Options{Now: clock.Now})
	code, verifier := w.code(t, w.spa)
	moved := w.spa
	moved.Redirect = "http://127.0.0.1:9/other"
	want(t, w.Redeem(moved, code, verifier), 400, "invalid_grant")
	clock.Add(60 * time.Second)
	want(t, w.Redeem(w.spa, code, verifier), 400, "invalid_grant")

	code, verifier = w.code(t, w.spa)
	clock.Add(59 * time.Second)
	want(t, w.Redeem(w.spa, code, verifier), 200, "")
}

func TestN48ClientAuthentication(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	form := func(kv ...string) url.Values {
		v := url.Values{"grant_type": {"client_credentials"}}
		for i := 0; i < len(kv); i += 2 {
			v.Set(kv[i], kv[i+1])
		}
		return v
	}
	secret := w.service.Secret
	want(t, w.Post("/token", form(), w.service.Header()), 200, "")
	want(t, w.Post("/token", form("client_id", "service", "client_secret", secret), nil), 200, "")
	want(t, w.Post("/token", form("client_id", "service", "client_secret", secret), w.service.Header()), 400, "invalid_request")
	want(t, w.Post("/token", form("client_id", "service"), nil), 401, "invalid_client")
	want(t, w.Post("/token", form("client_id", "service", "client_secret", ""), nil), 401, "invalid_client")
	want(t, w.Post("/token", form(), nil), 401, "invalid_client")
	want(t, w.Post("/token", form("client_id", "nobody", "client_secret", secret), nil), 401, "invalid_client")
	want(t, w.Post("/token?client_id=service&client_secret="+secret, form(), nil), 400, "invalid_request")
	want(t, w.Post("/token", form(), apptest.Basic("service", "")), 401, "invalid_client")

	a := w.Post("/token", form(), apptest.Basic("service", "wrong"))
	want(t, a, 401, "invalid_client")
	if got := a.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Basic ") {
		t.Errorf("WWW-Authenticate is %q, want the scheme that was used", got)
	}
	throttled := false
	for range 30 {
		a := w.Post("/token", form(), apptest.Basic("service", "wrong"))
		throttled = throttled || a.Status == 429 && a.Code() == "invalid_client" && a.Header.Get("Retry-After") != ""
	}
	if !throttled {
		t.Error("guessing a secret is not throttled")
	}
	want(t, w.Post("/token", form(), w.service.Header()), 200, "") // and nobody is locked out by it
}

func TestN51RefreshTokenOfOthers(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	h := w.Browser().Tokens(w.spa, "ada")
	want(t, w.Refresh(w.web, h.Refresh, ""), 400, "invalid_grant")
	if !w.lives(t, h) {
		t.Error("another client logged the holder out")
	}
	for _, end := range []revoke.Order{
		{Kind: revoke.Session, Reason: audit.Logout},
		{Kind: revoke.Subject, Value: w.subject, Reason: audit.PasswordChanged},
		{Kind: revoke.Subject, Value: w.subject, Reason: audit.UserDisabled, Disable: true}, // last: nobody signs in after it
	} {
		h := w.Browser().Tokens(w.spa, "ada")
		w.end(t, end)
		want(t, w.Refresh(w.spa, h.Refresh, ""), 400, "invalid_grant")
	}
}

// end carries out an order; one for a session without a value is for all of the
// person's.
func (w *world) end(t *testing.T, o revoke.Order) {
	t.Helper()
	values := []string{o.Value}
	if o.Value == "" {
		ss, err := w.App.Sessions.Sessions(t.Context(), w.subject)
		if err != nil || len(ss) == 0 {
			t.Fatalf("sessions: %v %v", ss, err)
		}
		values = nil
		for _, s := range ss {
			values = append(values, s.ID)
		}
	}
	for _, o.Value = range values {
		if _, err := w.App.Revoke.End(t.Context(), o); err != nil {
			t.Fatalf("end %s: %v", o.Kind, err)
		}
	}
}

func TestN52RefreshTokenReuse(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	h := w.Browser().Tokens(w.spa, "ada")
	second := w.Renew(h)
	third := w.Renew(second)
	want(t, w.Refresh(w.spa, h.Refresh, ""), 400, "invalid_grant") // an ancestor: theft
	want(t, w.Refresh(w.spa, third.Refresh, ""), 400, "invalid_grant")
	if a := w.Do("GET", "/userinfo", nil, apptest.Bearer(third.Access)); a.Status != 401 {
		t.Errorf("userinfo after the theft: %d", a.Status)
	}
}

func TestN52ParallelRefresh(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	h := w.Browser().Tokens(w.spa, "ada")
	var mu sync.Mutex
	seen := map[string]int{}
	var work sync.WaitGroup
	for range 50 {
		work.Go(func() {
			a := w.Refresh(w.spa, h.Refresh, "")
			mu.Lock()
			defer mu.Unlock()
			seen[fmt.Sprint(a.Status, a.JSON(t)["refresh_token"])]++
		})
	}
	work.Wait()
	if len(seen) != 1 {
		t.Errorf("%d different answers, want one successor for all", len(seen))
	}
}

func TestN53ScopeAndResourceWidening(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	h := w.Browser().Tokens(w.spa, "ada")
	ask := func(name, value string) *apptest.Answer {
		return w.Post("/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {h.Refresh}, "client_id": {"spa"}, name: {value}}, nil)
	}
	want(t, ask("scope", "openid orders:read orders:write"), 400, "invalid_scope")
	want(t, ask("scope", "ORDERS:READ"), 400, "invalid_scope")
	want(t, ask("resource", "billing"), 400, "invalid_target")
	a := ask("scope", "orders:read") // narrower: and nothing was consumed before
	want(t, a, 200, "")
	if got := a.JSON(t)["scope"]; got != "orders:read" {
		t.Errorf("scope %v, want orders:read", got)
	}
	next := a.JSON(t)["refresh_token"].(string)
	a = w.Refresh(w.spa, next, "")
	if got := a.JSON(t)["scope"]; got != "openid orders:read" {
		t.Errorf("scope after a narrower refresh %v, want all that was granted", got)
	}
}

func TestN54RotationDoesNotOutliveTheGrant(t *testing.T) {
	t.Parallel()
	clock := apptest.NewClock()
	w := open(t, apptest.Options{Now: clock.Now})
	h := w.Browser().Tokens(w.spa, "ada")
	const step = 11 * time.Hour
	for elapsed := step; elapsed < 30*24*time.Hour; elapsed += step {
		clock.Add(step)
		h = w.Renew(h)
	}
	clock.Add(step)
	want(t, w.Refresh(w.spa, h.Refresh, ""), 400, "invalid_grant")
}

func TestN57Grants(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	for g, code := range map[string]string{
		"password": "unsupported_grant_type", "implicit": "unsupported_grant_type", "": "invalid_request", "client_credentials": "unauthorized_client",
	} {
		want(t, w.Post("/token", url.Values{"grant_type": {g}, "client_id": {"spa"}, "username": {"ada"}, "password": {apptest.Password}}, nil), 400, code)
	}
	want(t, w.Post("/token", url.Values{"grant_type": {"authorization_code"}, "code": {"x"}}, w.service.Header()), 400, "unauthorized_client")
}

// TestAttemptKey: whoever began a refresh may ask again; nobody else may, where
// the client is registered as sending attempt keys.
func TestAttemptKey(t *testing.T) {
	t.Parallel()
	clock := apptest.NewClock()
	w := open(t, apptest.Options{Now: clock.Now})
	w.Register("turns", false, client.Meta{
		RedirectURIs: []string{"http://127.0.0.1/callback"}, GrantTypes: []string{"authorization_code", "refresh_token"},
		Scopes: []string{"openid"}, Trusted: true, SendsAttempts: true, Policy: "spa",
	})
	c := apptest.App{ID: "turns", Redirect: apptest.Redirect, Scope: "openid"}
	h := w.Browser().Tokens(c, "ada")
	first := w.Refresh(c, h.Refresh, "attempt-1")
	want(t, first, 200, "")
	clock.Add(time.Hour)
	again := w.Refresh(c, h.Refresh, "attempt-1")
	want(t, again, 200, "")
	if first.JSON(t)["refresh_token"] != again.JSON(t)["refresh_token"] {
		t.Error("a retry with the same attempt key got another successor")
	}
	want(t, w.Refresh(c, h.Refresh, "attempt-2"), 400, "invalid_grant")
	want(t, w.Refresh(c, first.JSON(t)["refresh_token"].(string), ""), 400, "invalid_grant")
	a := w.Refresh(c, h.Refresh, strings.Repeat("k", 257))
	want(t, a, 400, "invalid_request")
}

// TestOfflineAccess: what was granted offline access outlives the session,
// everything else ends with it.
func TestOfflineAccess(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	b := w.Browser()
	offline := w.web
	offline.Scope += " offline_access"
	held, bound := b.Tokens(offline, "ada"), b.Tokens(w.spa, "ada")
	ss, err := w.App.Sessions.Sessions(t.Context(), w.subject)
	if err != nil || len(ss) != 1 {
		t.Fatalf("sessions: %v %v", ss, err)
	}
	if _, err := w.App.Revoke.End(t.Context(), revoke.Order{Kind: revoke.Session, Value: ss[0].ID, Reason: audit.Logout}); err != nil {
		t.Fatal(err)
	}
	if w.lives(t, bound) {
		t.Error("tokens of an ended session live on")
	}
	if !w.lives(t, held) {
		t.Error("offline access ended with the session")
	}
}

func TestResponse(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	h := w.Browser().Tokens(w.web, "ada")
	for _, name := range []string{"access_token", "token_type", "expires_in", "refresh_token", "refresh_token_expires_in", "id_token", "scope"} {
		if _, ok := h.Raw[name]; !ok {
			t.Errorf("the answer lacks %s", name)
		}
	}
	var names []string
	for name := range w.Renew(h).Raw {
		names = append(names, name)
	}
	if !slices.Contains(names, "id_token") {
		t.Error("a refresh of an OpenID grant yields no ID token")
	}
}
