package revoked

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

// ErrRevoked is the cause with which contexts are cancelled.
var ErrRevoked = errors.New("token revoked")

const lists = 32

// A registry knows what is running, by the names of its tokens. The zero value
// is empty.
type registry struct {
	count  atomic.Int64
	shards [lists]struct {
		mu    sync.Mutex
		heads map[name]*link
	}
}

// A run is something that runs with a token.
type run struct {
	cancel context.CancelCauseFunc
	token  *Token
	links  [named]link // one for each name, in the list of all with that name
}

// A link is guarded by the shard of its name.
type link struct {
	prev, next *link
	of         *run
}

// Watch returns a context that is cancelled with the cause [ErrRevoked] as soon
// as a revocation names the token, and how to cancel it with another cause. The
// caller must call stop when it is done, once; until then memory is held.
func (s *Set) Watch(ctx context.Context, t *Token) (watched context.Context, cancel context.CancelCauseFunc, stop func()) {
	watched, cancel = context.WithCancelCause(ctx)
	r := &run{cancel: cancel, token: t}
	s.running.add(r)
	// Now it can be found: a revocation that came before is in the set, one
	// that comes later finds it.
	if s.Ended(t) {
		cancel(ErrRevoked)
	}
	return watched, cancel, func() {
		s.running.remove(r)
		cancel(nil)
	}
}

func (g *registry) add(r *run) {
	g.count.Add(1)
	for i, n := range r.token.names {
		if n.hi == 0 {
			continue
		}
		shard := &g.shards[n.lo%lists]
		l := &r.links[i]
		l.of = r
		shard.mu.Lock()
		if shard.heads == nil {
			shard.heads = map[name]*link{}
		}
		if l.next = shard.heads[n]; l.next != nil {
			l.next.prev = l
		}
		shard.heads[n] = l
		shard.mu.Unlock()
	}
}

func (g *registry) remove(r *run) {
	g.count.Add(-1)
	for i, n := range r.token.names {
		if n.hi == 0 {
			continue
		}
		shard := &g.shards[n.lo%lists]
		l := &r.links[i]
		shard.mu.Lock()
		if l.next != nil {
			l.next.prev = l.prev
		}
		switch {
		case l.prev != nil:
			l.prev.next = l.next
		case l.next != nil:
			shard.heads[n] = l.next
		default:
			delete(shard.heads, n)
			if len(shard.heads) == 0 {
				shard.heads = nil // a map never gives back memory
			}
		}
		shard.mu.Unlock()
	}
}

// end cancels what runs with tokens of the name, of any name if it is zero,
// that were issued until before.
func (g *registry) end(n name, before uint32) {
	if g.count.Load() == 0 {
		return
	}
	var ended []*run
	take := func(l *link) {
		for ; l != nil; l = l.next {
			if ends(before, l.of.token.issued) {
				ended = append(ended, l.of)
			}
		}
	}
	for i := range g.shards {
		shard := &g.shards[i]
		if n.hi != 0 && n.lo%lists != uint64(i) {
			continue
		}
		shard.mu.Lock()
		if n.hi != 0 {
			take(shard.heads[n])
		} else {
			for _, l := range shard.heads {
				take(l)
			}
		}
		shard.mu.Unlock()
	}
	for _, r := range ended {
		r.cancel(ErrRevoked)
	}
}
