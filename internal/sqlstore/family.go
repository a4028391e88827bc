package sqlstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/refresh"
)

const (
	grantColumns = `client, subject, session, offline, scope, audience, claims, nonce, acr, amr, auth_time, key,
		begun, absolute_end`
	stateColumns = `generation, confirmed, idle_end, rotated, attempt, network, agent, replays, retries, shadows,
		shadowed_in, alarms, ended, reason`
	familyColumns = "id, version, " + grantColumns + ", " + stateColumns
)

func grantArgs(g *refresh.Grant) []any {
	return []any{
		g.Client, g.Subject, g.Session, g.Offline, texts(g.Scope), texts(g.Audience), g.Claims, g.Nonce, g.ACR,
		texts(g.AMR), unix(g.AuthTime), g.Key, unix(g.Begun), unix(g.AbsoluteEnd),
	}
}

func grantInto(g *refresh.Grant) []any {
	return []any{
		&g.Client, &g.Subject, &g.Session, &g.Offline, textsInto{&g.Scope}, textsInto{&g.Audience}, &g.Claims, &g.Nonce,
		&g.ACR, textsInto{&g.AMR}, seconds{&g.AuthTime}, &g.Key, seconds{&g.Begun}, seconds{&g.AbsoluteEnd},
	}
}

func stateArgs(s *refresh.State) []any {
	return []any{
		s.Generation, s.Confirmed, unix(s.IdleEnd), milli(s.Rotated), digestBytes(s.Attempt), s.Network, s.Agent,
		s.Replays, s.Retries, s.Shadows, s.ShadowedIn, s.Alarms, unix(s.Ended), string(s.Reason),
	}
}

func stateInto(s *refresh.State) []any {
	return []any{
		&s.Generation, &s.Confirmed, seconds{&s.IdleEnd}, millis{&s.Rotated}, digestInto{&s.Attempt}, &s.Network,
		&s.Agent, &s.Replays, &s.Retries, &s.Shadows, &s.ShadowedIn, &s.Alarms, seconds{&s.Ended}, &s.Reason,
	}
}

func scanFamily(r scanner) (f refresh.Family, err error) {
	into := append([]any{familyInto{&f.ID}, &f.Version}, grantInto(&f.Grant)...)
	err = r.Scan(append(into, stateInto(&f.State)...)...)
	return f, err
}

// beginFamily stores a new family with its event.
func beginFamily(ctx context.Context, q querier, f refresh.Family) error {
	id := familyBytes(f.ID)
	if id == nil {
		return errors.New("family id was not made by refresh.NewFamilyID")
	}
	args := append([]any{id, 1}, grantArgs(&f.Grant)...)
	args = append(args, stateArgs(&f.State)...)
	args = append(args, min(unix(f.IdleEnd), unix(f.AbsoluteEnd)))
	if _, err := exec(ctx, q, "insert into family ("+familyColumns+`, sweep_at) values ($1, $2, $3, $4, $5, $6, $7, $8,
		$9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30,
		$31)`, args...); err != nil {
		return err
	}
	return record(ctx, q, audit.Event{
		Time: f.Begun, Kind: audit.FamilyBegun,
		Subject: f.Subject, Session: f.Session, Family: string(f.ID), Client: f.Client,
		Parties: []audit.Party{{
			Time: f.Begun, Network: f.Network, Agent: f.Agent, Key: f.Key, Generation: f.Generation,
		}},
	})
}

// families implements refresh.Store.
type families struct{ *DB }

// Load is for refresh.Store.
func (s families) Load(ctx context.Context, ids []refresh.FamilyID) ([]refresh.Family, error) {
	found, err := s.dialect.load(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("load families: %w", err)
	}
	return found, nil
}

// Swap is for refresh.Store. A family that has ended is never written.
func (s families) Swap(ctx context.Context, changes []refresh.Change) ([]bool, error) {
	written, err := s.dialect.swap(ctx, changes)
	if err != nil {
		return nil, fmt.Errorf("swap families: %w", err)
	}
	return written, nil
}

// Confirm is for refresh.Store.
func (s families) Confirm(ctx context.Context, uses []refresh.Use) error {
	if len(uses) == 0 {
		return nil
	}
	if err := s.dialect.confirm(ctx, uses); err != nil {
		return fmt.Errorf("confirm families: %w", err)
	}
	return nil
}

// swapOne writes one change with all that belongs to it, and reports whether
// the family was still at its version.
func (db *DB) swapOne(ctx context.Context, q querier, c refresh.Change) (bool, error) {
	id := familyBytes(c.ID)
	ends := !c.State.Ended.IsZero()
	if ends && c.EndSession { // a session is locked before its families
		if _, err := list(ctx, q, scanString, `select id from session
			where id = (select session from family where id = $1)`+db.dialect.forUpdate, id); err != nil {
			return false, err
		}
	}
	n, err := exec(ctx, q, `update family set version = version + 1, generation = $3, confirmed = $4, idle_end = $5,
		rotated = $6, attempt = $7, network = $8, agent = $9, replays = $10, retries = $11, shadows = $12,
		shadowed_in = $13, alarms = $14, ended = $15, reason = $16
		where id = $1 and version = $2 and ended = 0`, append([]any{id, c.Version}, stateArgs(&c.State)...)...)
	if err != nil || n == 0 {
		return false, err
	}
	if err := record(ctx, q, c.Events...); err != nil {
		return false, err
	}
	if ends {
		if err := db.endSwapped(ctx, q, c); err != nil {
			return false, err
		}
	}
	return true, nil
}

// A FamilyQuery says which families to list. One of the fields is set.
type FamilyQuery struct{ Session, Subject string }

// FamiliesOf returns the families of a session or a subject, ended ones too,
// newest first, at most 1,000.
func (db *DB) FamiliesOf(ctx context.Context, query FamilyQuery) ([]refresh.Family, error) {
	text, arg := "select "+familyColumns+" from family where subject = $1 order by begun desc, id limit 1000", query.Subject
	if query.Session != "" {
		text, arg = "select "+familyColumns+" from family where session = $1 order by begun desc, id limit 1000", query.Session
	}
	found, err := list(ctx, db.reader, scanFamily, text, arg)
	if err != nil {
		return nil, fmt.Errorf("list families: %w", err)
	}
	return found, nil
}
