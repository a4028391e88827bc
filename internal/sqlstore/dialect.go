package sqlstore

import (
	"context"

	"github.com/pressly/goose/v3"

	"github.com/fastbind/fastbind/internal/refresh"
)

// A dialect is all in which the engines differ. Nothing else asks which engine
// it is.
type dialect struct {
	// Ends of select statements.
	forUpdate, forShare, skipLocked string
	// clock is a query for the database's time in microseconds; empty: it has
	// no clock of its own.
	clock string
	// pushGate is a statement that lets one transaction at a time past for
	// each client ($1) until it ends; empty: transactions pass one at a time
	// anyway.
	pushGate string
	// notify is a statement that tells other nodes the newest feed number ($1)
	// when the transaction commits; empty: they notice themselves.
	notify string

	// transact runs fn in a transaction, write runs an fn that is a single
	// statement. Both return when that is durable.
	transact, write func(ctx context.Context, fn func(ctx context.Context, q querier) error) error
	// transient reports whether trying again may help, unique whether a unique
	// index was violated.
	transient, unique func(error) bool

	load    func(ctx context.Context, ids []refresh.FamilyID) ([]refresh.Family, error)
	swap    func(ctx context.Context, changes []refresh.Change) ([]bool, error)
	confirm func(ctx context.Context, uses []refresh.Use) error
	wake    func(ctx context.Context, f func()) error
	migrate func(ctx context.Context, fn func(p *goose.Provider) error) error
	close   func() error
}
