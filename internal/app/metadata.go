package app

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/fastbind/fastbind/dpop"
	"github.com/fastbind/fastbind/internal/authorize"
	"github.com/fastbind/fastbind/internal/grant"
	"github.com/fastbind/fastbind/internal/login"
	"github.com/fastbind/fastbind/internal/page"
	"github.com/fastbind/fastbind/internal/revoke"
	"github.com/fastbind/fastbind/internal/token"
	"github.com/fastbind/fastbind/oauth"
)

const (
	userinfoPath = "/userinfo"
	jwksPath     = "/jwks"
)

// ProofURLs returns the addresses for which clients make proofs of possession, as
// the htu of a proof has to name them.
func (c *Config) ProofURLs() []string {
	return []string{c.Issuer + grant.Path, c.Issuer + authorize.PushPath, c.Issuer + userinfoPath}
}

// metadata is what the server says of itself (RFC 8414, section 2; OpenID
// Connect Discovery, section 3).
func metadata(issuer string) oauth.Metadata {
	secret := []string{oauth.AuthBasic, oauth.AuthPost}
	public := append([]string{oauth.AuthNone}, secret...)
	return oauth.Metadata{
		Issuer:                             issuer,
		AuthorizationEndpoint:              issuer + authorize.Path,
		TokenEndpoint:                      issuer + grant.Path,
		UserinfoEndpoint:                   issuer + userinfoPath,
		JWKSURI:                            issuer + jwksPath,
		PushedAuthorizationRequestEndpoint: issuer + authorize.PushPath,
		IntrospectionEndpoint:              issuer + revoke.IntrospectPath,
		RevocationEndpoint:                 issuer + revoke.RevokePath,
		EndSessionEndpoint:                 issuer + login.LogoutPath,
		RevocationsEndpoint:                issuer + revoke.FeedPath,
		TokenUseEndpoint:                   issuer + revoke.UsePath,
		ScopesSupported: []string{
			oauth.ScopeOpenID, oauth.ScopeProfile, oauth.ScopeEmail, oauth.ScopeAddress, oauth.ScopePhone, oauth.ScopeOffline,
		},
		ResponseTypesSupported:                     []string{"code"},
		ResponseModesSupported:                     []string{"query", "form_post"},
		GrantTypesSupported:                        []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken, oauth.GrantClientCredentials},
		SubjectTypesSupported:                      []string{"public"},
		IDTokenSigningAlgValuesSupported:           []string{"ES256", "RS256", "EdDSA"},
		ACRValuesSupported:                         []string{login.ACR},
		ClaimTypesSupported:                        []string{"normal"},
		ClaimsSupported:                            token.Supported(),
		ClaimsParameterSupported:                   true,
		PromptValuesSupported:                      []string{"none", "login", "consent", "select_account"},
		UILocalesSupported:                         page.Locales(),
		DPoPSigningAlgValuesSupported:              dpop.Algorithms(),
		CodeChallengeMethodsSupported:              []string{oauth.MethodS256},
		TokenEndpointAuthMethodsSupported:          public,
		IntrospectionEndpointAuthMethodsSupported:  secret,
		RevocationEndpointAuthMethodsSupported:     public,
		AuthorizationResponseIssParameterSupported: true,
	}
}

// metadataHandler serves the metadata: the same bytes at both well-known names.
func metadataHandler(issuer string) (http.Handler, error) {
	b, err := json.MarshalIndent(metadata(issuer), "", "  ")
	if err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	sum := sha256.Sum256(b)
	etag := `"` + hex.EncodeToString(sum[:8]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		h.Set("Cache-Control", "public, max-age=300")
		h.Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h.Set("Content-Type", "application/json")
		w.Write(b) //nolint:errcheck // the client is gone: it can ask again
	}), nil
}
