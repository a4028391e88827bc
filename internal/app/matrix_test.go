package app_test

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fastbind/fastbind/dpop"
	"github.com/fastbind/fastbind/guard"
	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/apptest"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/pgtest"
	"github.com/fastbind/fastbind/internal/rescue"
	"github.com/fastbind/fastbind/internal/revoke"
)

var update = flag.Bool("update", false, "write docs/revocation-matrix.md anew")

// A holding is a person with one browser, and a client that holds all that there
// is of them: the columns of the matrix.
type holding struct {
	*apptest.Server
	t       *testing.T
	clock   *apptest.Clock
	client  apptest.App // with credentials
	other   apptest.App // another client
	api     apptest.App
	subject string
	browser *apptest.Browser

	plain, bound, offline apptest.Tokens
	own                   string // access token of the client itself
	code, verifier        string
	pushed                url.Values
	guarded               http.Handler
}

func hold(t *testing.T, o apptest.Options) *holding {
	t.Helper()
	h := &holding{t: t, clock: apptest.NewClock()}
	o.Now = h.clock.Now
	h.Server = apptest.Start(t, o)
	h.subject = h.Person("ada")
	h.Person("bob")
	h.client = apptest.App{ID: "shop", Redirect: apptest.Redirect, Scope: "openid orders:read"}
	h.client.Secret = h.Register("shop", true, client.Meta{
		Name: "Shop", RedirectURIs: []string{"http://127.0.0.1/callback"}, PostLogoutRedirectURIs: []string{"http://127.0.0.1/bye"},
		GrantTypes: []string{"authorization_code", "refresh_token", "client_credentials"},
		Scopes:     []string{"openid", "orders:read", "offline_access"}, Audiences: []string{"orders"}, Policy: "web",
	})
	h.other = apptest.App{ID: "other", Redirect: apptest.Redirect, Scope: "openid"}
	h.Register("other", false, client.Meta{
		RedirectURIs: []string{"http://127.0.0.1/callback"}, GrantTypes: []string{"authorization_code"}, Scopes: []string{"openid"}, Trusted: true, Policy: "web",
	})
	h.api = apptest.App{ID: "orders", Secret: h.Register("orders", true, client.Meta{ResourceServer: true, Audiences: []string{"orders"}})}
	h.browser = h.Browser()
	h.plain = h.browser.Tokens(h.client, "ada")
	bound := h.client
	bound.Prover = apptest.NewProver(t)
	bound.Prover.Now = h.clock.Now
	h.bound = h.browser.Tokens(bound, "ada")
	offline := h.client
	offline.Scope += " offline_access"
	h.offline = h.browser.Tokens(offline, "ada")
	a := h.Post("/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:read"}}, h.client.Header())
	h.own, _ = a.JSON(t)["access_token"].(string) //nolint:errcheck // what follows needs it
	v, verifier := h.client.Request()
	h.code, h.verifier = h.browser.Code(v, "ada").Get("code"), verifier
	p, _ := h.client.Request()
	uri, _ := h.Post("/par", p, h.client.Header()).JSON(t)["request_uri"].(string) //nolint:errcheck // what follows needs it
	h.pushed = url.Values{"client_id": {h.client.ID}, "request_uri": {uri}}
	if h.own == "" || h.code == "" || uri == "" {
		t.Fatalf("something was not issued: %q %q %q", h.own, h.code, uri)
	}
	h.guard()
	return h
}

