package issuer

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastbind/fastbind/internal/jose"
)

const (
	// fetchFloor is the least time between two fetches that tokens with an
	// unknown key bring about.
	fetchFloor = 10 * time.Second

	// Bounds of the max-age that is believed of a key set, and what holds if
	// it has none.
	minAge, maxAge, usualAge = 30 * time.Second, time.Hour, 5 * time.Minute

	metadataAge = time.Hour
)

// ErrUnknownKey says that the issuer has no such key.
var ErrUnknownKey = errors.New("unknown key")

// A KeySet is the keys of the issuer at one time.
type KeySet struct {
	jose.KeySet
	Version uint64 // from 1
	raw     []byte
}

// Holds reports whether k is still in the set.
func (s *KeySet) Holds(k *jose.Key) bool {
	for _, other := range s.Find(k.ID, k.Algorithm) {
		pub, ok := other.Public.(interface{ Equal(crypto.PublicKey) bool })
		if ok && pub.Equal(k.Public) {
			return true
		}
	}
	return false
}

// A Keyring is the keys of the issuer, as far as they are known, and the
// meeting point of those who need another one with who fetches it. The last
// good set stays until there is another.
type Keyring struct {
	current atomic.Pointer[KeySet]
	loaded  chan struct{} // closed with the first set
	wake    chan struct{} // asks for a fetch now

	mu      sync.Mutex
	fetches bool          // somebody fetches
	asked   time.Time     // when a missing key last brought about a fetch
	done    chan struct{} // closed at the end of the fetch that is asked for or under way; nil if there is none
	err     error         // of the last fetch
}

// Current returns the last good key set, nil if there is none yet.
func (k *Keyring) Current() *KeySet { return k.current.Load() }

// Loaded is closed when there is a first key set.
func (k *Keyring) Loaded() <-chan struct{} { return k.loaded }

// Find returns the keys that may have signed a token, and waits for at most one
// fetch if they are not known. The fetch is shared by all who wait and ends for
// none of them. The error is [ErrUnknownKey], or [ErrUnavailable] where a key
// may exist and could not be fetched.
func (k *Keyring) Find(ctx context.Context, h jose.Header, now time.Time) ([]*jose.Key, *KeySet, error) {
	set := k.current.Load()
	if set != nil {
		if keys := set.Find(h.KeyID, h.Algorithm); len(keys) > 0 {
			return keys, set, nil
		}
	}
	k.mu.Lock()
	if !k.fetches {
		k.mu.Unlock()
		return nil, nil, errNotRunning
	}
	if k.done == nil && (k.asked.IsZero() || now.Sub(k.asked) >= fetchFloor) {
		k.asked = now
		k.done = make(chan struct{})
		k.refresh()
	}
	done := k.done
	k.mu.Unlock()
	if done != nil {
		select {
		case <-done:
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("%w: wait for keys: %w", ErrUnavailable, context.Cause(ctx))
		}
	}
	if set = k.current.Load(); set != nil {
		if keys := set.Find(h.KeyID, h.Algorithm); len(keys) > 0 {
			return keys, set, nil
		}
	}
	k.mu.Lock()
	err := k.err
	k.mu.Unlock()
	if set == nil || err != nil { // it may be a good key that could not be fetched
		return nil, nil, fmt.Errorf("%w: fetch keys: %w", ErrUnavailable, errors.Join(ErrUnknownKey, err))
	}
	return nil, nil, ErrUnknownKey
}

// refresh asks for a fetch now, without waiting for it.
func (k *Keyring) refresh() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// begin notes that a fetch begins.
func (k *Keyring) begin() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.done == nil {
		k.done = make(chan struct{})
	}
	select {
	case <-k.wake: // this fetch is the one that is asked for
	default:
	}
}

// end tells all who wait how the fetch ended.
func (k *Keyring) end(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = err
	close(k.done)
	k.done = nil
}

// fetching notes whether anybody fetches.
func (k *Keyring) fetching(yes bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fetches = yes
	if !yes && k.done != nil {
		close(k.done)
		k.done = nil
	}
}

// KeepKeys fetches the keys now, when they get old, and when somebody misses
// one, until ctx ends.
func (i *Issuer) KeepKeys(ctx context.Context) {
	i.Keys.fetching(true)
	defer i.Keys.fetching(false)
	var discovered time.Time
	for failures := 0; ; {
		i.Keys.begin()
		wait, err := i.fetchKeys(ctx, &discovered)
		i.Keys.end(err)
		if err == nil {
			failures = 0
		} else if ctx.Err() == nil {
			i.Log.WarnContext(ctx, "keys not fetched", slog.Any("err", err))
			discovered, wait = time.Time{}, backoff(failures, time.Second, 30*time.Second)
			failures++
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		case <-i.Keys.wake:
		}
	}
}

// fetchKeys fetches the key set, and the metadata before it if they are old,
// and returns for how long the set is good.
func (i *Issuer) fetchKeys(ctx context.Context, discovered *time.Time) (time.Duration, error) {
	if now := i.Now(); discovered.IsZero() || now.Sub(*discovered) >= metadataAge {
		e, err := i.discover(ctx)
		if err != nil {
			return 0, fmt.Errorf("metadata: %w", err)
		}
		i.endpoints.Store(e)
		*discovered = now
	}
	body, header, err := i.get(ctx, i.endpoints.Load().keys)
	if err != nil {
		return 0, fmt.Errorf("key set: %w", err)
	}
	old := i.Keys.current.Load()
	if old == nil || !bytes.Equal(old.raw, body) {
		set, err := jose.ParseKeySet(body)
		if err != nil {
			return 0, fmt.Errorf("key set: %w", err)
		}
		if len(set.Keys()) == 0 { // an empty set is never what an issuer means
			return 0, errors.New("key set: no usable key")
		}
		next := &KeySet{KeySet: set, Version: 1, raw: body}
		if old != nil {
			next.Version = old.Version + 1
		}
		i.Keys.current.Store(next)
		if old == nil {
			close(i.Keys.loaded)
		}
	}
	return age(header), nil
}

// age returns the max-age of a response, within bounds.
func age(h http.Header) time.Duration {
	for part := range strings.SplitSeq(h.Get("Cache-Control"), ",") {
		if v, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(part)), "max-age="); ok {
			if n, err := strconv.Atoi(v); err == nil {
				return min(max(minAge, time.Duration(min(n, 1<<20))*time.Second), maxAge)
			}
		}
	}
	return usualAge
}
