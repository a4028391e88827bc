package app

import (
	"context"

	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/sqlstore"
)

// What can be asked of [App.DB] besides the stores of the domain.
type (
	EventQuery   = sqlstore.EventQuery
	FamilyQuery  = sqlstore.FamilyQuery
	ConsentQuery = sqlstore.ConsentQuery
)

// OpenDatabase opens the database of c and nothing else: for commands that look
// at one with which no server could start. The caller closes it.
func OpenDatabase(ctx context.Context, c Config) (*sqlstore.DB, error) {
	return sqlstore.Open(ctx, c.Database(), sqlstore.Options{MaxConns: c.DatabaseConns})
}

// Secrets returns the master secrets of c. It makes the file of a new
// installation if there is none.
func (c *Config) Secrets() (opaque.Secrets, error) { return c.secrets() }
