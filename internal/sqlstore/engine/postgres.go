package engine

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

func (db *DB) openPostgres(ctx context.Context, url string) error {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return errors.New("the URL of the PostgreSQL database is malformed") // err may hold a part of it
	}
	// What the contracts of the stores rest on.
	cfg.RuntimeParams["default_transaction_isolation"] = "read committed"
	// Each statement has one good plan, whatever its arguments are: to plan it
	// once for each connection saves a tenth of the time of a refresh.
	cfg.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "fastbind"
	}
	db.pool = stdlib.OpenDB(*cfg)
	conns := cmp.Or(db.options.MaxConns, 16)
	db.pool.SetMaxOpenConns(conns)
	db.pool.SetMaxIdleConns(conns)
	db.pool.SetConnMaxIdleTime(5 * time.Minute)
	db.Reader = db.pool
	db.Dialect = Dialect{
		Arrays:     true,
		ForUpdate:  " for update",
		ForShare:   " for share",
		SkipLocked: " for update skip locked",
		clock:      "select (extract(epoch from clock_timestamp()) * 1000000)::bigint",
		PushGate:   "select pg_advisory_xact_lock(hashtextextended($1, 9126))",
		Notify:     "select pg_notify('" + channel + "', $1)",
		transact: func(ctx context.Context, fn func(context.Context, Querier) error) error {
			return db.transactPostgres(ctx, nil, fn)
		},
		snapshot: func(ctx context.Context, fn func(context.Context, Querier) error) error {
			return db.transactPostgres(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}, fn)
		},
		write: func(ctx context.Context, fn func(context.Context, Querier) error) error {
			return fn(ctx, db.pool)
		},
		transient: func(err error) bool {
			return slices.Contains([]string{"40001", "40P01"}, postgresCode(err))
		},
		Unique:  func(err error) bool { return postgresCode(err) == "23505" },
		wake:    func(ctx context.Context, f func()) error { return waitForNotifications(ctx, cfg, f) },
		migrate: func(ctx context.Context, fn func(*goose.Provider) error) error { return migratePostgres(cfg, fn) },
		close:   func() error { return nil },
	}
	if err := db.pool.PingContext(ctx); err != nil {
		return errors.Join(err, db.pool.Close())
	}
	return nil
}

// postgresCode returns the SQLSTATE of err; empty if it is not PostgreSQL's.
func postgresCode(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

func (db *DB) transactPostgres(ctx context.Context, o *sql.TxOptions, fn func(context.Context, Querier) error) error {
	tx, err := db.pool.BeginTx(ctx, o)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	defer tx.Rollback()
	if err := fn(ctx, tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit transaction: %w", err)
	}
	return nil
}

// channel is where nodes tell each other that the feed has grown.
const channel = "fastbind_revocations"

// aliveEvery is how often a connection on which nothing arrives is tried.
const aliveEvery = 15 * time.Second

func waitForNotifications(ctx context.Context, cfg *pgx.ConnConfig, f func()) error {
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("connect for notifications: %w", err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing) // nothing is lost with it
	}()
	if _, err := conn.Exec(ctx, "listen "+channel); err != nil {
		return fmt.Errorf("listen for notifications: %w", err)
	}
	f()
	for {
		quiet, cancel := context.WithTimeout(ctx, aliveEvery)
		_, err := conn.WaitForNotification(quiet)
		cancel()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			f()
		case pgconn.Timeout(err):
			alive, cancel := context.WithTimeout(ctx, aliveEvery/3)
			err := conn.Ping(alive)
			cancel()
			if err != nil {
				return fmt.Errorf("wait for notifications: %w", err)
			}
			f() // a ping takes in what arrived meanwhile
		default:
			return fmt.Errorf("wait for notifications: %w", err)
		}
	}
}
