package refreshtest

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/refresh"
)

func endFamily(t *testing.T, h Harness) {
	f, other := begin(t, h), begin(t, h)
	c := ended(f, "theft")
	if w := swap(t, h, c); !w[0] {
		t.Fatal("Swap at the loaded version was not written")
	}
	want := f
	want.State, want.Version = c.State, f.Version+1
	diff(t, "ended family", load(t, h, f.ID), want)
	diff(t, "another family", load(t, h, other.ID), other)
	diff(t, "notes of the events", notes(t, h, f.ID), []string{"theft"})
	if w := swap(t, h, rotated(f, "late")); w[0] {
		t.Error("a change was written that was decided before the end")
	}
	if got := load(t, h, f.ID); got.Ended.IsZero() || got.Reason != audit.TokenTheft {
		t.Errorf("after a late change: ended %v for %q", got.Ended, got.Reason)
	}
}

// sameSession begins a family of the session of f.
func sameSession(t *testing.T, h Harness, f refresh.Family, offline bool) refresh.Family {
	t.Helper()
	g := NewFamily(epoch())
	g.Session, g.Offline = f.Session, offline
	h.Begin(t, g)
	return load(t, h, g.ID)
}

func endSession(t *testing.T, h Harness) {
	f := begin(t, h)
	sibling, offline, stranger := sameSession(t, h, f, false), sameSession(t, h, f, true), begin(t, h)
	before := sameSession(t, h, f, false)
	left := ended(before, "before")
	left.State.Ended, left.State.Reason = epoch().Add(time.Minute), audit.RevokedByUser
	swap(t, h, left)

	notYet := rotated(f, "alive")
	notYet.EndSession = true // means nothing while the family lives
	swap(t, h, notYet)
	diff(t, "family of the same session, nothing ended", load(t, h, sibling.ID), sibling)

	c := ended(load(t, h, f.ID), "theft")
	c.EndSession = true
	if w := swap(t, h, c); !w[0] {
		t.Fatal("Swap at the loaded version was not written")
	}
	if got := load(t, h, sibling.ID); !got.Ended.Equal(c.State.Ended) || got.Reason != audit.TokenTheft || got.Version <= sibling.Version {
		t.Errorf("family of the same session: ended %v for %q, version %d (was %d); want ended at %v for %q, version raised",
			got.Ended, got.Reason, got.Version, sibling.Version, c.State.Ended, audit.TokenTheft)
	}
	if w := swap(t, h, rotated(sibling, "late")); w[0] {
		t.Error("a change was written that was decided before the session ended")
	}
	diff(t, "family with offline access", load(t, h, offline.ID), offline)
	diff(t, "family of another session", load(t, h, stranger.ID), stranger)
	if got := load(t, h, before.ID); got.Reason != audit.RevokedByUser || !got.Ended.Equal(left.State.Ended) {
		t.Errorf("family that had ended before: ended %v for %q; want %v for %q", got.Ended, got.Reason, left.State.Ended, audit.RevokedByUser)
	}
}

// endSessionInOneBatch checks that a session which ends in the same call as one
// of its families changes takes that family with it, in whatever order they
// stand.
func endSessionInOneBatch(t *testing.T, h Harness) {
	for _, first := range []bool{true, false} {
		f := begin(t, h)
		sibling := sameSession(t, h, f, false)
		theft := ended(f, "theft")
		theft.EndSession = true
		changes := []refresh.Change{theft, rotated(sibling, "sibling")}
		thief := 0
		if !first {
			changes[0], changes[1] = changes[1], changes[0]
			thief = 1
		}
		if w := swap(t, h, changes...); !w[thief] {
			t.Errorf("theft first: %t: the end was not written", first)
		}
		if got := load(t, h, sibling.ID); got.Ended.IsZero() {
			t.Errorf("theft first: %t: a family lives although its session ended in the same call", first)
		}
	}
}

