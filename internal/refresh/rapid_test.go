package refresh_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/refresh/refreshtest"
)

// A machine is one world whose server is real: a Rotator on a store that can
// fail, be backed up and restored.
type machine struct {
	world
	sc      *scene
	id      refresh.FamilyID
	store   *refreshtest.Memory
	fault   refreshtest.Fault // of the next swap
	rotator *refresh.Rotator
	backup  refreshtest.Backup
	events  int
}

func newMachine(sc *scene) *machine {
	m := &machine{world: newWorld(sc), sc: sc, id: refresh.NewFamilyID()}
	m.store = &refreshtest.Memory{Inject: func(method string) refreshtest.Fault {
		if method != "Swap" {
			return refreshtest.Healthy
		}
		return m.fault
	}}
	m.store.Begin(refresh.Family{ID: m.id, Grant: grantOf(sc), State: m.state})
	m.rotator = &refresh.Rotator{Store: m.store, Now: func() time.Time { return start.Add(m.now) }}
	return m
}

// rotate is a judgeFunc that asks the server.
func (m *machine) rotate(t *rapid.T) judgeFunc {
	return func(r refresh.Rules, _ refresh.Family, s refresh.Shown, _ time.Time) refresh.Verdict {
		version := m.store.Family(m.id).Version
		got, err := m.rotator.Rotate(t.Context(), m.id, r, s)
		if err != nil {
			t.Fatalf("Rotate: %v", err)
		}
		f := m.store.Family(m.id)
		if d := cmp.Diff(f, got.Family); d != "" {
			t.Fatalf("the result is not what is stored (-stored +result):\n%s", d)
		}
		if changed := f.Version != version; changed != got.Changed {
			t.Fatalf("version %d after %d, changed: %t", f.Version, version, got.Changed)
		}
		return got.Verdict
	}
}

// act does something that may happen in the scene.
func (m *machine) act(t *rapid.T, a act) {
	possible, err := a.do(&m.world, m.sc, m.rotate(t))
	if err != nil {
		t.Fatalf("%s: %v", a.name, err)
	}
	if !possible {
		return
	}
	switch a.name {
	case backup.name:
		m.backup = m.store.Backup()
	case restore.name:
		m.store.Restore(m.backup)
	case signsOut.name:
		m.store.End(m.id, audit.Logout, start.Add(m.now))
	}
	for who := range actors {
		if a.name == uses(who).name {
			if err := m.store.Confirm(t.Context(), []refresh.Use{{Family: m.id, Generation: int64(m.access[who])}}); err != nil {
				t.Fatalf("Confirm: %v", err)
			}
		}
	}
}

// refreshOnFault lets the owner refresh while the store says that it fails.
func (m *machine) refreshOnFault(t *rapid.T, fault refreshtest.Fault) {
	if m.facts.newest >= maxGeneration {
		return
	}
	before := m.store.Family(m.id)
	s, key := shownBy(m.sc, owner, m.token[owner])
	m.excuse(m.sc, owner, m.token[owner])
	m.fault = fault
	got, err := m.rotator.Rotate(t.Context(), m.id, m.sc.rules, s)
	m.fault = refreshtest.Healthy
	after := m.store.Family(m.id)
	truth := m.facts
	opinion := truth.judge(m.sc, owner, int64(m.token[owner]), key, m.now)
	if err == nil { // a refusal that needs no write
		if got.Changed || got.Answer != refresh.Refused || !cmp.Equal(before, after) {
			t.Fatalf("an answer while the store fails: %+v", got)
		}
		return
	}
	if !errors.Is(err, refreshtest.ErrFault) || !cmp.Equal(got, refresh.Result{}) {
		t.Fatalf("Rotate = %+v, %v; want nothing but the fault", got, err)
	}
	if fault == refreshtest.FailBefore {
		if !cmp.Equal(before, after) {
			t.Fatalf("a write that failed was written:\n%s", cmp.Diff(before, after))
		}
		return
	}
	m.facts, m.state = truth, after.State
	v := refresh.Verdict{
		Answer: opinion.answer, Why: opinion.why, State: after.State, EndSession: opinion.sessions,
		Events: m.store.Events(m.id)[m.events:],
	}
	if err := compare(v, opinion); err != nil {
		t.Fatalf("after a fault: %v", err)
	}
	if opinion.answer != refresh.Refused {
		m.got[m.facts.newest][owner] = true
	}
}

// check compares what is stored with what the world believes.
func (m *machine) check(t *rapid.T) {
	f := m.store.Family(m.id)
	if d := cmp.Diff(m.state, f.State); d != "" {
		t.Fatalf("stored state (-believed +stored):\n%s", d)
	}
	if d := cmp.Diff(grantOf(m.sc), f.Grant); d != "" {
		t.Fatalf("the grant has changed:\n%s", d)
	}
	m.events = len(m.store.Events(m.id))
}

// TestRandomSequences runs long random sequences against a real Rotator.
func TestRandomSequences(t *testing.T) {
	t.Parallel()
	clock := []time.Duration{
		tick, time.Second, almostOverlap, overlap, 2 * time.Minute, almostHour, time.Hour, 2*time.Hour - tick, 2 * time.Hour,
	}
	rapid.Check(t, func(t *rapid.T) {
		list := scenes()
		sc := list[rapid.IntRange(0, len(list)-1).Draw(t, "scene")]
		sc.rules.Absolute = rapid.SampledFrom([]time.Duration{3 * time.Hour, 30 * day}).Draw(t, "absolute")
		m := newMachine(sc)
		actions := map[string]func(*rapid.T){
			"": m.check,
			"time passes": func(t *rapid.T) {
				m.now += rapid.SampledFrom(clock).Draw(t, "by")
			},
			"owner refreshes, the store fails before": func(t *rapid.T) { m.refreshOnFault(t, refreshtest.FailBefore) },
			"owner refreshes, the store fails after":  func(t *rapid.T) { m.refreshOnFault(t, refreshtest.FailAfter) },
		}
		for _, a := range []act{
			refreshes(owner), refreshes(sibling), refreshes(thief), loses, sends, arrives, steals, copies,
			uses(owner), uses(sibling), uses(thief), backup, restore,
		} {
			actions[a.name] = func(t *rapid.T) { m.act(t, a) }
		}
		if rapid.IntRange(0, 3).Draw(t, "quarter") == 0 { // most families should live for long
			actions[signsOut.name] = func(t *rapid.T) { m.act(t, signsOut) }
		}
		t.Repeat(actions)
		m.rotator.Wait()
	})
}
