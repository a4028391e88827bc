package keystest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/keys"
)

// A Memory is a [keys.Store] that forgets with the process, and whose faults
// can be chosen. The zero value is empty and ready.
type Memory struct {
	mu     sync.Mutex
	set    keys.Set
	events []audit.Event
	fault  error
	after  bool
}

// Fail makes every call answer err from now on, until it is called with nil.
// If after is true, only writes do, and they happen all the same: the answer is
// lost.
func (m *Memory) Fail(err error, after bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault, m.after = err, after
}

// Events returns the events of all writes so far.
func (m *Memory) Events() []audit.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.events)
}

// Keys implements [keys.Store].
func (m *Memory) Keys(ctx context.Context) (keys.Set, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := cmp.Or(ctx.Err(), m.fault); err != nil && !m.after {
		return keys.Set{}, err
	}
	return clone(m.set), nil
}

// Swap implements [keys.Store].
func (m *Memory) Swap(ctx context.Context, s keys.Set, events ...audit.Event) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := cmp.Or(ctx.Err(), m.fault); err != nil && !m.after {
		return false, err
	}
	if !slices.ContainsFunc(s.Keys, func(r keys.Record) bool { return r.State == keys.Signing }) {
		return false, errors.New("key set without a signing key")
	}
	if s.Version != m.set.Version {
		return false, m.fault
	}
	for _, r := range s.Keys {
		if !r.Created.Equal(r.Created.Truncate(time.Second)) || !r.Since.Equal(r.Since.Truncate(time.Second)) {
			return false, fmt.Errorf("key %s: times have to be in whole seconds", r.ID)
		}
	}
	s = clone(s)
	s.Version++
	m.set = s
	m.events = append(m.events, events...)
	return m.fault == nil, m.fault
}

func clone(s keys.Set) keys.Set {
	s.Keys = slices.Clone(s.Keys)
	for i := range s.Keys {
		s.Keys[i].Public = bytes.Clone(s.Keys[i].Public)
		s.Keys[i].Sealed = bytes.Clone(s.Keys[i].Sealed)
	}
	return s
}
