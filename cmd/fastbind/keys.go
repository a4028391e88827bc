package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/jose"
	"github.com/fastbind/fastbind/internal/keys"
	"github.com/fastbind/fastbind/internal/revoke"
)

// keyView is a signing key as it is printed.
type keyView struct {
	ID        string `json:"kid"`
	Algorithm string `json:"alg"`
	State     string `json:"state"`
	Since     string `json:"since"`
	Created   string `json:"created"`
}

type keysList struct{}

// Run lists the signing keys.
func (keysList) Run(ctx context.Context, c *console) error {
	return c.with(ctx, func(a *app.App) error { return c.printKeys(ctx, a) })
}

func (c *console) printKeys(ctx context.Context, a *app.App) error {
	set, err := a.DB.Keys().Keys(ctx)
	if err != nil {
		return err
	}
	views, rows := make([]keyView, 0, len(set.Keys)), make([][]string, 0, len(set.Keys))
	for _, k := range set.Keys {
		views = append(views, keyView{k.ID, k.Algorithm, string(k.State), stamp(k.Since), stamp(k.Created)})
		rows = append(rows, []string{k.ID, k.Algorithm, string(k.State), when(k.Since), when(k.Created)})
	}
	return c.print(views, table("KEY ALGORITHM STATE SINCE CREATED", rows))
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
		return c.printKeys(ctx, a)
	})
}

type keysRevoke struct {
	ID    string `arg:"" name:"kid" help:"The key."`
	Again bool   `help:"The key is gone already: tell verifiers again."`
}

// Run removes the key and then tells every verifier. What it signed is refused
// from then on.
func (k *keysRevoke) Run(ctx context.Context, c *console) error {
	return c.with(ctx, func(a *app.App) error {
		err := a.Keys.Revoke(ctx, k.ID)
		if errors.Is(err, keys.ErrUnknown) && !k.Again {
			return fmt.Errorf("there is no key %q", k.ID)
		}
		if err != nil && !errors.Is(err, keys.ErrUnknown) {
			return err
		}
		_, err = a.Revoke.End(ctx, revoke.Order{Kind: revoke.Key, Value: k.ID, Reason: audit.KeyRevoked})
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
