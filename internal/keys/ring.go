package keys

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastbind/fastbind/internal/jose"
	"github.com/fastbind/fastbind/internal/opaque"
)

// SealPurpose is the purpose for which the keys that seal private keys are
// derived.
const SealPurpose = "signing key"

var (
	// ErrSealed says that none of the present master secrets opens a private
	// key. New keys are not made in its place: every token in use would become
	// worthless.
	ErrSealed = errors.New("no present master secret opens it: put the secret that it was sealed under back into the list, below the newest, or give the key up by revoking it")
	// ErrUnknown says that there is no key of this kid.
	ErrUnknown = errors.New("no such signing key")

	errNoKeys = errors.New("the store holds no signing keys")
)

const (
	defaultReload = 5 * time.Second
	storeTimeout  = 10 * time.Second // of one look at the store in the background
	maxAttempts   = 100              // to write, of which all but the last were lost to others
)

// A Ring holds the signing keys of an installation on one node. After [Ring.Start],
// signing and verifying use what is in memory and go on while the store does
// not answer. A Ring is safe for concurrent use and is not to be copied. Store
// and Seal are required.
type Ring struct {
	Store     Store
	Seal      opaque.Keys // for [SealPurpose]
	Lifetimes Lifetimes
	// ReloadEvery is how often [Ring.Run] looks at the store; 0 means every 5
	// seconds. As long may it take until a node knows what another one did.
	ReloadEvery time.Duration
	Now         func() time.Time // nil means time.Now
	Log         *slog.Logger     // nil means none

	mu   sync.Mutex // held by whoever changes or reloads
	view atomic.Pointer[view]
}

// started are the algorithms that have a key once Start has returned, and
// wanted those that Run adds, which take time.
var (
	started = []jose.Algorithm{jose.ES256, jose.EdDSA}
	wanted  = []jose.Algorithm{jose.ES256, jose.EdDSA, jose.RS256}
)

// Start loads the keys into memory. On an installation that has none it makes
// those for ES256 and EdDSA, which sign at once, since nobody has cached a key
// set yet. It returns [ErrSealed], and changes nothing, if a key cannot be
// opened.
func (r *Ring) Start(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.change(ctx, wish{ensure: started})
}

