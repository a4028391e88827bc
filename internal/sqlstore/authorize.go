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
	"github.com/fastbind/fastbind/internal/sqlstore/engine"
)

// requests implements authorize.Store.
type requests struct{ *engine.DB }

// Push is for authorize.Store. The pushes of one client pass one at a time, so
// that the limit is exact.
func (s requests) Push(ctx context.Context, p authorize.Pushed, now time.Time, limit int) error {
	err := s.Transact(ctx, func(ctx context.Context, q engine.Querier) error {
		if s.Dialect.PushGate != "" {
			if _, err := engine.Exec(ctx, q, s.Dialect.PushGate, p.Client); err != nil {
				return err
			}
		}
		pending, err := engine.One(ctx, q, engine.Int, `select count(*) from (select 1 from pushed
			where client = $1 and used = 0 and expires > $2 limit $3) as pending`, p.Client, engine.Unix(now), limit)
		if err != nil {
			return err
		}
		if pending >= int64(limit) {
			return authorize.ErrFull
		}
		_, err = engine.Exec(ctx, q, "insert into pushed (digest, client, query, expires, used) values ($1, $2, $3, $4, $5)",
			p.Digest[:], p.Client, p.Query, engine.Unix(p.Expires), engine.Unix(p.Used))
		return err
	})
	if err != nil {
		return fmt.Errorf("push request: %w", err)
	}
	return nil
}

// Pushed is for authorize.Store.
func (s requests) Pushed(ctx context.Context, d opaque.Digest) (authorize.Pushed, error) {
	p, err := engine.One(ctx, s.Reader, func(r engine.Row) (p authorize.Pushed, err error) {
		err = r.Scan(engine.DigestInto(&p.Digest), &p.Client, &p.Query, engine.Seconds(&p.Expires), engine.Seconds(&p.Used))
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
	err = s.Write(ctx, func(ctx context.Context, q engine.Querier) error {
		n, err := engine.Exec(ctx, q, "update pushed set used = $2 where digest = $1 and used = 0", d[:], engine.Unix(now))
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
	c, err := engine.One(ctx, s.Reader, func(r engine.Row) (c authorize.Consent, err error) {
		err = r.Scan(&c.Subject, &c.Client, engine.TextsInto(&c.Scope), engine.Seconds(&c.Given))
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
	err := s.Transact(ctx, func(ctx context.Context, q engine.Querier) error {
		// There is a row to lock after this, whoever comes first.
		if _, err := engine.Exec(ctx, q, `insert into consent (subject, client, scope, given) values ($1, $2, '', $3)
			on conflict (subject, client) do update set given = excluded.given`,
			c.Subject, c.Client, engine.Unix(c.Given)); err != nil {
			return err
		}
		text, err := engine.One(ctx, q, engine.String, "select scope from consent where subject = $1 and client = $2", c.Subject, c.Client)
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
		if _, err := engine.Exec(ctx, q, "update consent set scope = $3 where subject = $1 and client = $2",
			c.Subject, c.Client, engine.Texts(scope)); err != nil {
			return err
		}
		return engine.Record(ctx, q, e)
	})
	if err != nil {
		return fmt.Errorf("allow client: %w", err)
	}
	return nil
}
