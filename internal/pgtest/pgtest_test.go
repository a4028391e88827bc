//go:build unix

package pgtest_test

import (
	"os"
	"testing"

	"github.com/fastbind/fastbind/internal/pgtest"
	"github.com/fastbind/fastbind/internal/sqlstore"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// tests holds what needs a server; it is empty where PostgreSQL is not asked for.
func tests() map[string]func(*testing.T) {
	if !pgtest.Enabled() {
		return nil
	}
	return map[string]func(*testing.T){"FreshDatabases": freshDatabases, "Faults": faults}
}

func TestServer(t *testing.T) {
	t.Parallel()
	for name, test := range tests() {
		t.Run(name, test)
	}
}

func freshDatabases(t *testing.T) {
	t.Parallel()
	a, b := pgtest.URL(t), pgtest.URL(t)
	if a == b {
		t.Fatalf("both databases are %s", a)
	}
	for url, want := range map[string]int{a: 0, pgtest.Empty(t): 1} {
		db, err := sqlstore.Open(t.Context(), url, sqlstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := db.Pending(t.Context())
		if err != nil || (got > 0) != (want > 0) {
			t.Errorf("%d migrations pending (%v), want %d", got, err, want)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

func faults(t *testing.T) {
	t.Parallel()
	s := pgtest.New(t)
	db, err := sqlstore.Open(t.Context(), s.URL(t), sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for name, end := range map[string]func(testing.TB){"stopped": s.Stop, "killed": s.Kill} {
		end(t)
		if err := db.Ping(t.Context()); err == nil {
			t.Errorf("a %s server answers", name)
		}
		s.Start(t)
		if err := db.Ping(t.Context()); err != nil {
			t.Errorf("a server that was %s and started again: %v", name, err)
		}
	}
}
