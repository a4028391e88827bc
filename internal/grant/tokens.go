package grant

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/fastbind/fastbind/internal/policy"
	"github.com/fastbind/fastbind/internal/proof"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/token"
	"github.com/fastbind/fastbind/oauth"
)

// tokens mints what a generation of a family is answered with. Scope and
// audience are those of the access token; the refresh token always stands for
// all that was granted (OAuth 2.1, section 4.3.3).
func (h *Handler) tokens(ctx context.Context, q *request, f *refresh.Family, scope, audience []string, first bool) (response, error) {
	g := token.Grant{
		Client: f.Client, Subject: f.Subject, Session: f.Session, Family: string(f.ID), Generation: f.Generation,
		Scope: scope, Audience: audience, AuthTime: f.AuthTime, ACR: f.ACR, AMR: f.AMR, Key: q.proof.Key,
		Claims: f.Claims, End: f.AbsoluteEnd,
	}
	access, exp, err := h.Mint.Access(ctx, g, q.now, q.policy.AccessLife)
	if err != nil {
		return response{}, err
	}
	a := q.answer(access, exp, scope)
	if slices.Contains(f.Scope, oauth.ScopeOpenID) {
		if first {
			g.Nonce = f.Nonce
		}
		if a.IDToken, err = h.Mint.ID(ctx, g, q.idAlg(), access, q.now, q.policy.AccessLife); err != nil {
			return response{}, err
		}
	}
	if q.refreshes() {
		a.RefreshToken = h.Minter.Token(f.ID, f.Generation).Reveal()
		a.RefreshExpires = int64(f.IdleEnd.Sub(q.now).Seconds())
		q.unbound = q.unbound || q.client.Public() && !f.Bound()
	}
	return a, nil
}

// answer is the answer with an access token, which is bound to the key that was
// proven. RFC 9449, section 5.
func (q *request) answer(access string, expires time.Time, scope []string) response {
	a := response{AccessToken: access, TokenType: oauth.TokenDPoP, ExpiresIn: int64(expires.Sub(q.now).Seconds()), Scope: scopeString(scope)}
	if q.proof.Key == "" {
		a.TokenType, q.unbound = oauth.TokenBearer, true
	}
	return a
}

// refreshes reports whether the client gets refresh tokens.
func (q *request) refreshes() bool {
	return q.client.May(oauth.GrantRefreshToken) && q.policy.Refresh != policy.None
}

// narrowed returns the values that were asked for, which must be among those
// granted; all that were granted if none was asked for.
func narrowed(asked, granted []string, refusal *oauth.Error) ([]string, error) {
	for _, a := range asked {
		if !slices.Contains(granted, a) {
			return nil, refusal
		}
	}
	return or(asked, granted), nil
}

// or returns what was asked for; all that was granted if nothing was.
func or(asked, granted []string) []string {
	if len(asked) == 0 {
		return granted
	}
	return asked
}

func wrongScope() *oauth.Error {
	return oauth.Refuse(oauth.InvalidScope, "the scope goes beyond what was granted")
}

func wrongTarget() *oauth.Error {
	return oauth.Refuse(oauth.InvalidTarget, "the resource was not granted")
}

// refreshToken answers grant_type=refresh_token (OAuth 2.1, section 4.3).
func (h *Handler) refreshToken(ctx context.Context, q *request) (response, error) {
	if !q.Has("refresh_token") {
		return response{}, oauth.Refuse(oauth.InvalidRequest, "refresh_token is missing")
	}
	id, generation, err := h.Minter.Read(q.Get("refresh_token"))
	if err != nil {
		return response{}, invalidGrant(err) // forged or mistyped: no store was asked
	}
	rules := refresh.Rules{
		Policy: q.policy, SendsAttempts: q.client.SendsAttempts, APIsReport: q.client.APIsReport, NotifyOnly: q.client.NotifyOnly,
		KeepsTokens: !q.client.Public(), AnyKey: !q.client.Public(), BoundOnly: q.client.Public() && q.client.Constrained(),
	}
	if err := h.Proofs.Use(ctx, q.proof, q.now); err != nil {
		return response{}, err
	}
	res, err := h.Rotator.Rotate(ctx, id, rules, refresh.Shown{
		Generation: generation, Client: q.client.ID, Scope: q.Fields("scope"), Audience: q.All("resource"),
		Key: q.proof.Key, Attempt: q.attempt, Network: q.network, Agent: q.agent,
	})
	if err != nil {
		return response{}, err
	}
	if res.Changed && !res.State.Ended.IsZero() {
		h.Revoke.Notify()
	}
	if res.Answer == refresh.Refused {
		switch res.Why {
		case refresh.WrongScope:
			return response{}, wrongScope()
		case refresh.WrongTarget:
			return response{}, wrongTarget()
		default:
			return response{}, invalidGrant(errors.New(string(res.Why)))
		}
	}
	f := &res.Family
	// The verdict has refused what goes beyond the grant, before it consumed
	// anything.
	return h.tokens(ctx, q, f, or(q.Fields("scope"), f.Scope), or(q.All("resource"), f.Audience), false)
}

// unproven refuses a request that has to carry a proof and does not. A refresh
// token is looked at before: who shows that of a bound family like this may have
// stolen it, which has to be told. Nothing is consumed.
//
// RFC 9449, section 5.2.
func (h *Handler) unproven(ctx context.Context, q *request) error {
	if q.Get("grant_type") != oauth.GrantRefreshToken {
		return proof.Missing()
	}
	id, generation, err := h.Minter.Read(q.Get("refresh_token"))
	if err != nil {
		return proof.Missing()
	}
	if _, err := h.Rotator.Rotate(ctx, id, refresh.Rules{Policy: q.policy, BoundOnly: true}, refresh.Shown{
		Generation: generation, Client: q.client.ID, Network: q.network, Agent: q.agent,
	}); err != nil {
		return err
	}
	return proof.Missing()
}

// clientCredentials answers grant_type=client_credentials (OAuth 2.1, section
// 4.2): for confidential clients only, which registration sees to.
func (h *Handler) clientCredentials(ctx context.Context, q *request) (response, error) {
	if q.client.Public() {
		return response{}, oauth.Refuse(oauth.UnauthorizedClient, "client_credentials needs a confidential client")
	}
	var granted []string
	for _, s := range q.client.Scopes {
		if s != oauth.ScopeOpenID && s != oauth.ScopeOffline {
			granted = append(granted, s)
		}
	}
	scope, err := narrowed(q.Fields("scope"), granted, wrongScope())
	if err != nil {
		return response{}, err
	}
	audience, err := narrowed(q.All("resource"), q.client.Audiences, wrongTarget())
	if err != nil {
		return response{}, err
	}
	if err := h.Proofs.Use(ctx, q.proof, q.now); err != nil {
		return response{}, err
	}
	access, exp, err := h.Mint.Access(ctx, token.Grant{
		Client: q.client.ID, Subject: q.client.ID, Scope: scope, Audience: audience, Key: q.proof.Key,
	}, q.now, q.policy.AccessLife)
	if err != nil {
		return response{}, err
	}
	return q.answer(access, exp, scope), nil
}