// guard starts a guard that follows the server.
func (h *holding) guard() {
	h.t.Helper()
	g, err := guard.New(guard.Config{
		Issuer: h.Issuer, Audience: "orders", ClientID: h.api.ID, ClientSecret: h.api.Secret, Now: h.clock.Now,
		WhenStale: guard.Deny, DPoP: guard.DPoP{PublicURLs: []string{"https://api.example"}},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(h.t.Context()))
	var work sync.WaitGroup
	work.Go(func() { g.Run(ctx) }) //nolint:errcheck // it ends with the test
	h.t.Cleanup(func() { cancel(); work.Wait() })
	if err := g.Ready(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	h.guarded = g.Require()(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
}

// atGuard reports whether the guard takes an access token, with a proof if
// somebody proves.
func (h *holding) atGuard(token string, p *apptest.Prover) bool {
	h.t.Helper()
	nonce := ""
	for range 2 {
		r := httptest.NewRequestWithContext(h.t.Context(), http.MethodGet, "/orders", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		if p != nil {
			proof, err := p.Key.Proof(dpop.Params{
				Method: http.MethodGet, URL: "https://api.example/orders", AccessToken: token, Nonce: nonce, Now: h.clock.Now(),
			})
			if err != nil {
				h.t.Fatal(err)
			}
			r.Header.Set("Authorization", "DPoP "+token)
			r.Header.Set("DPoP", proof)
		}
		w := httptest.NewRecorder()
		h.guarded.ServeHTTP(w, r)
		if w.Code == http.StatusOK {
			return true
		}
		nonce = w.Header().Get("DPoP-Nonce")
	}
	return false
}

func (h *holding) active(token string) bool {
	h.t.Helper()
	return h.Post("/introspect", url.Values{"token": {token}}, h.api.Header()).JSON(h.t)["active"] == true
}

// known reports whether the browser is signed in for an authorization request of
// a client, whether it must ask for consent or not.
func (h *holding) known(c apptest.App, hint string) bool {
	h.t.Helper()
	v, _ := c.Request()
	v.Set("prompt", "none")
	if hint != "" {
		v.Set("id_token_hint", hint)
	}
	a := h.browser.Open(h.Path(v))
	if a.Header.Get("Location") == "" {
		return false // the client counts no more
	}
	q := a.Location(h.t).Query()
	return q.Get("code") != "" || q.Get("error") == "consent_required"
}

// A column is a kind of token, and whether it is still good for anything.
type column struct {
	name string
	good func(h *holding) bool
}

// columns are in the order in which they are tried: what uses something up comes
// last.
func columns() []column {
	return []column{
		{"access JWT at a guard", func(h *holding) bool { return h.atGuard(h.plain.Access, nil) }},
		{"access JWT at introspection", func(h *holding) bool { return h.active(h.plain.Access) }},
		{"access JWT at UserInfo", func(h *holding) bool {
			return h.Do("GET", "/userinfo", nil, apptest.Bearer(h.plain.Access)).Status == 200
		}},
		{"bound access JWT at a guard", func(h *holding) bool { return h.atGuard(h.bound.Access, h.bound.App.Prover) }},
		{"bound access JWT at UserInfo", func(h *holding) bool {
			return h.Prove(h.bound.App.Prover, apptest.Call{Method: "GET", Path: "/userinfo", Access: h.bound.Access}).Status == 200
		}},
		{"access JWT of the client itself", func(h *holding) bool { return h.active(h.own) && h.atGuard(h.own, nil) }},
		{"sign-on cookie", func(h *holding) bool { return h.known(h.other, "") }},
		{"cookie with ID token hint", func(h *holding) bool { return h.known(h.client, h.plain.ID) }},
		{"ID token hint at sign-out", func(h *holding) bool {
			v := url.Values{"id_token_hint": {h.plain.ID}, "post_logout_redirect_uri": {"http://127.0.0.1/bye"}}
			return h.Do("GET", "/logout?"+v.Encode(), nil, nil).Header.Get("Location") != ""
		}},
		{"pushed request", func(h *holding) bool {
			return strings.Contains(h.Browser().Open(h.Path(h.pushed)).Body, `name="password"`)
		}},
		{"code", func(h *holding) bool { return h.Redeem(h.client, h.code, h.verifier).Status == 200 }},
		{"refresh token", func(h *holding) bool { return h.Refresh(h.client, h.plain.Refresh, "").Status == 200 }},
		{"bound client's refresh token", func(h *holding) bool { return h.Refresh(h.bound.App, h.bound.Refresh, "").Status == 200 }},
		{"refresh token with offline access", func(h *holding) bool { return h.Refresh(h.client, h.offline.Refresh, "").Status == 200 }},
	}
}

// A row is a reason: how it comes about, and what then is still good, by column.
type row struct {
	reason audit.Reason
	how    string
	give   func(h *holding)
	good   string // one character for each column: + good, . not
}

func (h *holding) end(o revoke.Order) {
	h.t.Helper()
	o.At = h.clock.Now()
	if _, err := h.App.Revoke.End(h.t.Context(), o); err != nil {
		h.t.Fatal(err)
	}
}

// direct ends something as what gives the reason will do, for nothing does yet.
func direct(kind revoke.Kind, reason audit.Reason) func(h *holding) {
	return func(h *holding) {
		value := h.subject
		if kind == revoke.Session {
			value = h.session()
		}
		h.end(revoke.Order{Kind: kind, Value: value, Reason: reason})
	}
}

// session returns the session of the browser.
func (h *holding) session() string {
	h.t.Helper()
	all, err := h.App.Sessions.Sessions(h.t.Context(), h.subject)
	if err != nil || len(all) != 1 {
		h.t.Fatalf("sessions: %v, %v", all, err)
	}
	return all[0].ID
}

// later lets time pass and ends what has run out.
func (h *holding) later(d time.Duration) {
	h.t.Helper()
	h.clock.Add(d)
	if _, err := h.App.DB.Revocations().EndExpired(h.t.Context(), h.clock.Now(), 1000); err != nil {
		h.t.Fatal(err)
	}
}

// Outcomes that several reasons share.
const (
	nothing = "++++++" + "+++" + "++" + "+++" // the order of columns
	session = "....." + "+" + "..+" + "+." + "..+"
	person  = "....." + "+" + "..+" + "+." + "..."
)

func rows() []row {
	return []row{
		{audit.Logout, "the person signs out", func(h *holding) { h.browser.Submit(h.browser.Open("/logout"), nil) }, session},
		{audit.RPLogout, "the client sends the browser to sign out", func(h *holding) {
			h.browser.Open("/logout?" + url.Values{"id_token_hint": {h.plain.ID}}.Encode())
		}, session},
		{audit.BackchannelLogout, "given by nothing yet: the session", direct(revoke.Session, audit.BackchannelLogout), session},
		{audit.RevokedByUser, "a consent is withdrawn (`fastbind consent withdraw`)", func(h *holding) {
			h.end(revoke.Order{Kind: revoke.Subject, Value: h.subject, Client: h.client.ID, Reason: audit.RevokedByUser})
		}, "....." + "+" + "+++" + "+." + "..."},
		{audit.RevokedByAdmin, "`fastbind session end --user`", direct(revoke.Subject, audit.RevokedByAdmin), person},
		{audit.RevokedByClient, "the client revokes the two refresh tokens of the session", func(h *holding) {
			for _, v := range []apptest.Tokens{h.plain, h.bound} {
				if a := h.Post("/revoke", url.Values{"token": {v.Refresh}}, h.client.Header()); a.Status != 200 {
					h.t.Fatalf("revoke: %d %s", a.Status, a.Body)
				}
			}
		}, "....." + "+" + "+++" + "++" + "..+"},
		{audit.TokenTheft, "a refresh token is shown that was rotated twice", func(h *holding) {
			h.Renew(h.Renew(h.plain))
			h.Refresh(h.client, h.plain.Refresh, "")
		}, session},
		{audit.SessionReplaced, "somebody else signs in with the browser", func(h *holding) {
			v, _ := h.client.Request()
			v.Set("prompt", "login")
			h.browser.SignIn(h.browser.Open(h.Path(v)), "bob")
		}, "....." + "+" + "+" + "." + "+" + "+." + "..+"},
		{audit.IdleTimeout, "nobody comes for 12 hours", func(h *holding) { h.later(12 * time.Hour) }, "....." + "." + "..+" + ".." + "..."},
		{audit.AbsoluteTimeout, "30 days", func(h *holding) { h.later(30 * 24 * time.Hour) }, "....." + "." + "..+" + ".." + "..."},
		{audit.PasswordChanged, "`fastbind user password`", direct(revoke.Subject, audit.PasswordChanged), person},
		{audit.FactorReset, "given by nothing yet: the person", direct(revoke.Subject, audit.FactorReset), person},
		{audit.UserDisabled, "`fastbind user disable`", func(h *holding) {
			h.end(revoke.Order{Kind: revoke.Subject, Value: h.subject, Reason: audit.UserDisabled, Disable: true})
		}, person},
		{audit.UserDeleted, "`fastbind user delete`", func(h *holding) {
			h.end(revoke.Order{Kind: revoke.Subject, Value: h.subject, Reason: audit.UserDeleted, Delete: true})
		}, person},
		{audit.ClientDisabled, "`fastbind client delete`", func(h *holding) {
			h.end(revoke.Order{Kind: revoke.Client, Value: h.client.ID, Reason: audit.ClientDisabled, Disable: true})
		}, "....." + "." + "+.." + ".." + "..."},
		{audit.KeyRevoked, "`fastbind keys revoke`, for each key", func(h *holding) {
			for _, k := range h.App.Keys.KeySet().Keys() {
				if err := h.App.Keys.Revoke(h.t.Context(), k.ID); err != nil {
					h.t.Fatal(err)
				}
				h.end(revoke.Order{Kind: revoke.Key, Value: k.ID, Reason: audit.KeyRevoked})
			}
		}, "....." + "." + "+.." + "++" + "+++"},
		{audit.Epoch, "`fastbind restore finish`", func(h *holding) {
			cfg := h.App.Config
			secrets, err := cfg.Secrets()
			if err != nil {
				h.t.Fatal(err)
			}
			if _, err := rescue.Finish(h.t.Context(), cfg, h.App.DB, secrets, ""); err != nil {
				h.t.Fatal(err)
			}
			if err := h.App.Keys.Reload(h.t.Context()); err != nil {
				h.t.Fatal(err)
			}
		}, "....." + "." + "..." + ".." + "..."},
	}
}

// TestMatrix gives each reason and tries each kind of token: every pair has one
// outcome, and the table in the documentation says it.
func TestMatrix(t *testing.T) {
	t.Parallel()
	cols := columns()
	onEach(t, func(t *testing.T, o apptest.Options) {
		for _, r := range append(rows(), row{"", "nothing", func(*holding) {}, nothing}) {
			o := o
			t.Run("Reason_"+string(r.reason), func(t *testing.T) {
				if o.DatabaseURL != "" {
					o.DatabaseURL = pgtest.URL(t)
				}
				h := hold(t, o)
				r.give(h)
				if r.reason != "" && !told(t, h, r.reason) {
					t.Errorf("no event gives this reason")
				}
				if len(r.good) != len(cols) {
					t.Fatalf("%d outcomes for %d columns", len(r.good), len(cols))
				}
				for i, c := range cols {
					want := r.good[i] == '+'
					got := c.good(h)
					for deadline := time.Now().Add(3 * time.Second); got != want && !want && time.Now().Before(deadline); got = c.good(h) {
						<-time.After(10 * time.Millisecond) // on its way to the guard
					}
					if got != want {
						t.Errorf("%s: good %v, want %v", c.name, got, want)
					}
				}
			})
		}
	})
}

func told(t *testing.T, h *holding, reason audit.Reason) bool {
	t.Helper()
	events, err := h.App.DB.Events(t.Context(), app.EventQuery{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.Reason == reason {
			return true
		}
	}
	return false
}

// TestMatrixIsDocumented holds the page to the table; -update writes it.
func TestMatrixIsDocumented(t *testing.T) {
	t.Parallel()
	const page = "../../docs/revocation-matrix.md"
	var b strings.Builder
	b.WriteString(`# What a reason ends

Each reason code against each kind of token, as ` + "`go test ./internal/app -run TestMatrix`" + ` finds it over HTTP on SQLite and PostgreSQL; that test also holds this page. **ends**: refused or of no effect from then
on, everywhere within a second. lives: as good as before. One person has one session in one browser; one client holds two families that belong to the session, one of them bound to a key, and one
with offline access, a code that it has not redeemed, a pushed request, and a token of its own.

`)
	all := rows()
	fmt.Fprintf(&b, "| reason | given by |")
	for _, c := range columns() {
		fmt.Fprintf(&b, " %s |", c.name)
	}
	b.WriteString("\n|" + strings.Repeat(" --- |", len(columns())+2) + "\n")
	for _, r := range all {
		fmt.Fprintf(&b, "| `%s` | %s |", r.reason, r.how)
		for _, good := range r.good {
			b.WriteString(map[rune]string{'+': " lives |", '.': " **ends** |"}[good])
		}
		b.WriteString("\n")
	}
	b.WriteString(`
- A pushed request belongs to a client and to no person, so only what happens to the client, time, and an epoch end it.
- A cookie is the browser's session. Where a consent was withdrawn the person is asked again. Where somebody else signed in with the browser, the cookie is theirs.
- An ID token that is shown as a hint at sign-out names a client and a session, and signs in nobody: it counts as long as its key does.
- Time also ends what has a life of its own: access tokens after minutes, codes after one, pushed requests after some, keys some time after they last signed.
`)
	if *update {
		if err := os.WriteFile(page, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(page); err != nil || string(got) != b.String() {
		t.Errorf("%s is not up to date (%v): run go test ./internal/app -run TestMatrixIsDocumented -update", page, err)
	}
}
