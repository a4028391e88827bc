package sqlstore_test

import (
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fastbind/fastbind/internal/code/codetest"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/sqlstore"
)

// TestMonthInABubble lets a month pass for SQLite: racing rotations each day,
// an hourly sweep, and ends that come when they should. Nothing waits in real
// time, and every goroutine ends with the database.
func TestMonthInABubble(t *testing.T) {
	t.Parallel()
	url := "sqlite://" + filepath.Join(t.TempDir(), "db")
	synctest.Test(t, func(t *testing.T) {
		db, err := sqlstore.Open(t.Context(), url, sqlstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		f := codetest.Family()
		f.Begun, f.AbsoluteEnd, f.IdleEnd = time.Now(), time.Now().Add(31*24*time.Hour), time.Now().Add(48*time.Hour)
		begin(db)(t, f)
		days := 0
		for begun := time.Now(); time.Since(begun) < 40*24*time.Hour; time.Sleep(time.Hour) {
			if _, err := db.Revocations().EndExpired(t.Context(), time.Now(), 100); err != nil {
				t.Fatal(err)
			}
			if _, err := db.Sweep(t.Context(), time.Now(), 0); err != nil {
				t.Fatal(err)
			}
			if int(time.Since(begun).Hours())%24 == 0 && rotateTogether(t, db, f.ID) {
				days++
			}
		}
		if days != 31 {
			t.Errorf("it was rotated on %d days of 31", days)
		}
		found, err := db.Families().Load(t.Context(), []refresh.FamilyID{f.ID})
		if err != nil || len(found) != 1 || found[0].Ended.IsZero() {
			t.Errorf("%+v, %v, want an ended family", found, err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

// rotateTogether rotates a family by many callers at once and reports whether
// it lives; one of them must win.
func rotateTogether(t *testing.T, db *sqlstore.DB, id refresh.FamilyID) bool {
	t.Helper()
	found, err := db.Families().Load(t.Context(), []refresh.FamilyID{id})
	if err != nil || len(found) != 1 {
		t.Fatalf("%d families, %v", len(found), err)
	}
	f := found[0]
	if !f.Live(time.Now()) {
		return false
	}
	f.Generation++
	f.IdleEnd = time.Now().Add(48 * time.Hour)
	var callers sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 20 {
		callers.Go(func() {
			ok, err := db.Families().Swap(t.Context(), []refresh.Change{{ID: id, Version: f.Version, State: f.State}})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			} else if ok[0] {
				won++
			}
		})
	}
	callers.Wait()
	if won != 1 {
		t.Errorf("%d of the swaps at once succeeded, want 1", won)
	}
	return true
}
