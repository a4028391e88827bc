package sqlstore_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/fastbind/fastbind/internal/pgtest"
)

// rawSQLite opens the file of a database beside the store.
func rawSQLite(t testing.TB, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", strings.ReplaceAll("file:"+strings.TrimPrefix(url, "sqlite://"), " ", "%20"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func pragma(t *testing.T, url, name string) (value string) {
	t.Helper()
	if err := rawSQLite(t, url).QueryRowContext(t.Context(), "pragma "+name).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

// lines runs a query and returns its rows as text.
func lines(t *testing.T, db *sql.DB, text string, args ...any) string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), text, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for rows.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		if err := rows.Scan(values...); err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			fmt.Fprint(&out, *v.(*any), " ")
		}
		out.WriteString("\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// hot are the statements of every request, with literals in the place of
// arguments.
var hot = map[string]string{
	"load family":     "select version from family where id = %s",
	"swap family":     "update family set version = version + 1 where id = %s and version = 1 and ended = 0",
	"load session":    "select id from session where handle = %s",
	"load code":       "select redeemed from code where digest = %s",
	"once":            "delete from once where key = %s",
	"rate":            "select free_at from rate where key = %s",
	"families of end": "update family set ended = 1 where ended = 0 and session = 'x' and (not offline or false)",
	"due families":    "select id from family where ended = 0 and sweep_at <= 5 order by sweep_at limit 10",
	"due sessions":    "select id from session where ended = 0 and sweep_at <= 5 order by sweep_at limit 10",
	"swept families":  "select id from family where ended > 0 and ended <= 5 limit 10",
	"feed":            "select number from feed where number > 5 order by number limit 10",
	"named":           "select 1 from feed where kind = 'jti' and value = 'x' and until >= 5",
	"events":          "select number from audit_event where family = 'f' and family <> '' order by number desc limit 10",
	"pending":         "select 1 from pushed where client = 'c' and used = 0 and expires > 5 limit 10",
}

func TestPlansOfSQLite(t *testing.T) {
	t.Parallel()
	db := rawSQLite(t, sqliteURL(t))
	for name, text := range hot {
		text = strings.ReplaceAll(text, "%s", "x'00'")
		if plan := lines(t, db, "explain query plan "+text); strings.Contains(plan, "SCAN") || strings.Contains(plan, "TEMP B-TREE") || !strings.Contains(plan, "SEARCH") {
			t.Errorf("%s: %s\n%s", name, text, plan)
		}
	}
}

func TestPlansOfPostgreSQL(t *testing.T) {
	t.Parallel()
	for _, e := range engines() {
		if e.name == "PostgreSQL" {
			t.Run(e.name, plansOfPostgreSQL)
		}
	}
}

func plansOfPostgreSQL(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("pgx", pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	// The tables are empty; what is asked for is whether an index can serve.
	if _, err := db.ExecContext(t.Context(), "set enable_seqscan = off"); err != nil {
		t.Fatal(err)
	}
	for name, text := range hot {
		text = strings.ReplaceAll(text, "%s", `'\x00'`)
		if plan := lines(t, db, "explain "+text); strings.Contains(plan, "Seq Scan") || !strings.Contains(plan, "Index") {
			t.Errorf("%s: %s\n%s", name, text, plan)
		}
	}
	// No index holds a column that a rotation writes: an update stays on its page.
	const written = "generation|confirmed|idle_end|rotated|attempt|network|agent|replays|retries|shadows|shadowed_in|alarms|version"
	if found := lines(t, db, "select indexdef from pg_indexes where tablename = 'family' and indexdef ~ '[ (,]("+written+")[ ,)]'"); found != "" {
		t.Errorf("these indexes hold what a rotation writes:\n%s", found)
	}
}
