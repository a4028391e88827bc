package grant_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/fastbind/fastbind/internal/apptest"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/grant"
	"github.com/fastbind/fastbind/internal/jose"
	"github.com/fastbind/fastbind/internal/limit"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/policy"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/token"
)

// noSigner is a ring whose keys cannot be loaded.
type noSigner struct{}

func (noSigner) Signer(context.Context, jose.Algorithm) (*jose.Signer, error) {
	return nil, errors.New("no database")
}

// TestFaultCostsNoCode: a code whose tokens could not be made is redeemed when
// the client tries again, which is no replay.
func TestFaultCostsNoCode(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	code, verifier := w.code(t, w.web)
	broken := &grant.Handler{
		Auth: &client.Authenticator{Store: w.App.Clients, Throttle: &limit.Memory{}}, Codes: w.App.DB.Codes(),
		Minter: refresh.Minter{Keys: opaque.NewSecrets().Keys(refresh.KeyPurpose)}, Mint: &token.Mint{Issuer: w.Issuer, Signers: noSigner{}},
		Revoke: w.App.Revoke, Proofs: w.App.Proofs, Policy: func(string) policy.Policy { return policy.Presets()[0] }, Log: slog.New(slog.DiscardHandler),
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {w.web.Redirect}, "code_verifier": {verifier}}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, grant.Path, strings.NewReader(form.Encode()))
	r.Header = w.web.Header()
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	a := httptest.NewRecorder()
	if broken.ServeHTTP(a, r); a.Code != http.StatusServiceUnavailable || a.Header().Get("Retry-After") == "" {
		t.Fatalf("without a key: %d %s, want 503", a.Code, a.Body)
	}
	want(t, w.Redeem(w.web, code, verifier), 200, "")
}

// TestRedirectURIWithoutPKCE: where there is no challenge the redirect URI has to
// be sent, unless there is only one.
func TestRedirectURIWithoutPKCE(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	for _, tt := range []struct {
		id     string
		uris   []string
		sent   string
		status int
		code   string
	}{
		{"several", []string{apptest.Redirect, "http://127.0.0.1/other"}, "", 400, "invalid_grant"},
		{"several-sent", []string{apptest.Redirect, "http://127.0.0.1/other"}, apptest.Redirect, 200, ""},
		{"several-other", []string{apptest.Redirect, "http://127.0.0.1/other"}, "http://127.0.0.1/other", 400, "invalid_grant"},
		{"one", []string{apptest.Redirect}, "", 200, ""},
	} {
		c := apptest.App{ID: tt.id, Redirect: apptest.Redirect, Scope: "openid"}
		c.Secret = w.Register(tt.id, true, client.Meta{
			RedirectURIs: tt.uris, GrantTypes: []string{"authorization_code"}, Scopes: []string{"openid"}, Trusted: true, PKCEOptional: true,
		})
		v, _ := c.Request()
		v.Del("code_challenge")
		v.Del("code_challenge_method")
		form := url.Values{"grant_type": {"authorization_code"}, "code": {w.Browser().Code(v, "ada").Get("code")}, "redirect_uri": {tt.sent}}
		want(t, w.Post("/token", form, c.Header()), tt.status, tt.code)
	}
}

// TestD03KeptRefreshToken: the refresh token of a confidential client that shows
// proofs stays the same, and only then. RFC 9449, section 5.
func TestD03KeptRefreshToken(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	p := apptest.NewProver(t)
	p.Heard(w.Do(http.MethodGet, "/userinfo", nil, nil))
	h := &grant.Handler{
		Auth: &client.Authenticator{Store: w.App.Clients, Throttle: &limit.Memory{}}, Codes: w.App.DB.Codes(),
		Minter: refresh.Minter{Keys: opaque.NewSecrets().Keys(refresh.KeyPurpose)}, Rotator: &refresh.Rotator{Store: w.App.Families},
		Mint: &token.Mint{Issuer: w.Issuer, Signers: w.App.Keys}, Revoke: w.App.Revoke, Proofs: w.App.Proofs,
		Policy: func(string) policy.Policy { return policy.Presets()[0] },
		Log:    slog.New(slog.DiscardHandler),
	}
	ask := func(c apptest.App, form url.Values, shows bool) apptest.Answer {
		t.Helper()
		if c.Secret == "" {
			form.Set("client_id", c.ID)
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, grant.Path, strings.NewReader(form.Encode()))
		r.Header = c.Header()
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if shows {
			r.Header.Set("DPoP", w.Proof(p, apptest.Call{Method: http.MethodPost, Path: grant.Path}))
		}
		a := httptest.NewRecorder()
		h.ServeHTTP(a, r)
		return apptest.Answer{Status: a.Code, Body: a.Body.String(), URL: r.URL}
	}
	for name, tt := range map[string]struct {
		app         apptest.App
		shows, kept bool
	}{"Confidential": {w.web, true, true}, "ConfidentialWithoutProof": {w.web, false, false}, "Public": {w.spa, true, false}} {
		code, verifier := w.code(t, tt.app)
		a := ask(tt.app, url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {tt.app.Redirect}, "code_verifier": {verifier}}, tt.shows)
		if a.Status != http.StatusOK {
			t.Fatalf("%s: %d %s", name, a.Status, a.Body)
		}
		first, _ := a.JSON(t)["refresh_token"].(string) //nolint:errcheck // the status says that it is there
		for range 3 {
			a = ask(tt.app, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first}}, tt.shows)
			if got := a.JSON(t)["refresh_token"]; a.Status != http.StatusOK || (got == first) != tt.kept {
				t.Fatalf("%s: %d with the same token: %v, want %v", name, a.Status, got == first, tt.kept)
			}
			if !tt.kept {
				break
			}
		}
	}
}
