package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/keys"
	"github.com/fastbind/fastbind/internal/sqlstore/engine"
)

// keySets implements keys.Store.
type keySets struct{ *engine.DB }

// Keys is for keys.Store. One statement sees the set and its version together.
func (s keySets) Keys(ctx context.Context) (set keys.Set, err error) {
	set.Keys, err = engine.List(ctx, s.Reader, func(r engine.Row) (k keys.Record, err error) {
		err = r.Scan(&set.Version, &k.ID, &k.Algorithm, &k.Public, &k.Sealed, &k.State, engine.Seconds(&k.Created), engine.Seconds(&k.Since))
		return k, err
	}, `select s.version, k.id, k.algorithm, k.public, k.sealed, k.state, k.created, k.since
		from key_set s cross join signing_key k order by k.position`)
	if err != nil {
		return keys.Set{}, fmt.Errorf("load keys: %w", err)
	}
	return set, nil
}

// Swap is for keys.Store.
func (s keySets) Swap(ctx context.Context, set keys.Set, events ...audit.Event) (swapped bool, err error) {
	if !slices.ContainsFunc(set.Keys, func(k keys.Record) bool { return k.State == keys.Signing }) {
		return false, errors.New("swap keys: the set has no signing key")
	}
	text := "update key_set set version = version + 1 where version = $1"
	if set.Version == 0 {
		text = "insert into key_set (id, version) values (1, cast($1 as bigint) + 1) on conflict (id) do nothing"
	}
	err = s.Transact(ctx, func(ctx context.Context, q engine.Querier) error {
		swapped = false
		n, err := engine.Exec(ctx, q, text, set.Version)
		if err != nil || n == 0 {
			return err
		}
		if err := putKeys(ctx, q, set.Keys); err != nil {
			return err
		}
		swapped = true
		return engine.Record(ctx, q, events...)
	})
	if err != nil {
		return false, fmt.Errorf("swap keys: %w", err)
	}
	return swapped, nil
}

// putKeys puts records in the place of all keys.
func putKeys(ctx context.Context, q engine.Querier, records []keys.Record) error {
	if _, err := engine.Exec(ctx, q, "delete from signing_key"); err != nil {
		return err
	}
	for i, k := range records {
		if _, err := engine.Exec(ctx, q, `insert into signing_key
			(id, position, algorithm, public, sealed, state, created, since)
			values ($1, $2, $3, $4, $5, $6, $7, $8)`,
			k.ID, i, k.Algorithm, k.Public, k.Sealed, string(k.State), engine.Unix(k.Created), engine.Unix(k.Since)); err != nil {
			return err
		}
	}
	return nil
}
