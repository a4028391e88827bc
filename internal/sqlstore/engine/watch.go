package engine

import (
	"context"
	"database/sql"
	"errors"

	"github.com/fastbind/fastbind/internal/audit"
)

// A Watch is told what happens in a database. No function may block; those that
// are nil are not called.
type Watch struct {
	// Committed gets the events of a transaction that this process has
	// committed, once it is durable. Where nobody knows whether a transaction
	// was committed, its events are not told.
	Committed func([]audit.Event)
	// Fault is called when the database fails a statement, or to begin or
	// commit a transaction. A violated unique index, a collision that is tried
	// again and somebody who stopped waiting are no faults.
	Fault func()
	// Batch gets how many transactions have shared a commit of SQLite.
	Batch func(int)
	// Statement gets each statement before it runs, with its arguments, which
	// may be secrets.
	Statement func(text string, args []any)
}

// watched is a [Querier] that tells of the faults of another one.
type watched struct {
	Querier
	db *DB
}

// ExecContext runs a statement.
func (w watched) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	w.tell(text, args)
	r, err := w.Querier.ExecContext(ctx, text, args...)
	w.db.failed(err)
	return r, err
}

// QueryContext runs a query.
func (w watched) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	w.tell(text, args)
	r, err := w.Querier.QueryContext(ctx, text, args...)
	w.db.failed(err)
	return r, err
}

func (w watched) tell(text string, args []any) {
	if f := w.db.options.Watch.Statement; f != nil {
		f(text, args)
	}
}

// failed tells of err if it is a fault of the database.
func (db *DB) failed(err error) {
	if err == nil || db.options.Watch.Fault == nil || errors.Is(err, context.Canceled) ||
		db.Dialect.Unique(err) || db.Dialect.transient(err) {
		return
	}
	db.options.Watch.Fault()
}

// A transaction keeps the events that are recorded in it until they are durable.
type transaction struct {
	watched
	events []audit.Event
}

// run runs fn by do, one of the ways of the dialect to run transactions, and
// tells what became of it.
func (db *DB) run(
	ctx context.Context, do func(context.Context, func(context.Context, Querier) error) error,
	fn func(context.Context, Querier) error,
) error {
	var t *transaction
	var inside error
	err := do(ctx, func(ctx context.Context, q Querier) error {
		t = &transaction{watched: watched{q, db}}
		inside = fn(ctx, t)
		return inside
	})
	switch {
	case err != nil && inside == nil:
		db.failed(err)
	case err == nil && t != nil && len(t.events) > 0 && db.options.Watch.Committed != nil:
		db.options.Watch.Committed(t.events)
	}
	return err
}

// errForeign says that events were given to something that commits nothing.
var errForeign = errors.New("events are recorded in transactions only")
