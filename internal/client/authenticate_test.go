package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/limit"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/oauth"
)

// some are the clients of a test.
type some struct {
	client.Store
	known map[string]client.Client
	err   error
}

func (s *some) Client(_ context.Context, id string) (client.Client, error) {
	c, ok := s.known[id]
	if !ok && s.err == nil {
		return c, client.ErrNone
	}
	return c, s.err
}

func TestN48Authenticate(t *testing.T) {
	t.Parallel()
	secret, second := opaque.New(opaque.ClientSecret), opaque.New(opaque.ClientSecret)
	digests := []opaque.Digest{secret.Digest(), second.Digest()}
	store := &some{known: map[string]client.Client{
		"public": {ID: "public"}, "web": {ID: "web", Secrets: digests}, "off": {ID: "off", Secrets: digests, Disabled: time.Unix(1, 0)},
		"basic": {ID: "basic", Secrets: digests, Meta: client.Meta{AuthMethods: []string{oauth.AuthBasic}}},
	}}
	for _, tt := range []struct {
		id, secret, method string
		ok                 bool
	}{
		{"public", "", oauth.AuthNone, true},
		{"public", "x", oauth.AuthPost, false},
		{"public", "", oauth.AuthBasic, false},
		{"web", secret.Reveal(), oauth.AuthBasic, true},
		{"web", second.Reveal(), oauth.AuthPost, true},
		{"web", "", oauth.AuthNone, false},
		{"web", "", oauth.AuthBasic, false},
		{"web", opaque.New(opaque.ClientSecret).Reveal(), oauth.AuthBasic, false},
		{"web", secret.Reveal() + "x", oauth.AuthBasic, false},
		{"basic", secret.Reveal(), oauth.AuthBasic, true},
		{"basic", secret.Reveal(), oauth.AuthPost, false},
		{"off", secret.Reveal(), oauth.AuthBasic, false},
		{"unknown", secret.Reveal(), oauth.AuthBasic, false},
	} {
		a := &client.Authenticator{Store: store, Throttle: &limit.Memory{}}
		got, err := a.Authenticate(t.Context(), client.Credentials{ID: tt.id, Secret: tt.secret, Method: tt.method, Network: "192.0.2.1"})
		if tt.ok != (err == nil) || tt.ok && got.ID != tt.id {
			t.Errorf("%s by %s: %q, %v, want let in: %v", tt.id, tt.method, got.ID, err, tt.ok)
		}
		if e := oauth.ErrorFor(err); err != nil && (e.Code != oauth.InvalidClient || e.Description != "client authentication failed" ||
			e.HTTPStatus() != http.StatusUnauthorized || (e.Challenge != "") != (tt.method == oauth.AuthBasic)) {
			t.Errorf("%s by %s: %v with challenge %q", tt.id, tt.method, err, e.Challenge)
		}
	}
	store.err = errors.New("no database")
	_, err := (&client.Authenticator{Store: store, Throttle: &limit.Memory{}}).Authenticate(t.Context(), client.Credentials{ID: "web"})
	if e := oauth.ErrorFor(err); e.Code != oauth.TemporarilyUnavailable {
		t.Errorf("a fault is answered with %s", e.Code)
	}
}

// TestN48Guessing: guessing is slowed down, for a whole network, and never keeps
// the one who knows the secret out.
func TestN48Guessing(t *testing.T) {
	t.Parallel()
	secret := opaque.New(opaque.ClientSecret)
	a := &client.Authenticator{
		Store:    &some{known: map[string]client.Client{"web": {ID: "web", Secrets: []opaque.Digest{secret.Digest()}}}},
		Throttle: &limit.Memory{}, Now: func() time.Time { return time.Unix(1_800_000_000, 0) },
	}
	try := func(secret string, i int) error {
		_, err := a.Authenticate(t.Context(), client.Credentials{ID: "web", Secret: secret, Method: oauth.AuthBasic, Network: fmt.Sprintf("2001:db8::%x", i+1)})
		return err
	}
	limited := 0
	for i := range 1_000 {
		if e := oauth.ErrorFor(try("guess", i)); e.HTTPStatus() == http.StatusTooManyRequests && e.RetryAfter > 0 {
			limited++
		}
	}
	if limited != 990 {
		t.Errorf("%d of 1,000 guesses of one network were held back, want 990", limited)
	}
	if err := try(secret.Reveal(), 1); err != nil {
		t.Errorf("the right secret: %v", err)
	}
}

