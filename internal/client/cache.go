package client

import (
	"context"
	"sync"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
)

// A Cache is a Store that answers [Store.Client] from memory for up to TTL.
// Changes made through it are seen at once, changes made elsewhere when
// [Cache.Forget] is called (the revocation feed does, when a client is disabled)
// or after TTL. Unknown clients are not remembered. It is safe for concurrent
// use.
type Cache struct {
	Store
	TTL time.Duration
	// Now returns the time; nil means time.Now.
	Now func() time.Time

	mu    sync.Mutex
	known map[string]cached
}

type cached struct {
	c     Client
	until time.Time
}

// maxCached bounds the memory of a cache.
const maxCached = 10_000

// Client returns the client with the id, or [ErrNone].
func (k *Cache) Client(ctx context.Context, id string) (Client, error) {
	now := time.Now()
	if k.Now != nil {
		now = k.Now()
	}
	k.mu.Lock()
	hit, ok := k.known[id]
	k.mu.Unlock()
	if ok && now.Before(hit.until) {
		return hit.c, nil
	}
	c, err := k.Store.Client(ctx, id)
	if err != nil {
		return Client{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known == nil || len(k.known) >= maxCached {
		k.known = make(map[string]cached)
	}
	k.known[id] = cached{c, now.Add(k.TTL)}
	return c, nil
}

// Forget drops what is remembered of a client.
func (k *Cache) Forget(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.known, id)
}

// Put stores the client and forgets what was remembered of it.
func (k *Cache) Put(ctx context.Context, c Client, e audit.Event) error {
	defer k.Forget(c.ID)
	return k.Store.Put(ctx, c, e)
}

// Delete removes the client and forgets it.
func (k *Cache) Delete(ctx context.Context, id string, e audit.Event) error {
	defer k.Forget(id)
	return k.Store.Delete(ctx, id, e)
}
