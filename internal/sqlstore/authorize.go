package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/authorize"
	"github.com/fastbind/fastbind/internal/opaque"
)

// requests implements authorize.Store.
type requests struct{ *DB }

// Push is for authorize.Store. The pushes of one client pass one at a time, so
// that the limit is exact.
func (s requests) Push(ctx context.Context, p authorize.Pushed, now time.Time, limit int) error {
	err := s.transact(ctx, func(ctx context.Context, q querier) error {
		if s.dialect.pushGate != "" {
			if _, err := exec(ctx, q, s.dialect.pushGate, p.Client); err != nil {
				return err
			}
		}
		pending, err := one(ctx, q, scanInt, `select count(*) from (select 1 from pushed
			where client = $1 and used = 0 and expires > $2 limit $3) as pending`, p.Client, unix(now), limit)
		if err != nil {
			return err
		}
		if pending >= int64(limit) {
			return authorize.ErrFull
		}
		_, err = exec(ctx, q, "insert into pushed (digest, client, query, expires, used) values ($1, $2, $3, $4, $5)",
			p.Digest[:], p.Client, p.Query, unix(p.Expires), unix(p.Used))
		return err
	})
	if err != nil {
		return fmt.Errorf("push request: %w", err)
	}
	return nil
}

// Pushed is for authorize.Store.
func (s requests) Pushed(ctx context.Context, d opaque.Digest) (authorize.Pushed, error) {
	p, err := one(ctx, s.reader, func(r scanner) (p authorize.Pushed, err error) {
		err = r.Scan(digestInto{&p.Digest}, &p.Client, &p.Query, seconds{&p.Expires}, seconds{&p.Used})
		return p, err
	}, "select digest, client, query, expires, used from pushed where digest = $1", d[:])
	if errors.Is(err, sql.ErrNoRows) {
		return authorize.Pushed{}, authorize.ErrNone
	}
	if err != nil {
		return authorize.Pushed{}, fmt.Errorf("load pushed request: %w", err)
	}
	return p, nil
}

// Use is for authorize.Store.
func (s requests) Use(ctx context.Context, d opaque.Digest, now time.Time) (first bool, err error) {
	err = s.write(ctx, func(ctx context.Context, q querier) error {
		n, err := exec(ctx, q, "update pushed set used = $2 where digest = $1 and used = 0", d[:], unix(now))
		first = n == 1
		return err
	})
	if err != nil {
		return false, fmt.Errorf("use pushed request: %w", err)
	}
	return first, nil
}

// Consent is for authorize.Store.
func (s requests) Consent(ctx context.Context, subject, client string) (authorize.Consent, error) {
	c, err := one(ctx, s.reader, func(r scanner) (c authorize.Consent, err error) {
		err = r.Scan(&c.Subject, &c.Client, textsInto{&c.Scope}, seconds{&c.Given})
		return c, err
	}, "select subject, client, scope, given from consent where subject = $1 and client = $2", subject, client)
	if errors.Is(err, sql.ErrNoRows) {
		return authorize.Consent{}, authorize.ErrNone
	}
	if err != nil {
		return authorize.Consent{}, fmt.Errorf("load consent: %w", err)
	}
	return c, nil
}

// Allow is for authorize.Store.
func (s requests) Allow(ctx context.Context, c authorize.Consent, e audit.Event) error {
	err := s.transact(ctx, func(ctx context.Context, q querier) error {
		// There is a row to lock after this, whoever comes first.
		if _, err := exec(ctx, q, `insert into consent (subject, client, scope, given) values ($1, $2, '', $3)
			on conflict (subject, client) do update set given = excluded.given`,
			c.Subject, c.Client, unix(c.Given)); err != nil {
			return err
		}
		text, err := one(ctx, q, scanString, "select scope from consent where subject = $1 and client = $2", c.Subject, c.Client)
		if err != nil {
			return err
		}
		var scope []string
		if text != "" {
			if err := json.Unmarshal([]byte(text), &scope); err != nil {
				return err
			}
		}
		for _, asked := range c.Scope {
			if !slices.Contains(scope, asked) {
				scope = append(scope, asked)
			}
		}
		if _, err := exec(ctx, q, "update consent set scope = $3 where subject = $1 and client = $2",
			c.Subject, c.Client, texts(scope)); err != nil {
			return err
		}
		return record(ctx, q, e)
	})
	if err != nil {
		return fmt.Errorf("allow client: %w", err)
	}
	return nil
}
