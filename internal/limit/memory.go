package limit

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/fastbind/fastbind/internal/opaque"
)

// Errors of a Store.
var (
	// ErrRate says that a rate lets nothing through.
	ErrRate = errors.New("the rate lets nothing through")
	// ErrFull says that a [Memory] cannot note one more key.
	ErrFull = errors.New("no room to note another key")
)

// Memory is a [Store] of one process: for floods that each node holds off by
// itself, and for tests. The zero value is ready. It is safe for concurrent use.
//
// It never holds more than Max keys of each sort. When it is full, Take forgets
// the key that is nearest to being forgotten anyway, and Once is [ErrFull].
type Memory struct {
	Max int // 0: 100,000

	mu    sync.Mutex
	free  map[opaque.Digest]time.Time // when all that was counted is paid for
	until map[opaque.Digest]time.Time
	swept time.Time // last look through all keys
}

// Take implements [Store].
func (m *Memory) Take(ctx context.Context, key opaque.Digest, r Rate, now time.Time) (time.Duration, error) {
	if r.Burst < 1 || r.Every <= 0 {
		return 0, ErrRate
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	free, ok := m.free[key]
	slack := time.Duration(r.Burst-1) * r.Every
	if wait := free.Sub(now) - slack; ok && wait > 0 {
		return wait, nil
	}
	if !ok {
		m.room(now)
	}
	if free.Before(now) {
		free = now
	}
	if m.free == nil {
		m.free = make(map[opaque.Digest]time.Time)
	}
	m.free[key] = free.Add(r.Every)
	return 0, nil
}

// Forget implements [Store].
func (m *Memory) Forget(ctx context.Context, key opaque.Digest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.free, key)
	return nil
}

// Once implements [Store].
func (m *Memory) Once(ctx context.Context, key opaque.Digest, now, expires time.Time) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if until, ok := m.until[key]; ok && until.After(now) {
		return false, nil
	}
	if len(m.until) >= m.max() {
		m.sweep(now)
		if len(m.until) >= m.max() {
			return false, ErrFull
		}
	}
	if m.until == nil {
		m.until = make(map[opaque.Digest]time.Time)
	}
	m.until[key] = expires
	return true, nil
}

// Len returns how many keys are held.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.free) + len(m.until)
}

func (m *Memory) max() int {
	if m.Max > 0 {
		return m.Max
	}
	return 100_000
}

// room makes room for one more key of a rate.
func (m *Memory) room(now time.Time) {
	if len(m.free) < m.max() {
		return
	}
	m.sweep(now)
	if len(m.free) < m.max() {
		return
	}
	const sample = 16
	var nearest opaque.Digest
	n := 0
	for key, free := range m.free { // in random order
		if n == 0 || free.Before(m.free[nearest]) {
			nearest = key
		}
		if n++; n == sample {
			break
		}
	}
	delete(m.free, nearest)
}

// sweep drops what has expired, at most once a second.
func (m *Memory) sweep(now time.Time) {
	if d := now.Sub(m.swept); d >= 0 && d < time.Second {
		return
	}
	m.swept = now
	for key, free := range m.free {
		if !free.After(now) {
			delete(m.free, key)
		}
	}
	for key, until := range m.until {
		if !until.After(now) {
			delete(m.until, key)
		}
	}
}
