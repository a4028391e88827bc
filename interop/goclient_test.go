package interop_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// A goClient is an application that was written with go-oidc and x/oauth2.
type goClient struct {
	t        *testing.T
	s        *server
	id       registration
	provider *oidc.Provider
	config   oauth2.Config
	more     endpoints
}

// endpoints are those that go-oidc leaves to the application.
type endpoints struct {
	Push       string `json:"pushed_authorization_request_endpoint"`
	Introspect string `json:"introspection_endpoint"`
	Revoke     string `json:"revocation_endpoint"`
	EndSession string `json:"end_session_endpoint"`
}

func TestGoOIDC(t *testing.T) {
	databases(t, func(t *testing.T, o options) {
		s := start(t, o)
		for _, id := range []string{"demo-spa", "demo-web"} {
			t.Run(id, func(t *testing.T) {
				s := s.in(t)
				c := newGoClient(t, s, id)
				p := newPerson(t, s)
				token, idToken := c.signIn(p)
				c.userInfo(token, idToken.Subject)
				token = c.refresh(token)
				c.introspect(token, idToken.Subject)
				c.api(token, idToken.Subject)
				c.revoke(token)
				c.signOut(p)
			})
		}
	})
}

func newGoClient(t *testing.T, s *server, id string) *goClient {
	provider, err := oidc.NewProvider(t.Context(), s.Issuer)
	if err != nil {
		t.Fatalf("discovery: %v", err)
	}
	c := &goClient{t: t, s: s, id: s.client(t, id), provider: provider}
	if err := provider.Claims(&c.more); err != nil {
		t.Fatalf("metadata: %v", err)
	}
	c.config = oauth2.Config{
		ClientID: c.id.ID, ClientSecret: c.id.Secret, Endpoint: provider.Endpoint(), RedirectURL: callback,
		Scopes: []string{oidc.ScopeOpenID, "profile", "email", oidc.ScopeOfflineAccess, "orders:read"},
	}
	return c
}

// signIn pushes an authorization request, has the person sign in, and redeems
// and verifies what comes back.
func (c *goClient) signIn(p *person) (*oauth2.Token, *oidc.IDToken) {
	c.t.Helper()
	verifier, state, nonce := oauth2.GenerateVerifier(), oauth2.GenerateVerifier(), oauth2.GenerateVerifier()
	c.s.secret(verifier)
	asked, err := url.Parse(c.config.AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier)))
	if err != nil {
		c.t.Fatal(err)
	}
	a := c.s.post(c.more.Push, c.id, asked.Query())
	var pushed struct {
		URI     string `json:"request_uri"`
		Expires int    `json:"expires_in"`
	}
	if err := json.Unmarshal(a.body, &pushed); err != nil || a.status != http.StatusCreated || pushed.URI == "" || pushed.Expires < 1 {
		c.t.Fatalf("pushed request: %d %s (%v)", a.status, a.code(), err)
	}
	asked.RawQuery = url.Values{"client_id": {c.id.ID}, "request_uri": {pushed.URI}}.Encode()
	got := p.authorize(asked.String(), "ada").Query()
	if got.Get("state") != state || got.Get("iss") != c.s.Issuer || got.Get("code") == "" {
		c.t.Fatalf("authorization answer: error %q, state %q, iss %q", got.Get("error"), got.Get("state"), got.Get("iss"))
	}
	c.s.secret(got.Get("code"))
	token, err := c.config.Exchange(c.t.Context(), got.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		c.t.Fatalf("redeem the code: %v", err)
	}
	if token.RefreshToken == "" || token.Type() != "Bearer" || time.Until(token.Expiry) < time.Minute {
		c.t.Errorf("token of type %q until %s", token.Type(), token.Expiry)
	}
	c.keep(token)
	id := c.verify(token)
	if id.Nonce != nonce {
		c.t.Errorf("nonce %q, want %q", id.Nonce, nonce)
	}
	return token, id
}

// keep says that the tokens must not be logged.
func (c *goClient) keep(token *oauth2.Token) {
	c.s.secret(token.AccessToken)
	c.s.secret(token.RefreshToken)
}

// verify has go-oidc verify the ID token that came with a token.
func (c *goClient) verify(token *oauth2.Token) *oidc.IDToken {
	c.t.Helper()
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		c.t.Fatal("no ID token")
	}
	c.s.secret(raw)
	id, err := c.provider.Verifier(&oidc.Config{ClientID: c.id.ID}).Verify(c.t.Context(), raw)
	if err != nil {
		c.t.Fatalf("verify the ID token: %v", err)
	}
	if err := id.VerifyAccessToken(token.AccessToken); err != nil {
		c.t.Errorf("at_hash: %v", err)
	}
	return id
}

func (c *goClient) userInfo(token *oauth2.Token, subject string) {
	c.t.Helper()
	info, err := c.provider.UserInfo(c.t.Context(), oauth2.StaticTokenSource(token))
	if err != nil {
		c.t.Fatalf("UserInfo: %v", err)
	}
	if info.Subject != subject || info.Email != "ada@example.com" || !info.EmailVerified {
		c.t.Errorf("UserInfo: subject %q, email %q (%v)", info.Subject, info.Email, info.EmailVerified)
	}
}

