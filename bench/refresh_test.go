package bench_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver for the bare swap
	_ "modernc.org/sqlite"

	"github.com/fastbind/fastbind/internal/apptest"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// An engine is a database that the benchmarks run on.
type engine struct {
	name string
	open func(b *testing.B) (url string, cpu func() time.Duration)
}

func engines() []engine {
	all := []engine{{"SQLite", func(*testing.B) (string, func() time.Duration) {
		return "", func() time.Duration { return 0 } // it computes in this process
	}}}
	if pgtest.Enabled() {
		all = append(all, engine{"PostgreSQL", func(b *testing.B) (string, func() time.Duration) {
			s := pgtest.New(b)
			pid := s.PID(b)
			return s.URL(b), func() time.Duration { return processors(pid) }
		}})
	}
	return all
}

// at are the numbers of requests under way at once.
func at() []int { return []int{1, 16, 64} }

// BenchmarkRefresh refreshes independent families over HTTP: the whole way from
// the request to the durable answer, the load driver in the same process.
func BenchmarkRefresh(b *testing.B) {
	for _, e := range engines() {
		for _, n := range at() {
			b.Run(fmt.Sprintf("%s/%d", e.name, n), func(b *testing.B) { refreshes(b, e, n) })
		}
	}
}

func refreshes(b *testing.B, e engine, n int) {
	dbURL, cpu := e.open(b)
	s := apptest.Start(b, apptest.Options{DatabaseURL: dbURL, Log: io.Discard})
	s.Person("ada")
	s.Register("spa", false, client.Meta{
		RedirectURIs: []string{"http://127.0.0.1/callback"}, GrantTypes: []string{"authorization_code", "refresh_token"},
		Scopes: []string{"openid", "orders:read"}, Audiences: []string{"orders"}, Trusted: true, Policy: "spa",
	})
	app := apptest.App{ID: "spa", Redirect: apptest.Redirect, Scope: "openid orders:read"}
	browser := s.Browser()
	tokens := make([]string, n)
	for i := range tokens {
		tokens[i] = browser.Tokens(app, "ada").Refresh
	}
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n}}
	ctx := b.Context()
	for i := range tokens { // warm the connections up
		tokens[i] = refresh(ctx, b, c, s.URL, tokens[i])
	}
	load(b, n, cpu, func(worker int) { tokens[worker] = refresh(ctx, b, c, s.URL, tokens[worker]) })
}

func refresh(ctx context.Context, b *testing.B, c *http.Client, base, token string) string {
	form := url.Values{"grant_type": {"refresh_token"}, "client_id": {"spa"}, "refresh_token": {token}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		b.Error(err)
		return token
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := c.Do(r)
	if err != nil {
		b.Error(err)
		return token
	}
	defer res.Body.Close() //nolint:errcheck // it is read to the end
	var m struct {
		Refresh string `json:"refresh_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&m); err != nil || res.StatusCode != 200 || m.Refresh == "" || m.Refresh == token {
		b.Errorf("refresh: %d %v", res.StatusCode, err)
	}
	return m.Refresh
}

// load runs b.N operations on n workers and reports the rate, percentiles and
// the processor time of an operation, driver included.
func load(b *testing.B, n int, cpu func() time.Duration, op func(worker int)) {
	var left atomic.Int64
	left.Store(int64(b.N))
	took := make([][]time.Duration, n)
	var work sync.WaitGroup
	before, began := processor()+cpu(), time.Now()
	b.ResetTimer()
	for i := range n {
		work.Go(func() {
			for left.Add(-1) >= 0 {
				at := time.Now()
				op(i)
				took[i] = append(took[i], time.Since(at))
			}
		})
	}
	work.Wait()
	b.StopTimer()
	elapsed, used := time.Since(began), processor()+cpu()-before
	all := slices.Sorted(slices.Values(slices.Concat(took...)))
	b.ReportMetric(float64(len(all))/elapsed.Seconds(), "op/s")
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(used.Microseconds())/1000/float64(len(all)), "cpu-ms/op")
}

// processor returns the processor time of this process.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkBareSwap is the floor of a refresh: one durable compare-and-swap of
// one row for each operation, and nothing else.
func BenchmarkBareSwap(b *testing.B) {
	for _, e := range engines() {
		for _, n := range at() {
			b.Run(fmt.Sprintf("%s/%d", e.name, n), func(b *testing.B) {
				dbURL, cpu := e.open(b)
				swaps(b, dbURL, n, cpu)
			})
		}
	}
}

func swaps(b *testing.B, dbURL string, n int, cpu func() time.Duration) {
	driver, conns := "pgx", n
	if dbURL == "" {
		driver, conns = "sqlite", 1 // one writer: more would wait for its lock
		dbURL = "file:" + filepath.Join(b.TempDir(), "bare.db") + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(wal)&_pragma=synchronous(full)&_txlock=immediate"
	}
	db, err := sql.Open(driver, dbURL)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // the benchmark is over
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	ctx := b.Context()
	if _, err := db.ExecContext(ctx, "create table bare (id integer primary key, version bigint not null)"); err != nil {
		b.Fatal(err)
	}
	for i := range n {
		if _, err := db.ExecContext(ctx, "insert into bare values ($1, 0)", i); err != nil {
			b.Fatal(err)
		}
	}
	stmt, err := db.PrepareContext(ctx, "update bare set version = version + 1 where id = $1 and version = $2")
	if err != nil {
		b.Fatal(err)
	}
	defer stmt.Close() //nolint:errcheck // the benchmark is over
	versions := make([]int64, n)
	load(b, n, cpu, func(worker int) {
		if _, err := stmt.ExecContext(ctx, worker, versions[worker]); err != nil {
			b.Error(err)
		}
		versions[worker]++
	})
}
