package main

import (
	"context"
	"errors"
	"time"

	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/listing"
	"github.com/fastbind/fastbind/internal/rescue"
)

type check struct{}

// Run looks at all that is stored, while a server runs or while none does, and
// fails if an invariant is broken.
func (check) Run(ctx context.Context, c *console) error {
	return c.onDatabase(ctx, func(_ app.Config, db *app.Database) error {
		r, err := db.Fsck(ctx, time.Now())
		if err != nil {
			return err
		}
		if err := c.print(r, r.Write); err != nil {
			return err
		}
		if r.Broken > 0 {
			return errFailed
		}
		return nil
	})
}

type backup struct {
	File string `arg:"" type:"path" help:"The new file."`
}

// Run copies the database and fails if the copy breaks an invariant.
func (b *backup) Run(ctx context.Context, c *console) error {
	return c.onDatabase(ctx, func(cfg app.Config, db *app.Database) error {
		made, err := rescue.Backup(ctx, cfg, db, b.File, c.err)
		if err != nil {
			return err
		}
		if err := c.print(made, made.Write); err != nil {
			return err
		}
		if made.Fsck.Broken > 0 {
			return errors.New("the copy is like the database, in which invariants are broken")
		}
		return nil
	})
}

type restoreFinish struct {
	Note string `help:"Goes into the security events."`
}

// Run ends what the backup holds, while a server runs or while none does.
func (f *restoreFinish) Run(ctx context.Context, c *console) error {
	return c.onDatabase(ctx, func(cfg app.Config, db *app.Database) error {
		secrets, err := cfg.Secrets()
		if err != nil {
			return err
		}
		done, err := rescue.Finish(ctx, cfg, db, secrets, listing.Clean(f.Note))
		if err != nil {
			return err
		}
		return c.print(done, done.Write)
	})
}
