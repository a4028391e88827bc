package guard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fastbind/fastbind/guard/internal/credentials"
	"github.com/fastbind/fastbind/guard/internal/issuer"
	"github.com/fastbind/fastbind/guard/internal/revoked"
	"github.com/fastbind/fastbind/internal/jose"
	"github.com/fastbind/fastbind/oauth"
)

// Why a request may be refused, or stopped. They are the causes of the errors of
// [Guard.Check] and of the contexts of running requests.
var (
	// ErrNoCredentials says that the request shows no token.
	ErrNoCredentials = errors.New("no credentials")
	// ErrMalformed says that the request shows its token in a wrong way.
	ErrMalformed = errors.New("malformed request")
	// ErrInvalid says that the token does not verify.
	ErrInvalid = errors.New("invalid token")
	// ErrExpired says that the token has expired.
	ErrExpired = errors.New("token expired")
	// ErrRevoked says that the token, or what it belongs to, was revoked.
	ErrRevoked = revoked.ErrRevoked
	// ErrScope says that the token does not reach far enough.
	ErrScope = errors.New("insufficient scope")
	// ErrProof says that the proof of the key, which a bound token needs, is
	// missing or not one.
	ErrProof = errors.New("invalid DPoP proof")
	// ErrNonce says that the proof needs the nonce that the answer carries. The
	// client comes again by itself.
	ErrNonce = errors.New("DPoP nonce needed")
	// ErrUnavailable says that nobody knows whether the token is good. It is
	// never a reason to sign anybody out.
	ErrUnavailable = issuer.ErrUnavailable
)

// A Rule says what a route asks of requests.
type Rule struct {
	// Scopes are all needed.
	Scopes []string
	// WhenStale is the policy of this route; the zero value is that of the
	// guard.
	WhenStale Policy
	// OutliveToken lets requests run on when their token has expired. They
	// still end when a revocation names it; one that arrives only after the
	// feed was out of reach for longer than a token lives may be missed.
	OutliveToken bool
}

// Require returns middleware that lets requests through whose token has all of
// the scopes. The handler finds the [Principal] with [PrincipalFrom], and its
// context is cancelled, with the causes [ErrRevoked] and [ErrExpired], when the
// token ends; an event stream or a WebSocket has to watch it. Require panics if
// a scope is none.
func (g *Guard) Require(scopes ...string) func(http.Handler) http.Handler {
	return g.RequireRule(Rule{Scopes: scopes})
}

// RequireRule is Require for a whole rule. It panics also if the rule's policy
// is none, or asks for introspection without credentials.
func (g *Guard) RequireRule(rule Rule) func(http.Handler) http.Handler {
	if err := g.valid(rule); err != nil {
		panic(err)
	}
	rule.Scopes = slices.Clone(rule.Scopes)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p, err := g.check(r, rule)
			if err != nil {
				g.Refuse(w, r, err)
				return
			}
			ctx, end := g.watch(r.Context(), p, rule.OutliveToken)
			defer end()
			if errors.Is(context.Cause(ctx), ErrRevoked) {
				g.Refuse(w, r, attempt{g, rule, p.KeyThumbprint != ""}.because(ErrRevoked, nil))
				return
			}
			if p.KeyThumbprint != "" {
				g.SendNonce(w)
			}
			next.ServeHTTP(w, r.WithContext(context.WithValue(ctx, principalKey{}, p)))
		})
	}
}

// Watch returns a context that is cancelled, with the cause [ErrRevoked], when
// a revocation names the token of p, and with [ErrExpired] when it has expired.
// The handlers behind [Guard.Require] get such a context with the request; use
// Watch for what outlives the handler, such as a hijacked connection that is
// handed to another goroutine, and with [Guard.Check]. The caller must call the
// returned function when it is done; until then memory is held.
func (g *Guard) Watch(ctx context.Context, p *Principal) (context.Context, context.CancelFunc) {
	ctx, end := g.watch(ctx, p, false)
	return ctx, sync.OnceFunc(end)
}

// watch is Watch with a function that may be called only once.
func (g *Guard) watch(ctx context.Context, p *Principal, outlive bool) (context.Context, func()) {
	ctx, cancel, stop := g.revoked.Watch(ctx, &p.cached.revoked)
	if outlive {
		return ctx, stop
	}
	left := time.Duration(p.cached.until - g.now().UnixNano())
	expiry := time.AfterFunc(left, func() { cancel(ErrExpired) })
	return ctx, func() {
		expiry.Stop()
		stop()
	}
}

func (g *Guard) valid(rule Rule) error {
	if !slices.ContainsFunc(rule.Scopes, func(s string) bool { return !credentials.IsScope(s) }) &&
		rule.WhenStale >= Default && rule.WhenStale <= InsecureAllow &&
		(rule.WhenStale != Introspect || g.config.ClientID != "") {
		return nil
	}
	return errors.New("guard: impossible rule")
}

type principalKey struct{}

// PrincipalFrom returns who is behind a request that went through a guard, from
// its context.
func PrincipalFrom(ctx context.Context) (*Principal, bool) {
	p, ok := ctx.Value(principalKey{}).(*Principal)
	return p, ok
}

// Check checks the token of r, for frameworks for which [Guard.Require] does
// not fit. The error is an [oauth.Error], to be written by [Guard.Refuse]; its
// cause is one of those of this package. Use [Guard.Watch] for what takes
// longer. The body of a form is read in part, and can be read again.
func (g *Guard) Check(r *http.Request, scopes ...string) (*Principal, error) {
	return g.check(r, Rule{Scopes: scopes})
}

