package keys

import (
	"context"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
)

// State is a stage in the life of a signing key.
type State string

// The stages, in their order.
const (
	Published State = "published" // in the key set, so that verifiers know it before it signs
	Signing   State = "signing"
	Retired   State = "retired" // signs no more; in the key set until the last token it signed has expired
)

// A Record is a signing key as it is stored.
type Record struct {
	ID        string // kid
	Algorithm string // alg
	Public    []byte // as a JWK; always equal to what the private key yields
	Sealed    []byte // the private key, PKCS #8, sealed under the master secret for this kid
	State     State
	Created   time.Time
	Since     time.Time // when it entered State
}

// A Set is all keys at one moment.
type Set struct {
	Version int64 // changes with every write; 0: nothing stored yet
	Keys    []Record
}

// Store is the memory of the package.
type Store interface {
	// Keys returns the key set. An installation that has none yet yields the
	// zero Set.
	Keys(ctx context.Context) (Set, error)
	// Swap replaces the key set if it is still at s.Version and raises the
	// version, and reports whether it did. Of any number of concurrent calls,
	// on any number of nodes, at most one succeeds per version. A set without
	// a signing key is refused with an error. Times are kept in whole seconds,
	// the order of the keys need not be kept. Events travel in the same
	// transaction.
	Swap(ctx context.Context, s Set, events ...audit.Event) (bool, error)
}
