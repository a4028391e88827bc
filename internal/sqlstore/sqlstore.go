package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
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
}

// A DB is an open database. It is safe for concurrent use.
type DB struct {
	dialect dialect
	options Options
	pool    *sql.DB // of readers on SQLite, of all on PostgreSQL
	reader  querier // runs statements outside of transactions

	mu      sync.Mutex
	waiting map[chan struct{}]struct{} // who is told of feed entries of this process; under mu
}

// Open opens the database at url, "sqlite:///path/to/file" or "postgres://…". It
// changes no schema; see [DB.Migrate]. Errors never hold a password.
func Open(ctx context.Context, url string, o Options) (*DB, error) {
	db := &DB{options: o, waiting: make(map[chan struct{}]struct{})}
	scheme, rest, _ := strings.Cut(url, "://")
	var err error
	switch scheme {
	case "sqlite":
		err = db.openSQLite(ctx, rest)
	case "postgres", "postgresql":
		err = db.openPostgres(ctx, url)
	default:
		err = errors.New("a database URL begins with sqlite:// or postgres://")
	}
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	return db, nil
}

// Close waits for writes that are under way and closes the database.
func (db *DB) Close() error {
	return errors.Join(db.dialect.close(), db.pool.Close())
}

// Ping reports whether the database answers.
func (db *DB) Ping(ctx context.Context) error {
	if _, err := one(ctx, db.reader, scanInt, "select 1"); err != nil {
		return fmt.Errorf("ping database: %w", err)
	}
	return nil
}

// Skew returns by how much the clock of the database is ahead of ours. SQLite
// has no clock of its own.
func (db *DB) Skew(ctx context.Context) (time.Duration, error) {
	if db.dialect.clock == "" {
		return 0, nil
	}
	now := time.Now
	if db.options.Now != nil {
		now = db.options.Now
	}
	before := now()
	theirs, err := one(ctx, db.reader, scanInt, db.dialect.clock)
	if err != nil {
		return 0, fmt.Errorf("read clock of database: %w", err)
	}
	after := now()
	return time.UnixMicro(theirs).Sub(before.Add(after.Sub(before) / 2)), nil
}

// Clients returns the store of package client.
func (db *DB) Clients() client.Store { return clients{db} }

// Accounts returns the store of package account.
func (db *DB) Accounts() account.Store { return accounts{db} }

// Sessions returns the store of package session.
func (db *DB) Sessions() session.Store { return sessions{db} }

// Codes returns the store of package code.
func (db *DB) Codes() code.Store { return codes{db} }

// Families returns the store of package refresh.
func (db *DB) Families() refresh.Store { return families{db} }

// Revocations returns the store of package revoke.
func (db *DB) Revocations() revoke.Store { return revocations{db} }

// Keys returns the store of package keys.
func (db *DB) Keys() keys.Store { return keySets{db} }

// Requests returns the store of package authorize.
func (db *DB) Requests() authorize.Store { return requests{db} }

// Limits returns the store of package limit.
func (db *DB) Limits() limit.Store { return limits{db} }
