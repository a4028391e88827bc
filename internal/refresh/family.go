package refresh

import (
	"context"
	"errors"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/opaque"
)

// FamilyID names a family: 128 random bits in the form of [opaque.EncodeID].
type FamilyID string

// NewFamilyID returns a new name.
func NewFamilyID() FamilyID { return FamilyID(opaque.NewID()) }

// A Family is everything issued to one client from one authorization on one
// device.
type Family struct {
	ID      FamilyID
	Version int64 // changes with every write of the row; 0: not stored yet

	Grant
	State
}

// A Grant is what was authorized. It never changes.
type Grant struct {
	Client   string
	Subject  string
	Session  string // the person's sign-on session; never empty
	Offline  bool   // granted offline access: outlives the session
	Scope    []string
	Audience []string
	Claims   string // the claims request (OpenID Connect Core, section 5.5) as sent; may be empty
	Nonce    string // of the authorization request; may be empty
	ACR      string
	AMR      []string
	AuthTime time.Time
	// Key is the thumbprint of the key that the family is bound to; empty: plain
	// bearer. That of a confidential client is the key that it began with; see
	// [Rules.AnyKey].
	Key   string
	Begun time.Time
	// AbsoluteEnd is when the family ends however much it is used. It never
	// moves.
	AbsoluteEnd time.Time
}

// State is what changes about a family.
type State struct {
	// Generation is that of the current refresh token; the first is 1.
	Generation int64
	// Confirmed is the newest generation of which something has been seen in
	// use: its refresh token, or its access token at an API that reports use,
	// at UserInfo or at introspection.
	Confirmed int64
	// IdleEnd is when the family ends if it is not used before.
	IdleEnd time.Time

	// Rotated, Attempt, Network and Agent describe the request that made the
	// current generation. Attempt is the digest of its attempt key, all zero
	// if it sent none.
	Rotated time.Time
	Attempt opaque.Digest
	Network string
	Agent   string

	Replays int64 // answers that repeated the current generation
	Retries int64 // those of them that the lost-response window allowed
	// Shadows counts the generations running, up to ShadowedIn, in which the
	// parent was shown from another network or agent. Where an ancestor was
	// shown with the key of the family, Shadows is 0 and ShadowedIn the newest
	// generation in which that was told.
	Shadows    int64
	ShadowedIn int64
	// Alarms counts, since the last rotation, how often the family was shown
	// with a key that is not its own, or was copied and its client's rules let
	// it live.
	Alarms int64

	Ended  time.Time // zero while the family lives
	Reason audit.Reason
}

// Live reports whether the family can still be used at now.
func (f *Family) Live(now time.Time) bool {
	return f.Ended.IsZero() && now.Before(f.IdleEnd) && now.Before(f.AbsoluteEnd)
}

// Bound reports whether the family is tied to a key.
func (f *Family) Bound() bool { return f.Key != "" }

// ErrUnavailable says that too many others were changing the same family. The
// caller may try again; nothing was consumed.
var ErrUnavailable = errors.New("family is too busy")

// A Change is the next state of a family, with what must happen at the same
// time.
type Change struct {
	ID      FamilyID
	Version int64 // the version that the change was decided on
	State   State
	// EndSession also ends the person's sign-on session and all that belongs
	// to it, for the same reason. Only looked at when State.Ended is set.
	EndSession bool
	Events     []audit.Event
}

// A Use says that something minted with a generation was seen in use.
type Use struct {
	Family     FamilyID
	Generation int64
}

// Store is the memory of the package.
type Store interface {
	// Load returns the families with the given ids; unknown ids are absent.
	// The order is not defined.
	Load(ctx context.Context, ids []FamilyID) ([]Family, error)

	// Swap writes each change whose family is still at the version that the
	// change was decided on, raises that version by one, and reports for each
	// whether it did. Of any number of concurrent calls, on any number of
	// nodes, at most one succeeds per family and version. Audit events travel
	// in the same transaction, and so does, where a change ends its family,
	// the revocation that tells every verifier. A change whose State equals
	// what is stored still raises the version. Swap is given at most one change
	// per family. When it returns, what it reported as written is durable.
	Swap(ctx context.Context, changes []Change) ([]bool, error)

	// Confirm raises Confirmed of each named family to the generation named,
	// where it is lower and that generation exists, and raises the version of
	// those it changed. Unknown and ended families are passed over.
	Confirm(ctx context.Context, uses []Use) error
}

// Valid reports whether id has the form of a family's name.
func (id FamilyID) Valid() bool {
	_, err := opaque.DecodeID(string(id))
	return err == nil
}