func confirm(t *testing.T, h Harness) {
	f := begin(t, h)
	c := rotated(f, "x")
	c.State.Generation, c.State.Confirmed = 5, 2
	swap(t, h, c)
	f = load(t, h, f.ID)
	over := begin(t, h)
	swap(t, h, ended(over, "over"))
	over = load(t, h, over.ID)
	other := begin(t, h)

	unknown := refresh.NewFamilyID()
	was, version := f, f.Version
	for _, step := range []struct {
		name string
		uses []refresh.Use
		want int64
	}{
		{"Nothing", nil, 2},
		{"Older", []refresh.Use{{Family: f.ID, Generation: 1}}, 2},
		{"Same", []refresh.Use{{Family: f.ID, Generation: 2}}, 2},
		{"Zero", []refresh.Use{{Family: f.ID}}, 2},
		{"NotYet", []refresh.Use{{Family: f.ID, Generation: 6}}, 2},
		{"UnknownAndEnded", []refresh.Use{{Family: unknown, Generation: 1}, {Family: over.ID, Generation: 1}}, 2},
		{"Newer", []refresh.Use{{Family: unknown, Generation: 9}, {Family: f.ID, Generation: 3}, {Family: over.ID, Generation: 1}}, 3},
		{"TwiceTheNewestLast", []refresh.Use{{Family: f.ID, Generation: 3}, {Family: f.ID, Generation: 4}}, 4},
		{"SeveralTheNewestFirst", []refresh.Use{{Family: f.ID, Generation: 5}, {Family: f.ID, Generation: 1}, {Family: f.ID, Generation: 7}}, 5},
		{"Again", []refresh.Use{{Family: f.ID, Generation: 5}}, 5},
	} {
		if err := h.Store.Confirm(t.Context(), step.uses); err != nil {
			t.Fatalf("%s: Confirm: %v", step.name, err)
		}
		got := load(t, h, f.ID)
		if got.Confirmed != step.want {
			t.Fatalf("%s: confirmed %d, want %d", step.name, got.Confirmed, step.want)
		}
		if changed := got.Confirmed != f.Confirmed; (got.Version > version) != changed {
			t.Errorf("%s: version %d after %d; changed: %t", step.name, got.Version, version, changed)
		}
		f, version = got, got.Version
	}
	was.Confirmed, was.Version = f.Confirmed, f.Version
	diff(t, "everything else of the family", f, was)
	diff(t, "ended family", load(t, h, over.ID), over)
	diff(t, "family that was not named", load(t, h, other.ID), other)
}

// confirmDuringSwap checks that a decision made before a confirmation cannot
// undo it.
func confirmDuringSwap(t *testing.T, h Harness) {
	f := begin(t, h)
	if err := h.Store.Confirm(t.Context(), []refresh.Use{{Family: f.ID, Generation: 1}}); err != nil {
		t.Fatalf("Confirm: %v", err)
	}
	if w := swap(t, h, rotated(f, "late")); w[0] {
		t.Error("a change was written that was decided before the confirmation")
	}
	if got := load(t, h, f.ID); got.Confirmed != 1 || got.Generation != f.Generation {
		t.Errorf("confirmed %d in generation %d, want 1 in %d", got.Confirmed, got.Generation, f.Generation)
	}
}

func confirmAndSwapRace(t *testing.T, h Harness) {
	f, g := begin(t, h), begin(t, h)
	var won atomic.Int64
	race(func(i int) {
		families := []refresh.Family{f, g}
		if i%4 < 2 {
			families[0], families[1] = g, f
		}
		if i%2 == 0 {
			uses := []refresh.Use{{Family: families[0].ID, Generation: 1}, {Family: families[1].ID, Generation: 1}}
			if err := h.Store.Confirm(t.Context(), uses); err != nil {
				t.Errorf("Confirm: %v", err)
			}
			return
		}
		written, err := h.Store.Swap(t.Context(), []refresh.Change{rotated(families[0], "racer"), rotated(families[1], "racer")})
		if err != nil {
			t.Errorf("Swap: %v", err)
		}
		for _, w := range written {
			if w {
				won.Add(1)
			}
		}
	})
	var generations int64
	for _, before := range []refresh.Family{f, g} {
		got := load(t, h, before.ID)
		if got.Confirmed != 1 {
			t.Errorf("a confirmation was lost: confirmed %d, want 1", got.Confirmed)
		}
		generations += got.Generation - before.Generation
	}
	if generations != won.Load() {
		t.Errorf("%d changes were reported as written, %d are there", won.Load(), generations)
	}
}
