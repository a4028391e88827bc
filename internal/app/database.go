package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/sqlstore"
)

// What can be asked of [App.DB] besides the stores of the domain.
type (
	EventQuery   = sqlstore.EventQuery
	FamilyQuery  = sqlstore.FamilyQuery
	ConsentQuery = sqlstore.ConsentQuery
	Restore      = sqlstore.Restore
	Restored     = sqlstore.Restored
)

// Database is what [OpenDatabase] returns.
type Database = sqlstore.DB

// OpenDatabase opens the database of c and nothing else: for commands that look
// at one with which no server could start. The caller closes it.
func OpenDatabase(ctx context.Context, c Config) (*Database, error) {
	return sqlstore.Open(ctx, c.Database(), sqlstore.Options{MaxConns: c.DatabaseConns})
}

// Secrets returns the master secrets of c. It makes the file of a new
// installation if there is none.
func (c *Config) Secrets() (opaque.Secrets, error) { return c.secrets() }

// Exists returns an error if there is no database file where one should be: for
// commands that must not make one because somebody mistyped a folder.
func (c *Config) Exists() error {
	if c.DatabaseURL == "" && c.Data == "" {
		return errors.New("no database is configured: use --data, --database-url, --config or the environment")
	}
	file, sqlite := strings.CutPrefix(c.Database(), "sqlite://")
	if !sqlite {
		return nil
	}
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("there is no database at %s: fastbind migrate makes one, and so does fastbind serve", file)
	} else if err != nil {
		return fmt.Errorf("database: %w", err)
	}
	return nil
}
