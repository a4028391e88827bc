package app

import (
	"context"
	"fmt"
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
	err  error     // of that reload; under mu
}

const (
	reloadFloor = time.Second
	reloadTime  = 5 * time.Second
)

// Find returns the keys that a kid and an algorithm may mean. While the keys
// cannot be loaded nobody knows whether there is one: that is an error.
func (v *verifyingKeys) Find(ctx context.Context, kid string, alg jose.Algorithm) ([]*jose.Key, error) {
	if found := v.ring.KeySet().Find(kid, alg); len(found) > 0 {
		return found, nil
	}
	v.mu.Lock() // who comes meanwhile waits for the one reload, and looks again
	defer v.mu.Unlock()
	if found := v.ring.KeySet().Find(kid, alg); len(found) > 0 {
		return found, nil
	}
	if time.Since(v.last) >= reloadFloor {
		v.last = time.Now()
		// For all who wait, also when the one who asked first has gone.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reloadTime)
		defer cancel()
		v.err = v.ring.Reload(ctx)
	}
	if v.err != nil {
		return nil, fmt.Errorf("load keys: %w", v.err)
	}
	return v.ring.KeySet().Find(kid, alg), nil
}
