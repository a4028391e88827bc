package life

import (
	"context"
	"fmt"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/revoke"
	"github.com/fastbind/fastbind/internal/sqlstore/engine"
)

// Revocations implements revoke.Store.
type Revocations struct {
	*engine.DB
	// Asked shares questions; see [Asking].
	Asked *engine.Shared[Asked, bool]
}

// End is for revoke.Store. What there is not, or has ended before, yields the
// zero Ended.
func (s Revocations) End(ctx context.Context, o revoke.Order) (ended revoke.Ended, err error) {
	err = s.Transact(ctx, func(ctx context.Context, q engine.Querier) error {
		e := &ending{db: s.DB, q: q, at: o.At, until: o.Until, reason: o.Reason, note: o.Note}
		if err := e.carryOut(ctx, o); err != nil {
			return err
		}
		err := e.finish(ctx)
		ended = e.ended
		return err
	})
	if err != nil {
		return revoke.Ended{}, fmt.Errorf("end %s: %w", o.Kind, err)
	}
	if ended.Number > 0 {
		s.Tell()
	}
	return ended, nil
}

// EndExpired is for revoke.Store. Rows are looked at when their sweep_at has
// passed; uses do not move that, so that they touch no index. The limit is one
// of rows that are due: what a session takes with it is ended in any case.
//
// A session past its idle end lives on while a family that depends on it is in
// use, so that nobody who uses an application is signed out of it for not
// visiting this server.
func (s Revocations) EndExpired(ctx context.Context, now time.Time, limit int) (total int, err error) {
	for total < limit {
		ask := limit - total
		due, ended := 0, 0
		err := s.Transact(ctx, func(ctx context.Context, q engine.Querier) error {
			e := &ending{db: s.DB, q: q, at: now}
			sessions, err := e.expireSessions(ctx, ask)
			if err != nil {
				return err
			}
			families, err := e.expireFamilies(ctx, ask-sessions)
			if err != nil {
				return err
			}
			due, ended = sessions+families, e.ended.Sessions+e.ended.Families
			return e.finish(ctx)
		})
		if err != nil {
			return total, fmt.Errorf("end what has expired: %w", err)
		}
		total += ended
		if ended > 0 {
			s.Tell()
		}
		if due < ask {
			break
		}
	}
	return total, nil
}

type dueSession struct {
	id             string
	idle, absolute int64
}

func (e *ending) expireSessions(ctx context.Context, limit int) (due int, err error) {
	rows, err := engine.List(ctx, e.q, func(r engine.Row) (d dueSession, err error) {
		err = r.Scan(&d.id, &d.idle, &d.absolute)
		return d, err
	}, `select id, idle_end, absolute_end from session where ended = 0 and sweep_at <= $1
		order by sweep_at limit $2`+e.db.Dialect.SkipLocked, engine.Unix(e.at), limit)
	if err != nil {
		return 0, err
	}
	for _, d := range rows {
		// Until when the session, or a family that depends on it, is in use.
		idle, err := engine.One(ctx, e.q, engine.Int, `select coalesce(max(case when idle_end < absolute_end then idle_end
			else absolute_end end), 0) from family where session = $1 and ended = 0 and not offline`, d.id)
		if err != nil {
			return 0, err
		}
		next, reason := min(max(idle, d.idle), d.absolute), audit.IdleTimeout
		if next > engine.Unix(e.at) {
			if _, err := engine.Exec(ctx, e.q, "update session set sweep_at = $2 where id = $1", d.id, next); err != nil {
				return 0, err
			}
			continue
		}
		if d.absolute <= engine.Unix(e.at) {
			reason = audit.AbsoluteTimeout
		}
		e.reason = reason
		if err := e.session(ctx, d.id, false); err != nil {
			return 0, err
		}
	}
	return len(rows), nil
}

type dueFamily struct {
	id             refresh.FamilyID
	idle, absolute int64
}

func (e *ending) expireFamilies(ctx context.Context, limit int) (due int, err error) {
	rows, err := engine.List(ctx, e.q, func(r engine.Row) (d dueFamily, err error) {
		err = r.Scan(FamilyInto(&d.id), &d.idle, &d.absolute)
		return d, err
	}, `select id, idle_end, absolute_end from family where ended = 0 and sweep_at <= $1
		order by sweep_at limit $2`+e.db.Dialect.SkipLocked, engine.Unix(e.at), limit)
	if err != nil {
		return 0, err
	}
	for _, d := range rows {
		next := min(d.idle, d.absolute)
		if next > engine.Unix(e.at) {
			if _, err := engine.Exec(ctx, e.q, "update family set sweep_at = $2 where id = $1", FamilyBytes(d.id), next); err != nil {
				return 0, err
			}
			continue
		}
		e.reason = audit.IdleTimeout
		if d.absolute <= engine.Unix(e.at) {
			e.reason = audit.AbsoluteTimeout
		}
		if err := e.family(ctx, d.id); err != nil {
			return 0, err
		}
	}
	return len(rows), nil
}

// Since is for revoke.Store. One statement sees the entries and the newest
// number together, so that nothing can come between them.
func (s Revocations) Since(ctx context.Context, number int64, now time.Time, limit int) ([]revoke.Entry, int64, error) {
	var newest int64
	found, err := engine.List(ctx, s.Reader, func(r engine.Row) (e revoke.Entry, err error) {
		err = r.Scan(&newest, &e.Number, &e.Kind, &e.Value, &e.Before, &e.Reason, &e.At, &e.Until)
		return e, err
	}, `select c.number, coalesce(f.number, 0), coalesce(f.kind, ''), coalesce(f.value, ''), coalesce(f.before, 0),
		coalesce(f.reason, ''), coalesce(f.at, 0), coalesce(f.until, 0)
		from feed_counter c left join (select number, kind, value, before, reason, at, until from feed
			where number > $1 and until >= $2 order by number limit $3) f on true
		order by f.number`, number, engine.Unix(now), max(limit, 1))
	if err != nil {
		return nil, 0, fmt.Errorf("read feed: %w", err)
	}
	if len(found) == 1 && found[0].Number == 0 {
		found = nil
	}
	return found, newest, nil
}
