package token

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fastbind/fastbind/internal/web"
	"github.com/fastbind/fastbind/oauth"
)

// Standing knows whether a token that verifies still counts.
type Standing interface {
	// Standing reports whether the token counts at now, and notes that it was
	// seen in use. An error is a fault.
	Standing(ctx context.Context, c Claims, now time.Time) (bool, error)
	// ClaimsRequest returns the claims parameter with which the family of the
	// token was authorized.
	ClaimsRequest(ctx context.Context, family string) (string, error)
}

// UserInfo answers the UserInfo endpoint (OpenID Connect Core, section 5.3), GET
// and POST, with the token in the Authorization header.
type UserInfo struct {
	Reader   *Reader
	Standing Standing
	People   People
	Log      *slog.Logger
	// Now returns the time; nil means time.Now.
	Now func() time.Time
}

func (u *UserInfo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	web.NoStore(w)
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if err := u.serve(w, r); err != nil {
		web.Refuse(w, r, u.Log, "userinfo", err)
	}
}

func (u *UserInfo) serve(w http.ResponseWriter, r *http.Request) error {
	now := time.Now()
	if u.Now != nil {
		now = u.Now()
	}
	t, err := Bearer(w, r)
	if err != nil {
		return err
	}
	c, err := u.Reader.Access(r.Context(), t, now)
	if errors.Is(err, ErrInvalid) {
		return InvalidToken(err)
	}
	if err != nil {
		return err
	}
	if !slices.Contains(c.Scope, oauth.ScopeOpenID) {
		return &oauth.Error{
			Code: oauth.InsufficientScope, Description: "the token is not for OpenID Connect",
			Challenge: `Bearer realm="fastbind", error="insufficient_scope", scope="openid"`,
		}
	}
	if c.Thumbprint != "" { // RFC 9449, section 7.2: a bound token is no bearer token
		return InvalidToken(errors.New("a bound token was sent without proof"))
	}
	ok, err := u.Standing.Standing(r.Context(), c, now)
	if err != nil {
		return err
	}
	if !ok {
		return InvalidToken(errors.New("the token has ended"))
	}
	claims, err := u.claims(r.Context(), c)
	if err != nil {
		return err
	}
	b, err := json.Marshal(claims)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(b) //nolint:errcheck // the client is gone: nobody to tell
	return nil
}

func (u *UserInfo) claims(ctx context.Context, c Claims) (map[string]any, error) {
	known, err := u.People.Claims(ctx, c.Subject)
	if err != nil {
		return nil, err
	}
	if known == nil {
		return nil, InvalidToken(errors.New("the person is gone"))
	}
	asked, err := u.Standing.ClaimsRequest(ctx, c.Family)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	give := func(name string) {
		if v, ok := known[name]; ok && v != nil {
			out[name] = v
		}
	}
	for _, scope := range c.Scope {
		for _, name := range ofScope(scope) {
			give(name)
		}
	}
	for name := range requested(asked).UserInfo {
		give(name)
	}
	out["sub"] = c.Subject
	return out, nil
}

// Bearer returns the token in the Authorization header. A request without
// credentials is refused without an error code; a token anywhere else is a bad
// request (OAuth 2.1, section 5.2).
func Bearer(w http.ResponseWriter, r *http.Request) (string, error) {
	bad := &oauth.Error{
		Code: oauth.InvalidRequest, Description: "an access token belongs in the Authorization header, once",
		Challenge: `Bearer realm="fastbind", error="invalid_request"`,
	}
	if strings.Contains(r.URL.RawQuery, "access_token") {
		return "", bad
	}
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if r.Method == http.MethodPost && strings.EqualFold(strings.TrimSpace(kind), "application/x-www-form-urlencoded") {
		p, err := web.Form(w, r, web.MaxBody, nil)
		if err != nil {
			return "", err
		}
		if p.Has("access_token") {
			return "", bad
		}
	}
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return "", &oauth.Error{Status: http.StatusUnauthorized, Challenge: `Bearer realm="fastbind"`}
	}
	scheme, t, ok := strings.Cut(values[0], " ")
	if len(values) > 1 || !ok || !strings.EqualFold(scheme, "Bearer") || t == "" {
		return "", bad
	}
	return strings.TrimSpace(t), nil
}

// InvalidToken returns the refusal of an access token (RFC 6750, section 3.1).
func InvalidToken(cause error) *oauth.Error {
	return &oauth.Error{
		Code: oauth.InvalidToken, Description: "the access token is not valid", Cause: cause,
		Challenge: `Bearer realm="fastbind", error="invalid_token"`,
	}
}