// refresh has x/oauth2 renew a token.
func (c *goClient) refresh(token *oauth2.Token) *oauth2.Token {
	c.t.Helper()
	next, err := c.renew(token)
	if err != nil {
		c.t.Fatalf("refresh: %v", err)
	}
	if next.AccessToken == token.AccessToken || next.RefreshToken == token.RefreshToken {
		c.t.Error("a refresh answers with the same tokens")
	}
	c.keep(next)
	first, second := c.verify(token), c.verify(next)
	if first.Subject != second.Subject || second.IssuedAt.Before(first.IssuedAt) || second.Nonce != "" {
		c.t.Errorf("ID token of the refresh is for %q at %s with nonce %q, the first for %q at %s", second.Subject, second.IssuedAt, second.Nonce, first.Subject, first.IssuedAt)
	}
	return next
}

func (c *goClient) renew(token *oauth2.Token) (*oauth2.Token, error) {
	expired := *token
	expired.Expiry = time.Now().Add(-time.Hour)
	return c.config.TokenSource(c.t.Context(), &expired).Token()
}

// introspect asks as the resource server does.
func (c *goClient) introspect(token *oauth2.Token, subject string) {
	c.t.Helper()
	got := c.standing(token.AccessToken)
	if !got.Active || got.Client != c.id.ID || got.Subject != subject || got.Scope == "" {
		c.t.Errorf("introspection: %+v", got)
	}
}

type standing struct {
	Active  bool   `json:"active"`
	Client  string `json:"client_id"`
	Subject string `json:"sub"`
	Scope   string `json:"scope"`
}

func (c *goClient) standing(access string) (got standing) {
	c.t.Helper()
	a := c.s.post(c.more.Introspect, c.s.client(c.t, "demo-api"), url.Values{"token": {access}})
	if err := json.Unmarshal(a.body, &got); err != nil || a.status != http.StatusOK {
		c.t.Fatalf("introspection: %d %s (%v)", a.status, a.code(), err)
	}
	return got
}

// api calls the demo API with the HTTP client that x/oauth2 makes.
func (c *goClient) api(token *oauth2.Token, subject string) {
	c.t.Helper()
	for _, path := range []string{"/me", "/orders"} {
		r, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.s.API+path, nil)
		if err != nil {
			c.t.Fatal(err)
		}
		res, err := c.config.Client(c.t.Context(), token).Do(r)
		if err != nil {
			c.t.Fatalf("GET %s: %v", path, err)
		}
		var body struct {
			Subject string `json:"sub"`
		}
		err = errors.Join(json.NewDecoder(res.Body).Decode(&body), res.Body.Close())
		if err != nil || res.StatusCode != http.StatusOK || body.Subject != subject {
			c.t.Errorf("GET %s: %d for %q (%v), want 200 for %q", path, res.StatusCode, body.Subject, err, subject)
		}
	}
}

// revoke revokes the refresh token, and all that it stands for must be gone.
func (c *goClient) revoke(token *oauth2.Token) {
	c.t.Helper()
	a := c.s.post(c.more.Revoke, c.id, url.Values{"token": {token.RefreshToken}, "token_type_hint": {"refresh_token"}})
	from := time.Now()
	if a.status != http.StatusOK {
		c.t.Fatalf("revocation: %d %s", a.status, a.code())
	}
	if c.standing(token.AccessToken).Active {
		c.t.Error("the access token is active after its refresh token was revoked")
	}
	_, err := c.renew(token)
	if e, ok := errors.AsType[*oauth2.RetrieveError](err); !ok || e.ErrorCode != "invalid_grant" {
		c.t.Errorf("refresh after revocation: %v, want invalid_grant", err)
	}
	if _, err := c.provider.UserInfo(c.t.Context(), oauth2.StaticTokenSource(token)); err == nil {
		c.t.Error("UserInfo answers after the token was revoked")
	}
	d := c.s.until(from, "the API takes the revoked token", func() bool {
		return c.s.get(c.s.API+"/me", token.AccessToken).status == http.StatusUnauthorized
	})
	c.t.Logf("the API refused %s after the revocation", d.Round(time.Millisecond))
	if d > bound {
		c.t.Errorf("the API refused after %s, want at most %s", d, bound)
	}
}

// signOut signs the person in anew, has the client sign them out (OpenID Connect
// RP-Initiated Logout, section 2), and looks whether that is so.
func (c *goClient) signOut(p *person) {
	c.t.Helper()
	token, _ := c.signIn(p)
	hint, ok := token.Extra("id_token").(string)
	if !ok {
		c.t.Fatal("no ID token")
	}
	back := "http://127.0.0.1:9/"
	v := p.open(c.more.EndSession + "?" + url.Values{
		"id_token_hint": {hint}, "client_id": {c.id.ID}, "post_logout_redirect_uri": {back}, "state": {"bye"},
	}.Encode())
	if v.away == nil {
		v = p.submit(v.form(""), nil)
	}
	if v.away == nil {
		c.t.Fatalf("sign-out ends on a page (%d):\n%s", v.status, v.body)
	}
	if got := v.away; got.Scheme+"://"+got.Host+got.Path != back || got.Query().Get("state") != "bye" {
		c.t.Errorf("sign-out leads to %s, want %s with the state", got, back)
	}
	silent := p.open(c.config.AuthCodeURL("s", oauth2.SetAuthURLParam("prompt", "none"), oauth2.S256ChallengeOption(oauth2.GenerateVerifier())))
	if silent.away == nil || silent.away.Query().Get("error") != "login_required" {
		c.t.Errorf("prompt=none after the sign-out: %v, want login_required", silent.away)
	}
}
