package main

import (
	"context"
	"fmt"
	"io"

	"github.com/fastbind/fastbind/internal/doctor"
	"github.com/fastbind/fastbind/internal/listing"
)

type examine struct{}

// Run looks at everything that it can without changing anything, and fails if
// something is wrong.
func (examine) Run(ctx context.Context, c *console) error {
	var found []doctor.Finding
	cfg, err := c.config()
	if err != nil {
		found = []doctor.Finding{{
			Check: "configuration", State: doctor.Fail, Detail: err.Error(),
			Fix: "correct it; fastbind config check prints what is in force",
		}}
	} else {
		found = doctor.Examine(ctx, cfg)
	}
	failed := false
	for _, v := range found {
		failed = failed || v.State == doctor.Fail
	}
	err = c.print(found, func(w io.Writer) error {
		for _, v := range found {
			if _, err := fmt.Fprintf(w, "%-4s  %-14s %s\n", v.State, v.Check, listing.Clean(v.Detail)); err != nil {
				return err
			}
			if v.Fix != "" {
				fmt.Fprintf(w, "      %-14s -> %s\n", "", v.Fix)
			}
		}
		return nil
	})
	if err == nil && failed {
		return errFailed
	}
	return err
}
