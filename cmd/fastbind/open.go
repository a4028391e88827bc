package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/fastbind/fastbind/internal/app"
)

// with opens the configured installation for a command that works on its data,
// calls f and closes it. A server may run on the same database.
func (c *console) with(ctx context.Context, f func(*app.App) error) (err error) {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	if err := exists(cfg); err != nil {
		return err
	}
	if cfg.Issuer == "" {
		// What these commands do does not depend on it, and a server in
		// development mode has none that is written down.
		cfg.Issuer = "http://localhost"
	}
	log := slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	a, err := app.Open(ctx, cfg, log, app.Options{NoMigration: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	return f(a)
}

// exists returns an error if there is no database file where one should be, so
// that a mistyped folder is noticed and not made.
func exists(cfg app.Config) error {
	if cfg.DatabaseURL == "" && cfg.Data == "" {
		return errors.New("no database is configured: use --data, --database-url, --config or the environment")
	}
	file, sqlite := strings.CutPrefix(cfg.Database(), "sqlite://")
	if !sqlite {
		return nil
	}
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("there is no database at %s: fastbind serve or fastbind migrate makes one", file)
	} else if err != nil {
		return fmt.Errorf("database: %w", err)
	}
	return nil
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

// say writes a line for people; nothing where JSON was asked for.
func (c *console) say(format string, args ...any) {
	if !c.options.JSON {
		fmt.Fprintf(c.out, format+"\n", args...)
	}
}

// table returns a function that writes rows under a head.
func table(head string, rows [][]string) func(io.Writer) error {
	return func(w io.Writer) error {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, strings.ReplaceAll(head, " ", "\t"))
		for _, r := range rows {
			fmt.Fprintln(t, strings.Join(r, "\t"))
		}
		return t.Flush()
	}
}

// clean makes text from outside fit for a terminal: one line, no control
// characters.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' {
			return '·'
		}
		return r
	}, s)
}

// when writes a time for people.
func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.DateTime) + "Z"
}

// stamp is a time in JSON: RFC 3339 in UTC; nothing if there is none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
