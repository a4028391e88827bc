package sqlstore_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fastbind/fastbind/bench/fill"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/authorize"
	"github.com/fastbind/fastbind/internal/code/codetest"
	"github.com/fastbind/fastbind/internal/limit"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/revoke"
	"github.com/fastbind/fastbind/internal/sqlstore"
)

// statements are those that ran, each with the arguments of its first run.
type statements struct {
	mu  sync.Mutex
	all map[string][]any // under mu
}

func (s *statements) add(text string, args []any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = make(map[string][]any)
	}
	if _, ok := s.all[text]; !ok {
		s.all[text] = slices.Clone(args)
	}
}

// byHand are the statements that read all of a table: what an operator asks for,
// the deletion of a client, and the end of everything.
var byHand = []*regexp.Regexp{
	regexp.MustCompile(`from session where ended = 0\s+order by begun`),
	regexp.MustCompile(`(?s)from audit_event\s+where \(\$1 = '' or subject`),
	regexp.MustCompile(`^select count\(\*\) from \(select id from (session|family) where ended = 0 order by id`),
	regexp.MustCompile(`^update (session|family) set ended = \$1, reason = \$2, version = version \+ 1 where ended = 0$`),
	regexp.MustCompile(`from client order by id$`),
	regexp.MustCompile(`^delete from (code|consent|pushed) where client = \$1$`),
}

var (
	// small are the tables that have a handful of rows, whatever else there is;
	// c, s and k are what queries call them.
	small = []string{"key_set", "signing_key", "feed_counter", "c", "s", "k"}
	// views are over rows that were looked up, or over arguments.
	views = []string{"pending", "locked", "f", "q", "json_each", "CONSTANT"}
)

// plans asks the engine how it would run each of the statements on a database
// that is full, with statistics and nothing forbidden: each looks rows up by an
// index, and none reads a table from end to end.
func plans(t *testing.T, e engine, seen *statements) {
	url := e.url(t)
	full(t, url)
	driver, source, explain := "pgx", url, postgresPlan
	if e.name == "SQLite" {
		driver, source, explain = "sqlite", sqliteSource(url), sqlitePlan
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rotationTouchesNoIndex(t, e, db)
	looked := 0
	for text, args := range seen.all {
		if slices.ContainsFunc(byHand, func(r *regexp.Regexp) bool { return r.MatchString(text) }) {
			continue
		}
		if why, plan := explain(t, db, text, args); why != "" {
			t.Errorf("%s: %s\n%s", why, text, plan)
		}
		looked++
	}
	if looked < 60 {
		t.Errorf("only %d statements were seen", looked)
	}
}

// full fills every table that grows with copies of a row.
func full(t *testing.T, url string) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	db, err := sqlstore.Open(ctx, url, sqlstore.Options{})
	must(err)
	begin(db)(t, codetest.Family()) // client, account, session, code, family, event
	must(db.Requests().Push(ctx, authorize.Pushed{Digest: opaque.Digest{1}, Client: "c", Expires: epoch}, epoch, 9))
	must(db.Requests().Allow(ctx, authorize.Consent{Subject: "1", Client: "c", Given: epoch}, audit.Event{Time: epoch}))
	_, err = db.Limits().Take(ctx, opaque.Digest{1}, limit.Rate{Burst: 1, Every: time.Minute}, epoch)
	must(err)
	_, err = db.Limits().Once(ctx, opaque.Digest{1}, epoch, epoch.Add(time.Minute))
	must(err)
	_, err = db.Revocations().End(ctx, revoke.Order{Kind: revoke.Token, Value: "v", At: epoch})
	must(err)
	must(db.Close())

	const rows = 100_000
	f, err := fill.Open(ctx, url)
	must(err)
	digest := f.Digest(rows)
	for table, set := range map[string]map[string]string{
		"client":  {"id": "'c' || i"},
		"account": {"subject": "'p' || i", "username": "'p' || i"},
		"session": {"id": "'s' || i", "handle": digest, "subject": "'p' || i", "sweep_at": "r.sweep_at + i"},
		"family": {
			"id": f.Key(rows), "session": "'s' || i", "subject": "'p' || i", "client": "'c' || i", "sweep_at": "r.sweep_at + i",
		},
		"code":        {"digest": digest, "family": f.Key(rows), "client": "'c' || i", "subject": "'p' || i", "expires": "r.expires + i"},
		"pushed":      {"digest": digest, "client": "'c' || i", "expires": "r.expires + i"},
		"consent":     {"subject": "'p' || i", "client": "'c' || i"},
		"rate":        {"key": digest, "free_at": "r.free_at + i"},
		"once":        {"key": digest, "until": "r.until + i"},
		"feed":        {"number": "r.number + i", "value": "'v' || i", "until": "r.until + i"},
		"audit_event": {"number": "r.number + 1000 + i", "subject": "'p' || i", "session": "'s' || i", "family": "'f' || i", "at": fmt.Sprint(epoch.UnixMilli(), " + i")},
	} {
		must(f.Copy(ctx, table, "true", rows, set))
	}
	must(f.Close(ctx))
}

