package grant

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/code"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/revoke"
	"github.com/fastbind/fastbind/oauth"
)

// authorizationCode answers grant_type=authorization_code (OAuth 2.1, section
// 4.1.3).
func (h *Handler) authorizationCode(ctx context.Context, q *request) (response, error) {
	if !q.Has("code") {
		return response{}, oauth.Refuse(oauth.InvalidRequest, "code is missing")
	}
	handle, err := opaque.Parse(opaque.Code, q.Get("code"))
	if err != nil {
		return response{}, invalidGrant(err)
	}
	c, err := h.Codes.Load(ctx, handle.Digest())
	if errors.Is(err, code.ErrNone) {
		return response{}, invalidGrant(err)
	}
	if err != nil {
		return response{}, fmt.Errorf("load code: %w", err)
	}
	// What is wrong with the one who asks must not hurt the rightful holder:
	// nothing is consumed, nothing is revoked (OAuth 2.1, section 7.5.2).
	switch {
	case c.Grant.Client != q.client.ID:
		return response{}, invalidGrant(errors.New("code of another client"))
	case q.Has("redirect_uri") && q.Get("redirect_uri") != c.RedirectURI:
		return response{}, invalidGrant(errors.New("other redirect_uri"))
	case c.Challenge == "" && !q.Has("redirect_uri") && len(q.client.RedirectURIs) != 1:
		// Without PKCE it is what tells an injected code (OpenID Connect Core,
		// section 3.1.3.2).
		return response{}, invalidGrant(errors.New("redirect_uri is missing and there is no code_challenge"))
	case !verifies(c.Challenge, q.Get("code_verifier")):
		return response{}, invalidGrant(errors.New("code_verifier does not fit"))
	case c.Grant.Key != "" && c.Grant.Key != q.proof.Key: // RFC 9449, section 10.
		return response{}, invalidGrant(errors.New("code is bound to another key"))
	}
	audience, err := narrowed(q.All("resource"), c.Grant.Audience, wrongTarget())
	if err != nil {
		return response{}, err
	}
	if err := h.Proofs.Use(ctx, q.proof, q.now); err != nil {
		return response{}, err
	}
	switch {
	case !c.Redeemed.IsZero():
		return response{}, h.replayed(ctx, q, c)
	case !q.now.Before(c.Expires):
		return response{}, invalidGrant(errors.New("code has expired"))
	}
	f := q.family(c)
	// Made before the code is redeemed, so that a fault costs nobody their code,
	// and worth nothing until it is.
	a, err := h.tokens(ctx, q, &f, f.Scope, audience, true)
	if err != nil {
		return response{}, err
	}
	switch err := h.Codes.Redeem(ctx, c.Digest, q.now, f); {
	case errors.Is(err, code.ErrRedeemed):
		return response{}, h.replayed(ctx, q, c)
	case errors.Is(err, code.ErrEnded), errors.Is(err, code.ErrNone):
		return response{}, invalidGrant(err)
	case err != nil:
		return response{}, fmt.Errorf("redeem code: %w", err)
	}
	return a, nil
}

// family returns the family that a code begins.
func (q *request) family(c code.Code) refresh.Family {
	f := refresh.Family{ID: c.Family, Version: 1, Grant: c.Grant}
	f.Begun, f.Key = q.now, q.proof.Key // RFC 9449, section 5.
	f.State = refresh.State{
		Generation: 1, Rotated: q.now, Network: q.network, Agent: q.agent,
		IdleEnd: minTime(q.now.Add(q.policy.Idle), f.AbsoluteEnd),
	}
	return f
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// replayed ends what a code yielded that is redeemed a second time by its own
// client with the right verifier: somebody has copied both (OAuth 2.1, section
// 4.1.3).
func (h *Handler) replayed(ctx context.Context, q *request, c code.Code) error {
	_, err := h.Revoke.End(ctx, revoke.Order{
		Kind: revoke.Family, Value: string(c.Family), Reason: audit.TokenTheft, At: q.now,
		Note: "an authorization code was redeemed twice",
	})
	if err != nil {
		return fmt.Errorf("end family of a replayed code: %w", err)
	}
	return invalidGrant(code.ErrRedeemed)
}

// verifies reports whether a PKCE verifier fits a challenge (RFC 7636, section
// 4.6). A verifier where there is no challenge does not: the request may have
// been tampered with (RFC 9700, section 4.8).
func verifies(challenge, verifier string) bool {
	if challenge == "" || verifier == "" {
		return challenge == verifier
	}
	if len(verifier) < 43 || len(verifier) > 128 {
		return false
	}
	for i := range len(verifier) {
		if !unreserved(verifier[i]) {
			return false
		}
	}
	sum := sha256.Sum256([]byte(verifier))
	got := base64.RawURLEncoding.EncodeToString(sum[:])
	return subtle.ConstantTimeCompare([]byte(got), []byte(challenge)) == 1
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}
