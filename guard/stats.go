package guard

import (
	"time"

	"github.com/fastbind/fastbind/oauth"
)

// Stats is what a guard has counted since it was made.
type Stats struct {
	// ViewAge is how old the view of revocations is; negative if there never
	// was a complete one.
	ViewAge time.Duration
	// Revocations are in the view, Tokens in the cache, Running are the
	// requests that would be cancelled by a revocation.
	Revocations, Tokens, Running int
	// Proofs are remembered by this guard.
	Proofs int
	// Hits and Misses are of the cache of verified tokens.
	Hits, Misses int64
	// Refused counts requests by reason: no_credentials, invalid_request,
	// invalid_token, expired, revoked, insufficient_scope, unavailable,
	// invalid_dpop_proof, use_dpop_nonce.
	Refused map[string]int64
	// Reported and ReportsDropped count first uses of a generation that the
	// issuer was told of, and that it could not be told of.
	Reported, ReportsDropped int64
	// Unknown counts revocations of a kind that this version does not know.
	Unknown int64
	// Propagation is, for the last revocations that came by the feed, oldest
	// first, how long after they were decided; by the clocks of both hosts.
	Propagation []time.Duration
}

// Stats returns what was counted so far.
func (g *Guard) Stats() Stats {
	c := g.issuer.Counts()
	s := Stats{
		ViewAge:     -1,
		Revocations: g.revoked.Entries(),
		Tokens:      g.seen.entries(),
		Running:     g.revoked.Running(),
		Refused:     map[string]int64{},
		Reported:    c.Reported, ReportsDropped: c.Dropped,
		Unknown: c.Unknown, Propagation: c.Propagation,
	}
	if age, ok := g.revoked.Age(g.now()); ok {
		s.ViewAge = age
	}
	if g.proofs != nil {
		s.Proofs = g.proofs.Proofs()
	}
	s.Hits, s.Misses = g.seen.counts()
	for i, r := range reasons {
		s.Refused[r.word] = g.refused[i].Load()
	}
	return s
}

// reasons are what refusals are counted by.
var reasons = [...]struct {
	err  error
	word string
}{
	{ErrNoCredentials, "no_credentials"},
	{ErrMalformed, "invalid_request"},
	{ErrInvalid, "invalid_token"},
	{ErrExpired, "expired"},
	{ErrRevoked, "revoked"},
	{ErrScope, "insufficient_scope"},
	{ErrUnavailable, "unavailable"},
	{ErrProof, string(oauth.InvalidDPoPProof)},
	{ErrNonce, string(oauth.UseDPoPNonce)},
}
