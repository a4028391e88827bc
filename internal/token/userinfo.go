package token

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/fastbind/fastbind/internal/proof"
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
// and POST, with the token in the Authorization header; one that is bound to a
// key with a proof (RFC 9449, section 7).
type UserInfo struct {
	// Path of the endpoint, below the issuer.
	Path     string
	Proofs   *proof.Checker
	Reader   *Reader
	Standing Standing
	People   People
	Log      *slog.Logger
	// Now returns the time; nil means time.Now.
	Now func() time.Time
}

func (u *UserInfo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	web.NoStore(w)
	now := time.Now()
	if u.Now != nil {
		now = u.Now()
	}
	u.Proofs.Offer(w, now)
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if err := u.serve(w, r, now); err != nil {
		web.Refuse(w, r, u.Log, "userinfo", err)
	}
}

func (u *UserInfo) serve(w http.ResponseWriter, r *http.Request, now time.Time) error {
	shown, err := CredentialsOf(w, r)
	if err != nil {
		return err
	}
	c, err := u.Reader.Access(r.Context(), shown.Token, now)
	if errors.Is(err, ErrInvalid) {
		return shown.invalid(err)
	}
	if err != nil {
		return err
	}
	if err := u.proven(r, shown, c, now); err != nil {
		return err
	}
	if !slices.Contains(c.Scope, oauth.ScopeOpenID) {
		return &oauth.Error{
			Code: oauth.InsufficientScope, Description: "the token is not for OpenID Connect",
			Challenge: shown.challenge(oauth.InsufficientScope) + `, scope="openid"`,
		}
	}
	ok, err := u.Standing.Standing(r.Context(), c, now)
	if err != nil {
		return err
	}
	if !ok {
		return shown.invalid(errors.New("the token has ended"))
	}
	claims, err := u.claims(r.Context(), c)
	if err != nil {
		return err
	}
	if claims == nil {
		return shown.invalid(errors.New("the person is gone"))
	}
	b, err := json.Marshal(claims)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(b) //nolint:errcheck // the client is gone: nobody to tell
	return nil
}

// proven checks that a token is shown in the way that it is bound, and uses the
// proof up.
func (u *UserInfo) proven(r *http.Request, shown Credentials, c Claims, now time.Time) error {
	if !shown.DPoP {
		if c.Thumbprint != "" { // RFC 9449, section 7.2.
			e := shown.invalid(errors.New("a bound token was sent as a bearer token"))
			e.Challenge += ", " + proof.Challenge("")
			return e
		}
		return nil
	}
	if c.Thumbprint == "" { // RFC 9449, section 7.1.
		return shown.invalid(errors.New("a token that is bound to no key was sent with a proof"))
	}
	p, err := u.Proofs.Check(r, proof.Target{Path: u.Path, AccessToken: shown.Token}, now)
	switch {
	case err != nil:
	case p.Key != c.Thumbprint: // RFC 9449, section 4.3, check 12.
		err = proof.OtherKey()
	default:
		err = u.Proofs.Use(r.Context(), p, now)
	}
	if e, ok := errors.AsType[*oauth.Error](err); ok {
		e.Status, e.Challenge = http.StatusUnauthorized, proof.Challenge(e.Code)
	}
	return err
}

// claims returns what there is to say; nil: the person is gone.
func (u *UserInfo) claims(ctx context.Context, c Claims) (map[string]any, error) {
	known, err := u.People.Claims(ctx, c.Subject)
	if err != nil {
		return nil, err
	}
	if known == nil {
		return nil, nil
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
