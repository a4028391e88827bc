package token

import (
	"net/http"
	"strings"

	"github.com/fastbind/fastbind/internal/proof"
	"github.com/fastbind/fastbind/internal/web"
	"github.com/fastbind/fastbind/oauth"
)

// Credentials are an access token and how it was shown.
type Credentials struct {
	Token string
	DPoP  bool // with a proof of possession, and not as a bearer token
}

// String never tells the token.
func (c Credentials) String() string { return "an access token as " + c.scheme() }

// GoString never tells the token.
func (c Credentials) GoString() string { return c.String() }

func (c Credentials) scheme() string {
	if c.DPoP {
		return oauth.TokenDPoP
	}
	return oauth.TokenBearer
}

// CredentialsOf returns the token in the Authorization header. A request without
// credentials is refused without an error code; a token anywhere else, or more
// than one, is a bad request (OAuth 2.1, section 5.2).
func CredentialsOf(w http.ResponseWriter, r *http.Request) (Credentials, error) {
	bad := &oauth.Error{
		Code: oauth.InvalidRequest, Description: "an access token belongs in the Authorization header, once",
		Challenge: Credentials{}.challenge(oauth.InvalidRequest),
	}
	if strings.Contains(r.URL.RawQuery, "access_token") {
		return Credentials{}, bad
	}
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if r.Method == http.MethodPost && strings.EqualFold(strings.TrimSpace(kind), "application/x-www-form-urlencoded") {
		p, err := web.Form(w, r, web.MaxBody, nil)
		if err != nil {
			return Credentials{}, err
		}
		if p.Has("access_token") {
			return Credentials{}, bad
		}
	}
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return Credentials{}, &oauth.Error{Status: http.StatusUnauthorized, Challenge: Credentials{}.challenge("") + ", " + proof.Challenge("")}
	}
	scheme, t, ok := strings.Cut(values[0], " ")
	c := Credentials{Token: strings.TrimSpace(t), DPoP: strings.EqualFold(scheme, oauth.TokenDPoP)} // RFC 9449, section 7.1.
	if len(values) > 1 || !ok || c.Token == "" || !c.DPoP && !strings.EqualFold(scheme, oauth.TokenBearer) {
		return Credentials{}, bad
	}
	return c, nil
}

// challenge asks for a token as c was shown; code may be empty.
func (c Credentials) challenge(code oauth.Code) string {
	if c.DPoP {
		return proof.Challenge(code)
	}
	s := `Bearer realm="fastbind"`
	if code != "" {
		s += `, error="` + string(code) + `"`
	}
	return s
}

// invalid returns the refusal of the token (RFC 6750, section 3.1).
func (c Credentials) invalid(cause error) *oauth.Error {
	return &oauth.Error{
		Code: oauth.InvalidToken, Description: "the access token is not valid", Cause: cause,
		Challenge: c.challenge(oauth.InvalidToken),
	}
}
