package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/refresh"
)

// A querier runs statements: a pool, a connection or a transaction.
type querier interface {
	ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error)
}

// A scanner is a row.
type scanner interface{ Scan(dest ...any) error }

// exec runs a statement and returns how many rows it changed.
func exec(ctx context.Context, q querier, text string, args ...any) (int64, error) {
	r, err := q.ExecContext(ctx, text, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// list returns all rows of a query.
func list[T any](ctx context.Context, q querier, scan func(scanner) (T, error), text string, args ...any) ([]T, error) {
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

// one returns the only row of a query, or [sql.ErrNoRows].
func one[T any](ctx context.Context, q querier, scan func(scanner) (T, error), text string, args ...any) (T, error) {
	all, err := list(ctx, q, scan, text, args...)
	if err == nil && len(all) == 0 {
		err = sql.ErrNoRows
	}
	if err != nil {
		var none T
		return none, err
	}
	return all[0], nil
}

func scanInt(r scanner) (n int64, err error) {
	err = r.Scan(&n)
	return n, err
}

func scanString(r scanner) (s string, err error) {
	err = r.Scan(&s)
	return s, err
}

// maxTries bounds how often a transaction that collided is tried.
const maxTries = 3

// transact runs fn in one transaction, again if it collided with another. When
// it returns nil the transaction is durable. fn may run several times and must
// set what it hands out anew each time.
func (db *DB) transact(ctx context.Context, fn func(ctx context.Context, q querier) error) error {
	return db.retry(ctx, func() error { return db.dialect.transact(ctx, fn) })
}

// write is [DB.transact] for an fn that runs a single statement.
func (db *DB) write(ctx context.Context, fn func(ctx context.Context, q querier) error) error {
	return db.retry(ctx, func() error { return db.dialect.write(ctx, fn) })
}

func (db *DB) retry(ctx context.Context, fn func() error) error {
	for try := 1; ; try++ {
		err := fn()
		if err == nil || try == maxTries || !db.dialect.transient(err) {
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

// The forms in which values are stored, and back.

func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// seconds scans unix seconds.
type seconds struct{ t *time.Time }

// Scan is for package sql.
func (s seconds) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("time is stored as %T", v)
	}
	*s.t = time.Time{}
	if n != 0 {
		*s.t = time.Unix(n, 0).UTC()
	}
	return nil
}

// millis scans unix milliseconds.
type millis struct{ t *time.Time }

// Scan is for package sql.
func (s millis) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("time is stored as %T", v)
	}
	*s.t = time.Time{}
	if n != 0 {
		*s.t = time.UnixMilli(n).UTC()
	}
	return nil
}

// texts stores a list of strings as JSON; an empty one as nothing.
func texts(list []string) string {
	if len(list) == 0 {
		return ""
	}
	b, err := json.Marshal(list)
	if err != nil {
		panic(err) // strings always have a JSON form
	}
	return string(b)
}

// textsInto scans what [texts] wrote.
type textsInto struct{ list *[]string }

// Scan is for package sql.
func (s textsInto) Scan(v any) error { return unmarshalText(v, s.list) }

func unmarshalText(v, into any) error {
	text, ok := v.(string)
	if !ok {
		return fmt.Errorf("JSON is stored as %T", v)
	}
	if text == "" {
		return nil
	}
	return json.Unmarshal([]byte(text), into)
}

// digestBytes stores a digest; all zero as null.
func digestBytes(d opaque.Digest) []byte {
	if d == (opaque.Digest{}) {
		return nil
	}
	return d[:]
}

// digestInto scans a digest.
type digestInto struct{ d *opaque.Digest }

// Scan is for package sql.
func (s digestInto) Scan(v any) error {
	*s.d = opaque.Digest{}
	if v == nil {
		return nil
	}
	b, ok := v.([]byte)
	if !ok || len(b) != len(s.d) {
		return fmt.Errorf("digest is stored as %T of %d bytes", v, len(b))
	}
	copy(s.d[:], b)
	return nil
}

// familyBytes stores the name of a family; nil for a name that
// [refresh.NewFamilyID] did not make, which matches no row.
func familyBytes(id refresh.FamilyID) []byte {
	raw, err := opaque.DecodeID(string(id))
	if err != nil {
		return nil
	}
	return raw[:]
}

// familyInto scans the name of a family.
type familyInto struct{ id *refresh.FamilyID }

// Scan is for package sql.
func (s familyInto) Scan(v any) error {
	b, ok := v.([]byte)
	if !ok || len(b) != 16 {
		return fmt.Errorf("family id is stored as %T of %d bytes", v, len(b))
	}
	*s.id = refresh.FamilyID(opaque.EncodeID([16]byte(b)))
	return nil
}
