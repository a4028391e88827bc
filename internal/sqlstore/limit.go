package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fastbind/fastbind/internal/limit"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/sqlstore/engine"
)

// limits implements limit.Store.
type limits struct{ *engine.DB }

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

// Once is for limit.Store.
func (s limits) Once(ctx context.Context, key opaque.Digest, now, expires time.Time) (first bool, err error) {
	err = s.Write(ctx, func(ctx context.Context, q engine.Querier) error {
		n, err := engine.Exec(ctx, q, `insert into once (key, until) values ($1, $3)
			on conflict (key) do update set until = excluded.until where once.until <= $2`,
			key[:], now.UnixMicro(), expires.UnixMicro())
		first = n == 1
		return err
	})
	if err != nil {
		return false, fmt.Errorf("note key: %w", err)
	}
	return first, nil
}
