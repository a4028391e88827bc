package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/session"
	"github.com/fastbind/fastbind/internal/sqlstore/engine"
)

// sessions implements session.Store.
type sessions struct {
	*engine.DB
	visits *engine.Shared[session.Visit, bool]
}

const sessionColumns = `id, version, handle, subject, auth_time, acr, amr, remember, begun, last_seen, idle_end,
	absolute_end, network, agent, ended, reason`

func sessionInto(s *session.Session) []any {
	return []any{
		&s.ID, &s.Version, engine.DigestInto(&s.Handle), &s.Subject, engine.Seconds(&s.AuthTime), &s.ACR, engine.TextsInto(&s.AMR),
		&s.Remember, engine.Seconds(&s.Begun), engine.Seconds(&s.LastSeen), engine.Seconds(&s.IdleEnd), engine.Seconds(&s.AbsoluteEnd),
		&s.Network, &s.Agent, engine.Seconds(&s.Ended), &s.Reason,
	}
}

func scanSession(r engine.Row) (s session.Session, err error) {
	err = r.Scan(sessionInto(&s)...)
	return s, err
}

// maySignIn reports whether the subject has an account that is not disabled,
// and keeps that so until the transaction ends.
func (s sessions) maySignIn(ctx context.Context, q engine.Querier, subject string) (bool, error) {
	found, err := engine.List(ctx, q, engine.Int, "select disabled from account where subject = $1"+s.Dialect.ForShare, subject)
	return len(found) == 1 && found[0] == 0, err
}

// Begin is for session.Store.
func (s sessions) Begin(ctx context.Context, n session.Session, e audit.Event) error {
	err := s.Transact(ctx, func(ctx context.Context, q engine.Querier) error {
		if ok, err := s.maySignIn(ctx, q, n.Subject); err != nil {
			return err
		} else if !ok {
			return session.ErrBarred
		}
		if _, err := engine.Exec(ctx, q, "insert into session ("+sessionColumns+`, sweep_at)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`,
			n.ID, 1, n.Handle[:], n.Subject, engine.Unix(n.AuthTime), n.ACR, engine.Texts(n.AMR), n.Remember, engine.Unix(n.Begun),
			engine.Unix(n.LastSeen), engine.Unix(n.IdleEnd), engine.Unix(n.AbsoluteEnd), n.Network, n.Agent, engine.Unix(n.Ended), string(n.Reason),
			min(engine.Unix(n.IdleEnd), engine.Unix(n.AbsoluteEnd))); err != nil {
			return err
		}
		return engine.Record(ctx, q, e)
	})
	if err != nil {
		return fmt.Errorf("begin session: %w", err)
	}
	return nil
}

// ByHandle is for session.Store.
func (s sessions) ByHandle(ctx context.Context, d opaque.Digest) (session.Session, error) {
	found, err := engine.One(ctx, s.Reader, scanSession, "select "+sessionColumns+" from session where handle = $1", d[:])
	if errors.Is(err, sql.ErrNoRows) {
		return session.Session{}, session.ErrNone
	}
	if err != nil {
		return session.Session{}, fmt.Errorf("load session: %w", err)
	}
	return found, nil
}

// Sessions is for session.Store.
func (s sessions) Sessions(ctx context.Context, subject string) ([]session.Session, error) {
	text, args := "select "+sessionColumns+` from session where ended = 0
		order by begun desc, id limit 1000`, []any(nil)
	if subject != "" {
		text, args = "select "+sessionColumns+` from session where ended = 0 and subject = $1
			order by begun desc, id`, []any{subject}
	}
	found, err := engine.List(ctx, s.Reader, scanSession, text, args...)
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return found, nil
}

