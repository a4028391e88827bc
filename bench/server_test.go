package bench_test

import (
	"bufio"
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/apptest"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/pgtest"
)

// binary builds the server as it is shipped.
func binary(b *testing.B) string {
	b.Helper()
	out := filepath.Join(b.TempDir(), "fastbind")
	c := exec.CommandContext(b.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "../cmd/fastbind")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := c.CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, text)
	}
	return out
}

// BenchmarkStart starts the binary on a fresh folder until it says that it is
// ready, and reports its memory then and its size.
func BenchmarkStart(b *testing.B) {
	exe := binary(b)
	info, err := os.Stat(exe)
	if err != nil {
		b.Fatal(err)
	}
	var ready time.Duration
	var memory int64
	for b.Loop() {
		c := exec.CommandContext(b.Context(), exe, "serve", "--dev", "--json", "--listen", "127.0.0.1:0")
		out, err := c.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		if err := c.Start(); err != nil {
			b.Fatal(err)
		}
		if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			b.Fatal(err)
		}
		ready += time.Since(began)
		time.Sleep(time.Second) // idle: the keys are made, the heap has settled
		n, err := resident(c.Process.Pid)
		if err != nil {
			b.Fatal(err)
		}
		memory = max(memory, n)
		if err := c.Process.Signal(syscall.SIGTERM); err != nil {
			b.Fatal(err)
		}
		if err := c.Wait(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(ready.Milliseconds())/float64(b.N), "ready-ms")
	b.ReportMetric(float64(memory)/(1<<20), "idle-MB")
	b.ReportMetric(float64(info.Size())/(1<<20), "binary-MB")
	b.ReportMetric(0, "ns/op")
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
