package sqlstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fastbind/fastbind/internal/limit"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/sqlstore/engine"
)

// limits implements limit.Store.
type limits struct {
	*engine.DB
	notes *engine.Shared[note, bool]
}

// Take is for limit.Store. A rate that lets nothing through is an error.
//
// free_at is when all calls counted so far would have been paid for (the
// theoretical arrival time of the algorithm).
func (s limits) Take(ctx context.Context, key opaque.Digest, r limit.Rate, now time.Time) (wait time.Duration, err error) {
	if r.Burst < 1 || r.Every <= 0 {
		return 0, errors.New("take from limit: the rate lets nothing through")
	}
	at, every := now.UnixMicro(), max(r.Every.Microseconds(), 1)
	slack := int64(r.Burst-1) * every
	taken := false
	err = s.Write(ctx, func(ctx context.Context, q engine.Querier) error {
		n, err := engine.Exec(ctx, q, `insert into rate (key, free_at) values ($1, cast($2 as bigint) + $3)
			on conflict (key) do update
			set free_at = case when rate.free_at > $2 then rate.free_at else $2 end + $3
			where rate.free_at <= cast($2 as bigint) + $4`, key[:], at, every, slack)
		taken = n == 1
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("take from limit: %w", err)
	}
	if taken {
		return 0, nil
	}
	free, err := engine.List(ctx, s.Reader, engine.Int, "select free_at from rate where key = $1", key[:])
	if err != nil {
		return 0, fmt.Errorf("read limit: %w", err)
	}
	wait = time.Microsecond // what refused the call may be forgotten by now
	if len(free) == 1 {
		wait = max(wait, time.Duration(free[0]-slack-at)*time.Microsecond)
	}
	return wait, nil
}

// Forget is for limit.Store.
func (s limits) Forget(ctx context.Context, key opaque.Digest) error {
	err := s.Write(ctx, func(ctx context.Context, q engine.Querier) error {
		_, err := engine.Exec(ctx, q, "delete from rate where key = $1", key[:])
		return err
	})
	if err != nil {
		return fmt.Errorf("forget limit: %w", err)
	}
	return nil
}

// A note is a key that was seen.
type note struct {
	key          opaque.Digest
	now, expires int64 // unix microseconds
}

// Once is for limit.Store. Concurrent calls share statements.
func (s limits) Once(ctx context.Context, key opaque.Digest, now, expires time.Time) (bool, error) {
	first, err := s.notes.Call(ctx, note{key, now.UnixMicro(), expires.UnixMicro()})
	if err != nil {
		return false, fmt.Errorf("note key: %w", err)
	}
	return first, nil
}

// once stores notes and says of each whether it was the first of its key. Of
// several with one key the one with the latest time is asked for: whether it is
// the first or not, the others, whose times are earlier, are not.
func (s limits) once(ctx context.Context, notes []note) ([]bool, error) {
	asked := make(map[opaque.Digest]int, len(notes)) // where in notes
	for i, n := range notes {
		if at, ok := asked[n.key]; !ok || notes[at].now < n.now {
			asked[n.key] = i
		}
	}
	// In the order of the keys, so that two such statements lock what they
	// share in the same order.
	at := slices.SortedFunc(maps.Values(asked), func(a, b int) int {
		return bytes.Compare(notes[a].key[:], notes[b].key[:])
	})
	store := s.onceEach
	if s.Dialect.Arrays {
		store = s.onceAll
	}
	return store(ctx, notes, at)
}

func (s limits) onceEach(ctx context.Context, notes []note, at []int) (first []bool, err error) {
	err = s.Transact(ctx, func(ctx context.Context, q engine.Querier) error {
		first = make([]bool, len(notes))
		for _, i := range at {
			n, err := engine.Exec(ctx, q, `insert into once (key, until) values ($1, $3)
				on conflict (key) do update set until = excluded.until where once.until <= $2`,
				notes[i].key[:], notes[i].now, notes[i].expires)
			if err != nil {
				return err
			}
			first[i] = n == 1
		}
		return nil
	})
	return first, err
}

func (s limits) onceAll(ctx context.Context, notes []note, at []int) ([]bool, error) {
	keys, now, until := make([][]byte, len(at)), make([]int64, len(at)), make([]int64, len(at))
	place := make(map[opaque.Digest]int, len(at))
	for i, k := range at {
		n := &notes[k]
		keys[i], now[i], until[i] = n.key[:], n.now, n.expires
		place[n.key] = k
	}
	var stored []opaque.Digest
	err := s.Write(ctx, func(ctx context.Context, q engine.Querier) (err error) {
		stored, err = engine.List(ctx, q, func(r engine.Row) (d opaque.Digest, err error) {
			err = r.Scan(engine.DigestInto(&d))
			return d, err
		}, `insert into once (key, until) select key, until from unnest($1::bytea[], $2::bigint[]) as n(key, until)
			on conflict (key) do update set until = excluded.until
			where once.until <= ($3::bigint[])[array_position($1::bytea[], excluded.key)]
			returning key`, keys, until, now)
		return err
	})
	if err != nil {
		return nil, err
	}
	first := make([]bool, len(notes))
	for _, key := range stored {
		first[place[key]] = true
	}
	return first, nil
}
