package engine

import (
	"context"
	"database/sql"
	"math/rand/v2"
	"time"
)

// A Querier runs statements: a pool, a connection or a transaction.
type Querier interface {
	ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error)
}

// A Row is a row of an answer.
type Row interface{ Scan(dest ...any) error }

// Exec runs a statement and returns how many rows it changed.
func Exec(ctx context.Context, q Querier, text string, args ...any) (int64, error) {
	r, err := q.ExecContext(ctx, text, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// List returns all rows of a query.
func List[T any](ctx context.Context, q Querier, scan func(Row) (T, error), text string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// One returns the only row of a query, or [sql.ErrNoRows].
func One[T any](ctx context.Context, q Querier, scan func(Row) (T, error), text string, args ...any) (T, error) {
	all, err := List(ctx, q, scan, text, args...)
	if err == nil && len(all) == 0 {
		err = sql.ErrNoRows
	}
	if err != nil {
		var none T
		return none, err
	}
	return all[0], nil
}

// Int scans a row of one number.
func Int(r Row) (n int64, err error) {
	err = r.Scan(&n)
	return n, err
}

// String scans a row of one text.
func String(r Row) (s string, err error) {
	err = r.Scan(&s)
	return s, err
}

// maxTries bounds how often a transaction that collided is tried.
const maxTries = 5

// Transact runs fn in one transaction, again if it collided with another. When
// it returns nil the transaction is durable. fn may run several times and must
// set what it hands out anew each time.
func (db *DB) Transact(ctx context.Context, fn func(ctx context.Context, q Querier) error) error {
	return db.retry(ctx, func() error { return db.run(ctx, db.Dialect.transact, fn) })
}

// Write is [DB.Transact] for an fn that runs a single statement.
func (db *DB) Write(ctx context.Context, fn func(ctx context.Context, q Querier) error) error {
	return db.retry(ctx, func() error { return db.run(ctx, db.Dialect.write, fn) })
}

func (db *DB) retry(ctx context.Context, fn func() error) error {
	for try := 1; ; try++ {
		err := fn()
		if err == nil || try == maxTries || !db.Dialect.transient(err) {
			return err
		}
		pause := time.NewTimer(rand.N(time.Duration(try) * 20 * time.Millisecond))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return context.Cause(ctx)
		}
	}
}
