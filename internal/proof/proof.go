// Package proof checks the proofs of possession that requests to this server
// carry (RFC 9449), each of them once.
//
// A proof is checked first and used up later, when all else about the request
// has been found good: so strangers cannot fill the store, and a request that is
// told to come again with a nonce has cost nothing. The invariant: no proof is
// taken twice, on whichever node, and a store that does not answer is a fault
// and never a yes.
package proof

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/fastbind/fastbind/dpop"
	"github.com/fastbind/fastbind/internal/limit"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/oauth"
)

// NoncePurpose is the purpose for which the secret of the nonces is derived.
const NoncePurpose = "dpop nonce"

// NonceHeader carries the newest nonce. It is part of every answer of an endpoint
// that takes proofs, so that the next proof can hold it. RFC 9449, section 8.2.
const NonceHeader = "DPoP-Nonce"

// A Checker checks proofs. Set the fields before use; it is safe for concurrent
// use.
type Checker struct {
	// Issuer is the public address of the server. What a proof is for is
	// compared with it, and with no header of the request.
	Issuer string
	Nonces *dpop.Nonces
	// NonceOptional takes proofs without a nonce, if their time is near now.
	NonceOptional bool
	// ClockError is by how much the clock of a client may be wrong where a
	// nonce dates its proof; 0: see [dpop.Expect].
	ClockError time.Duration
	// Seen remembers proofs. All nodes share it, and it outlives a restart.
	Seen limit.Store
	// Observe gets what was wrong with each proof that was refused; it must not
	// block. May be nil.
	Observe func(cause error)
}

// A Target is what a proof has to be for.
type Target struct {
	Path        string // of the endpoint, below the issuer
	AccessToken string // that the request shows; empty: none
}

// A Shown is a proof that was checked. The zero value stands for none.
type Shown struct {
	Key    string // thumbprint of the key that was proven
	digest opaque.Digest
	until  time.Time
}

// Offer puts the newest nonce into an answer.
func (c *Checker) Offer(w http.ResponseWriter, now time.Time) {
	w.Header().Set(NonceHeader, c.Nonces.Issue(now))
}

// Check returns the proof of a request, which is none if it carries none and
// shows no access token. It consumes nothing: see [Checker.Use]. What is wrong
// with a proof is an [oauth.Error].
func (c *Checker) Check(r *http.Request, t Target, now time.Time) (Shown, error) {
	text, err := dpop.Header(r.Header)
	if errors.Is(err, dpop.ErrNone) && t.AccessToken == "" {
		return Shown{}, nil
	}
	if err != nil {
		return Shown{}, c.refuse(err)
	}
	p, err := dpop.Check(text, dpop.Expect{
		Method: r.Method, URLs: []string{c.Issuer + t.Path}, AccessToken: t.AccessToken, Now: now,
		Nonces: c.Nonces, NonceOptional: c.NonceOptional, ClockError: c.ClockError,
	})
	if err != nil {
		return Shown{}, c.refuse(err)
	}
	return Shown{Key: p.Thumbprint, digest: opaque.KeyDigest("dpop", string(p.Digest[:])), until: p.Until}, nil
}

// Use uses a proof up. Of any number of requests with the same proof, on any
// number of nodes, one may go on. RFC 9449, section 11.1.
func (c *Checker) Use(ctx context.Context, s Shown, now time.Time) error {
	if s.Key == "" {
		return nil
	}
	first, err := c.Seen.Once(ctx, s.digest, now, s.until)
	if err != nil {
		return fmt.Errorf("remember proof: %w", err)
	}
	if !first {
		return c.refuse(dpop.ErrReplayed)
	}
	return nil
}

func (c *Checker) refuse(cause error) *oauth.Error {
	if c.Observe != nil {
		c.Observe(cause)
	}
	return refused(cause)
}

// refused is the refusal of a proof. RFC 9449, sections 5 and 8.
func refused(cause error) *oauth.Error {
	e := &oauth.Error{Code: oauth.InvalidDPoPProof, Description: dpop.Describe(cause), Cause: cause}
	if errors.Is(cause, dpop.ErrNonce) {
		e.Code = oauth.UseDPoPNonce
	}
	return e
}

// Missing is the refusal of a request that has to carry a proof and does not.
func Missing() *oauth.Error { return refused(dpop.ErrNone) }

// OtherKey is the refusal of a proof whose key is not the one that it has to be.
func OtherKey() *oauth.Error {
	return oauth.Refuse(oauth.InvalidDPoPProof, "the key of the DPoP proof is another one")
}

// Challenge returns the challenge of a resource server that takes proofs; code
// may be empty. RFC 9449, section 7.1.
func Challenge(code oauth.Code) string {
	s := `DPoP algs="` + strings.Join(dpop.Algorithms(), " ") + `"`
	if code != "" {
		s += `, error="` + string(code) + `"`
	}
	return s
}
