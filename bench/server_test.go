package bench_test

import (
	"database/sql"
	"os"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/apptest"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/pgtest"
)

// BenchmarkStart starts the binary on a database that is there already until it
// says that it is ready, and reports its memory when idle and its size.
func BenchmarkStart(b *testing.B) {
	info, err := os.Stat(binary(b))
	must(b, err)
	for _, e := range engines() {
		b.Run(e.name, func(b *testing.B) {
			dbURL, _ := e.open(b)
			f := newFixture(b, dbURL, few)
			f.serve(b).stop() // the keys are made
			var ready time.Duration
			var memory int64
			for b.Loop() {
				s := f.serve(b)
				ready += s.ready
				time.Sleep(time.Second) // idle: the heap has settled
				n, err := resident(s.pid)
				must(b, err)
				memory = max(memory, n)
				s.stop()
			}
			b.ReportMetric(float64(ready.Milliseconds())/float64(b.N), "ready-ms")
			b.ReportMetric(float64(memory)/(1<<20), "idle-MB")
			b.ReportMetric(float64(info.Size())/(1<<20), "binary-MB")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkWork counts what a refresh costs the database: statements, rows left
// behind, bytes of write-ahead log. PostgreSQL counts them itself.
func BenchmarkWork(b *testing.B) {
	if !pgtest.Enabled() {
		return // make bench runs it
	}
	server := pgtest.New(b)
	dbURL := server.URL(b)
	s := apptest.Start(b, apptest.Options{DatabaseURL: dbURL})
	s.Person("ada")
	s.Register("spa", false, client.Meta{
		RedirectURIs: []string{"http://127.0.0.1/callback"}, GrantTypes: []string{"authorization_code", "refresh_token"},
		Scopes: []string{"openid"}, Trusted: true, Policy: "spa",
	})
	h := s.Browser().Tokens(apptest.App{ID: "spa", Redirect: apptest.Redirect, Scope: "openid"}, "ada")
	h = s.Renew(h)
	db, err := sql.Open("pgx", dbURL)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // the benchmark is over
	before := count(b, db)
	n := 0
	for b.Loop() {
		h = s.Renew(h)
		n++
	}
	after := count(b, db)
	b.ReportMetric(float64(after.commits-before.commits-1)/float64(n), "transactions/op")
	b.ReportMetric(float64(after.wal-before.wal)/float64(n), "wal-bytes/op")
	b.ReportMetric(float64(after.rows-before.rows)/float64(n), "rows-left/op")
}

type counts struct{ commits, wal, rows int64 }

func count(b *testing.B, db *sql.DB) (c counts) {
	b.Helper()
	// Sessions flush their statistics when they have been idle for a second.
	time.Sleep(1200 * time.Millisecond)
	err := db.QueryRowContext(b.Context(), `select xact_commit, pg_current_wal_lsn() - '0/0'::pg_lsn,
		(select count(*) from family) + (select count(*) from code) + (select count(*) from audit_event) + (select count(*) from session)
		from pg_stat_database where datname = current_database()`).Scan(&c.commits, &c.wal, &c.rows)
	if err != nil {
		b.Fatal(err)
	}
	return c
}
