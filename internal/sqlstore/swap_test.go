package sqlstore_test

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/fastbind/fastbind/internal/code/codetest"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/sqlstore"
)

// TestSwapWithoutEvents: changes that only rotate take a shorter way, on
// PostgreSQL one statement for all. Many callers swap the same families in
// batches of different order, round after round; each version has one winner.
func TestSwapWithoutEvents(t *testing.T) {
	onEach(t, func(t *testing.T, db *sqlstore.DB) {
		const n = 8
		var ids []refresh.FamilyID
		for range n {
			f := codetest.Family()
			begin(db)(t, f)
			ids = append(ids, f.ID)
		}
		for round := range int64(5) {
			found, err := db.Families().Load(t.Context(), ids)
			if err != nil || len(found) != n {
				t.Fatalf("%d families, %v", len(found), err)
			}
			won := swapTogether(t, db, found)
			for id, times := range won {
				if times.Load() != 1 {
					t.Errorf("round %d: %d of the swaps of %s succeeded, want 1", round, times.Load(), id)
				}
			}
			after, err := db.Families().Load(t.Context(), ids)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range after {
				if f.Generation != round+2 || f.Version != round+2 {
					t.Errorf("round %d: generation %d in version %d", round, f.Generation, f.Version)
				}
			}
		}
		stale := refresh.Change{ID: ids[0], Version: 1, State: codetest.Family().State}
		unknown := refresh.Change{ID: refresh.NewFamilyID(), Version: 1, State: stale.State}
		ok, err := db.Families().Swap(t.Context(), []refresh.Change{stale, unknown})
		if err != nil || ok[0] || ok[1] {
			t.Errorf("changes of an old version and of nothing: %v, %v", ok, err)
		}
	})
}

func swapTogether(t *testing.T, db *sqlstore.DB, families []refresh.Family) map[refresh.FamilyID]*atomic.Int64 {
	t.Helper()
	won := map[refresh.FamilyID]*atomic.Int64{}
	for _, f := range families {
		won[f.ID] = new(atomic.Int64)
	}
	var callers sync.WaitGroup
	for i := range 32 {
		callers.Go(func() {
			var changes []refresh.Change
			for k := range families {
				f := families[(i+k)%len(families)]
				f.Generation++
				f.Replays = int64(i)
				changes = append(changes, refresh.Change{ID: f.ID, Version: f.Version, State: f.State})
			}
			if i%2 == 0 {
				slices.Reverse(changes)
			}
			ok, err := db.Families().Swap(t.Context(), changes)
			if err != nil {
				t.Error(err)
				return
			}
			for k, c := range changes {
				if ok[k] {
					won[c.ID].Add(1)
				}
			}
		})
	}
	callers.Wait()
	return won
}
