package sqlstore

import (
	"context"
	"time"

	"github.com/fastbind/fastbind/internal/account"
	"github.com/fastbind/fastbind/internal/authorize"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/code"
	"github.com/fastbind/fastbind/internal/keys"
	"github.com/fastbind/fastbind/internal/limit"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/revoke"
	"github.com/fastbind/fastbind/internal/session"
	"github.com/fastbind/fastbind/internal/sqlstore/engine"
	"github.com/fastbind/fastbind/internal/sqlstore/life"
)

// Options are what can be chosen about a database. The zero value is usable.
type Options struct {
	// MaxConns is the most connections to PostgreSQL, besides one that waits
	// for notifications; 0 means 16. SQLite has one writer and a few readers.
	MaxConns int
	// AuditFor is for how long events are kept; 0 means 400 days.
	AuditFor time.Duration
	// Poll is how often a SQLite file is looked at for the revocations of
	// other processes; 0 means 50 milliseconds.
	Poll time.Duration
	// Now returns the time that [DB.Skew] compares with; nil means time.Now.
	Now func() time.Time
	// Watch is told what happens.
	Watch Watch
}

// A Watch is told what happens in a database; none of its functions may block.
type Watch = engine.Watch

// A DB is an open database. It is safe for concurrent use.
type DB struct {
	engine   *engine.DB
	auditFor time.Duration

	// What many requests ask and write shares statements and commits.
	notes  *engine.Shared[note, bool]
	uses   *engine.Shared[[]refresh.Use, struct{}]
	visits *engine.Shared[session.Visit, bool]
	asked  *engine.Shared[life.Asked, bool]
}

// Open opens the database at url, "sqlite:///path/to/file" or "postgres://…". It
// changes no schema; see [DB.Migrate]. Errors never hold a password.
func Open(ctx context.Context, url string, o Options) (*DB, error) {
	e, err := engine.Open(ctx, url, engine.Options{MaxConns: o.MaxConns, Poll: o.Poll, Now: o.Now, Watch: o.Watch})
	if err != nil {
		return nil, err
	}
	return &DB{
		engine: e, auditFor: o.AuditFor,
		notes:  &engine.Shared[note, bool]{Do: limits{DB: e}.once},
		uses:   life.Confirming(e),
		visits: &engine.Shared[session.Visit, bool]{Do: sessions{DB: e}.seen},
		asked:  life.Asking(e),
	}, nil
}

// Migrate brings the schema up to date and returns how many steps that took.
// Any number of nodes may do so at once: one works, the others wait for it.
func (db *DB) Migrate(ctx context.Context) (applied int, err error) { return db.engine.Migrate(ctx) }

// Pending returns how many steps [DB.Migrate] would take.
func (db *DB) Pending(ctx context.Context) (int, error) { return db.engine.Pending(ctx) }

// Ping reports whether the database answers.
func (db *DB) Ping(ctx context.Context) error { return db.engine.Ping(ctx) }

// Skew returns by how much the clock of the database is ahead of ours. SQLite
// has no clock of its own.
func (db *DB) Skew(ctx context.Context) (time.Duration, error) { return db.engine.Skew(ctx) }

// Close waits for what is under way and closes the database.
func (db *DB) Close() error {
	db.asked.Wait()
	db.notes.Wait()
	db.uses.Wait()
	db.visits.Wait()
	return db.engine.Close()
}

// Clients returns the store of package client.
func (db *DB) Clients() client.Store { return clients{db.engine} }

// Accounts returns the store of package account.
func (db *DB) Accounts() account.Store { return accounts{db.engine} }

// Sessions returns the store of package session.
func (db *DB) Sessions() session.Store { return sessions{db.engine, db.visits} }

// Codes returns the store of package code.
func (db *DB) Codes() code.Store { return codes{db.engine} }

// Families returns the store of package refresh.
func (db *DB) Families() refresh.Store { return life.Families{DB: db.engine, Uses: db.uses} }

// Revocations returns the store of package revoke.
func (db *DB) Revocations() revoke.Store { return life.Revocations{DB: db.engine, Asked: db.asked} }

// Keys returns the store of package keys.
func (db *DB) Keys() keys.Store { return keySets{db.engine} }

// Requests returns the store of package authorize.
func (db *DB) Requests() authorize.Store { return requests{db.engine} }

// Limits returns the store of package limit.
func (db *DB) Limits() limit.Store { return limits{db.engine, db.notes} }

// A FamilyQuery says which families to list. One of the fields is set.
type FamilyQuery = life.Query

// FamiliesOf returns the families of a session or a subject, ended ones too,
// newest first, at most 1,000.
func (db *DB) FamiliesOf(ctx context.Context, query FamilyQuery) ([]refresh.Family, error) {
	return life.Families{DB: db.engine}.Of(ctx, query)
}
