package bench_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/fastbind/fastbind/bench/fill"
	"github.com/fastbind/fastbind/internal/sqlstore"
)

// TestScale shows that the amount of data does not matter: it compares refreshes,
// and the start of the server, on a database of a thousand families with those on
// one of SCALE (20,000 if it says nothing; `make scale` says ten million); and
// refreshes while as many expired rows are cleaned up with those before. It prints
// the ratios of the 99th percentiles; the machine has to be quiet for them to mean
// something, so only grave ones fail.
func TestScale(t *testing.T) {
	many := int64(20_000)
	if n := os.Getenv("SCALE"); n != "" {
		var err error
		if many, err = strconv.ParseInt(n, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) {
			small, _ := atScale(t, e, few)
			large, f := atScale(t, e, many)
			compare(t, fmt.Sprintf("refresh, %d families against %d", many, few), large.refresh, small.refresh)
			t.Logf("%s: start, %d families against %d: %v against %v", e.name, many, few, large.ready, small.ready)
			cleaned(t, f, many)
		})
	}
}

// A scaled is what was measured with one number of families.
type scaled struct {
	refresh *measured
	ready   time.Duration
}

// refreshed is how many refreshes are measured at a time, after as many to warm up.
func refreshed() int {
	if os.Getenv("SCALE") == "" {
		return 500
	}
	return 6000
}

func atScale(t *testing.T, e engine, families int64) (scaled, *fixture) {
	dbURL, _ := e.open(t)
	began := time.Now()
	f := newFixture(t, dbURL, families)
	t.Logf("%s: %d families filled in %v", e.name, families, time.Since(began).Round(time.Millisecond))
	f.serve(t).stop() // makes the keys
	s := f.serve(t)
	defer s.stop()
	refreshes(t, f, s, 16, refreshed(), processor)
	return scaled{refreshes(t, f, s, 16, refreshed(), processor), s.ready}, f
}

// cleaned refreshes while the rows of replay notes and of families that ended long
// ago are deleted, and compares with refreshes when there is nothing to delete.
func cleaned(t *testing.T, f *fixture, rows int64) {
	s := f.serve(t)
	defer s.stop()
	refreshes(t, f, s, 16, refreshed(), processor)
	usual := refreshes(t, f, s, 16, refreshed(), processor)
	s.stop()
	expire(t, f, rows)
	s = f.serve(t)
	defer s.stop()
	refreshes(t, f, s, 16, refreshed(), processor)
	db, err := sqlstore.Open(t.Context(), f.dbURL, sqlstore.Options{})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var cleaning sync.WaitGroup
	cleaning.Go(func() {
		if done, err := db.Clean(ctx, time.Now(), 0); err != nil && ctx.Err() == nil || err == nil && !done {
			t.Errorf("clean up: %v, %v", done, err)
		}
	})
	during := refreshes(t, f, s, 16, refreshed(), processor)
	cancel()
	cleaning.Wait()
	must(t, db.Close())
	compare(t, fmt.Sprintf("refresh, while %d expired rows are cleaned up", rows), during, usual)
}

// expire adds so many rows that have expired: half of them families that ended
// long ago, half of them replay notes.
func expire(t *testing.T, f *fixture, rows int64) {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), f.dbURL, sqlstore.Options{})
	must(t, err)
	now := time.Now()
	_, err = db.Limits().Once(t.Context(), [32]byte{1}, now.Add(-time.Hour), now.Add(-time.Minute))
	must(t, err)
	must(t, db.Close())
	fl, err := fill.Open(t.Context(), f.dbURL)
	must(t, err)
	half := max(rows/2, 1)
	must(t, fl.Copy(t.Context(), "once", "true", half, map[string]string{"key": fl.Digest(half)}))
	must(t, fl.Copy(t.Context(), "family", "true", half, map[string]string{
		"id": fl.Key(half + 1), "session": "'e' || i", "ended": fmt.Sprint(now.Add(-60 * 24 * time.Hour).Unix()), "reason": "'logout'",
	}))
	must(t, fl.Close(t.Context()))
}

func compare(t *testing.T, what string, got, with *measured) {
	t.Helper()
	const grave = 20
	a, b := got.quantile(0.99), with.quantile(0.99)
	ratio := float64(a) / float64(b)
	t.Logf("%s: %s: p99 %v against %v, ratio %.2f", filepath.Base(t.Name()), what, a, b, ratio)
	if ratio > grave {
		t.Errorf("%s: it takes %.1f times as long", what, ratio)
	}
}
