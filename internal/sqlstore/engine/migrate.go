package engine

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations
var migrations embed.FS

// Migrate brings the schema up to date and returns how many steps that took.
// Any number of nodes may do so at once: one works, the others wait for it.
func (db *DB) Migrate(ctx context.Context) (applied int, err error) {
	err = db.Dialect.migrate(ctx, func(p *goose.Provider) error {
		results, err := p.Up(ctx)
		applied = len(results)
		return err
	})
	if err != nil {
		return applied, fmt.Errorf("migrate database: %w", err)
	}
	return applied, nil
}

// Pending returns how many steps [DB.Migrate] would take.
func (db *DB) Pending(ctx context.Context) (pending int, err error) {
	err = db.Dialect.migrate(ctx, func(p *goose.Provider) error {
		current, _, err := p.GetVersions(ctx)
		for _, s := range p.ListSources() {
			if s.Version > current {
				pending++
			}
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("look for pending migrations: %w", err)
	}
	return pending, nil
}

func migratePostgres(cfg *pgx.ConnConfig, fn func(*goose.Provider) error) error {
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300))
	if err != nil {
		return err
	}
	return provide(goose.DialectPostgres, "migrations/postgres", stdlib.OpenDB(*cfg), goose.WithSessionLocker(locker), fn)
}

func migrateSQLite(path string, fn func(*goose.Provider) error) error {
	pool, err := sql.Open("sqlite", sqliteName(path, busyWait, "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)"))
	if err != nil {
		return err
	}
	pool.SetMaxOpenConns(1)
	return provide(goose.DialectSQLite3, "migrations/sqlite", pool, goose.WithLocker(&fileLock{path: path + "-migrate"}), fn)
}

// provide calls fn with what migrates pool, and closes pool.
func provide(d goose.Dialect, dir string, pool *sql.DB, locked goose.ProviderOption, fn func(*goose.Provider) error) (err error) {
	defer func() { err = errors.Join(err, pool.Close()) }()
	files, err := fs.Sub(migrations, dir)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(d, pool, files, locked, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	return fn(p)
}

// A fileLock lets one process at a time past. It is an exclusive transaction on
// a database of its own, so it ends with the process that holds it.
type fileLock struct {
	path string
	held *sql.DB
}

// Lock waits for the lock, at most a minute.
func (l *fileLock) Lock(ctx context.Context, _ *sql.DB) error {
	if err := createPrivate(l.path); err != nil {
		return err
	}
	pool, err := sql.Open("sqlite", sqliteName(l.path, "busy_timeout(60000)"))
	if err != nil {
		return err
	}
	pool.SetMaxOpenConns(1)
	if _, err := pool.ExecContext(ctx, "begin exclusive"); err != nil {
		return errors.Join(fmt.Errorf("lock for migration: %w", err), pool.Close())
	}
	l.held = pool
	return nil
}

// Unlock gives the lock back.
func (l *fileLock) Unlock(context.Context, *sql.DB) error { return l.held.Close() }
