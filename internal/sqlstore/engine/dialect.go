package engine

import (
	"context"

	"github.com/pressly/goose/v3"
)

// A Dialect is all in which the engines differ. Nothing else asks which engine
// it is.
type Dialect struct {
	// ForUpdate, ForShare and SkipLocked are ends of select statements.
	ForUpdate, ForShare, SkipLocked string
	// Arrays says that an argument can be a list, so that one statement can
	// work on many rows; without it a statement for each is as fast.
	Arrays bool
	// PushGate is a statement that lets one transaction at a time past for
	// each client ($1) until it ends; empty: transactions pass one at a time
	// anyway.
	PushGate string
	// Notify is a statement that tells other nodes the newest feed number ($1)
	// when the transaction commits; empty: they notice themselves.
	Notify string
	// Unique reports whether a unique index was violated.
	Unique func(error) bool

	// copyTo writes a copy of the database into an empty file, while it is in
	// use; nil: that is the business of the database's own tools.
	copyTo func(ctx context.Context, file string) error
	// clock is a query for the database's time in microseconds; empty: it has
	// no clock of its own.
	clock string
	// transact runs fn in a transaction, write runs an fn that is a single
	// statement. Both return when that is durable.
	transact, write func(ctx context.Context, fn func(ctx context.Context, q Querier) error) error
	// snapshot runs an fn that only reads, and sees one moment.
	snapshot func(ctx context.Context, fn func(ctx context.Context, q Querier) error) error
	// transient reports whether trying again may help.
	transient func(error) bool
	wake      func(ctx context.Context, f func()) error
	migrate   func(ctx context.Context, fn func(p *goose.Provider) error) error
	close     func() error
}
