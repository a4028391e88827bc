package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/jose"
	"github.com/fastbind/fastbind/internal/keys"
	"github.com/fastbind/fastbind/internal/listing"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/revoke"
)

type keysList struct{}

// Run lists the signing keys.
func (keysList) Run(ctx context.Context, c *console) error {
	return c.withDatabase(ctx, func(db *app.Database, _ opaque.Secrets) error { return c.printKeys(ctx, db) })
}

func (c *console) printKeys(ctx context.Context, db *app.Database) error {
	set, err := db.Keys().Keys(ctx)
	if err != nil {
		return err
	}
	views, t := listing.OfKeys(set.Keys)
	return c.print(views, t.Write)
}

type keysRotate struct {
	Alg []string `placeholder:"ALG" help:"Only these algorithms; all that are in use otherwise."`
	Now bool     `help:"Sign with the new keys at once; verifiers that cache the key set have to fetch it again."`
}

// Run rotates the signing keys and lists them.
func (k *keysRotate) Run(ctx context.Context, c *console) error {
	var algs []jose.Algorithm
	for _, name := range k.Alg {
		algs = append(algs, jose.Algorithm(name))
	}
	return c.with(ctx, func(a *app.App) error {
		rotate := a.Keys.Rotate
		if k.Now {
			rotate = a.Keys.RotateNow
		}
		if err := rotate(ctx, algs...); err != nil {
			return err
		}
		return c.printKeys(ctx, a.DB)
	})
}

type keysRevoke struct {
	ID    string `arg:"" name:"kid" help:"The key."`
	Again bool   `help:"The key is gone already: tell verifiers again."`
}

// Run removes the key and then tells every verifier. What it signed is refused
// from then on. A key that cannot be opened any more can be revoked too.
func (k *keysRevoke) Run(ctx context.Context, c *console) error {
	return c.withDatabase(ctx, func(db *app.Database, secrets opaque.Secrets) error {
		ring := &keys.Ring{Store: db.Keys(), Seal: secrets.Keys(keys.SealPurpose)}
		switch err := ring.Revoke(ctx, k.ID); {
		case errors.Is(err, keys.ErrUnknown) && !k.Again:
			return fmt.Errorf("there is no key %q", k.ID)
		case errors.Is(err, keys.ErrUnknown):
		case errors.Is(err, keys.ErrSealed): // another key cannot be opened: is this one gone?
			set, errSet := db.Keys().Keys(ctx)
			if errSet != nil || slices.ContainsFunc(set.Keys, func(r keys.Record) bool { return r.ID == k.ID }) {
				return errors.Join(err, errSet)
			}
			fmt.Fprintf(c.err, "fastbind: this key is gone, but there is another: %v\n", err)
		case err != nil:
			return err
		}
		core := &revoke.Core{Store: db.Revocations()}
		_, err := core.End(ctx, revoke.Order{Kind: revoke.Key, Value: k.ID, Reason: audit.KeyRevoked})
		if err != nil {
			return fmt.Errorf("the key is removed, but verifiers were not told; run the command again with --again: %w", err)
		}
		return c.print(struct {
			Revoked string `json:"revoked"`
		}{k.ID}, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "revoked key %s\n", k.ID)
			return err
		})
	})
}
