package guard

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/fastbind/fastbind/dpop"
	"github.com/fastbind/fastbind/guard/internal/proof"
)

// A Demand says which tokens a guard takes: bound to a key and shown with a
// proof of it (RFC 9449), or plain bearer.
type Demand int

// The demands.
const (
	// DPoPAccepted takes both, if PublicURLs are given, and else plain bearer
	// tokens only.
	DPoPAccepted Demand = iota
	// DPoPRequired takes bound tokens only.
	DPoPRequired
	// DPoPOff takes plain bearer tokens only.
	DPoPOff
)

// DPoP is the part of [Config] that is about tokens bound to a key. A bound token
// never counts as a plain one: without a proof it is refused.
type DPoP struct {
	Demand Demand
	// PublicURLs are the addresses of this API as its clients know them: scheme
	// and host, and that part of the path which a proxy takes away before the
	// guard sees it. Proofs are for one of them; what a request says about its
	// own address is not believed.
	PublicURLs []string

	// NonceSecret are 16 bytes or more that all instances of an API behind one
	// address share, so that they take each other's nonces. Without Replays a
	// proof can then be used once at each instance. Empty means a random secret:
	// a proof for another instance, or from before a restart, is asked to come
	// again with a new nonce. That is not for instances among which requests are
	// spread: the second try may end at the next one, and be refused as well.
	NonceSecret []byte
	// NonceOptional takes proofs without a nonce as long as their time is within
	// a minute of now. After a start they need one for two minutes, since they
	// may have been used before it.
	NonceOptional bool
	// ClockError is how far the clock of a client may be wrong when its proofs
	// have a nonce: from a minute to 24 hours; 0 means 10 minutes.
	ClockError time.Duration

	// Replays is where all instances remember which proofs were used; nil means
	// that each remembers on its own.
	Replays Replays
	// MaxProofs is how many proofs the guard remembers on its own; 0 means
	// 1,048,576, which take up to 50 MB. With more of them in eight minutes, all
	// clients are asked for new nonces now and then.
	MaxProofs int
}

// Replays remembers which proofs were used. Its methods are called by many at
// once.
type Replays interface {
	// Once reports whether it is the first call with the digest, of all
	// instances, and remembers it until then. An error means that nobody knows:
	// the request is answered with 503.
	Once(ctx context.Context, digest [sha256.Size]byte, until time.Time) (first bool, err error)
}

// replaysTimeout is for how long a request waits for Replays.
const replaysTimeout = 2 * time.Second

// proofs returns what checks proofs, nil if there are none.
func (c *Config) proofs() (*proof.Checker, error) {
	d := &c.DPoP
	switch {
	case d.Demand < DPoPAccepted || d.Demand > DPoPOff:
		return nil, errors.New("guard: DPoP.Demand is none of the demands")
	case d.Demand == DPoPRequired && len(d.PublicURLs) == 0:
		return nil, errors.New("guard: DPoPRequired needs DPoP.PublicURLs")
	case d.ClockError != 0 && (d.ClockError < dpop.Window || d.ClockError > dpop.MaxClockError):
		return nil, fmt.Errorf("guard: DPoP.ClockError is not between %v and %v", dpop.Window, dpop.MaxClockError)
	case d.MaxProofs < 0:
		return nil, errors.New("guard: DPoP.MaxProofs is negative")
	}
	if d.MaxProofs == 0 {
		d.MaxProofs = 1 << 20
	}
	p := proof.Config{
		Secret: slices.Clone(d.NonceSecret), NonceOptional: d.NonceOptional, ClockError: d.ClockError, Most: d.MaxProofs, Log: c.Log,
	}
	for _, s := range d.PublicURLs {
		u, err := proof.ParseURL(s)
		if err != nil {
			return nil, fmt.Errorf("guard: DPoP.PublicURLs: %w", err)
		}
		p.URLs = append(p.URLs, u)
	}
	if replays := d.Replays; replays != nil {
		p.Once = func(ctx context.Context, digest [sha256.Size]byte, until time.Time) (bool, error) {
			ctx, cancel := context.WithTimeout(ctx, replaysTimeout)
			defer cancel()
			return replays.Once(ctx, digest, until)
		}
	}
	checker, err := proof.New(p, c.Now())
	if err != nil {
		return nil, fmt.Errorf("guard: DPoP.NonceSecret: %w", err)
	}
	if len(p.URLs) == 0 || d.Demand == DPoPOff {
		return nil, nil //nolint:nilnil // no proofs are taken
	}
	return checker, nil
}

// How a token may be shown in a way that it is not for.
var (
	errBound   = errors.New("bound to a key, and sent without proof")
	errUnbound = errors.New("bound to no key, and sent with a proof")
	errPlain   = errors.New("not bound to a key")
	errOther   = errors.New("bound to another key")
)

// prove checks that a token is shown as it is meant to be, and returns the proof
// if there has to be one.
func (g *Guard) prove(r *http.Request, s *seen, bound bool, now time.Time) (*proof.Shown, error) {
	key := s.principal.KeyThumbprint
	switch {
	case !bound && key != "": // RFC 9449, section 7.2.
		return nil, errBound
	case !bound && g.config.DPoP.Demand == DPoPRequired:
		return nil, errPlain
	case !bound:
		return nil, nil //nolint:nilnil // a plain bearer token
	case key == "": // RFC 9449, section 7.1.
		return nil, errUnbound
	}
	p, err := g.proofs.Check(r, s.token, s.sender.Load(), now)
	switch {
	case errors.Is(err, dpop.ErrNonce):
		return nil, fmt.Errorf("%w: %w", ErrNonce, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrProof, err)
	case p.Thumbprint != key: // RFC 9449, section 4.3, check 12.
		return nil, errOther
	}
	if s.sender.Load() != p.Sender {
		s.sender.Store(p.Sender)
	}
	return &p, nil
}

// use uses up a proof.
func (g *Guard) use(ctx context.Context, p *proof.Shown, now time.Time) error {
	err := g.proofs.Use(ctx, p, now)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, dpop.ErrNonce):
		return fmt.Errorf("%w: %w", ErrNonce, err)
	case errors.Is(err, dpop.ErrReplayed):
		return fmt.Errorf("%w: %w", ErrProof, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

const (
	nonceHeader  = "DPoP-Nonce"
	exposeHeader = "Access-Control-Expose-Headers"
	exposed      = nonceHeader + ", WWW-Authenticate"
)

// SendNonce adds the nonce for the next proof to an answer, and lets scripts of
// other origins read it. [Guard.Require] and [Guard.Refuse] do it where it is of
// use: call it only when a request has passed [Guard.Check] and p is bound to a
// key.
func (g *Guard) SendNonce(w http.ResponseWriter) {
	if g.proofs == nil {
		return
	}
	h := w.Header()
	h.Set(nonceHeader, g.proofs.Nonce(g.now())) // RFC 9449, section 8.2.
	h.Add(exposeHeader, exposed)
}
