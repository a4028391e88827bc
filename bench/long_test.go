package bench_test

import (
	"database/sql"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"
)

var longest = flag.Int("refreshes", 20_000, "refreshes of BenchmarkRows, and ten times those of BenchmarkPool")

// BenchmarkRows refreshes 1,000 families, 50 at once so that each has the same
// share, a million times where `make bench` runs it, and counts what the database
// holds afterwards.
func BenchmarkRows(b *testing.B) {
	for _, e := range engines() {
		b.Run(e.name, func(b *testing.B) { long(b, e, few/20, *longest) })
	}
}

// BenchmarkPool refreshes with a pool of one connection to PostgreSQL and with
// one of 60, 64 at once. An error fails it.
func BenchmarkPool(b *testing.B) {
	for _, e := range engines() {
		if e.name != "PostgreSQL" {
			continue
		}
		for _, conns := range []int{1, 60} {
			b.Run(fmt.Sprint(conns), func(b *testing.B) { long(b, e, crowded, *longest/10, fmt.Sprint("FASTBIND_DATABASE_CONNS=", conns)) })
		}
	}
}

// long refreshes total times, whatever b.N is: run it with -benchtime 1x.
func long(b *testing.B, e engine, n, total int, settings ...string) {
	b.Helper()
	dbURL, cpu := e.open(b)
	f := newFixture(b, dbURL, few)
	s := f.serve(b, settings...)
	before := stored(b, f)
	m := refreshes(b, f, s, n, total, func() time.Duration { return processors(s.pid) + cpu() })
	memory, err := resident(s.pid)
	must(b, err)
	s.stop()
	after := stored(b, f)
	m.report(b)
	b.ReportMetric(float64(after.families), "families")
	b.ReportMetric(float64(after.dead), "dead-families")
	b.ReportMetric(float64(after.all-before.all), "rows-left")
	b.ReportMetric(float64(memory)/(1<<20), "loaded-MB")
	b.ReportMetric(0, "ns/op")
}

// A stock is what a database holds: families that were refreshed, families that
// have ended, and all rows but for those about the keys, which the server makes
// when it starts.
type stock struct{ families, dead, all int64 }

func stored(b *testing.B, f *fixture) (s stock) {
	b.Helper()
	driver, dbURL := "pgx", f.dbURL
	if path, ok := strings.CutPrefix(dbURL, "sqlite://"); ok {
		driver, dbURL = "sqlite", "file:"+path
	}
	db, err := sql.Open(driver, dbURL)
	must(b, err)
	defer db.Close() //nolint:errcheck // what was asked is answered
	must(b, db.QueryRowContext(b.Context(), `select (select count(*) from family where generation > 1), (select count(*) from family where ended <> 0),
		(select count(*) from family) + (select count(*) from session) + (select count(*) from code) + (select count(*) from pushed)
		+ (select count(*) from audit_event where kind <> 'key_rotated') + (select count(*) from feed) + (select count(*) from once) + (select count(*) from rate)`).
		Scan(&s.families, &s.dead, &s.all))
	return s
}
