package refreshtest

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/refresh"
)

// A Harness is a store under test. Every field must be set.
type Harness struct {
	Store refresh.Store
	// Begin stores a new family, and whatever the store wants to exist for it:
	// its client, its subject, its session. It is called several times for one
	// session.
	Begin func(t *testing.T, f refresh.Family)
	// Events returns the events of a family in the order in which they were
	// written.
	Events func(t *testing.T, id refresh.FamilyID) []audit.Event
}

// Run checks that a store keeps the contract of [refresh.Store]. It calls open
// once for each part; what open returns must be empty and belong to that part
// alone.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	parts := []struct {
		name string
		run  func(*testing.T, Harness)
	}{
		{"LoadAbsent", loadAbsent},
		{"RoundTrip", roundTrip},
		{"TimesNeverMoveLater", timesNeverMoveLater},
		{"SwapWrites", swapWrites},
		{"SwapOfEqualState", swapOfEqualState},
		{"SwapStale", swapStale},
		{"SwapMany", swapMany},
		{"SwapOneWinner", swapOneWinner},
		{"SwapLosesNoUpdate", swapLosesNoUpdate},
		{"SwapInAnyOrder", swapInAnyOrder},
		{"EndFamily", endFamily},
		{"EndSession", endSession},
		{"EndSessionInOneBatch", endSessionInOneBatch},
		{"Confirm", confirm},
		{"ConfirmTogether", confirmTogether},
		{"ConfirmDuringSwap", confirmDuringSwap},
		{"ConfirmAndSwapRace", confirmAndSwapRace},
	}
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			h := open(t)
			if h.Store == nil || h.Begin == nil || h.Events == nil {
				t.Fatal("every field of the Harness must be set")
			}
			p.run(t, h)
		})
	}
}

// epoch is a time on a whole second: stores keep no more than that.
func epoch() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// NewFamily returns a family with every field set, in its first generation,
// begun at the time given. No two are of one session.
func NewFamily(begun time.Time) refresh.Family {
	return refresh.Family{
		ID: refresh.NewFamilyID(),
		Grant: refresh.Grant{
			Client: "client-1", Subject: "subject-1", Session: opaque.NewID(),
			Scope: []string{"openid", "orders:read"}, Audience: []string{"https://api.example"},
			Claims: `{"id_token":{"email":null}}`, Nonce: "n-0S6_WzA2Mj", ACR: "urn:example:two", AMR: []string{"pwd", "otp"},
			AuthTime: begun.Add(-time.Minute), Key: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
			Begun: begun, AbsoluteEnd: begun.Add(30 * 24 * time.Hour),
		},
		State: refresh.State{
			Generation: 1, IdleEnd: begun.Add(12 * time.Hour),
			Rotated: begun, Attempt: digest("begin"), Network: "192.0.2.7", Agent: "Firefox",
		},
	}
}

func digest(s string) opaque.Digest {
	return opaque.Encode(opaque.Code, fmt.Appendf(nil, "%-8.8s", s)).Digest()
}

func begin(t *testing.T, h Harness) refresh.Family {
	t.Helper()
	f := NewFamily(epoch())
	h.Begin(t, f)
	return load(t, h, f.ID)
}

func load(t *testing.T, h Harness, id refresh.FamilyID) refresh.Family {
	t.Helper()
	got, err := h.Store.Load(t.Context(), []refresh.FamilyID{id})
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	if len(got) != 1 || got[0].ID != id {
		t.Fatalf("Load(%s) returned %d families: %v", id, len(got), got)
	}
	return got[0]
}

func swap(t *testing.T, h Harness, changes ...refresh.Change) []bool {
	t.Helper()
	written, err := h.Store.Swap(t.Context(), changes)
	if err != nil {
		t.Fatalf("Swap: %v", err)
	}
	if len(written) != len(changes) {
		t.Fatalf("Swap reported on %d of %d changes", len(written), len(changes))
	}
	return written
}

// rotated returns the change that a rotation of f makes, with one event that
// carries the note.
func rotated(f refresh.Family, note string) refresh.Change {
	c := refresh.Change{ID: f.ID, Version: f.Version, State: f.State, Events: []audit.Event{event(f, note)}}
	c.State.Generation++
	c.State.Agent = note
	return c
}

