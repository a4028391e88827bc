// Package code owns authorization codes: issue, redeem once, notice a second
// try.
//
// A code is redeemed and the family that it stands for begins in one write, so
// that a crash leaves either neither or both, and a replay always finds what it
// has to end. The invariant: a code yields at most one family.
package code

import (
	"context"
	"errors"
	"time"

	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/refresh"
)

// Life is for how long a code can be redeemed.
const Life = 60 * time.Second

// A Code is an authorization code that was issued.
type Code struct {
	Digest      opaque.Digest
	RedirectURI string
	Challenge   string // of PKCE, method S256; empty only for clients exempt from it
	Issued      time.Time
	Expires     time.Time
	// Family is what redeeming the code begins: its Grant, with a Begun that
	// is set then. The Key of the Grant, if it has one, must be proven then
	// (RFC 9449, section 10).
	Family refresh.FamilyID
	Grant  refresh.Grant
	// Redeemed is when the code was redeemed; zero: not yet.
	Redeemed time.Time
}

// Errors of a Store.
var (
	// ErrNone says that there is no such code.
	ErrNone = errors.New("no such code")
	// ErrRedeemed says that the code was redeemed before.
	ErrRedeemed = errors.New("code was redeemed before")
	// ErrEnded says that the session the code belongs to has ended, or that
	// its person or client may not sign in any more.
	ErrEnded = errors.New("the session of the code has ended")
)

// Store is the memory of the package.
type Store interface {
	// Put stores a new code.
	Put(ctx context.Context, c Code) error

	// Load returns the code with the digest, redeemed or not, or [ErrNone].
	Load(ctx context.Context, d opaque.Digest) (Code, error)

	// Redeem marks the code as redeemed at now and stores the family that it
	// begins, with its event, in one transaction. Of any number of concurrent
	// calls, on any number of nodes, one succeeds; the others are
	// [ErrRedeemed]. It is [ErrEnded], and nothing is written, if the session
	// of the family has ended or its person is disabled at that moment,
	// ordered against the transactions that do so.
	Redeem(ctx context.Context, d opaque.Digest, now time.Time, f refresh.Family) error
}
