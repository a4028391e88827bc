package app

import (
	"context"
	"sync"
	"time"

	"github.com/fastbind/fastbind/internal/jose"
	"github.com/fastbind/fastbind/internal/keys"
)

// verifyingKeys finds the keys that verify our own tokens. A kid that is not
// known may be that of a key which another node has just made: then the keys are
// loaded anew, at most once a second, however many such tokens come.
type verifyingKeys struct {
	ring *keys.Ring

	mu   sync.Mutex
	last time.Time // of the last reload for an unknown kid; under mu
}

const reloadFloor = time.Second

// Find returns the keys that a kid and an algorithm may mean.
func (v *verifyingKeys) Find(ctx context.Context, kid string, alg jose.Algorithm) []*jose.Key {
	if found := v.ring.KeySet().Find(kid, alg); len(found) > 0 {
		return found
	}
	v.mu.Lock() // who comes meanwhile waits for the one reload, and looks again
	defer v.mu.Unlock()
	if found := v.ring.KeySet().Find(kid, alg); len(found) > 0 {
		return found
	}
	if time.Since(v.last) < reloadFloor {
		return nil
	}
	v.last = time.Now()
	if err := v.ring.Reload(ctx); err != nil {
		return nil
	}
	return v.ring.KeySet().Find(kid, alg)
}
