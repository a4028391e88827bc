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
)

// codes implements code.Store.
type codes struct{ *DB }

const codeColumns = "digest, redirect_uri, challenge, issued, expires, family, redeemed, " + grantColumns

func scanCode(r scanner) (c code.Code, err error) {
	into := []any{
		digestInto{&c.Digest}, &c.RedirectURI, &c.Challenge, seconds{&c.Issued}, seconds{&c.Expires},
		familyInto{&c.Family}, seconds{&c.Redeemed},
	}
	err = r.Scan(append(into, grantInto(&c.Grant)...)...)
	return c, err
}

// Put is for code.Store.
func (s codes) Put(ctx context.Context, c code.Code) error {
	family := familyBytes(c.Family)
	if family == nil {
		return errors.New("put code: family id was not made by refresh.NewFamilyID")
	}
	args := append([]any{
		c.Digest[:], c.RedirectURI, c.Challenge, unix(c.Issued), unix(c.Expires), family, unix(c.Redeemed),
	}, grantArgs(&c.Grant)...)
	err := s.write(ctx, func(ctx context.Context, q querier) error {
		_, err := exec(ctx, q, "insert into code ("+codeColumns+`) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
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
	c, err := one(ctx, s.reader, scanCode, "select "+codeColumns+" from code where digest = $1", d[:])
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
	err := s.transact(ctx, func(ctx context.Context, q querier) error {
		live, err := s.mayBegin(ctx, q, f)
		if err != nil {
			return err
		}
		// Read after the wait for those rows: what was ended may have been
		// deleted meanwhile, and that is no second try.
		redeemed, err := one(ctx, q, scanInt, "select redeemed from code where digest = $1"+s.dialect.forUpdate, d[:])
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
		if _, err := exec(ctx, q, "update code set redeemed = $2 where digest = $1", d[:], unix(now)); err != nil {
			return err
		}
		return beginFamily(ctx, q, f)
	})
	if err != nil {
		return fmt.Errorf("redeem code: %w", err)
	}
	return nil
}

// mayBegin reports whether client, account and session of f live, and keeps
// that so until the transaction ends.
func (s codes) mayBegin(ctx context.Context, q querier, f refresh.Family) (bool, error) {
	live := true
	for _, row := range []struct{ text, id string }{
		{"select disabled from client where id = $1", f.Client},
		{"select disabled from account where subject = $1", f.Subject},
		{"select ended from session where id = $1", f.Session},
	} {
		ended, err := list(ctx, q, scanInt, row.text+s.dialect.forShare, row.id)
		if err != nil {
			return false, err
		}
		live = live && len(ended) == 1 && ended[0] == 0
	}
	return live, nil
}
