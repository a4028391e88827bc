package main

import (
	"context"
	"time"

	"github.com/fastbind/fastbind/internal/app"
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