func TestCredentialsOf(t *testing.T) {
	t.Parallel()
	basic := func(id, secret string) http.Header {
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth(id, secret)
		return r.Header
	}
	for name, tt := range map[string]struct {
		h          http.Header
		id, secret string
		want       client.Credentials
		code       oauth.Code
	}{
		"Public":          {http.Header{}, "a", "", client.Credentials{ID: "a", Method: oauth.AuthNone}, ""},
		"Post":            {http.Header{}, "a", "s", client.Credentials{ID: "a", Secret: "s", Method: oauth.AuthPost}, ""},
		"Basic":           {basic("a", "s"), "", "", client.Credentials{ID: "a", Secret: "s", Method: oauth.AuthBasic}, ""},
		"BasicEncoded":    {basic("a%2Bb", "s%3Ac"), "a+b", "", client.Credentials{ID: "a+b", Secret: "s:c", Method: oauth.AuthBasic}, ""},
		"Nobody":          {http.Header{}, "", "", client.Credentials{}, oauth.InvalidClient},
		"TwoMethods":      {basic("a", "s"), "a", "s", client.Credentials{}, oauth.InvalidRequest},
		"TwoClients":      {basic("a", "s"), "b", "", client.Credentials{}, oauth.InvalidRequest},
		"TwoHeaders":      {http.Header{"Authorization": append(basic("a", "s")["Authorization"], basic("b", "s")["Authorization"]...)}, "", "", client.Credentials{}, oauth.InvalidClient},
		"Bearer":          {http.Header{"Authorization": {"Bearer x"}}, "a", "", client.Credentials{}, oauth.InvalidClient},
		"NoBase64":        {http.Header{"Authorization": {"Basic %%%"}}, "", "", client.Credentials{}, oauth.InvalidClient},
		"NoColon":         {http.Header{"Authorization": {"Basic YQ=="}}, "", "", client.Credentials{}, oauth.InvalidClient},
		"BrokenEncoding":  {basic("a", "%zz"), "", "", client.Credentials{}, oauth.InvalidClient},
		"EmptyIdentifier": {basic("", "s"), "", "", client.Credentials{}, oauth.InvalidClient},
	} {
		got, err := client.CredentialsOf(tt.h, tt.id, tt.secret, "")
		if e := oauth.ErrorFor(err); tt.code != "" && e.Code != tt.code {
			t.Errorf("%s: %v, want %s", name, err, tt.code)
		}
		if tt.code == "" && (err != nil || got != tt.want) {
			t.Errorf("%s: %v by %s, %v", name, got.ID, got.Method, err)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	good := client.Client{ID: "app", Secrets: []opaque.Digest{{1}}, Meta: client.Meta{
		RedirectURIs: []string{"https://app.example.com/cb"}, GrantTypes: []string{"authorization_code"}, Scopes: []string{"openid"},
		Audiences: []string{"https://api.example.com"}, IDTokenAlg: "RS256", AuthMethods: []string{oauth.AuthPost},
	}}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(c *client.Client){
		"NoID":                 func(c *client.Client) { c.ID = "" },
		"N73SubjectForm":       func(c *client.Client) { c.ID = opaque.NewID() },
		"UnknownGrant":         func(c *client.Client) { c.GrantTypes = []string{"password"} },
		"PublicService":        func(c *client.Client) { c.Secrets, c.GrantTypes = nil, []string{"client_credentials"} },
		"N40PublicWithoutPKCE": func(c *client.Client) { c.Secrets, c.AuthMethods, c.PKCEOptional = nil, nil, true },
		"PublicAPI":            func(c *client.Client) { c.Secrets, c.AuthMethods, c.ResourceServer = nil, nil, true },
		"PublicWithMethods":    func(c *client.Client) { c.Secrets = nil },
		"UnknownMethod":        func(c *client.Client) { c.AuthMethods = []string{"none"} },
		"NoRedirectURI":        func(c *client.Client) { c.RedirectURIs = nil },
		"BadReturnURI":         func(c *client.Client) { c.PostLogoutRedirectURIs = []string{"javascript:x"} },
		"BadScope":             func(c *client.Client) { c.Scopes = []string{"a b"} },
		"UnknownDPoPStep":      func(c *client.Client) { c.DPoP = "off" },
		"UnsignedIDTokens":     func(c *client.Client) { c.IDTokenAlg = "none" },
		"SymmetricIDTokens":    func(c *client.Client) { c.IDTokenAlg = "HS256" },
		"OtherName":            func(c *client.Client) { c.IDTokenAlg = "Ed25519" },
		"EmptyAudience":        func(c *client.Client) { c.Audiences = []string{""} },
	} {
		c := good
		if change(&c); c.Check() == nil {
			t.Errorf("%s can be registered", name)
		}
	}
}