// sqlitePlan says what is wrong with a plan, and what the plan is.
func sqlitePlan(t *testing.T, db *sql.DB, text string, args []any) (why, plan string) {
	plan = lines(t, db, "explain query plan "+text, args...)
	for line := range strings.Lines(plan) {
		_, what, scans := strings.Cut(line, "SCAN ")
		if !scans {
			continue
		}
		table, _, _ := strings.Cut(what, " ")
		if !slices.Contains(small, table) && !slices.Contains(views, table) {
			return "it reads all of " + table, plan
		}
	}
	return "", plan
}

// A node is a part of a plan of PostgreSQL.
type node struct {
	Type     string `json:"Node Type"`
	Relation string `json:"Relation Name"`
	Cond     string `json:"Index Cond"`
	Plans    []node
}

// postgresPlan says what is wrong with a plan, and what the plan is.
func postgresPlan(t *testing.T, db *sql.DB, text string, args []any) (why, plan string) {
	if strings.HasPrefix(text, "select pg_") {
		return "", ""
	}
	plan = lines(t, db, "explain (format json) "+text, args...)
	var found []struct{ Plan node }
	if err := json.Unmarshal([]byte(plan), &found); err != nil {
		t.Fatalf("%s: %v", plan, err)
	}
	var look func(n node)
	look = func(n node) {
		switch {
		case slices.Contains(small, n.Relation):
		case n.Type == "Seq Scan":
			why = "it reads all of " + n.Relation
		case strings.Contains(n.Type, "Index") && n.Cond == "":
			why = "it reads all of an index of " + n.Relation
		}
		for _, p := range n.Plans {
			look(p)
		}
	}
	look(found[0].Plan)
	return why, plan
}

// sqliteSource names the file of a database for its driver.
func sqliteSource(url string) string {
	return strings.ReplaceAll("file:"+strings.TrimPrefix(url, "sqlite://"), " ", "%20")
}

// rawSQLite opens the file of a database beside the store.
func rawSQLite(t testing.TB, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", sqliteSource(url))
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
		t.Fatalf("%s: %v", text, err)
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
			values[i] = new(sql.RawBytes)
		}
		if err := rows.Scan(values...); err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			fmt.Fprintf(&out, "%s ", *v.(*sql.RawBytes))
		}
		out.WriteString("\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// rotationTouchesNoIndex: no index holds a column that a rotation writes, so that
// on PostgreSQL an update stays on its page.
func rotationTouchesNoIndex(t *testing.T, e engine, db *sql.DB) {
	t.Helper()
	indexes := "select indexdef from pg_indexes where tablename = 'family'"
	if e.name == "SQLite" {
		indexes = "select sql from sqlite_master where type = 'index' and tbl_name = 'family' and sql is not null"
	}
	found := lines(t, db, indexes)
	written := regexp.MustCompile("[ (,](generation|confirmed|idle_end|rotated|attempt|network|agent|replays|retries|shadows|shadowed_in|alarms|version)[ ,)]")
	if written.MatchString(found) || !strings.Contains(found, "family_session") {
		t.Errorf("these indexes hold what a rotation writes:\n%s", found)
	}
}
