package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/opaque"
)

// with opens the configured installation for a command that works on its data,
// calls f and closes it. A server may run on the same database.
func (c *console) with(ctx context.Context, f func(*app.App) error) (err error) {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	if err := cfg.Exists(); err != nil {
		return err
	}
	if cfg.Issuer == "" {
		// What these commands do does not depend on it, and a server in
		// development mode has none that is written down.
		cfg.Issuer = "http://localhost"
	}
	if cfg.AuditLog == "stderr" {
		cfg.AuditLog = "off" // standard error is for the person who types
	}
	log := slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	a, err := app.Open(ctx, cfg, log, app.Options{NoMigration: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	return f(a)
}

// withDatabase is [console.with] for commands that repair an installation with
// which no server can start.
func (c *console) withDatabase(ctx context.Context, f func(*app.Database, opaque.Secrets) error) error {
	return c.onDatabase(ctx, func(cfg app.Config, db *app.Database) error {
		secrets, err := cfg.Secrets()
		if err != nil {
			return err
		}
		return f(db, secrets)
	})
}

// onDatabase is [console.withDatabase] for commands that need no secrets.
func (c *console) onDatabase(ctx context.Context, f func(app.Config, *app.Database) error) (err error) {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	if err := cfg.Exists(); err != nil {
		return err
	}
	db, err := app.OpenDatabase(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	pending, err := db.Pending(ctx)
	if err != nil {
		return err
	}
	if pending > 0 {
		return fmt.Errorf("the database lacks %d migrations: run fastbind migrate", pending)
	}
	return f(cfg, db)
}

// print writes v as JSON if that was asked for, else calls text.
func (c *console) print(v any, text func(io.Writer) error) error {
	if !c.options.JSON {
		return text(c.out)
	}
	e := json.NewEncoder(c.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
