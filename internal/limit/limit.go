// Package limit owns "at most N per window" and "at most once", durable and
// shared between nodes.
//
// The invariant: of any number of concurrent calls, on any number of nodes, no
// more are let through than the rate allows.
package limit

import (
	"context"
	"time"

	"github.com/fastbind/fastbind/internal/opaque"
)

// A Rate lets Burst calls through at once and one more each Every.
type Rate struct {
	Burst int
	Every time.Duration
}

// Store is the memory of the package.
type Store interface {
	// Take counts one call under key at now and returns 0 if the rate lets it
	// through, and if not, after how long it would let one through (generic
	// cell rate algorithm). A call that is not let through is not counted.
	Take(ctx context.Context, key opaque.Digest, r Rate, now time.Time) (wait time.Duration, err error)
	// Forget takes back all that was counted under key.
	Forget(ctx context.Context, key opaque.Digest) error
	// Once reports whether it is the first call with key before expires. Of
	// any number of concurrent calls one is told true.
	Once(ctx context.Context, key opaque.Digest, now, expires time.Time) (bool, error)
}
