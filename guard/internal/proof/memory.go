package proof

import (
	"sync"
	"time"

	"github.com/fastbind/fastbind/dpop"
)

// A name stands for a proof: half of its digest.
type name [16]byte

// A memory remembers proofs until nobody accepts them any more. When it is full
// it forgets all of them at once, and takes none any more that it could have
// known.
type memory struct {
	most int

	mu     sync.Mutex
	nonces *dpop.Nonces // of the proofs that it knows
	// byMinute has the proofs by when they can be forgotten. That is the same
	// for the same proof.
	byMinute map[int64]map[name]struct{}
	count    int
	// Proofs that were made before are not known: by their nonces, and by their
	// own time if they have none.
	since, sinceUndated time.Time
	last                time.Time // when the newest nonce of all proofs was issued
}

// forget forgets all proofs, of which none may come again after now.
func (m *memory) forget(now time.Time) {
	if m.last.After(now) { // of another guard, whose clock is ahead
		now = m.last
	}
	m.byMinute, m.count = nil, 0
	if now.After(m.since) {
		m.since = now
	}
	if now.After(m.sinceUndated) {
		m.sinceUndated = now
	}
	m.nonces.Retire(now)
}

// restart goes on with other nonces, after a clock that had come to latest was
// set back.
func (m *memory) restart(nonces *dpop.Nonces, latest time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nonces, m.since, m.last = nonces, time.Time{}, time.Time{}
	if latest.After(m.sinceUndated) {
		m.sinceUndated = latest
	}
}

// knows reports whether p would be known if it had been used before. The proofs
// of other guards, too, if they are remembered together.
func (m *memory) knows(p *Shown) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.covers(p)
}

func (m *memory) covers(p *Shown) bool {
	if p.NonceIssued.IsZero() {
		return p.Issued.After(m.sinceUndated.Add(dpop.Window)) // it may have been used so long before its time
	}
	return p.nonces == m.nonces && p.NonceIssued.After(m.since)
}

// use notes that p is used.
func (m *memory) use(p *Shown, now time.Time) error {
	minute := p.Until.Unix()/60 + 1
	n := name(p.Digest[:len(name{})])
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, used := m.byMinute[minute][n]; used {
		return dpop.ErrReplayed
	}
	if !m.covers(p) {
		return dpop.ErrNonce
	}
	if m.count >= m.most {
		m.sweep(now)
	}
	if m.count >= m.most {
		m.forget(now)
		return dpop.ErrNonce
	}
	if p.NonceIssued.After(m.last) {
		m.last = p.NonceIssued
	}
	names := m.byMinute[minute]
	if names == nil {
		m.sweep(now)
		if m.byMinute == nil {
			m.byMinute = map[int64]map[name]struct{}{}
		}
		names = map[name]struct{}{}
		m.byMinute[minute] = names
	}
	names[n] = struct{}{}
	m.count++
	return nil
}

// drop forgets the proofs whose time is over.
func (m *memory) drop(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sweep(now)
}

func (m *memory) sweep(now time.Time) {
	for minute, names := range m.byMinute {
		if now.Unix()/60 > minute {
			m.count -= len(names)
			delete(m.byMinute, minute)
		}
	}
}

func (m *memory) entries() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count
}
