package life

import (
	"context"
	"encoding/hex"

	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/sqlstore/engine"
)

func (s Families) loadEach(ctx context.Context, ids []refresh.FamilyID) ([]refresh.Family, error) {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = hex.EncodeToString(FamilyBytes(id))
	}
	return engine.List(ctx, s.Reader, scanFamily, "select "+familyColumns+` from family
		where id in (select unhex(value) from json_each($1))`, engine.Texts(names))
}

func (s Families) swapEach(ctx context.Context, changes []refresh.Change) (written []bool, err error) {
	err = s.Transact(ctx, func(ctx context.Context, q engine.Querier) (err error) {
		written = make([]bool, len(changes))
		for i := 0; i < len(changes) && err == nil; i++ {
			written[i], err = s.swapOne(ctx, q, changes[i])
		}
		return err
	})
	return written, err
}

func (s Families) confirmEach(ctx context.Context, uses []refresh.Use) error {
	return s.Transact(ctx, func(ctx context.Context, q engine.Querier) error {
		for _, u := range uses {
			if _, err := engine.Exec(ctx, q, `update family set confirmed = $2, version = version + 1
				where id = $1 and ended = 0 and confirmed < $2 and generation >= $2`,
				FamilyBytes(u.Family), u.Generation); err != nil {
				return err
			}
		}
		return nil
	})
}