// Run keeps the keys up to date until ctx ends: it reloads what other nodes have
// written, moves keys through their states, makes those that are due, and seals
// them again if a newer master secret has come. While the store fails it goes on
// with what is in memory. It returns nil.
func (r *Ring) Run(ctx context.Context) error {
	failing := false
	for {
		err := r.tend(ctx)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // it was told to stop
		case err != nil && !failing:
			r.log().LogAttrs(ctx, slog.LevelError, "signing keys not brought up to date, going on with those in memory", slog.Any("err", err))
		case err == nil && failing:
			r.log().LogAttrs(ctx, slog.LevelInfo, "signing keys are up to date again")
		}
		failing = err != nil
		pause := r.ReloadEvery
		if pause <= 0 {
			pause = defaultReload
		}
		// A tenth of jitter, so that nodes do not come all at once.
		timer := time.NewTimer(pause - pause/20 + rand.N(pause/10+1))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

func (r *Ring) tend(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.change(ctx, wish{ensure: wanted})
}

// Reload takes what the store holds into memory. If that fails, what was there
// remains.
func (r *Ring) Reload(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, err := r.Store.Keys(ctx)
	if err != nil {
		return fmt.Errorf("load keys: %w", err)
	}
	return r.take(s)
}

// Ensure makes a key for alg that signs at once, unless there is one.
func (r *Ring) Ensure(ctx context.Context, alg jose.Algorithm) error {
	alg, err := stored(alg)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if v := r.view.Load(); v != nil && v.signers[alg] != nil {
		return nil
	}
	return r.change(ctx, wish{ensure: []jose.Algorithm{alg}})
}

// Signer returns the key that signs with alg now. It comes from memory; only
// the first call for an algorithm may have to make it.
func (r *Ring) Signer(ctx context.Context, alg jose.Algorithm) (*jose.Signer, error) {
	if v := r.view.Load(); v != nil && v.signers[alg] != nil {
		return v.signers[alg], nil
	}
	if err := r.Ensure(ctx, alg); err != nil {
		return nil, err
	}
	return r.view.Load().signers[alg], nil
}

// KeySet returns, from memory, all keys whose signatures count: published,
// signing and retired ones. Before Start it is empty.
func (r *Ring) KeySet() jose.KeySet {
	if v := r.view.Load(); v != nil {
		return v.public
	}
	return jose.KeySet{}
}

// Ages returns how old the keys are that sign, by algorithm.
func (r *Ring) Ages() map[string]time.Duration {
	v := r.view.Load()
	if v == nil {
		return nil
	}
	ages := make(map[string]time.Duration, len(v.signing))
	for alg, kid := range v.signing {
		ages[string(alg)] = max(0, r.now().Sub(v.keys[kid].record.Created))
	}
	return ages
}

// Rotate publishes a new key for each of the algorithms, or for all that are in
// use if none is named; it will sign after [Lifetimes.PublishFor]. An algorithm
// whose next key is already published is left as it is, so any number of
// concurrent calls makes one key.
func (r *Ring) Rotate(ctx context.Context, algs ...jose.Algorithm) error {
	return r.rotate(ctx, algs, func(v *view, algs []jose.Algorithm) wish { return wish{rotate: algs} })
}

// RotateNow makes another key sign at once for each of the algorithms, or for
// all that are in use if none is named: the published one, otherwise a new one.
// Verifiers that cache the key set meet a kid that they do not know, and have to
// fetch it again. What the former key has signed stays good. An algorithm that
// somebody else has given another key since this node last looked is left as it
// is.
func (r *Ring) RotateNow(ctx context.Context, algs ...jose.Algorithm) error {
	return r.rotate(ctx, algs, func(v *view, algs []jose.Algorithm) wish {
		w := wish{replace: make(map[jose.Algorithm]string)}
		for _, alg := range algs {
			w.replace[alg] = v.signing[alg]
		}
		return w
	})
}

func (r *Ring) rotate(ctx context.Context, algs []jose.Algorithm, want func(*view, []jose.Algorithm) wish) error {
	v := r.view.Load()
	if v == nil {
		return errors.New("rotate signing keys: not started")
	}
	algs = slices.Clone(algs)
	for i, alg := range algs {
		var err error
		if algs[i], err = stored(alg); err != nil {
			return err
		}
	}
	if len(algs) == 0 {
		for alg := range v.signing {
			algs = append(algs, alg)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	w := want(v, algs)
	w.ensure = algs
	return r.change(ctx, w)
}

// Revoke removes a key from the key set at once; if it was the signing one,
// another signs from then on. It returns [ErrUnknown] if there is no such key.
// Verifiers that cache the key set go on accepting the key until they are told:
// that is up to the caller. It needs no Start, so that a key that cannot be
// opened can be given up; it returns [ErrSealed] if there are more of them.
func (r *Ring) Revoke(ctx context.Context, kid string) error {
	if kid == "" {
		return ErrUnknown
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.change(ctx, wish{revoke: kid})
}

// change makes the key set what w and the time ask for, and takes it into
// memory. The caller holds r.mu.
func (r *Ring) change(ctx context.Context, w wish) error {
	fresh := make(map[jose.Algorithm]Record)
	for range maxAttempts {
		s, err := r.Store.Keys(ctx)
		if err != nil {
			return fmt.Errorf("load keys: %w", err)
		}
		if len(s.Keys) == 0 && r.view.Load() != nil {
			return errNoKeys // it was wiped: no reason to start over while there are keys in memory
		}
		if len(s.Keys) > 0 && w.revoke == "" {
			if err := r.take(s); err != nil {
				return err
			}
		}
		next, events, missing, err := plan(s, w, fresh, r.Lifetimes, r.now())
		if err != nil {
			return err
		}
		if len(missing) > 0 {
			// The set is loaded again, since making keys takes time.
			for _, alg := range missing {
				if fresh[alg], err = r.newRecord(alg); err != nil {
					return fmt.Errorf("make a key for %s: %w", alg, err)
				}
			}
			continue
		}
		if !r.reseal(next) && len(events) == 0 {
			return nil
		}
		ok, err := r.Store.Swap(ctx, next, events...)
		if err != nil {
			return fmt.Errorf("store keys: %w", err)
		}
		if !ok {
			continue
		}
		for _, e := range events {
			r.log().LogAttrs(ctx, slog.LevelInfo, "signing key changed", slog.String("kind", string(e.Kind)), slog.String("key", e.Note))
		}
		if s, err = r.Store.Keys(ctx); err != nil {
			return fmt.Errorf("keys were changed, load them: %w", err)
		}
		return r.take(s)
	}
	return errors.New("store keys: others were faster too often")
}

// take takes s into memory. The caller holds r.mu.
func (r *Ring) take(s Set) error {
	old := r.view.Load()
	if old != nil && old.shows(s) {
		return nil
	}
	v, err := r.look(s, old)
	if err != nil {
		return err
	}
	r.view.Store(v)
	return nil
}

// reseal seals the private keys of s again that were sealed under an older
// master secret, and reports whether there were any. One that cannot be opened
// stays as it is.
func (r *Ring) reseal(s Set) bool {
	found := false
	for i, k := range s.Keys {
		if r.Seal.Newest(k.Sealed) {
			continue
		}
		c := sealContext(k.ID, k.Algorithm)
		b, err := r.Seal.Open(k.Sealed, c)
		if err != nil {
			continue
		}
		s.Keys[i].Sealed = r.Seal.Seal(b, c)
		clear(b)
		found = true
	}
	return found
}

// stored returns the name under which keys for alg are stored.
func stored(alg jose.Algorithm) (jose.Algorithm, error) {
	switch alg {
	case jose.ES256, jose.EdDSA, jose.RS256:
		return alg, nil
	case jose.Ed25519:
		return jose.EdDSA, nil
	}
	return "", fmt.Errorf("%w: signing algorithm", jose.ErrUnsupported)
}

func (r *Ring) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

func (r *Ring) log() *slog.Logger {
	if r.Log != nil {
		return r.Log
	}
	return slog.New(slog.DiscardHandler)
}
