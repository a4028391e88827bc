// Package refreshtest holds the contract of refresh.Store as tests that every
// implementation has to pass. The invariant: what it asks for is in the
// comments of the interface, and no implementation is spared a part.
package refreshtest

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/policy"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/revoke"
	"github.com/fastbind/fastbind/internal/session"
)

// Stores are an implementation of refresh.Store and what it stands beside.
type Stores struct {
	Families    refresh.Store
	Sessions    session.Store
	Revocations revoke.Store
	// Begin stores a family with its client, account and session, where they
	// are missing.
	Begin func(t *testing.T, f refresh.Family)
	// Events returns all events that were written, oldest first.
	Events func(t *testing.T) []audit.Event
}

// Run tests the stores that open returns, each of them empty.
func Run(t *testing.T, open func(t *testing.T) Stores) {
	for name, test := range map[string]func(*testing.T, Stores){
		"KeepsEverything":           keepsEverything,
		"LoadsWhatThereIs":          loadsWhatThereIs,
		"SwapWritesTheState":        swapWritesTheState,
		"SwapRaisesTheVersion":      swapRaisesTheVersion,
		"SwapAtItsVersion":          swapAtItsVersion,
		"SwapOfManyIsEachForItself": swapOfManyIsEachForItself,
		"OneWinnerPerVersion":       oneWinnerPerVersion,
		"OneWinnerInEveryBatch":     oneWinnerInEveryBatch,
		"EventsTravelWithTheChange": eventsTravelWithTheChange,
		"EndTellsVerifiers":         endTellsVerifiers,
		"EndOfTheSession":           endOfTheSession,
		"WhatHasEndedStaysEnded":    whatHasEndedStaysEnded,
		"EndAndRotationAtOnce":      endAndRotationAtOnce,
		"Confirm":                   confirm,
		"ConfirmAtOnce":             confirmAtOnce,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func family(session string) refresh.Family {
	return refresh.Family{
		ID: refresh.NewFamilyID(), Version: 1,
		Grant: refresh.Grant{
			Client: "c", Subject: "1", Session: session, Scope: []string{"openid"}, Begun: epoch,
			AbsoluteEnd: epoch.Add(24 * time.Hour),
		},
		State: refresh.State{Generation: 1, IdleEnd: epoch.Add(time.Hour)},
	}
}

func begun(t *testing.T, s Stores, session string) refresh.Family {
	t.Helper()
	f := family(session)
	s.Begin(t, f)
	return f
}

func load(t *testing.T, s Stores, id refresh.FamilyID) refresh.Family {
	t.Helper()
	found, err := s.Families.Load(t.Context(), []refresh.FamilyID{id})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 {
		t.Fatalf("%d families with one id", len(found))
	}
	return found[0]
}

func swap(t *testing.T, s Stores, changes ...refresh.Change) []bool {
	t.Helper()
	ok, err := s.Families.Swap(t.Context(), changes)
	if err != nil {
		t.Fatal(err)
	}
	if len(ok) != len(changes) {
		t.Fatalf("%d answers to %d changes", len(ok), len(changes))
	}
	return ok
}

// rotated is the change that rotates f.
func rotated(f refresh.Family) refresh.Change {
	n := f.State
	n.Generation++
	n.Rotated = epoch.Add(time.Duration(n.Generation) * 1001 * time.Millisecond)
	return refresh.Change{ID: f.ID, Version: f.Version, State: n}
}

// stolen is the change that ends f for a theft.
func stolen(f refresh.Family) refresh.Change {
	c := refresh.Change{ID: f.ID, Version: f.Version, State: f.State, EndSession: true}
	c.State.Ended, c.State.Reason = epoch.Add(time.Minute), audit.TokenTheft
	c.Events = []audit.Event{{Time: epoch, Kind: audit.Theft, Reason: audit.TokenTheft, Family: string(f.ID), Session: f.Session}}
	return c
}

func keepsEverything(t *testing.T, s Stores) {
	full := family("s")
	full.Grant = refresh.Grant{
		Client: "c", Subject: "1", Session: "s", Offline: true, Scope: []string{"openid", "a\"b"}, Audience: []string{"x", "y"},
		Claims: `{"id_token":{}}`, Nonce: "nonce", ACR: "3", AMR: []string{"hwk", "user"}, AuthTime: epoch.Add(-time.Hour),
		Key: "thumbprint", Begun: epoch, AbsoluteEnd: epoch.Add(24 * time.Hour),
	}
	full.State = state()
	for _, want := range []refresh.Family{full, family("s")} {
		s.Begin(t, want)
		if diff := cmp.Diff(want, load(t, s, want.ID)); diff != "" {
			t.Error(diff)
		}
	}
}

// state is one in which every field is set that a live family can have.
func state() refresh.State {
	return refresh.State{
		Generation: 7, Confirmed: 6, IdleEnd: epoch.Add(2 * time.Hour), Rotated: epoch.Add(1234 * time.Millisecond),
		Attempt: opaque.Digest{0, 1, 2, 0xff}, Network: "2001:db8::1", Agent: "Ünïcode/1 'quoted'", Replays: 3, Retries: 2,
		Shadows: 1, ShadowedIn: 5, Alarms: 4,
	}
}

func loadsWhatThereIs(t *testing.T, s Stores) {
	a, b := begun(t, s, "s"), begun(t, s, "s")
	found, err := s.Families.Load(t.Context(), []refresh.FamilyID{
		a.ID, refresh.NewFamilyID(), b.ID, "", "not an id", refresh.FamilyID(strings.Repeat("z", 22)),
	})
	if err != nil {
		t.Fatal(err)
	}
	byID := func(a, b refresh.Family) int { return strings.Compare(string(a.ID), string(b.ID)) }
	want := []refresh.Family{a, b}
	slices.SortFunc(want, byID)
	slices.SortFunc(found, byID)
	if diff := cmp.Diff(want, found); diff != "" {
		t.Error(diff)
	}
	if found, err := s.Families.Load(t.Context(), nil); err != nil || len(found) != 0 {
		t.Errorf("load nothing: %d families, %v", len(found), err)
	}
}

func swapWritesTheState(t *testing.T, s Stores) {
	f := begun(t, s, "s")
	full, bare := f, f
	full.State, full.Version = state(), 2
	bare.Version = 3
	for _, want := range []refresh.Family{full, bare} {
		if ok := swap(t, s, refresh.Change{ID: f.ID, Version: want.Version - 1, State: want.State}); !ok[0] {
			t.Fatal("a change at the right version was not written")
		}
		if diff := cmp.Diff(want, load(t, s, f.ID)); diff != "" {
			t.Error(diff)
		}
	}
}

func swapRaisesTheVersion(t *testing.T, s Stores) {
	f := begun(t, s, "s")
	if ok := swap(t, s, refresh.Change{ID: f.ID, Version: 1, State: f.State}); !ok[0] {
		t.Fatal("a change to the same state was not written")
	}
	if got := load(t, s, f.ID).Version; got != 2 {
		t.Errorf("version %d, want 2", got)
	}
}

func swapAtItsVersion(t *testing.T, s Stores) {
	f := begun(t, s, "s")
	swap(t, s, rotated(f))
	want := load(t, s, f.ID)
	for _, version := range []int64{0, 1, 3} {
		for name, c := range map[string]refresh.Change{"Rotation": rotated(f), "Theft": stolen(f)} {
			c.Version = version
			if ok := swap(t, s, c); ok[0] {
				t.Errorf("%s of version %d was written to version 2", name, version)
			}
		}
	}
	unknown := rotated(f)
	unknown.ID = refresh.NewFamilyID()
	if ok := swap(t, s, unknown); ok[0] {
		t.Error("a change of an unknown family was written")
	}
	if diff := cmp.Diff(want, load(t, s, f.ID)); diff != "" {
		t.Error(diff)
	}
	if entries, _, err := s.Revocations.Since(t.Context(), 0, epoch, 10); err != nil || len(entries) != 0 {
		t.Errorf("the feed holds %v (%v), want nothing", entries, err)
	}
}

func swapOfManyIsEachForItself(t *testing.T, s Stores) {
	a, stale, theft, b := begun(t, s, "s"), begun(t, s, "s"), begun(t, s, "s2"), begun(t, s, "s")
	swap(t, s, rotated(stale))
	got := swap(t, s, rotated(a), rotated(stale), stolen(theft), rotated(b))
	if diff := cmp.Diff([]bool{true, false, true, true}, got); diff != "" {
		t.Error(diff)
	}
	for id, want := range map[refresh.FamilyID]int64{a.ID: 2, stale.ID: 2, theft.ID: 1, b.ID: 2} {
		if f := load(t, s, id); f.Generation != want || f.Ended.IsZero() != (id != theft.ID) {
			t.Errorf("generation %d, ended %v, want generation %d", f.Generation, f.Ended, want)
		}
	}
}

func oneWinnerPerVersion(t *testing.T, s Stores) {
	f := begun(t, s, "s")
	if won := together(func(i int) bool {
		c := rotated(f)
		c.State.Replays = int64(i)
		return swap(t, s, c)[0]
	}); won != 1 {
		t.Errorf("%d of the swaps at once succeeded, want 1", won)
	}
	if got := load(t, s, f.ID); got.Version != 2 || got.Generation != 2 {
		t.Errorf("version %d and generation %d, want 2 and 2", got.Version, got.Generation)
	}
}

// oneWinnerInEveryBatch swaps the same families in batches of different order.
func oneWinnerInEveryBatch(t *testing.T, s Stores) {
	families := make([]refresh.Family, 8)
	for i := range families {
		families[i] = begun(t, s, "s")
	}
	var won [8]atomic.Int64
	together(func(i int) bool {
		changes := make([]refresh.Change, 8)
		for k := range changes {
			changes[k] = rotated(families[(i+k)%8])
		}
		if i%2 == 0 {
			slices.Reverse(changes)
		}
		for k, ok := range swap(t, s, changes...) {
			if ok {
				won[slices.IndexFunc(families, func(f refresh.Family) bool { return f.ID == changes[k].ID })].Add(1)
			}
		}
		return true
	})
	for i := range won {
		if n := won[i].Load(); n != 1 {
			t.Errorf("%d of the swaps of family %d succeeded, want 1", n, i)
		}
	}
}

func eventsTravelWithTheChange(t *testing.T, s Stores) {
	f := begun(t, s, "s")
	before := len(s.Events(t))
	c := rotated(f)
	c.Events = []audit.Event{
		{
			Time: epoch.Add(time.Millisecond), Kind: audit.Replay, Family: string(f.ID), Note: "first",
			Parties: []audit.Party{
				{Time: epoch, Network: "192.0.2.1", Agent: "a", Key: "k", Generation: 2}, {Time: epoch.Add(time.Second)},
			},
		},
		{Time: epoch, Kind: audit.ForeignKey, Subject: "1", Session: "s", Client: "c"},
	}
	if ok := swap(t, s, c); !ok[0] {
		t.Fatal("not written")
	}
	if ok := swap(t, s, c); ok[0] {
		t.Fatal("written twice")
	}
	if diff := cmp.Diff(c.Events, s.Events(t)[before:]); diff != "" {
		t.Error(diff)
	}
}

func feed(t *testing.T, s Stores) []revoke.Entry {
	t.Helper()
	entries, newest, err := s.Revocations.Since(t.Context(), 0, epoch, 100)
	if err != nil {
		t.Fatal(err)
	}
	if newest != int64(len(entries)) {
		t.Errorf("the newest number is %d after %d entries", newest, len(entries))
	}
	return entries
}

func entry(n int64, kind revoke.Kind, value string) revoke.Entry {
	return revoke.Entry{
		Number: n, Kind: kind, Value: value, Reason: audit.TokenTheft, At: epoch.Add(time.Minute).UnixMilli(),
		Until: epoch.Add(time.Minute + policy.MaxAccessLife + 2*time.Minute).Unix(),
	}
}

func endTellsVerifiers(t *testing.T, s Stores) {
	f, sibling := begun(t, s, "s"), begun(t, s, "s")
	c := stolen(f)
	c.EndSession = false
	if ok := swap(t, s, c); !ok[0] {
		t.Fatal("not written")
	}
	if got := load(t, s, f.ID); !got.Ended.Equal(c.State.Ended) || got.Reason != audit.TokenTheft {
		t.Errorf("ended %v for %q", got.Ended, got.Reason)
	}
	if diff := cmp.Diff([]revoke.Entry{entry(1, revoke.Family, string(f.ID))}, feed(t, s)); diff != "" {
		t.Error(diff)
	}
	if got := load(t, s, sibling.ID); !got.Ended.IsZero() {
		t.Error("a family that nobody ended has ended")
	}
	if live, err := s.Sessions.Sessions(t.Context(), "1"); err != nil || len(live) != 1 {
		t.Errorf("%d sessions live (%v), want 1", len(live), err)
	}
}

func endOfTheSession(t *testing.T, s Stores) {
	f, sibling, elsewhere := begun(t, s, "s"), begun(t, s, "s"), begun(t, s, "s2")
	offline := family("s")
	offline.Offline = true
	s.Begin(t, offline)
	before := len(s.Events(t))
	if ok := swap(t, s, stolen(f)); !ok[0] {
		t.Fatal("not written")
	}
	for name, id := range map[string]refresh.FamilyID{"stolen": f.ID, "sibling": sibling.ID} {
		if got := load(t, s, id); got.Ended.IsZero() || got.Reason != audit.TokenTheft || got.Version != 2 {
			t.Errorf("%s: ended %v for %q, version %d", name, got.Ended, got.Reason, got.Version)
		}
	}
	for name, id := range map[string]refresh.FamilyID{"offline": offline.ID, "elsewhere": elsewhere.ID} {
		if got := load(t, s, id); !got.Ended.IsZero() {
			t.Errorf("%s: ended for %q", name, got.Reason)
		}
	}
	want := []revoke.Entry{entry(1, revoke.Family, string(f.ID)), entry(2, revoke.Session, "s")}
	if diff := cmp.Diff(want, feed(t, s)); diff != "" {
		t.Error(diff)
	}
	live, err := s.Sessions.Sessions(t.Context(), "1")
	if err != nil || len(live) != 1 || live[0].ID != "s2" {
		t.Errorf("live sessions %v (%v), want s2", live, err)
	}
	var kinds []audit.Kind
	for _, e := range s.Events(t)[before:] {
		kinds = append(kinds, e.Kind)
		if e.Reason != audit.TokenTheft {
			t.Errorf("event %s has the reason %q", e.Kind, e.Reason)
		}
	}
	if diff := cmp.Diff([]audit.Kind{audit.Theft, audit.SessionEnded, audit.FamilyEnded}, kinds); diff != "" {
		t.Error(diff)
	}
}

func whatHasEndedStaysEnded(t *testing.T, s Stores) {
	f := begun(t, s, "s")
	swap(t, s, stolen(f))
	want := load(t, s, f.ID)
	for _, c := range []refresh.Change{rotated(f), stolen(f)} {
		c.Version = want.Version
		c.State.Reason = ""
		if ok := swap(t, s, c); ok[0] {
			t.Error("a change of an ended family was written")
		}
	}
	if diff := cmp.Diff(want, load(t, s, f.ID)); diff != "" {
		t.Error(diff)
	}
	if got := feed(t, s); len(got) != 2 {
		t.Errorf("the feed has %d entries, want 2", len(got))
	}
}

// endAndRotationAtOnce lets one family be rotated and ended, in both ways, at
// the same time. Exactly one change wins each version, and the end holds.
func endAndRotationAtOnce(t *testing.T, s Stores) {
	f := begun(t, s, "s")
	var ends atomic.Int64
	together(func(i int) bool {
		for {
			now := load(t, s, f.ID)
			if !now.Ended.IsZero() {
				return false
			}
			switch {
			case i == 0 && now.Generation > 3:
				if swap(t, s, stolen(now))[0] {
					ends.Add(1)
				}
			case i == 1 && now.Generation > 3:
				done, err := s.Revocations.End(t.Context(), revoke.Order{
					Kind: revoke.Session, Value: "s", Reason: audit.Logout, At: epoch.Add(time.Minute),
				})
				if err != nil {
					t.Error(err)
					return false
				}
				ends.Add(int64(done.Sessions))
			default:
				swap(t, s, rotated(now))
			}
		}
	})
	if n := ends.Load(); n != 1 {
		t.Errorf("the session was ended %d times", n)
	}
	if entries := feed(t, s); len(entries) > 2 {
		t.Errorf("the feed has %d entries: %+v", len(entries), entries)
	}
	if got := load(t, s, f.ID); got.Generation != got.Version-1 && got.Generation != got.Version {
		t.Errorf("generation %d in version %d", got.Generation, got.Version)
	}
}

func confirm(t *testing.T, s Stores) {
	f, other, ended := begun(t, s, "s"), begun(t, s, "s"), begun(t, s, "s2")
	c := rotated(f)
	c.State.Generation = 5
	swap(t, s, c, stolen(ended))
	for i, step := range []struct {
		uses               []refresh.Use
		confirmed, version int64
	}{
		{[]refresh.Use{{Family: f.ID, Generation: 3}}, 3, 3},
		{[]refresh.Use{{Family: f.ID, Generation: 3}}, 3, 3},
		{[]refresh.Use{{Family: f.ID, Generation: 2}}, 3, 3},
		{[]refresh.Use{{Family: f.ID, Generation: 6}}, 3, 3}, // there is no such generation
		{nil, 3, 3},
		{[]refresh.Use{
			{Family: refresh.NewFamilyID(), Generation: 1}, {Family: "not an id", Generation: 1},
			{Family: ended.ID, Generation: 1}, {Family: f.ID, Generation: 9}, {Family: f.ID, Generation: 5},
		}, 5, 4},
	} {
		if err := s.Families.Confirm(t.Context(), step.uses); err != nil {
			t.Fatal(err)
		}
		if got := load(t, s, f.ID); got.Confirmed != step.confirmed || got.Version != step.version {
			t.Errorf("step %d: confirmed %d in version %d, want %d in %d", i, got.Confirmed, got.Version, step.confirmed, step.version)
		}
	}
	if got := load(t, s, other.ID); got.Confirmed != 0 || got.Version != 1 {
		t.Errorf("a family that was not named: confirmed %d in version %d", got.Confirmed, got.Version)
	}
	if got := load(t, s, ended.ID); got.Confirmed != 0 {
		t.Error("an ended family was confirmed")
	}
}

// confirmAtOnce confirms and rotates at the same time: nothing that was written
// is lost.
func confirmAtOnce(t *testing.T, s Stores) {
	a, b := begun(t, s, "s"), begun(t, s, "s")
	together(func(i int) bool {
		if i%2 == 0 {
			uses := []refresh.Use{{Family: a.ID, Generation: 1}, {Family: b.ID, Generation: 1}}
			if i%4 == 0 {
				slices.Reverse(uses)
			}
			if err := s.Families.Confirm(t.Context(), uses); err != nil {
				t.Error(err)
			}
			return true
		}
		for {
			now := load(t, s, a.ID)
			if swap(t, s, rotated(now))[0] {
				return true
			}
		}
	})
	got := load(t, s, a.ID)
	if got.Confirmed != 1 || got.Generation != 17 || got.Version != 18 {
		t.Errorf("confirmed %d, generation %d, version %d, want 1, 17, 18", got.Confirmed, got.Generation, got.Version)
	}
}

// together runs fn 32 times at once and returns how often it said true.
func together(fn func(i int) bool) int {
	var won atomic.Int64
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range 32 {
		all.Go(func() {
			<-start
			if fn(i) {
				won.Add(1)
			}
		})
	}
	close(start)
	all.Wait()
	return int(won.Load())
}