// CheckRule is Check for a whole rule, of which OutliveToken is of no meaning
// here.
func (g *Guard) CheckRule(r *http.Request, rule Rule) (*Principal, error) {
	if err := g.valid(rule); err != nil {
		return nil, err
	}
	return g.check(r, rule)
}

func (g *Guard) check(r *http.Request, rule Rule) (*Principal, error) {
	shown, err := credentials.Of(r)
	if shown.Bound && g.proofs == nil && err == nil {
		err = credentials.ErrNone // proofs are not taken
	}
	refuse := attempt{g, rule, shown.Bound}
	switch {
	case err == nil:
	case errors.Is(err, credentials.ErrNone):
		return nil, refuse.because(ErrNoCredentials, nil)
	default:
		return nil, refuse.because(ErrMalformed, err)
	}
	now := g.now()
	s, err := g.verified(r.Context(), shown.Token, now)
	if err != nil {
		return nil, refuse.because(sentinel(err), err)
	}
	if g.revoked.Ended(&s.revoked) {
		return nil, refuse.because(ErrRevoked, nil)
	}
	proof, err := g.prove(r, s, shown.Bound, now)
	if err != nil {
		return nil, refuse.because(sentinel(err), err)
	}
	g.report(s)
	if age, ok := g.revoked.Age(now); !ok || age > g.config.MaxStaleness {
		if err := g.stale(r.Context(), s, rule.WhenStale, now); err != nil {
			return nil, refuse.because(sentinel(err), err)
		}
	}
	if len(r.Header["Content-Type"]) > 0 && credentials.InForm(r) {
		return nil, refuse.because(ErrMalformed, credentials.ErrInForm)
	}
	for _, scope := range rule.Scopes {
		if !s.principal.Has(scope) {
			return nil, refuse.because(ErrScope, nil)
		}
	}
	if proof != nil { // last: a proof is used up only by what it gets through with
		if err := g.use(r.Context(), proof, now); err != nil {
			return nil, refuse.because(sentinel(err), err)
		}
	}
	return &s.principal, nil
}

// report tells the issuer that a token is in use, the first time that it was
// shown by who may show it.
func (g *Guard) report(s *seen) {
	if s.told.Load() || s.told.Swap(true) {
		return
	}
	if p := &s.principal; p.Family != "" && g.config.ClientID != "" {
		g.issuer.Report(p.Family, p.Generation)
	}
}

// stale decides about a token while the view may lack revocations.
func (g *Guard) stale(ctx context.Context, s *seen, policy Policy, now time.Time) error {
	if policy == Default {
		policy = g.config.WhenStale
	}
	switch policy {
	case InsecureAllow:
		return nil
	case Introspect:
		answer, err := g.issuer.Introspect(ctx, s.token, now)
		switch {
		case err != nil:
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		case !answer.Active:
			return ErrRevoked
		case answer.Key != "" && answer.Key != s.principal.KeyThumbprint: // RFC 9449, section 6.2.
			return errOther
		}
		return nil
	default:
		return fmt.Errorf("%w: the view of revocations is too old", ErrUnavailable)
	}
}

// verified returns the token if it verifies at now: from the cache, or after
// looking at it closely.
func (g *Guard) verified(ctx context.Context, token string, now time.Time) (*seen, error) {
	set := g.issuer.Keys.Current()
	if s := g.seen.find(token); s != nil && set != nil {
		if now.UnixNano() >= s.until {
			return nil, ErrExpired
		}
		if s.keys.Load() == set.Version {
			return s, nil
		}
		if set.Holds(s.key) {
			s.keys.Store(set.Version)
			return s, nil
		}
	}
	s, err := g.verify(ctx, token, now)
	if err != nil {
		return nil, err
	}
	g.seen.add(s)
	return s, nil
}

// maxKeyTries is how many keys are tried for a token that does not name one.
const maxKeyTries = 4

// verify checks type, key, signature and claims of a token (RFC 9068, section
// 4).
func (g *Guard) verify(ctx context.Context, token string, now time.Time) (*seen, error) {
	m, err := jose.Parse(token)
	if err != nil {
		if !credentials.IsToken68(token) {
			err = fmt.Errorf("%w: %w", ErrMalformed, credentials.ErrSyntax)
		}
		return nil, err
	}
	h := m.Header()
	// RFC 9068, section 4. RFC 7515, section 4.1.9: with or without prefix.
	if !strings.EqualFold(h.Type, oauth.TypeAccessToken) && !strings.EqualFold(h.Type, "application/"+oauth.TypeAccessToken) {
		return nil, errType
	}
	if !slices.Contains(g.algorithms, h.Algorithm) {
		return nil, jose.ErrUnsupported
	}
	keys, set, err := g.issuer.Keys.Find(ctx, h, now)
	if err != nil {
		return nil, err
	}
	err = jose.ErrSignature
	for _, key := range keys[:min(len(keys), maxKeyTries)] {
		var payload []byte
		if payload, err = m.Verify(key); err != nil {
			continue
		}
		s := &seen{token: token, key: key}
		s.keys.Store(set.Version)
		if err := g.readClaims(s, payload, now); err != nil {
			return nil, err
		}
		return s, nil
	}
	return nil, err
}
