package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/fastbind/fastbind/internal/account"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/sqlstore/engine"
)

// accounts implements account.Store.
type accounts struct{ *engine.DB }

const accountColumns = "subject, version, username, display, password, claims, created, disabled"

func scanAccount(r engine.Row) (a account.Account, err error) {
	err = r.Scan(&a.Subject, &a.Version, &a.Username, &a.Display, &a.Password, engine.JSONInto(&a.Claims),
		engine.Seconds(&a.Created), engine.Seconds(&a.Disabled))
	return a, err
}

func (s accounts) load(ctx context.Context, text, arg string) (account.Account, error) {
	a, err := engine.One(ctx, s.Reader, scanAccount, text, arg)
	if errors.Is(err, sql.ErrNoRows) {
		return account.Account{}, account.ErrNone
	}
	if err != nil {
		return account.Account{}, fmt.Errorf("load account: %w", err)
	}
	return a, nil
}

// ByUsername is for account.Store.
func (s accounts) ByUsername(ctx context.Context, username string) (account.Account, error) {
	return s.load(ctx, "select "+accountColumns+" from account where username = $1", username)
}

// BySubject is for account.Store.
func (s accounts) BySubject(ctx context.Context, subject string) (account.Account, error) {
	return s.load(ctx, "select "+accountColumns+" from account where subject = $1", subject)
}

// Accounts is for account.Store. The order is that of the bytes.
func (s accounts) Accounts(ctx context.Context, after string, limit int) ([]account.Account, error) {
	all, err := engine.List(ctx, s.Reader, scanAccount, "select "+accountColumns+` from account
		where username > $1 order by username limit $2`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	return all, nil
}

// Put is for account.Store.
func (s accounts) Put(ctx context.Context, a account.Account, events ...audit.Event) error {
	claims, err := engine.JSON(a.Claims)
	if err != nil {
		return fmt.Errorf("write claims of account: %w", err)
	}
	args := []any{a.Subject, a.Version, a.Username, a.Display, a.Password, claims, engine.Unix(a.Created)}
	text := `update account set version = version + 1, username = $3, display = $4, password = $5, claims = $6,
		created = $7 where subject = $1 and version = $2`
	if a.Version == 0 {
		text = "insert into account (" + accountColumns + `) values ($1, cast($2 as bigint) + 1, $3, $4, $5, $6, $7, $8)
			on conflict (subject) do nothing`
		args = append(args, engine.Unix(a.Disabled))
	}
	err = s.Transact(ctx, func(ctx context.Context, q engine.Querier) error {
		n, err := engine.Exec(ctx, q, text, args...)
		switch {
		case err != nil && s.Dialect.Unique(err):
			return account.ErrTaken
		case err != nil:
			return err
		case n == 0:
			return account.ErrConflict
		}
		return engine.Record(ctx, q, events...)
	})
	if err != nil {
		return fmt.Errorf("put account: %w", err)
	}
	return nil
}
