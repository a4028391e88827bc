package life

import (
	"cmp"
	"context"
	"slices"

	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/sqlstore/engine"
)

func (s Families) loadAll(ctx context.Context, ids []refresh.FamilyID) ([]refresh.Family, error) {
	raw := make([][]byte, len(ids))
	for i, id := range ids {
		raw[i] = FamilyBytes(id)
	}
	return engine.List(ctx, s.Reader, scanFamily, "select "+familyColumns+" from family where id = any($1)", raw)
}

// swapPlain changes many families in one statement. The arrays are sorted by
// id, so that two such statements lock what they share in the same order.
const swapPlain = `update family f set
	version = f.version + 1, generation = c.generation, confirmed = c.confirmed, idle_end = c.idle_end,
	rotated = c.rotated, attempt = c.attempt, network = c.network, agent = c.agent, replays = c.replays,
	retries = c.retries, shadows = c.shadows, shadowed_in = c.shadowed_in, alarms = c.alarms
	from unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bytea[],
		$8::text[], $9::text[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[])
	as c(id, version, generation, confirmed, idle_end, rotated, attempt,
		network, agent, replays, retries, shadows, shadowed_in, alarms)
	where f.id = c.id and f.version = c.version and f.ended = 0
	returning f.id`

// swapAll writes what ends a family or has events first, each in a transaction
// of its own: when one of them fails nothing else has been written.
func (s Families) swapAll(ctx context.Context, changes []refresh.Change) ([]bool, error) {
	written := make([]bool, len(changes))
	plain := make([]int, 0, len(changes))
	for i, c := range changes {
		if c.State.Ended.IsZero() && len(c.Events) == 0 {
			plain = append(plain, i)
			continue
		}
		err := s.Transact(ctx, func(ctx context.Context, q engine.Querier) (err error) {
			written[i], err = s.swapOne(ctx, q, c)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if len(plain) == 0 {
		return written, nil
	}
	slices.SortFunc(plain, func(a, b int) int { return cmp.Compare(changes[a].ID, changes[b].ID) })
	var ids []refresh.FamilyID
	err := s.Write(ctx, func(ctx context.Context, q engine.Querier) (err error) {
		ids, err = engine.List(ctx, q, scanFamilyID, swapPlain, swapArrays(changes, plain)...)
		return err
	})
	if err != nil {
		return nil, err
	}
	place := make(map[refresh.FamilyID]int, len(plain))
	for _, i := range plain {
		place[changes[i].ID] = i
	}
	for _, id := range ids {
		written[place[id]] = true
	}
	return written, nil
}

// swapArrays returns the arguments of swapPlain for the changes at the given
// places.
func swapArrays(changes []refresh.Change, at []int) []any {
	n := len(at)
	ids, attempts := make([][]byte, n), make([][]byte, n)
	networks, agents := make([]string, n), make([]string, n)
	var numbers [10][]int64
	for k := range numbers {
		numbers[k] = make([]int64, n)
	}
	for i, place := range at {
		c := &changes[place]
		s := &c.State
		ids[i], attempts[i], networks[i], agents[i] = FamilyBytes(c.ID), engine.DigestBytes(s.Attempt), s.Network, s.Agent
		for k, v := range [len(numbers)]int64{
			c.Version, s.Generation, s.Confirmed, engine.Unix(s.IdleEnd), engine.Milli(s.Rotated),
			s.Replays, s.Retries, s.Shadows, s.ShadowedIn, s.Alarms,
		} {
			numbers[k][i] = v
		}
	}
	return []any{
		ids, numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], attempts,
		networks, agents, numbers[5], numbers[6], numbers[7], numbers[8], numbers[9],
	}
}

// confirmAll confirms many families in one statement: of the generations named
// for a family the highest that exists.
func (s Families) confirmAll(ctx context.Context, uses []refresh.Use) error {
	ids, generations := make([][]byte, len(uses)), make([]int64, len(uses))
	for i, u := range uses {
		ids[i], generations[i] = FamilyBytes(u.Family), u.Generation
	}
	return s.Write(ctx, func(ctx context.Context, q engine.Querier) error {
		_, err := engine.Exec(ctx, q, `update family f set confirmed = u.generation, version = f.version + 1
			from (select g.id, max(c.generation) as generation
				from unnest($1::bytea[], $2::bigint[]) as c(id, generation)
				join family g on g.id = c.id and g.ended = 0 and g.generation >= c.generation
				group by g.id order by g.id) as u
			where f.id = u.id and f.ended = 0 and f.confirmed < u.generation`, ids, generations)
		return err
	})
}

func scanFamilyID(r engine.Row) (id refresh.FamilyID, err error) {
	err = r.Scan(FamilyInto(&id))
	return id, err
}
