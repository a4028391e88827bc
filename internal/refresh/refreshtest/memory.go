// Package refreshtest holds what the tests of refresh-token families share: the
// contract that every [refresh.Store] must keep ([Run]), and a store in memory
// that keeps it and can be told to fail ([Memory]).
//
// The invariant: whatever passes Run may stand behind a [refresh.Rotator].
package refreshtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/refresh"
)

// A Fault is a way in which a call of a [Memory] goes wrong.
type Fault int

// The faults.
const (
	Healthy    Fault = iota
	FailBefore       // an error; nothing was written
	FailAfter        // an error, although everything was written
	Block            // no answer until the context ends; nothing is written
)

// ErrFault is the error of a call that was told to fail.
var ErrFault = errors.New("the store was told to fail")

// Memory is a [refresh.Store] in memory. The zero value is empty and healthy.
// It is safe for concurrent use.
type Memory struct {
	// Inject is asked before each call how it is to go wrong; nil means that
	// every call is healthy. It is given the name of the method, and may be
	// called concurrently. Set it before the first call.
	Inject func(method string) Fault

	mu       sync.Mutex
	families map[refresh.FamilyID]refresh.Family
	events   []audit.Event
	calls    int
}

// Begin stores a new family at version 1. It panics if there is one with that
// id already.
func (m *Memory) Begin(f refresh.Family) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.families[f.ID]; ok {
		panic(fmt.Sprintf("refreshtest: family %s has begun already", f.ID))
	}
	if m.families == nil {
		m.families = make(map[refresh.FamilyID]refresh.Family)
	}
	f.Version = 1
	m.families[f.ID] = clone(f)
}

// Family returns the family as it is stored; it panics if there is none.
func (m *Memory) Family(id refresh.FamilyID) refresh.Family {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.families[id]
	if !ok {
		panic(fmt.Sprintf("refreshtest: there is no family %s", id))
	}
	return clone(f)
}

// Len returns the number of families.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.families)
}

// Calls returns how often the store was called, whatever became of it.
func (m *Memory) Calls() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls
}

// Events returns the events of a family in the order in which they were
// written.
func (m *Memory) Events(id refresh.FamilyID) []audit.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	var events []audit.Event
	for _, e := range m.events {
		if e.Family == string(id) {
			events = append(events, e)
		}
	}
	return events
}

// End ends a family at now for a reason, as a sign-out does.
func (m *Memory) End(id refresh.FamilyID, why audit.Reason, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.families[id]
	f.Ended, f.Reason = now, why
	f.Version++
	m.families[id] = f
}

// A Backup is what a [Memory] held at one moment.
type Backup struct {
	families map[refresh.FamilyID]refresh.Family
}

// Backup returns what m holds. Events are not part of it.
func (m *Memory) Backup() Backup {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Backup{cloneAll(m.families)}
}

// Restore puts m back to what it held at the time of the backup.
func (m *Memory) Restore(b Backup) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.families = cloneAll(b.families)
}

// Load implements [refresh.Store].
func (m *Memory) Load(ctx context.Context, ids []refresh.FamilyID) ([]refresh.Family, error) {
	var families []refresh.Family
	err := m.call(ctx, "Load", func() {
		for _, id := range ids {
			if f, ok := m.families[id]; ok {
				families = append(families, clone(f))
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return families, nil
}

// Swap implements [refresh.Store].
func (m *Memory) Swap(ctx context.Context, changes []refresh.Change) ([]bool, error) {
	written := make([]bool, len(changes))
	err := m.call(ctx, "Swap", func() {
		seen := make(map[refresh.FamilyID]bool, len(changes))
		for i, c := range changes {
			if seen[c.ID] {
				panic("refreshtest: Swap was given two changes of one family")
			}
			seen[c.ID] = true
			f, ok := m.families[c.ID]
			if !ok || f.Version != c.Version {
				continue
			}
			f.State = c.State
			f.Version++
			m.families[c.ID] = f
			m.events = append(m.events, c.Events...)
			if c.EndSession && !c.State.Ended.IsZero() {
				m.endSession(f)
			}
			written[i] = true
		}
	})
	if err != nil {
		return nil, err
	}
	return written, nil
}

// endSession ends the families of the session of f that were not granted
// offline access.
func (m *Memory) endSession(f refresh.Family) {
	for id, other := range m.families {
		if other.Session == f.Session && !other.Offline && other.Ended.IsZero() {
			other.Ended, other.Reason = f.Ended, f.Reason
			other.Version++
			m.families[id] = other
		}
	}
}

// Confirm implements [refresh.Store].
func (m *Memory) Confirm(ctx context.Context, uses []refresh.Use) error {
	return m.call(ctx, "Confirm", func() {
		for _, u := range uses {
			f, ok := m.families[u.Family]
			if !ok || !f.Ended.IsZero() || u.Generation <= f.Confirmed || u.Generation > f.Generation {
				continue
			}
			f.Confirmed = u.Generation
			f.Version++
			m.families[u.Family] = f
		}
	})
}

func (m *Memory) call(ctx context.Context, method string, do func()) error {
	fault := Healthy
	if m.Inject != nil {
		fault = m.Inject(method)
	}
	if fault == Block {
		<-ctx.Done()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if fault == FailBefore {
		return ErrFault
	}
	do()
	if fault == FailAfter {
		return ErrFault
	}
	return nil
}

// clone returns a copy of f that shares no memory with it.
func clone(f refresh.Family) refresh.Family {
	f.Scope = slices.Clone(f.Scope)
	f.Audience = slices.Clone(f.Audience)
	f.AMR = slices.Clone(f.AMR)
	return f
}

func cloneAll(from map[refresh.FamilyID]refresh.Family) map[refresh.FamilyID]refresh.Family {
	to := make(map[refresh.FamilyID]refresh.Family, len(from))
	for id, f := range from {
		to[id] = clone(f)
	}
	return to
}
