// Package pace lets background work leave most of the time to others.
//
// It owns how long such work rests and decides nothing else. The invariant: after
// each piece of work comes a rest of [Rest] times as long, so that work which holds
// what others wait for holds it for a fifth of the time at most.
package pace

import (
	"context"
	"time"
)

// Rest is how many times as long as a piece of work has taken the rest after it
// lasts.
const Rest = 4

// Do runs a piece of work, rests, and returns how long the work has taken. An
// error is that of the work, after which there is no rest, or says that ctx ended.
func Do(ctx context.Context, work func() error) (took time.Duration, err error) {
	began := time.Now()
	if err := work(); err != nil {
		return 0, err
	}
	took = time.Since(began)
	rest := time.NewTimer(Rest * took)
	defer rest.Stop()
	select {
	case <-rest.C:
		return took, nil
	case <-ctx.Done():
		return took, context.Cause(ctx)
	}
}
