package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/sqlstore/engine"
)

// clients implements client.Store.
type clients struct{ *engine.DB }

const clientColumns = "id, version, meta, secrets, created, disabled"

func scanClient(r engine.Row) (c client.Client, err error) {
	var meta string
	var secrets []byte
	if err := r.Scan(&c.ID, &c.Version, &meta, &secrets, engine.Seconds(&c.Created), engine.Seconds(&c.Disabled)); err != nil {
		return c, err
	}
	for ; len(secrets) >= len(opaque.Digest{}); secrets = secrets[len(opaque.Digest{}):] {
		c.Secrets = append(c.Secrets, opaque.Digest(secrets))
	}
	return c, json.Unmarshal([]byte(meta), &c.Meta)
}

// Client is for client.Store.
func (s clients) Client(ctx context.Context, id string) (client.Client, error) {
	c, err := engine.One(ctx, s.Reader, scanClient, "select "+clientColumns+" from client where id = $1", id)
	if errors.Is(err, sql.ErrNoRows) {
		return client.Client{}, client.ErrNone
	}
	if err != nil {
		return client.Client{}, fmt.Errorf("load client: %w", err)
	}
	return c, nil
}

// Clients is for client.Store.
func (s clients) Clients(ctx context.Context) ([]client.Client, error) {
	all, err := engine.List(ctx, s.Reader, scanClient, "select "+clientColumns+" from client order by id")
	if err != nil {
		return nil, fmt.Errorf("list clients: %w", err)
	}
	return all, nil
}

// Put is for client.Store.
func (s clients) Put(ctx context.Context, c client.Client, e audit.Event) error {
	meta, err := json.Marshal(c.Meta)
	if err != nil {
		return fmt.Errorf("write metadata of client: %w", err)
	}
	secrets := make([]byte, 0, len(c.Secrets)*len(opaque.Digest{}))
	for _, d := range c.Secrets {
		secrets = append(secrets, d[:]...)
	}
	text := `update client set version = version + 1, meta = $3, secrets = $4, created = $5, disabled = $6
		where id = $1 and version = $2`
	if c.Version == 0 {
		text = "insert into client (" + clientColumns + `)
			values ($1, cast($2 as bigint) + 1, $3, $4, $5, $6) on conflict (id) do nothing`
	}
	err = s.Transact(ctx, func(ctx context.Context, q engine.Querier) error {
		n, err := engine.Exec(ctx, q, text, c.ID, c.Version, string(meta), secrets, engine.Unix(c.Created), engine.Unix(c.Disabled))
		if err != nil {
			return err
		}
		if n == 0 {
			return client.ErrConflict
		}
		return engine.Record(ctx, q, e)
	})
	if err != nil {
		return fmt.Errorf("put client: %w", err)
	}
	return nil
}

// Delete is for client.Store. It is [client.ErrNone] for a client that there is
// not.
func (s clients) Delete(ctx context.Context, id string, e audit.Event) error {
	err := s.Transact(ctx, func(ctx context.Context, q engine.Querier) error {
		n, err := engine.Exec(ctx, q, "delete from client where id = $1", id)
		if err != nil {
			return err
		}
		if n == 0 {
			return client.ErrNone
		}
		for _, text := range []string{
			"delete from code where client = $1",
			"delete from consent where client = $1",
			"delete from pushed where client = $1",
		} {
			if _, err := engine.Exec(ctx, q, text, id); err != nil {
				return err
			}
		}
		return engine.Record(ctx, q, e)
	})
	if err != nil {
		return fmt.Errorf("delete client: %w", err)
	}
	return nil
}