// Renew is for session.Store.
func (s sessions) Renew(ctx context.Context, n session.Session, events ...audit.Event) error {
	err := s.Transact(ctx, func(ctx context.Context, q engine.Querier) error {
		if ok, err := s.maySignIn(ctx, q, n.Subject); err != nil {
			return err
		} else if !ok {
			return session.ErrBarred
		}
		changed, err := engine.Exec(ctx, q, `update session set version = version + 1, handle = $3, auth_time = $4, acr = $5,
			amr = $6, remember = $7, last_seen = $8, idle_end = $9, network = $10, agent = $11
			where id = $1 and version = $2 and subject = $12 and ended = 0`,
			n.ID, n.Version, n.Handle[:], engine.Unix(n.AuthTime), n.ACR, engine.Texts(n.AMR), n.Remember, engine.Unix(n.LastSeen),
			engine.Unix(n.IdleEnd), n.Network, n.Agent, n.Subject)
		if err != nil {
			return err
		}
		if changed == 0 {
			return session.ErrStale
		}
		return engine.Record(ctx, q, events...)
	})
	if err != nil {
		return fmt.Errorf("renew session: %w", err)
	}
	return nil
}

// Seen is for session.Store. Concurrent calls share statements.
func (s sessions) Seen(ctx context.Context, v session.Visit) (bool, error) {
	live, err := s.visits.Call(ctx, v)
	if err != nil {
		return false, fmt.Errorf("note visit: %w", err)
	}
	return live, nil
}

// seen notes visits and says of each whether its session lives. Of several with
// one handle the latest is noted.
func (s sessions) seen(ctx context.Context, visits []session.Visit) ([]bool, error) {
	latest := make(map[opaque.Digest]session.Visit, len(visits))
	for _, v := range visits {
		if known, ok := latest[v.Handle]; !ok || known.At.Before(v.At) {
			latest[v.Handle] = v
		}
	}
	noted := slices.SortedFunc(maps.Values(latest), func(a, b session.Visit) int { return bytes.Compare(a.Handle[:], b.Handle[:]) })
	note := s.seenEach
	if s.Dialect.Arrays {
		note = s.seenAll
	}
	found, err := note(ctx, noted)
	if err != nil {
		return nil, err
	}
	live := make([]bool, len(visits))
	for i, v := range visits {
		live[i] = slices.Contains(found, v.Handle)
	}
	return live, nil
}

func scanHandle(r engine.Row) (d opaque.Digest, err error) {
	err = r.Scan(engine.DigestInto(&d))
	return d, err
}

func (s sessions) seenEach(ctx context.Context, visits []session.Visit) (live []opaque.Digest, err error) {
	err = s.Transact(ctx, func(ctx context.Context, q engine.Querier) error {
		live = live[:0]
		for _, v := range visits {
			found, err := engine.List(ctx, q, scanHandle, `update session set last_seen = max(last_seen, $2), idle_end = max(idle_end, $3)
				where handle = $1 and ended = 0 returning handle`, v.Handle[:], engine.Unix(v.At), engine.Unix(v.IdleEnd))
			if err != nil {
				return err
			}
			live = append(live, found...)
		}
		return nil
	})
	return live, err
}

func (s sessions) seenAll(ctx context.Context, visits []session.Visit) (live []opaque.Digest, err error) {
	handles, at, idle := make([][]byte, len(visits)), make([]int64, len(visits)), make([]int64, len(visits))
	for i, v := range visits {
		handles[i], at[i], idle[i] = v.Handle[:], engine.Unix(v.At), engine.Unix(v.IdleEnd)
	}
	err = s.Write(ctx, func(ctx context.Context, q engine.Querier) (err error) {
		live, err = engine.List(ctx, q, scanHandle, `update session s
			set last_seen = greatest(s.last_seen, v.at), idle_end = greatest(s.idle_end, v.idle_end)
			from unnest($1::bytea[], $2::bigint[], $3::bigint[]) as v(handle, at, idle_end)
			where s.handle = v.handle and s.ended = 0 returning s.handle`, handles, at, idle)
		return err
	})
	return live, err
}