// ended returns the change that a theft makes.
func ended(f refresh.Family, note string) refresh.Change {
	c := refresh.Change{ID: f.ID, Version: f.Version, State: f.State, Events: []audit.Event{event(f, note)}}
	c.State.Ended, c.State.Reason = epoch().Add(time.Hour), audit.TokenTheft
	return c
}

func event(f refresh.Family, note string) audit.Event {
	return audit.Event{
		Time: epoch().Add(time.Hour), Kind: audit.Theft, Reason: audit.TokenTheft,
		Subject: f.Subject, Session: f.Session, Family: string(f.ID), Client: f.Client, Note: note,
		Parties: []audit.Party{
			{Time: epoch(), Network: "192.0.2.7", Agent: "Firefox", Key: "key-1", Generation: 2},
			{Time: epoch().Add(time.Hour), Network: "2001:db8::1", Agent: "curl/8 «ü»", Generation: 1},
		},
	}
}

func notes(t *testing.T, h Harness, id refresh.FamilyID) []string {
	t.Helper()
	var notes []string
	for _, e := range h.Events(t, id) {
		if e.Note != "" {
			notes = append(notes, e.Note)
		}
	}
	return notes
}

func diff(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func loadAbsent(t *testing.T, h Harness) {
	f, g := begin(t, h), begin(t, h)
	got, err := h.Store.Load(t.Context(), []refresh.FamilyID{refresh.NewFamilyID(), f.ID, refresh.NewFamilyID(), g.ID})
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	ids := make([]refresh.FamilyID, 0, len(got))
	for _, l := range got {
		ids = append(ids, l.ID)
	}
	slices.Sort(ids)
	want := []refresh.FamilyID{f.ID, g.ID}
	slices.Sort(want)
	diff(t, "loaded families", ids, want)

	for _, ids := range [][]refresh.FamilyID{nil, {refresh.NewFamilyID()}} {
		if got, err := h.Store.Load(t.Context(), ids); err != nil || len(got) != 0 {
			t.Errorf("Load(%v) = %v, %v; want nothing", ids, got, err)
		}
	}
}

func roundTrip(t *testing.T, h Harness) {
	full := NewFamily(epoch())
	full.Offline = true
	full.State = fullState()
	bare := NewFamily(epoch())
	bare.Scope, bare.Audience, bare.AMR = nil, nil, nil
	bare.Claims, bare.Nonce, bare.ACR, bare.Key = "", "", "", ""
	bare.Attempt, bare.Network, bare.Agent = opaque.Digest{}, "", ""
	odd := NewFamily(epoch())
	odd.Scope = []string{"a b", `"`, "", "ü,{}"}
	odd.Agent = "Mozilla/5.0 ('\"\\;-- 日本 %s {})"
	for _, f := range []refresh.Family{full, bare, odd} {
		h.Begin(t, f)
		got := load(t, h, f.ID)
		if got.Version < 1 {
			t.Errorf("version of a stored family = %d, want at least 1", got.Version)
		}
		f.Version = got.Version
		diff(t, "family as loaded", got, f)
	}
	if got := load(t, h, bare.ID); !got.Ended.IsZero() {
		t.Errorf("Ended of a live family = %v, want the zero time", got.Ended)
	}
}

// fullState returns a state with every field set to a value of its own.
func fullState() refresh.State {
	return refresh.State{
		Generation: 1<<40 + 7, Confirmed: 1<<40 + 6, IdleEnd: epoch().Add(3 * time.Hour),
		Rotated: epoch().Add(2 * time.Hour), Attempt: digest("full"), Network: "2001:db8::5", Agent: "Safari",
		Replays: 11, Retries: 3, Shadows: 2, ShadowedIn: 1<<40 + 5, Alarms: 9,
		Ended: epoch().Add(4 * time.Hour), Reason: audit.RevokedByUser,
	}
}

// timesNeverMoveLater checks that what a store rounds, it rounds down: an end
// that moves later lets a token live longer than was granted.
func timesNeverMoveLater(t *testing.T, h Harness) {
	f := NewFamily(epoch().Add(999_999_999 * time.Nanosecond))
	h.Begin(t, f)
	got := load(t, h, f.ID)
	for name, p := range map[string][2]time.Time{
		"AbsoluteEnd": {f.AbsoluteEnd, got.AbsoluteEnd}, "IdleEnd": {f.IdleEnd, got.IdleEnd},
		"Begun": {f.Begun, got.Begun}, "Rotated": {f.Rotated, got.Rotated}, "AuthTime": {f.AuthTime, got.AuthTime},
	} {
		if p[1].After(p[0]) || p[0].Sub(p[1]) >= time.Second {
			t.Errorf("%s = %v, want %v or less than a second before it", name, p[1], p[0])
		}
	}
}

func swapWrites(t *testing.T, h Harness) {
	f, other := begin(t, h), begin(t, h)
	c := refresh.Change{ID: f.ID, Version: f.Version, State: fullState(), Events: []audit.Event{event(f, "one"), event(f, "two")}}
	c.State.Ended, c.State.Reason = time.Time{}, ""
	if w := swap(t, h, c); !w[0] {
		t.Fatal("Swap at the loaded version was not written")
	}
	want := f
	want.State = c.State
	want.Version = f.Version + 1
	diff(t, "family after the swap", load(t, h, f.ID), want)
	diff(t, "another family", load(t, h, other.ID), other)
	diff(t, "notes of the events", notes(t, h, f.ID), []string{"one", "two"})
	got := h.Events(t, f.ID)
	diff(t, "last event", got[len(got)-1], event(f, "two"))
	diff(t, "events of another family", notes(t, h, other.ID), []string(nil))

	if w, err := h.Store.Swap(t.Context(), nil); err != nil || len(w) != 0 {
		t.Errorf("Swap of nothing = %v, %v; want nothing", w, err)
	}
}

func swapOfEqualState(t *testing.T, h Harness) {
	f := begin(t, h)
	if w := swap(t, h, refresh.Change{ID: f.ID, Version: f.Version, State: f.State}); !w[0] {
		t.Fatal("a change to an equal state was not written")
	}
	if got := load(t, h, f.ID).Version; got != f.Version+1 {
		t.Errorf("version after a change to an equal state = %d, want %d", got, f.Version+1)
	}
	if w := swap(t, h, rotated(f, "late")); w[0] {
		t.Error("a change was written that was decided before one to an equal state")
	}
}

func swapStale(t *testing.T, h Harness) {
	f := begin(t, h)
	swap(t, h, rotated(f, "first"))
	want := load(t, h, f.ID)
	early, unknown := rotated(f, "early"), rotated(NewFamily(epoch()), "unknown")
	early.Version = f.Version + 2
	unknown.Version = f.Version
	for name, c := range map[string]refresh.Change{"stale": rotated(f, "stale"), "early": early, "unknown": unknown} {
		if w := swap(t, h, c); w[0] {
			t.Errorf("%s change was written", name)
		}
	}
	diff(t, "family after refused swaps", load(t, h, f.ID), want)
	diff(t, "notes of the events", notes(t, h, f.ID), []string{"first"})
	diff(t, "notes of an unknown family", notes(t, h, unknown.ID), []string(nil))
}

// swapMany checks that each change of a call stands for itself and that the
// answers come in the order of the changes.
func swapMany(t *testing.T, h Harness) {
	const n = 60
	var changes []refresh.Change
	var want []bool
	families := make(map[refresh.FamilyID]refresh.Family)
	for i := range n {
		f := begin(t, h)
		c := rotated(f, fmt.Sprint("change ", i))
		switch i % 3 {
		case 1:
			c.Version += 5
		case 2:
			c.ID = refresh.NewFamilyID()
		}
		if c.ID == f.ID && c.Version == f.Version {
			families[f.ID] = f
		}
		changes = append(changes, c)
		want = append(want, i%3 == 0)
	}
	diff(t, "answers", swap(t, h, changes...), want)
	for i, c := range changes {
		if i%3 == 2 {
			continue
		}
		got := load(t, h, c.ID)
		_, wrote := families[c.ID]
		if (got.Agent == c.State.Agent) != wrote {
			t.Errorf("change %d: agent = %q, written: %t", i, got.Agent, wrote)
		}
		if got := len(notes(t, h, c.ID)); (got == 1) != wrote {
			t.Errorf("change %d: %d events, written: %t", i, got, wrote)
		}
	}
}

// racers is how many callers the concurrent parts let loose.
const racers = 32

// swapOneWinner lets many callers decide on the same version of the same
// families. The one that is told it wrote must be the one whose state and event
// are there.
func swapOneWinner(t *testing.T, h Harness) {
	families := []refresh.Family{begin(t, h), begin(t, h), begin(t, h), begin(t, h)}
	for round := range 3 {
		won := make([]atomic.Int64, len(families))
		winner := make([]atomic.Value, len(families))
		race(func(i int) {
			var changes []refresh.Change
			for j := range families {
				changes = append(changes, rotated(families[(i+j)%len(families)], fmt.Sprint("round ", round, " racer ", i)))
			}
			written, err := h.Store.Swap(t.Context(), changes)
			if err != nil {
				t.Errorf("Swap: %v", err)
				return
			}
			for j, w := range written {
				if k := (i + j) % len(families); w {
					won[k].Add(1)
					winner[k].Store(changes[j].State.Agent)
				}
			}
		})
		for k, f := range families {
			if n := won[k].Load(); n != 1 {
				t.Fatalf("round %d: %d callers were told that they changed version %d, want 1", round, n, f.Version)
			}
			got := load(t, h, f.ID)
			if got.Agent != winner[k].Load() {
				t.Errorf("round %d: state is that of %q, but %q was told that it won", round, got.Agent, winner[k].Load())
			}
			if got.Version != f.Version+1 || got.Generation != f.Generation+1 {
				t.Errorf("round %d: version %d, generation %d; want %d, %d", round, got.Version, got.Generation, f.Version+1, f.Generation+1)
			}
			n := notes(t, h, f.ID)
			if len(n) != round+1 || n[round] != winner[k].Load() {
				t.Errorf("round %d: notes of the events = %q, want one for each round, the last of %q", round, n, winner[k].Load())
			}
			families[k] = got
		}
	}
}

func swapLosesNoUpdate(t *testing.T, h Harness) {
	f := begin(t, h)
	const each = 3
	race(func(i int) {
		for n := 0; n < each; {
			got, err := h.Store.Load(t.Context(), []refresh.FamilyID{f.ID})
			if err != nil || len(got) != 1 {
				t.Errorf("Load = %v, %v", got, err)
				return
			}
			written, err := h.Store.Swap(t.Context(), []refresh.Change{rotated(got[0], fmt.Sprint(i))})
			if err != nil {
				t.Errorf("Swap: %v", err)
				return
			}
			if written[0] {
				n++
			}
		}
	})
	got := load(t, h, f.ID)
	if want := f.Generation + racers*each; got.Generation != want || got.Version != f.Version+racers*each {
		t.Errorf("generation %d, version %d after %d increments; want %d, %d", got.Generation, got.Version, racers*each, want, f.Version+racers*each)
	}
	if got := len(notes(t, h, f.ID)); got != racers*each {
		t.Errorf("%d events, want %d", got, racers*each)
	}
}

// swapInAnyOrder checks that calls which name the same families in opposite
// order all come to an end without an error.
func swapInAnyOrder(t *testing.T, h Harness) {
	var families []refresh.Family
	for range 16 {
		families = append(families, begin(t, h))
	}
	var won atomic.Int64
	race(func(i int) {
		mine := slices.Clone(families)
		if i%2 == 1 {
			slices.Reverse(mine)
		}
		var changes []refresh.Change
		for _, f := range mine {
			changes = append(changes, rotated(f, fmt.Sprint(i)))
		}
		written, err := h.Store.Swap(t.Context(), changes)
		if err != nil {
			t.Errorf("Swap: %v", err)
		}
		for _, w := range written {
			if w {
				won.Add(1)
			}
		}
	})
	if got := won.Load(); got != int64(len(families)) {
		t.Errorf("%d changes were written, want %d", got, len(families))
	}
}

func race(f func(i int)) {
	var callers sync.WaitGroup
	start := make(chan struct{})
	for i := range racers {
		callers.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	callers.Wait()
}
