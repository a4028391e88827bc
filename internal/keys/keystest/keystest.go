// Package keystest holds the contract that every [keys.Store] has to keep, as
// tests, and a store in memory that keeps it.
package keystest

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/keys"
)

// start is when the tests begin: whole seconds, which every store keeps.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Run tests a store against its contract. open returns a new and empty store
// each time it is called, and cleans up with the test.
func Run(t *testing.T, open func(t *testing.T) keys.Store) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s keys.Store)
	}{
		{"Empty", testEmpty},
		{"RoundTrip", testRoundTrip},
		{"Replace", testReplace},
		{"StaleVersion", testStaleVersion},
		{"NoSigningKey", testNoSigningKey},
		{"Concurrent", testConcurrent},
		{"Copies", testCopies},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, open(t))
		})
	}
	t.Run("Isolated", func(t *testing.T) {
		t.Parallel()
		a, b := open(t), open(t)
		swap(t, a, keys.Set{Keys: []keys.Record{record("a", keys.Signing)}})
		if set := load(t, b); len(set.Keys) > 0 || set.Version != 0 {
			t.Errorf("a new store holds %d keys at version %d", len(set.Keys), set.Version)
		}
	})
}

func testEmpty(t *testing.T, s keys.Store) {
	if diff := gocmp.Diff(keys.Set{}, load(t, s), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("an empty store (-want +got):\n%s", diff)
	}
}

func testRoundTrip(t *testing.T, s keys.Store) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	want := []keys.Record{record("a", keys.Signing), record("b", keys.Published), record("c", keys.Retired), record("dé'\"%_", keys.Signing)}
	want[1].Sealed, want[1].Algorithm = every, "RS256"
	want[2].Created = start.Add(-1000 * time.Hour)
	swap(t, s, keys.Set{Keys: want}, event("round trip"))
	got := load(t, s)
	if got.Version == 0 {
		t.Error("a set that was stored has version 0")
	}
	wantKeys(t, got, want...)
}

func testReplace(t *testing.T, s keys.Store) {
	a, b, c := record("a", keys.Signing), record("b", keys.Published), record("c", keys.Signing)
	swap(t, s, keys.Set{Keys: []keys.Record{a, b}})
	seen := map[int64]bool{0: true}
	replace := func(records ...keys.Record) {
		t.Helper()
		set := load(t, s)
		if seen[set.Version] {
			t.Errorf("version %d comes a second time", set.Version)
		}
		seen[set.Version] = true
		set.Keys = records
		swap(t, s, set, event("replace"), event("replace again"))
		wantKeys(t, load(t, s), records...)
	}
	a.State, a.Since = keys.Retired, start.Add(time.Hour)
	b.State, b.Since = keys.Signing, start.Add(time.Hour)
	replace(a, b)
	replace(a, b) // nothing changes but the version
	b.Sealed = []byte("sealed again")
	replace(b)
	replace(b, c)
	replace(a, b)
}

func testStaleVersion(t *testing.T, s keys.Store) {
	a, b := record("a", keys.Signing), record("b", keys.Signing)
	if ok, err := s.Swap(t.Context(), keys.Set{Version: 7, Keys: []keys.Record{a}}); ok || err != nil {
		t.Errorf("swap of a version that never was: %v, %v", ok, err)
	}
	if set := load(t, s); len(set.Keys) > 0 {
		t.Error("it was stored")
	}
	swap(t, s, keys.Set{Keys: []keys.Record{a}})
	first := load(t, s)
	swap(t, s, first)
	for _, version := range []int64{0, first.Version, load(t, s).Version + 1, -1} {
		if ok, err := s.Swap(t.Context(), keys.Set{Version: version, Keys: []keys.Record{b}}, event("stale")); ok || err != nil {
			t.Errorf("swap of version %d: %v, %v, want false and no error", version, ok, err)
		}
	}
	wantKeys(t, load(t, s), a)
}

func testNoSigningKey(t *testing.T, s keys.Store) {
	a := record("a", keys.Signing)
	refuse := func(records ...keys.Record) {
		t.Helper()
		set := load(t, s)
		before := set.Version
		set.Keys = records
		if ok, err := s.Swap(t.Context(), set); ok || err == nil {
			t.Errorf("swap to %d keys, none of which signs: %v, %v, want an error", len(records), ok, err)
		}
		if after := load(t, s).Version; after != before {
			t.Errorf("version went from %d to %d", before, after)
		}
	}
	refuse()
	refuse(record("p", keys.Published), record("r", keys.Retired))
	swap(t, s, keys.Set{Keys: []keys.Record{a}})
	refuse()
	refuse(record("p", keys.Published), record("r", keys.Retired))
	wantKeys(t, load(t, s), a)
}

func testConcurrent(t *testing.T, s keys.Store) {
	const callers = 16
	for range 4 {
		set := load(t, s)
		won := make([]bool, callers)
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				ok, err := s.Swap(t.Context(), keys.Set{Version: set.Version, Keys: []keys.Record{record(fmt.Sprint("k", i), keys.Signing)}})
				if err != nil {
					t.Errorf("caller %d: %v", i, err)
				}
				won[i] = ok
			})
		}
		wg.Wait()
		winner := slices.Index(won, true)
		if winner < 0 || slices.Contains(won[winner+1:], true) {
			t.Fatalf("winners %v, want exactly one", won)
		}
		wantKeys(t, load(t, s), record(fmt.Sprint("k", winner), keys.Signing))
	}
}

func testCopies(t *testing.T, s keys.Store) {
	a := record("a", keys.Signing)
	given := record("a", keys.Signing)
	swap(t, s, keys.Set{Keys: []keys.Record{given}})
	got := load(t, s)
	for _, b := range [][]byte{given.Public, given.Sealed, got.Keys[0].Public, got.Keys[0].Sealed} {
		clear(b)
	}
	got.Keys[0].State = keys.Retired
	wantKeys(t, load(t, s), a)
}

func record(id string, state keys.State) keys.Record {
	return keys.Record{
		ID: id, Algorithm: "ES256", Public: []byte(`{"kid":"` + id + `"}`), Sealed: []byte("sealed " + id),
		State: state, Created: start, Since: start.Add(time.Minute),
	}
}

func event(note string) audit.Event {
	return audit.Event{Time: start, Kind: audit.KeyRotated, Note: note}
}

func load(t *testing.T, s keys.Store) keys.Set {
	t.Helper()
	set, err := s.Keys(t.Context())
	if err != nil {
		t.Fatalf("load keys: %v", err)
	}
	return set
}

func swap(t *testing.T, s keys.Store, set keys.Set, events ...audit.Event) {
	t.Helper()
	if ok, err := s.Swap(t.Context(), set, events...); !ok || err != nil {
		t.Fatalf("swap at version %d: %v, %v, want true", set.Version, ok, err)
	}
}

// wantKeys compares keys in any order.
func wantKeys(t *testing.T, got keys.Set, want ...keys.Record) {
	t.Helper()
	byID := cmpopts.SortSlices(func(a, b keys.Record) int { return cmp.Compare(a.ID, b.ID) })
	if diff := gocmp.Diff(want, got.Keys, byID, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}
