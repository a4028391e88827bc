package guard

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastbind/fastbind/dpop"
	"github.com/fastbind/fastbind/guard/internal/revoked"
	"github.com/fastbind/fastbind/internal/jose"
)

// A seen is a token that was verified, with what was found out about it. What
// every check reads stands close together, from the end of revoked to the begin
// of principal.
type seen struct {
	revoked revoked.Token
	token   string
	until   int64         // exp and leeway, unix nanoseconds
	keys    atomic.Uint64 // version of the key set in which key is
	used    atomic.Bool   // since the hand passed
	told    atomic.Bool   // that it is in use

	principal Principal
	sender    atomic.Pointer[dpop.Sender] // of the last proof that was shown with it
	key       *jose.Key                   // that the signature is by
	place     int                         // in cacheShard.ring, guarded by cacheShard.mu
}

// size is what s costs in memory, roughly: the token, its decoded form, and
// what belongs to them.
func (s *seen) size() int64 {
	n := 3*int64(len(s.token)) + 640
	if s.principal.KeyThumbprint != "" {
		n += 2048 // the sender
	}
	return n
}

const cacheShards = 64

// A cache remembers verified tokens, within bounds: when it is full, a token
// that was not used lately goes (second chance). An entry says nothing about
// whether the token is still good: its user checks that.
type cache struct {
	seed   maphash.Seed
	shards [cacheShards]cacheShard
	// front has the entries that were asked for last, each where its hash says,
	// to be found without a lock. What is in no shard is not in it either.
	front []atomic.Pointer[seen]
}

// maxFront is the most that front has room for: 1 MB.
const maxFront = 1 << 17

type cacheShard struct {
	mu           sync.RWMutex
	byHash       map[uint64]*seen
	ring         []*seen
	hand         int
	bytes        int64
	maxEntries   int
	maxBytes     int64
	hits, misses atomic.Int64
	_            [64]byte // keeps the counters of shards apart
}

func newCache(entries int, bytes int64) *cache {
	size := 1
	for size < min(2*entries, maxFront) {
		size *= 2
	}
	c := &cache{seed: maphash.MakeSeed(), front: make([]atomic.Pointer[seen], size)}
	for i := range c.shards {
		s := &c.shards[i]
		s.byHash = map[uint64]*seen{}
		s.maxEntries = max(1, entries/cacheShards)
		s.maxBytes = bytes / cacheShards
	}
	return c
}

// find returns the entry of the token, nil if there is none.
func (c *cache) find(token string) *seen {
	h := maphash.String(c.seed, token)
	shard := &c.shards[h%cacheShards]
	s := c.at(h).Load()
	if s == nil || s.token != token {
		if s = c.behind(shard, h, token); s == nil {
			shard.misses.Add(1)
			return nil
		}
	}
	shard.hits.Add(1)
	if !s.used.Load() {
		s.used.Store(true)
	}
	return s
}

// at returns the place in front for a hash. The lowest bits are those of the
// shard, so the others count.
func (c *cache) at(h uint64) *atomic.Pointer[seen] {
	return &c.front[h/cacheShards&uint64(len(c.front)-1)]
}

// behind finds an entry that is not in front, and brings it there.
func (c *cache) behind(shard *cacheShard, h uint64, token string) *seen {
	shard.mu.RLock()
	defer shard.mu.RUnlock() // only then can it be removed
	s := shard.byHash[h]
	if s == nil || s.token != token {
		return nil
	}
	c.at(h).Store(s)
	return s
}

// add puts s, which is not in the cache yet, in the place of an equal token, or
// of others if there is no room.
func (c *cache) add(s *seen) {
	h := maphash.String(c.seed, s.token)
	shard := &c.shards[h%cacheShards]
	if s.size() > shard.maxBytes {
		return
	}
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if old := shard.byHash[h]; old != nil {
		c.remove(shard, old, h)
	}
	for len(shard.ring) > 0 && (len(shard.ring) >= shard.maxEntries || shard.bytes+s.size() > shard.maxBytes) {
		shard.hand %= len(shard.ring)
		old := shard.ring[shard.hand]
		if old.used.CompareAndSwap(true, false) {
			shard.hand++
			continue
		}
		c.remove(shard, old, maphash.String(c.seed, old.token))
	}
	s.place = len(shard.ring)
	shard.ring = append(shard.ring, s)
	shard.byHash[h] = s
	shard.bytes += s.size()
}

// remove takes s out of the shard, which the caller has locked.
func (c *cache) remove(shard *cacheShard, s *seen, h uint64) {
	c.at(h).CompareAndSwap(s, nil)
	last := len(shard.ring) - 1
	shard.ring[s.place] = shard.ring[last]
	shard.ring[s.place].place = s.place
	shard.ring[last] = nil
	shard.ring = shard.ring[:last]
	delete(shard.byHash, h)
	shard.bytes -= s.size()
}

// drop removes what has expired.
func (c *cache) drop(now time.Time) {
	t := now.UnixNano()
	for i := range c.shards {
		shard := &c.shards[i]
		shard.mu.Lock()
		for j := len(shard.ring) - 1; j >= 0; j-- {
			if s := shard.ring[j]; t >= s.until {
				c.remove(shard, s, maphash.String(c.seed, s.token))
			}
		}
		if len(shard.ring) == 0 && cap(shard.ring) > 0 {
			shard.ring, shard.byHash = nil, map[uint64]*seen{}
		}
		shard.mu.Unlock()
	}
}

// entries returns how many tokens are in the cache.
func (c *cache) entries() int {
	n := 0
	for i := range c.shards {
		c.shards[i].mu.RLock()
		n += len(c.shards[i].ring)
		c.shards[i].mu.RUnlock()
	}
	return n
}

// counts returns how often a token was found, and was not.
func (c *cache) counts() (hits, misses int64) {
	for i := range c.shards {
		hits += c.shards[i].hits.Load()
		misses += c.shards[i].misses.Load()
	}
	return hits, misses
}
