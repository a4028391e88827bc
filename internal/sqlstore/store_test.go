package sqlstore_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fastbind/fastbind/internal/account"
	"github.com/fastbind/fastbind/internal/account/accounttest"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/authorize"
	"github.com/fastbind/fastbind/internal/authorize/authorizetest"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/client/clienttest"
	"github.com/fastbind/fastbind/internal/code/codetest"
	"github.com/fastbind/fastbind/internal/keys"
	"github.com/fastbind/fastbind/internal/keys/keystest"
	"github.com/fastbind/fastbind/internal/limit"
	"github.com/fastbind/fastbind/internal/limit/limittest"
	"github.com/fastbind/fastbind/internal/pgtest"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/refresh/refreshtest"
	"github.com/fastbind/fastbind/internal/revoke/revoketest"
	"github.com/fastbind/fastbind/internal/session/sessiontest"
	"github.com/fastbind/fastbind/internal/sqlstore"
)

// TestMain runs the tests, or, in a process that a test has started, what that
// test wants from another process.
func TestMain(m *testing.M) {
	if os.Getenv("FASTBIND_TEST_CHILD") == "1" {
		if err := runChild(os.Args[1], os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(pgtest.Main(m))
}

// An engine makes databases of one kind.
type engine struct {
	name  string
	url   func(t testing.TB) string // of a new, migrated database
	empty func(t testing.TB) string // of a new one without a schema
}

// engines are those that the tests run on: SQLite always, PostgreSQL where
// FASTBIND_TEST_POSTGRES is 1.
func engines() []engine {
	all := []engine{{"SQLite", sqliteURL, emptySQLiteURL}}
	if pgtest.Enabled() {
		all = append(all, engine{"PostgreSQL", pgtest.URL, pgtest.Empty})
	}
	return all
}

func emptySQLiteURL(t testing.TB) string {
	return "sqlite://" + filepath.Join(t.TempDir(), "a db.sqlite")
}

func sqliteURL(t testing.TB) string {
	t.Helper()
	url := emptySQLiteURL(t)
	db := open(t, url)
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return url
}

func open(t testing.TB, url string) *sqlstore.DB {
	t.Helper()
	return openWith(t, url, sqlstore.Options{})
}

func openWith(t testing.TB, url string, o sqlstore.Options) *sqlstore.DB {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close database: %v", err)
		}
	})
	return db
}

// onEach runs a test on a fresh database of each engine.
func onEach(t *testing.T, test func(t *testing.T, db *sqlstore.DB)) {
	t.Parallel()
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t, e.url(t)))
		})
	}
}

// events returns a function that lists all events, oldest first.
func events(db *sqlstore.DB) func(t *testing.T) []audit.Event {
	return func(t *testing.T) []audit.Event {
		t.Helper()
		all, err := db.Events(t.Context(), sqlstore.EventQuery{Limit: 10000})
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(all)
		return all
	}
}

// eventsOf is [events] for one family.
func eventsOf(db *sqlstore.DB) func(t *testing.T, id refresh.FamilyID) []audit.Event {
	return func(t *testing.T, id refresh.FamilyID) []audit.Event {
		t.Helper()
		of, err := db.Events(t.Context(), sqlstore.EventQuery{Family: string(id), Limit: 10000})
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(of)
		return of
	}
}

// begin returns a function that stores a family as the redeeming of a code does.
func begin(db *sqlstore.DB) func(t *testing.T, f refresh.Family) {
	return func(t *testing.T, f refresh.Family) { codetest.Begin(t, codeStores(db), f) }
}

func codeStores(db *sqlstore.DB) codetest.Stores {
	return codetest.Stores{
		Codes: db.Codes(), Families: db.Families(), Sessions: db.Sessions(), Accounts: db.Accounts(),
		Clients: db.Clients(), Revocations: db.Revocations(), Events: events(db),
	}
}

// TestContracts runs the contract of every store on each engine, and then looks
// how the statements that it took would run on a database that is full.
func TestContracts(t *testing.T) {
	t.Parallel()
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			var seen statements
			t.Run("Stores", func(t *testing.T) {
				contracts(t, func(t *testing.T) *sqlstore.DB {
					return openWith(t, e.url(t), sqlstore.Options{Watch: sqlstore.Watch{Statement: seen.add}})
				})
			})
			t.Run("Plans", func(t *testing.T) { plans(t, e, &seen) })
		})
	}
}

func contracts(t *testing.T, fresh func(t *testing.T) *sqlstore.DB) {
	for name, run := range map[string]func(t *testing.T){
		"Clients": func(t *testing.T) { clienttest.Run(t, func(t *testing.T) client.Store { return fresh(t).Clients() }) },
		"Accounts": func(t *testing.T) {
			accounttest.Run(t, func(t *testing.T) account.Store { return fresh(t).Accounts() })
		},
		"Keys": func(t *testing.T) { keystest.Run(t, func(t *testing.T) keys.Store { return fresh(t).Keys() }) },
		"Requests": func(t *testing.T) {
			authorizetest.Run(t, func(t *testing.T) authorize.Store { return fresh(t).Requests() })
		},
		"Limits": func(t *testing.T) { limittest.Run(t, func(t *testing.T) limit.Store { return fresh(t).Limits() }) },
		"Sessions": func(t *testing.T) {
			sessiontest.Run(t, func(t *testing.T) sessiontest.Stores {
				db := fresh(t)
				return sessiontest.Stores{
					Sessions: db.Sessions(), Accounts: db.Accounts(), Revocations: db.Revocations(), Events: events(db),
				}
			})
		},
		"Codes": func(t *testing.T) {
			codetest.Run(t, func(t *testing.T) codetest.Stores { return codeStores(fresh(t)) })
		},
		"Families": func(t *testing.T) {
			refreshtest.Run(t, func(t *testing.T) refreshtest.Harness {
				db := fresh(t)
				return refreshtest.Harness{Store: db.Families(), Begin: begin(db), Events: eventsOf(db)}
			})
		},
		"Revocations": func(t *testing.T) {
			revoketest.Run(t, func(t *testing.T) revoketest.Stores {
				db := fresh(t)
				return revoketest.Stores{
					Revocations: db.Revocations(), Families: db.Families(), Sessions: db.Sessions(), Accounts: db.Accounts(),
					Clients: db.Clients(), Requests: db.Requests(), Begin: begin(db), Events: events(db),
				}
			})
		},
		"Sweep": func(t *testing.T) {
			if _, err := fresh(t).Clean(t.Context(), epoch, 0); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t)
		})
	}
}
