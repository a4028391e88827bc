// Package engine runs transactions on SQLite or PostgreSQL: connections,
// retries, group commit, migrations, and the forms in which values are stored.
// It knows no table but those of its migrations, and no rule of the domain.
//
// The invariant: when [DB.Transact] or [DB.Write] returns nil, what was written
// is durable; when it returns an error that is no failed commit, nothing was
// written.
package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Options are what can be chosen about a database. The zero value is usable.
type Options struct {
	// MaxConns is the most connections to PostgreSQL, besides one that waits
	// for notifications; 0 means 16. SQLite has one writer and a few readers.
	MaxConns int
	// Poll is how often a SQLite file is looked at for what other processes
	// wrote; 0 means 50 milliseconds.
	Poll time.Duration
	// Now returns the time that [DB.Skew] compares with; nil means time.Now.
	Now func() time.Time
	// Watch is told what happens.
	Watch Watch
}

// A DB is an open database. It is safe for concurrent use.
type DB struct {
	Dialect Dialect
	Reader  Querier // runs statements that only read, outside of transactions

	options Options
	pool    *sql.DB // of readers on SQLite, of all on PostgreSQL

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
	db.Reader = watched{db.Reader, db}
	return db, nil
}

// Close waits for writes that are under way and closes the database.
func (db *DB) Close() error {
	return errors.Join(db.Dialect.close(), db.pool.Close())
}

// Ping reports whether the database answers.
func (db *DB) Ping(ctx context.Context) error {
	if _, err := One(ctx, db.Reader, Int, "select 1"); err != nil {
		return fmt.Errorf("ping database: %w", err)
	}
	return nil
}

// Skew returns by how much the clock of the database is ahead of ours. SQLite
// has no clock of its own.
func (db *DB) Skew(ctx context.Context) (time.Duration, error) {
	if db.Dialect.clock == "" {
		return 0, nil
	}
	now := time.Now
	if db.options.Now != nil {
		now = db.options.Now
	}
	before := now()
	theirs, err := One(ctx, db.Reader, Int, db.Dialect.clock)
	if err != nil {
		return 0, fmt.Errorf("read clock of database: %w", err)
	}
	after := now()
	return time.UnixMicro(theirs).Sub(before.Add(after.Sub(before) / 2)), nil
}

// Snapshot runs fn, whose queries all see the database at one moment. It holds
// up nobody.
func (db *DB) Snapshot(ctx context.Context, fn func(ctx context.Context, q Querier) error) error {
	if err := db.Dialect.snapshot(ctx, fn); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	return nil
}

// ErrOwnTools says that the tools of the database copy it.
var ErrOwnTools = errors.New("PostgreSQL is backed up with its own tools: pg_dump or pg_basebackup")

// CopyTo writes a copy of the database, as it is at one moment, into a file that
// is empty, and checks that it is sound. It holds up nobody.
func (db *DB) CopyTo(ctx context.Context, file string) error {
	if db.Dialect.copyTo == nil {
		return ErrOwnTools
	}
	if err := db.Dialect.copyTo(ctx, file); err != nil {
		return fmt.Errorf("copy database: %w", err)
	}
	return nil
}

// Wake calls f, which does not block, once it listens and then soon after the
// feed may have grown, by whomever, until ctx ends or the source is broken.
func (db *DB) Wake(ctx context.Context, f func()) error { return db.Dialect.wake(ctx, f) }
