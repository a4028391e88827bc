package revoked

import (
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

const (
	shards     = 16
	minSlots   = 64
	maxEndings = 4_000_000 // about 200 MB
	// keepFor is for how long an ending without end is remembered.
	keepFor = 24 * time.Hour
)

// A Set is everything that was revoked and might still be shown. It is made by
// [New]. It is safe for concurrent use; asking takes no lock.
type Set struct {
	tables  [shards]atomic.Pointer[table]
	version atomic.Uint64 // grows after every ending that was added
	epoch   atomic.Int64  // all tokens issued until then are ended, in unix seconds
	asOf    atomic.Pointer[time.Time]
	entries atomic.Int64
	margin  int64 // seconds for which endings are kept longer than they ask

	known     chan struct{}
	knownOnce sync.Once

	running registry

	seeds [2]maphash.Seed
	most  int // endings in each table; never changed

	mu sync.Mutex // for who writes tables
}

// A table is a hash table with linear probing. A slot is empty while hi is 0;
// once filled its name never changes.
type table struct {
	slots []slot
	// maybe has a bit for each name in the table, which it may share with
	// others: eight bits for each slot, small enough to stay in the caches of
	// the processor. A name without its bit is surely not in the table.
	maybe []atomic.Uint64
	used  int // guarded by Set.mu
}

func newTable(slots int) *table {
	return &table{slots: make([]slot, slots), maybe: make([]atomic.Uint64, slots/8)}
}

// bit returns the word of maybe and the bit in it for a name.
func (t *table) bit(n name) (*atomic.Uint64, uint64) {
	b := n.lo / shards
	return &t.maybe[b/64&uint64(len(t.maybe)-1)], 1 << (b % 64)
}

type slot struct {
	hi, lo atomic.Uint64
	what   atomic.Uint64 // before<<32 | until
}

// New returns an empty set, for tokens that are accepted for leeway after they
// have expired.
func New(leeway time.Duration) *Set {
	s := &Set{
		known: make(chan struct{}), margin: int64((leeway + time.Minute) / time.Second), most: maxEndings / shards,
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
	}
	s.epoch.Store(-1)
	for i := range s.tables {
		s.tables[i].Store(newTable(minSlots))
	}
	return s
}

// Ended reports whether a revocation names the token.
func (s *Set) Ended(t *Token) bool {
	version := s.version.Load() + 1 // before looking: what is added meanwhile is looked at next time
	if t.clean.Load() == version {
		return false
	}
	if s.names(t) {
		return true
	}
	t.clean.Store(version)
	return false
}

func (s *Set) names(t *Token) bool {
	if t.issued <= s.epoch.Load() {
		return true
	}
	for i := range t.names {
		if t.names[i].hi == 0 {
			continue
		}
		if before, ok := s.find(t.names[i]); ok && ends(before, t.issued) {
			return true
		}
	}
	return false
}

// find returns until when tokens with the name are ended.
func (s *Set) find(n name) (before uint32, ok bool) {
	t := s.tables[n.lo%shards].Load()
	if word, bit := t.bit(n); word.Load()&bit == 0 {
		return 0, false
	}
	mask := uint64(len(t.slots) - 1)
	for i := n.hi >> 1; ; i++ {
		at := &t.slots[i&mask]
		switch at.hi.Load() {
		case 0:
			return 0, false
		case n.hi:
			if at.lo.Load() == n.lo {
				return uint32(at.what.Load() >> 32), true
			}
		}
	}
}

// Add adds an ending and ends what runs with tokens that it names. It reports
// false, having ended only that, if there is no room to remember it.
func (s *Set) Add(e Ending, now time.Time) bool {
	n := s.nameOf(e.Kind, e.Value)
	if e.Kind == ByEpoch {
		n = name{}
	}
	ok := s.remember(e, n, now)
	s.running.end(n, e.Before)
	return ok
}

func (s *Set) remember(e Ending, n name, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.version.Add(1) // after the ending can be found: Ended relies on it
	if e.Kind == ByEpoch {
		until := int64(e.Before)
		if e.Before == Always {
			until = math.MaxInt64
		}
		s.epoch.Store(max(s.epoch.Load(), until))
		return true
	}
	if e.Until <= 0 {
		e.Until = now.Add(keepFor).Unix()
	}
	until := uint32(min(e.Until+s.margin, math.MaxUint32))
	shard := &s.tables[n.lo%shards]
	t := shard.Load()
	if t.used*4 >= len(t.slots)*3 {
		if t.used >= s.most {
			return false
		}
		t = s.rebuild(t, now)
		shard.Store(t)
	}
	if t.put(n, e.Before, until) {
		s.entries.Add(1)
	}
	return true
}

// put adds to t, which nobody else writes, and reports whether the name is new
// in it. Of two endings with one name what either of them ends stays ended.
func (t *table) put(n name, before, until uint32) bool {
	mask := uint64(len(t.slots) - 1)
	for i := n.hi >> 1; ; i++ {
		at := &t.slots[i&mask]
		switch hi := at.hi.Load(); {
		case hi == 0:
			at.what.Store(uint64(before)<<32 | uint64(until))
			at.lo.Store(n.lo)
			word, bit := t.bit(n)
			word.Or(bit)
			at.hi.Store(n.hi) // last: now it can be found
			t.used++
			return true
		case hi == n.hi && at.lo.Load() == n.lo:
			what := at.what.Load()
			before, until = max(before, uint32(what>>32)), max(until, uint32(what))
			at.what.Store(uint64(before)<<32 | uint64(until))
			return false
		}
	}
}

// rebuild returns a table, at most half full, with what is in t and has not
// expired.
func (s *Set) rebuild(t *table, now time.Time) *table {
	size := minSlots
	for size < 2*(t.used-t.expired(now)) {
		size *= 2
	}
	next := newTable(size)
	for i := range t.slots {
		at := &t.slots[i]
		if what := at.what.Load(); at.hi.Load() != 0 && now.Unix() < int64(uint32(what)) {
			next.put(name{at.hi.Load(), at.lo.Load()}, uint32(what>>32), uint32(what))
		}
	}
	s.entries.Add(int64(next.used - t.used))
	return next
}

func (t *table) expired(now time.Time) int {
	n := 0
	for i := range t.slots {
		at := &t.slots[i]
		if at.hi.Load() != 0 && now.Unix() >= int64(uint32(at.what.Load())) {
			n++
		}
	}
	return n
}

// Drop frees the memory of what has expired, once it is an eighth of a table.
func (s *Set) Drop(now time.Time) {
	for i := range s.tables {
		s.mu.Lock()
		t := s.tables[i].Load()
		if n := t.expired(now); n > 0 && n*8 >= t.used {
			s.tables[i].Store(s.rebuild(t, now))
		}
		s.mu.Unlock()
	}
}

// Entries returns how many endings are remembered.
func (s *Set) Entries() int { return int(s.entries.Load()) }

// Running returns how many contexts of [Set.Watch] there are.
func (s *Set) Running() int { return int(s.running.count.Load()) }

// Complete notes that nothing was revoked before now that was not added.
func (s *Set) Complete(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.asOf.Load(); old == nil || old.Before(now) {
		s.asOf.Store(&now)
	}
	s.Settle()
}

// Settle ends the waiting for a first complete set without there being one.
func (s *Set) Settle() { s.knownOnce.Do(func() { close(s.known) }) }

// Known is closed when the set is complete for the first time, or never will
// be.
func (s *Set) Known() <-chan struct{} { return s.known }

// Age returns how long ago the set was complete, and false if it never was.
func (s *Set) Age(now time.Time) (time.Duration, bool) {
	t := s.asOf.Load()
	if t == nil {
		return 0, false
	}
	return now.Sub(*t), true
}
