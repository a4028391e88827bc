package sqlstore

import (
	"context"
	"fmt"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/authorize"
	"github.com/fastbind/fastbind/internal/sqlstore/engine"
)

// A ConsentQuery says which consents to list. Empty fields do not restrict.
type ConsentQuery struct{ Subject, Client string }

// Consents returns the consents that fit, newest first, at most 1,000.
func (db *DB) Consents(ctx context.Context, query ConsentQuery) ([]authorize.Consent, error) {
	found, err := engine.List(ctx, db.engine.Reader, func(r engine.Row) (c authorize.Consent, err error) {
		err = r.Scan(&c.Subject, &c.Client, engine.TextsInto(&c.Scope), engine.Seconds(&c.Given))
		return c, err
	}, `select subject, client, scope, given from consent
		where ($1 = '' or subject = $1) and ($2 = '' or client = $2)
		order by given desc, subject, client limit 1000`, query.Subject, query.Client)
	if err != nil {
		return nil, fmt.Errorf("list consents: %w", err)
	}
	return found, nil
}

// Enable lets a disabled person sign in again, and reports whether the account
// was disabled. What has ended stays so. The event travels in the same
// transaction.
func (db *DB) Enable(ctx context.Context, subject string, e audit.Event) (enabled bool, err error) {
	err = db.engine.Transact(ctx, func(ctx context.Context, q engine.Querier) error {
		n, err := engine.Exec(ctx, q, "update account set disabled = 0, version = version + 1 where subject = $1 and disabled <> 0", subject)
		enabled = n == 1
		if err != nil || !enabled {
			return err
		}
		return engine.Record(ctx, q, e)
	})
	if err != nil {
		return false, fmt.Errorf("enable account: %w", err)
	}
	return enabled, nil
}
