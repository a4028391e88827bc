package bench_test

import (
	"bytes"
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/pgtest"
)

func TestMain(m *testing.M) {
	code := pgtest.Main(m)
	if build.exe != "" {
		os.RemoveAll(filepath.Dir(build.exe)) //nolint:errcheck // what is left over is harmless
	}
	os.Exit(code)
}

// An engine is a database that the benchmarks run on.
type engine struct {
	name string
	// open makes a database and returns its URL, empty for one in the folder of
	// the server, and the processor time of a database server.
	open func(tb testing.TB) (url string, cpu func() time.Duration)
}

func engines() []engine {
	all := []engine{{"SQLite", func(testing.TB) (string, func() time.Duration) {
		return "", func() time.Duration { return 0 } // it computes in the process of the server
	}}}
	if pgtest.Enabled() {
		all = append(all, engine{"PostgreSQL", func(tb testing.TB) (string, func() time.Duration) {
			s := pgtest.New(tb)
			pid := s.PID(tb)
			return s.URL(tb), func() time.Duration { return processors(pid) }
		}})
	}
	return all
}

// at are the numbers of requests under way at once.
func at() []int { return []int{1, 16, 64} }

// few is the number of families where that does not matter.
const few = 1000

// BenchmarkRefresh refreshes independent families over HTTP: the whole way from
// the request to the durable answer. The server is a process of its own, as it
// is shipped; cpu-ms/op is its processor time and that of the database. With it
// goes, measured before and after, the bare compare-and-swap: x-bare is the share
// of its rate.
func BenchmarkRefresh(b *testing.B) {
	for _, e := range engines() {
		b.Run(e.name, func(b *testing.B) {
			dbURL, cpu := e.open(b)
			f := newFixture(b, dbURL, few)
			s := f.serve(b)
			bare := newBare(b, dbURL, slices.Max(at()))
			for _, n := range at() {
				b.Run(strconv.Itoa(n), func(b *testing.B) {
					before := bare.rate(b, n)
					m := refreshes(b, f, s, n, b.N, func() time.Duration { return processors(s.pid) + cpu() })
					m.report(b)
					b.ReportMetric(2*m.rate()/(before+bare.rate(b, n)), "x-bare")
				})
			}
		})
	}
}

// refreshes refreshes families total times by n workers.
func refreshes(tb testing.TB, f *fixture, s *served, n, total int, cpu func() time.Duration) *measured {
	each := f.families / int64(n)
	conns := make([]*conn, n)
	turns := make([]int64, n)
	for i := range conns {
		conns[i] = dial(tb, s.address)
	}
	op := func(worker int) {
		// The families of a worker lie all over the table.
		i := 1 + int64(worker) + int64(n)*(turns[worker]*7919%each)
		turns[worker]++
		g := int64(f.current[i])
		f.current[i]++
		status, body, err := conns[worker].post("/token", "", "grant_type=refresh_token&client_id=spa&refresh_token="+f.token(i, g))
		if err != nil || status != 200 || !bytes.Contains(body, []byte(f.token(i, g+1))) {
			tb.Errorf("refresh: %d %s %v", status, body, err)
		}
	}
	for i := range conns { // warm the connections up
		op(i)
	}
	if b, ok := tb.(*testing.B); ok {
		b.ResetTimer()
		defer b.StopTimer()
	}
	return load(n, total, cpu, op)
}

// A measured is what was measured of many operations.
type measured struct {
	took    []time.Duration // of each, sorted
	elapsed time.Duration
	cpu     time.Duration
}

func (m *measured) rate() float64 { return float64(len(m.took)) / m.elapsed.Seconds() }

// quantile returns how long the given share of the operations took at most.
func (m *measured) quantile(share float64) time.Duration {
	return m.took[min(int(float64(len(m.took))*share), len(m.took)-1)]
}

func (m *measured) report(b *testing.B) {
	b.ReportMetric(m.rate(), "op/s")
	b.ReportMetric(float64(m.quantile(0.5).Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(m.quantile(0.99).Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(m.cpu.Microseconds())/1000/float64(len(m.took)), "cpu-ms/op")
}

// load runs an operation total times on n workers; cpu returns the processor
// time used so far by what is measured.
func load(n, total int, cpu func() time.Duration, op func(worker int)) *measured {
	var left atomic.Int64
	left.Store(int64(total))
	took := make([][]time.Duration, n)
	var work sync.WaitGroup
	before, began := cpu(), time.Now()
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
	m := &measured{elapsed: time.Since(began), cpu: cpu() - before}
	m.took = slices.Sorted(slices.Values(slices.Concat(took...)))
	return m
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
		b.Run(e.name, func(b *testing.B) {
			dbURL, cpu := e.open(b)
			bare := newBare(b, dbURL, slices.Max(at()))
			for _, n := range at() {
				b.Run(strconv.Itoa(n), func(b *testing.B) {
					bare.rate(b, n) // connects
					b.ResetTimer()
					load(n, b.N, func() time.Duration { return processor() + cpu() }, func(worker int) { bare.swap(b, worker) }).report(b)
				})
			}
		})
	}
}

// A bare is the table of the bare compare-and-swap, one row for each worker.
type bare struct {
	stmt     *sql.Stmt
	versions []int64
}

func newBare(tb testing.TB, dbURL string, n int) *bare {
	tb.Helper()
	driver, conns := "pgx", n
	if dbURL == "" {
		driver, conns = "sqlite", 1 // one writer: more would wait for its lock
		dbURL = "file:" + (&url.URL{Path: filepath.Join(tb.TempDir(), "bare.db")}).EscapedPath() +
			"?_pragma=busy_timeout(10000)&_pragma=journal_mode(wal)&_pragma=synchronous(full)&_txlock=immediate"
	}
	db, err := sql.Open(driver, dbURL)
	must(tb, err)
	tb.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	ctx := tb.Context()
	_, err = db.ExecContext(ctx, "create table bare (id integer primary key, version bigint not null)")
	must(tb, err)
	for i := range n {
		_, err := db.ExecContext(ctx, "insert into bare values ($1, 0)", i)
		must(tb, err)
	}
	stmt, err := db.PrepareContext(ctx, "update bare set version = version + 1 where id = $1 and version = $2")
	must(tb, err)
	return &bare{stmt: stmt, versions: make([]int64, n)}
}

func (s *bare) swap(tb testing.TB, worker int) {
	if _, err := s.stmt.ExecContext(tb.Context(), worker, s.versions[worker]); err != nil {
		tb.Error(err)
	}
	s.versions[worker]++
}

// rate returns how many swaps a second n workers make.
func (s *bare) rate(tb testing.TB, n int) float64 {
	const total = 4000
	swap := func(worker int) { s.swap(tb, worker) }
	load(n, n, processor, swap) // connects
	return load(n, total, processor, swap).rate()
}
