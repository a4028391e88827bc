package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/fastbind/fastbind/internal/code"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/sqlstore/engine"
	"github.com/fastbind/fastbind/internal/sqlstore/life"
)

// codes implements code.Store.
type codes struct{ *engine.DB }

const codeColumns = "digest, redirect_uri, challenge, issued, expires, family, redeemed, " + life.GrantColumns

func codeInto(c *code.Code) []any {
	return append([]any{
		engine.DigestInto(&c.Digest), &c.RedirectURI, &c.Challenge, engine.Seconds(&c.Issued), engine.Seconds(&c.Expires),
		life.FamilyInto(&c.Family), engine.Seconds(&c.Redeemed),
	}, life.GrantInto(&c.Grant)...)
}

func scanCode(r engine.Row) (c code.Code, err error) {
	err = r.Scan(codeInto(&c)...)
	return c, err
}

// Put is for code.Store.
func (s codes) Put(ctx context.Context, c code.Code) error {
	family := life.FamilyBytes(c.Family)
	if family == nil {
		return errors.New("put code: family id was not made by refresh.NewFamilyID")
	}
	args := append([]any{
		c.Digest[:], c.RedirectURI, c.Challenge, engine.Unix(c.Issued), engine.Unix(c.Expires), family, engine.Unix(c.Redeemed),
	}, life.GrantArgs(&c.Grant)...)
	err := s.Write(ctx, func(ctx context.Context, q engine.Querier) error {
		_, err := engine.Exec(ctx, q, "insert into code ("+codeColumns+`) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
			$12, $13, $14, $15, $16, $17, $18, $19, $20, $21)`, args...)
		return err
	})
	if err != nil {
		return fmt.Errorf("put code: %w", err)
	}
	return nil
}

// Load is for code.Store.
func (s codes) Load(ctx context.Context, d opaque.Digest) (code.Code, error) {
	c, err := engine.One(ctx, s.Reader, scanCode, "select "+codeColumns+" from code where digest = $1", d[:])
	if errors.Is(err, sql.ErrNoRows) {
		return code.Code{}, code.ErrNone
	}
	if err != nil {
		return code.Code{}, fmt.Errorf("load code: %w", err)
	}
	return c, nil
}

// Redeem is for code.Store. It is [code.ErrNone] for a code that there is not,
// and [code.ErrEnded] also where the client is disabled or gone.
func (s codes) Redeem(ctx context.Context, d opaque.Digest, now time.Time, f refresh.Family) error {
	err := s.Transact(ctx, func(ctx context.Context, q engine.Querier) error {
		live, err := s.mayBegin(ctx, q, f)
		if err != nil {
			return err
		}
		// Read after the wait for those rows: what was ended may have been
		// deleted meanwhile, and that is no second try.
		redeemed, err := engine.One(ctx, q, engine.Int, "select redeemed from code where digest = $1"+s.Dialect.ForUpdate, d[:])
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return code.ErrNone
		case err != nil:
			return err
		case redeemed != 0:
			return code.ErrRedeemed
		case !live:
			return code.ErrEnded
		}
		if _, err := engine.Exec(ctx, q, "update code set redeemed = $2 where digest = $1", d[:], engine.Unix(now)); err != nil {
			return err
		}
		return life.Begin(ctx, q, f)
	})
	if err != nil {
		return fmt.Errorf("redeem code: %w", err)
	}
	return nil
}

// mayBegin reports whether client, account and session of f live, and keeps
// that so until the transaction ends.
func (s codes) mayBegin(ctx context.Context, q engine.Querier, f refresh.Family) (bool, error) {
	live := true
	for _, row := range []struct{ text, id string }{
		{"select disabled from client where id = $1", f.Client},
		{"select disabled from account where subject = $1", f.Subject},
		{"select ended from session where id = $1", f.Session},
	} {
		ended, err := engine.List(ctx, q, engine.Int, row.text+s.Dialect.ForShare, row.id)
		if err != nil {
			return false, err
		}
		live = live && len(ended) == 1 && ended[0] == 0
	}
	return live, nil
}
