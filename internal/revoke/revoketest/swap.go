package revoketest

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/policy"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/revoke"
)

// stolen is the change that ends f for a theft.
func stolen(f refresh.Family) refresh.Change {
	c := refresh.Change{ID: f.ID, Version: f.Version, State: f.State, EndSession: true}
	c.State.Ended, c.State.Reason = at, audit.TokenTheft
	c.Events = []audit.Event{{Time: at, Kind: audit.Theft, Reason: audit.TokenTheft, Family: string(f.ID)}}
	return c
}

func swap(t *testing.T, s Stores, c refresh.Change) bool {
	t.Helper()
	ok, err := s.Families.Swap(t.Context(), []refresh.Change{c})
	if err != nil || len(ok) != 1 {
		t.Fatalf("swap: %v, %v", ok, err)
	}
	return ok[0]
}

// entry is a line of the feed that a theft leaves.
func entry(n int64, kind revoke.Kind, value string) revoke.Entry {
	return revoke.Entry{
		Number: n, Kind: kind, Value: value, Reason: audit.TokenTheft, At: at.UnixMilli(),
		Until: at.Add(policy.MaxAccessLife + 2*time.Minute).Unix(),
	}
}

func theftTellsVerifiers(t *testing.T, s Stores) {
	a, b := begin(t, s, "c", "1", "s", false), begin(t, s, "c", "1", "s", false)
	c := stolen(load(t, s, a))
	c.EndSession = false
	if !swap(t, s, c) {
		t.Fatal("the change was not written")
	}
	wantLive(t, s, audit.TokenTheft, map[refresh.FamilyID]bool{a: false, b: true})
	wantSessions(t, s, "1", "s")
	if diff := cmp.Diff([]revoke.Entry{entry(1, revoke.Family, string(a))}, feed(t, s)); diff != "" {
		t.Error(diff)
	}
}

func theftEndsTheSession(t *testing.T, s Stores) {
	a, b := begin(t, s, "c", "1", "s", false), begin(t, s, "c", "1", "s", false)
	offline, elsewhere := begin(t, s, "c", "1", "s", true), begin(t, s, "c", "1", "s2", false)
	if !swap(t, s, stolen(load(t, s, a))) {
		t.Fatal("the change was not written")
	}
	wantLive(t, s, audit.TokenTheft, map[refresh.FamilyID]bool{a: false, b: false, offline: true, elsewhere: true})
	wantSessions(t, s, "1", "s2")
	want := []revoke.Entry{entry(1, revoke.Family, string(a)), entry(2, revoke.Session, "s")}
	if diff := cmp.Diff(want, feed(t, s)); diff != "" {
		t.Error(diff)
	}
	wantEvents(t, s, map[audit.Kind]int{audit.Theft: 1, audit.SessionEnded: 1, audit.FamilyEnded: 1})
}

// theftAtAnOldVersion: a change that is not written leaves nothing anywhere.
func theftAtAnOldVersion(t *testing.T, s Stores) {
	a := begin(t, s, "c", "1", "s", false)
	c := stolen(load(t, s, a))
	c.Version--
	if swap(t, s, c) {
		t.Fatal("a change of an old version was written")
	}
	end(t, s, revoke.Order{Kind: revoke.Family, Value: string(a)})
	c = stolen(load(t, s, a))
	if swap(t, s, c) {
		t.Error("a family was ended twice")
	}
	wantSessions(t, s, "1", "s")
	wantFeed(t, s, audit.RevokedByAdmin, line{revoke.Family, string(a), 0})
	wantEvents(t, s, map[audit.Kind]int{audit.FamilyEnded: 1})
}

// endAndRotationAtOnce rotates one family and ends it, in both ways, at the
// same time: one end holds and is told once.
func endAndRotationAtOnce(t *testing.T, s Stores) {
	a := begin(t, s, "c", "1", "s", false)
	var ends atomic.Int64
	together(func(i int) {
		for {
			now := load(t, s, a)
			switch {
			case !now.Ended.IsZero():
				return
			case i == 0 && now.Generation > 3:
				if swap(t, s, stolen(now)) {
					ends.Add(1)
				}
			case i == 1 && now.Generation > 3:
				ends.Add(int64(end(t, s, revoke.Order{Kind: revoke.Session, Value: "s"}).Sessions))
			default:
				n := now.State
				n.Generation++
				swap(t, s, refresh.Change{ID: a, Version: now.Version, State: n})
			}
		}
	})
	if n := ends.Load(); n != 1 {
		t.Errorf("the session was ended %d times", n)
	}
	if entries := feed(t, s); len(entries) > 2 {
		t.Errorf("the feed has %d entries: %+v", len(entries), entries)
	}
	if f := load(t, s, a); f.Version != f.Generation+1 {
		t.Errorf("version %d after %d rotations and one end", f.Version, f.Generation-1)
	}
}

// together runs fn 32 times at once.
func together(fn func(i int)) {
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range 32 {
		all.Go(func() {
			<-start
			fn(i)
		})
	}
	close(start)
	all.Wait()
}
