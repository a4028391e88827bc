package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/fastbind/fastbind/internal/app"
)

type migrate struct {
	Plan bool `help:"Say how many steps are pending, and change nothing."`
}

// Run migrates the database, or says what that would do. It exits with 1 if
// there is something to do and only the plan was asked for.
func (m *migrate) Run(ctx context.Context, c *console) (err error) {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	if m.Plan {
		if err := cfg.Exists(); err != nil {
			return err
		}
	} else if cfg.Data != "" {
		if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
			return fmt.Errorf("data: %w", err)
		}
	}
	if cfg.DatabaseURL == "" && cfg.Data == "" {
		return cfg.Exists()
	}
	db, err := app.OpenDatabase(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var done struct {
		Pending int `json:"pending"`
		Applied int `json:"applied"`
	}
	if done.Pending, err = db.Pending(ctx); err != nil {
		return err
	}
	if !m.Plan {
		if done.Applied, err = db.Migrate(ctx); err != nil {
			return err
		}
		done.Pending = 0
	}
	err = c.print(done, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%d applied, %d pending\n", done.Applied, done.Pending)
		return err
	})
	if err == nil && done.Pending > 0 {
		return errFailed
	}
	return err
}
