package revoketest

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/revoke"
)

func endExpired(t *testing.T, s Stores, now time.Time, limit int) int {
	t.Helper()
	n, err := s.Revocations.EndExpired(t.Context(), now, limit)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// touch moves the idle end of a family, as its use does.
func touch(t *testing.T, s Stores, id refresh.FamilyID, idleEnd time.Time) {
	t.Helper()
	f := load(t, s, id)
	f.State.IdleEnd = idleEnd
	if !swap(t, s, refresh.Change{ID: id, Version: f.Version, State: f.State}) {
		t.Fatal("the change was not written")
	}
}

func expired(t *testing.T, s Stores) {
	a, offline := begin(t, s, "c", "1", "s", false), begin(t, s, "c", "1", "s", true)
	touch(t, s, offline, epoch.Add(48*time.Hour)) // past its absolute end
	if n := endExpired(t, s, epoch.Add(time.Hour-time.Second), 10); n != 0 {
		t.Errorf("%d ended a second before the idle end", n)
	}
	if n := endExpired(t, s, epoch.Add(time.Hour), 10); n != 2 {
		t.Errorf("%d ended at the idle end, want a session and a family", n)
	}
	wantLive(t, s, audit.IdleTimeout, map[refresh.FamilyID]bool{a: false, offline: true})
	wantSessions(t, s, "1")
	if n := endExpired(t, s, epoch.Add(24*time.Hour-time.Second), 10); n != 0 {
		t.Errorf("%d ended a second before the absolute end", n)
	}
	if n := endExpired(t, s, epoch.Add(24*time.Hour), 10); n != 1 {
		t.Errorf("%d ended at the absolute end, want 1", n)
	}
	wantLive(t, s, audit.AbsoluteTimeout, map[refresh.FamilyID]bool{offline: false})
	wantEvents(t, s, map[audit.Kind]int{audit.SessionEnded: 1, audit.FamilyEnded: 2})
	var got []line
	for _, e := range feed(t, s) {
		got = append(got, line{kind: e.Kind, value: e.Value})
	}
	want := []line{{revoke.Session, "s", 0}, {revoke.Family, string(offline), 0}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(line{})); diff != "" {
		t.Error(diff)
	}
}

func expiredInPortions(t *testing.T, s Stores) {
	for range 7 {
		begin(t, s, "c", "1", "s", true)
	}
	end(t, s, revoke.Order{Kind: revoke.Session, Value: "s"})
	now, total := epoch.Add(2*time.Hour), 0
	for {
		n := endExpired(t, s, now, 3)
		if n > 3 {
			t.Errorf("%d ended, want at most 3", n)
		}
		if n == 0 {
			break
		}
		total += n
	}
	if total != 7 {
		t.Errorf("%d ended, want 7", total)
	}
}

// useKeepsAnIdleSession: nobody who uses an application is signed out of it for
// not visiting the server, but the absolute end holds.
func useKeepsAnIdleSession(t *testing.T, s Stores) {
	a := begin(t, s, "c", "1", "s", false)
	touch(t, s, a, epoch.Add(3*time.Hour))
	if n := endExpired(t, s, epoch.Add(2*time.Hour), 10); n != 0 {
		t.Errorf("%d ended although the family is in use", n)
	}
	if n := endExpired(t, s, epoch.Add(3*time.Hour), 10); n != 2 {
		t.Errorf("%d ended after the last use, want 2", n)
	}
	wantLive(t, s, audit.IdleTimeout, map[refresh.FamilyID]bool{a: false})
	wantSessions(t, s, "1")

	b := begin(t, s, "c", "1", "s2", false)
	touch(t, s, b, epoch.Add(48*time.Hour))
	endExpired(t, s, epoch.Add(24*time.Hour), 10)
	wantLive(t, s, audit.AbsoluteTimeout, map[refresh.FamilyID]bool{b: false})
	wantSessions(t, s, "1")
}

func expiredAtOnce(t *testing.T, s Stores) {
	const families = 20
	for range families {
		begin(t, s, "c", "1", "s", true)
	}
	var total atomic.Int64
	together(func(int) {
		for {
			n, err := s.Revocations.EndExpired(t.Context(), epoch.Add(2*time.Hour), 4)
			if err != nil {
				t.Error(err)
			}
			if n == 0 {
				return
			}
			total.Add(int64(n))
		}
	})
	for total.Load() < families+1 { // rows that another call held were passed over
		n := endExpired(t, s, epoch.Add(2*time.Hour), 100)
		total.Add(int64(n))
		if n == 0 {
			break
		}
	}
	if n := total.Load(); n != families+1 {
		t.Errorf("%d ended, want %d families and a session", n, families)
	}
	if n := len(feed(t, s)); n != families+1 {
		t.Errorf("the feed has %d entries, want %d", n, families+1)
	}
}
