package sqlstore_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/pgtest"
	"github.com/fastbind/fastbind/internal/sqlstore"
)

// A witness notes what a database tells.
type witness struct {
	mu     sync.Mutex
	events []audit.Event
	faults int
}

func (w *witness) watch() sqlstore.Watch {
	return sqlstore.Watch{
		Committed: func(e []audit.Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, e...)
		},
		Fault: func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.faults++
		},
	}
}

// TestWatch: what was committed is told once, with its number, and nothing of
// what was not; a database that does not answer is a fault.
func TestWatch(t *testing.T) {
	t.Parallel()
	urls := map[string]string{"SQLite": "sqlite://" + t.TempDir() + "/test.db"}
	if pgtest.Enabled() {
		urls["PostgreSQL"] = pgtest.Empty(t)
	}
	for name, url := range urls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &witness{}
			db, err := sqlstore.Open(t.Context(), url, sqlstore.Options{Watch: w.watch()})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			now := time.UnixMilli(1_800_000_000_123)
			event := func(subject string) audit.Event {
				return audit.Event{Time: now, Kind: audit.SignInFailed, Subject: subject}
			}
			if err := db.Record(t.Context(), event("ada"), event("bob")); err != nil {
				t.Fatal(err)
			}
			if enabled, err := db.Enable(t.Context(), "nobody", event("nobody")); enabled || err != nil {
				t.Fatal(enabled, err)
			}
			gone, cancel := context.WithCancel(t.Context())
			cancel()
			if err := db.Record(gone, event("gone")); err == nil {
				t.Error("recorded although nobody waits")
			}
			stored, err := db.EventsAfter(t.Context(), 0, 10)
			if err != nil {
				t.Fatal(err)
			}
			same := func(a, b audit.Event) bool {
				return a.Number == b.Number && a.Number > 0 && a.Subject == b.Subject && a.Time.Equal(b.Time)
			}
			if len(stored) != 2 || !slices.EqualFunc(w.events, stored, same) {
				t.Errorf("told %+v, stored %+v", w.events, stored)
			}
			if rest, err := db.EventsAfter(t.Context(), stored[0].Number, 10); err != nil || len(rest) != 1 || rest[0].Subject != "bob" {
				t.Errorf("after the first: %+v, %v", rest, err)
			}
			if w.faults != 0 {
				t.Errorf("%d faults of a database that works", w.faults)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if err := db.Record(t.Context(), event("late")); err == nil {
				t.Error("a closed database took an event")
			}
			if _, err := db.EventsAfter(t.Context(), 0, 1); err == nil {
				t.Error("a closed database was read")
			}
			if w.faults != 2 || len(w.events) != 2 {
				t.Errorf("%d faults, %d events, want 2 and 2", w.faults, len(w.events))
			}
		})
	}
}
