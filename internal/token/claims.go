package token

import (
	"encoding/json"
	"slices"

	"github.com/fastbind/fastbind/oauth"
)

// A ClaimsRequest is the claims parameter (OpenID Connect Core, section 5.5).
type ClaimsRequest struct {
	UserInfo map[string]*ClaimRequest `json:"userinfo,omitempty"`
	IDToken  map[string]*ClaimRequest `json:"id_token,omitempty"`
}

// A ClaimRequest asks for one claim; nil asks for it without conditions.
type ClaimRequest struct {
	Essential bool  `json:"essential,omitempty"`
	Value     any   `json:"value,omitempty"`
	Values    []any `json:"values,omitempty"`
}

// ParseClaims reads a claims parameter; an empty one asks for nothing.
func ParseClaims(s string) (ClaimsRequest, error) {
	var c ClaimsRequest
	if s == "" {
		return c, nil
	}
	if err := json.Unmarshal([]byte(s), &c); err != nil {
		return ClaimsRequest{}, oauth.Refuse(oauth.InvalidRequest, "claims is not a claims request")
	}
	return c, nil
}

// Within returns what of c a client may ask for that is registered for scopes,
// and the scopes that stand for it: a claim that is asked for by its name is
// what it is when it is asked for by scope. A claim that no scope stands for is
// left out unless others is set; what says how the person signed in is not.
func (c ClaimsRequest) Within(scopes []string, others bool) (within ClaimsRequest, needed []string) {
	pick := func(asked map[string]*ClaimRequest) map[string]*ClaimRequest {
		out := make(map[string]*ClaimRequest, len(asked))
		for name, r := range asked {
			scope := scopeOf(name)
			switch {
			case slices.Contains([]string{"sub", "acr", "amr", "auth_time"}, name), scope == "" && others:
			case !slices.Contains(scopes, scope):
				continue
			case !slices.Contains(needed, scope):
				needed = append(needed, scope)
			}
			out[name] = r
		}
		return out
	}
	within = ClaimsRequest{UserInfo: pick(c.UserInfo), IDToken: pick(c.IDToken)}
	slices.Sort(needed)
	return within, needed
}

// scopeOf returns the scope that stands for a claim; empty: none does.
func scopeOf(claim string) string {
	for _, scope := range []string{oauth.ScopeProfile, oauth.ScopeEmail, oauth.ScopeAddress, oauth.ScopePhone} {
		if slices.Contains(ofScope(scope), claim) {
			return scope
		}
	}
	return ""
}

// requested is ParseClaims for a parameter that was checked when it came in.
func requested(s string) ClaimsRequest {
	c, err := ParseClaims(s)
	if err != nil {
		return ClaimsRequest{}
	}
	return c
}

// Wants returns the values that would do for a claim; none: any.
func (c *ClaimRequest) Wants() []any {
	if c == nil {
		return nil
	}
	if c.Value != nil {
		return append(slices.Clone(c.Values), c.Value)
	}
	return c.Values
}

// Supported returns the names of the claims that the server may give.
func Supported() []string {
	out := []string{"sub", "iss", "aud", "exp", "iat", "auth_time", "acr", "amr", "sid", "nonce", "at_hash"}
	for _, scope := range []string{oauth.ScopeProfile, oauth.ScopeEmail, oauth.ScopeAddress, oauth.ScopePhone} {
		out = append(out, ofScope(scope)...)
	}
	return out
}

// ofScope returns the claims that a scope stands for (OpenID Connect Core,
// section 5.4).
func ofScope(scope string) []string {
	switch scope {
	case oauth.ScopeProfile:
		return []string{
			"name", "family_name", "given_name", "middle_name", "nickname", "preferred_username", "profile",
			"picture", "website", "gender", "birthdate", "zoneinfo", "locale", "updated_at",
		}
	case oauth.ScopeEmail:
		return []string{"email", "email_verified"}
	case oauth.ScopeAddress:
		return []string{"address"}
	case oauth.ScopePhone:
		return []string{"phone_number", "phone_number_verified"}
	}
	return nil
}
