package life

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/sqlstore/engine"
)

const (
	// GrantColumns are the columns of a grant, in the order of [GrantArgs].
	GrantColumns = `client, subject, session, offline, scope, audience, claims, nonce, acr, amr, auth_time, key,
		begun, absolute_end`
	stateColumns = `generation, confirmed, idle_end, rotated, attempt, network, agent, replays, retries, shadows,
		shadowed_in, alarms, ended, reason`
	familyColumns = "id, version, " + GrantColumns + ", " + stateColumns
)

// GrantArgs returns a grant as it is stored.
func GrantArgs(g *refresh.Grant) []any {
	return []any{
		g.Client, g.Subject, g.Session, g.Offline, engine.Texts(g.Scope), engine.Texts(g.Audience), g.Claims, g.Nonce, g.ACR,
		engine.Texts(g.AMR), engine.Unix(g.AuthTime), g.Key, engine.Unix(g.Begun), engine.Unix(g.AbsoluteEnd),
	}
}

// GrantInto scans the columns of a grant.
func GrantInto(g *refresh.Grant) []any {
	return []any{
		&g.Client, &g.Subject, &g.Session, &g.Offline, engine.TextsInto(&g.Scope), engine.TextsInto(&g.Audience), &g.Claims, &g.Nonce,
		&g.ACR, engine.TextsInto(&g.AMR), engine.Seconds(&g.AuthTime), &g.Key, engine.Seconds(&g.Begun), engine.Seconds(&g.AbsoluteEnd),
	}
}

func stateArgs(s *refresh.State) []any {
	return []any{
		s.Generation, s.Confirmed, engine.Unix(s.IdleEnd), engine.Milli(s.Rotated), engine.DigestBytes(s.Attempt), s.Network, s.Agent,
		s.Replays, s.Retries, s.Shadows, s.ShadowedIn, s.Alarms, engine.Unix(s.Ended), string(s.Reason),
	}
}

func stateInto(s *refresh.State) []any {
	return []any{
		&s.Generation, &s.Confirmed, engine.Seconds(&s.IdleEnd), engine.Millis(&s.Rotated), engine.DigestInto(&s.Attempt), &s.Network,
		&s.Agent, &s.Replays, &s.Retries, &s.Shadows, &s.ShadowedIn, &s.Alarms, engine.Seconds(&s.Ended), &s.Reason,
	}
}

func scanFamily(r engine.Row) (f refresh.Family, err error) {
	into := append([]any{FamilyInto(&f.ID), &f.Version}, GrantInto(&f.Grant)...)
	err = r.Scan(append(into, stateInto(&f.State)...)...)
	return f, err
}

// Begin stores a new family with its event.
func Begin(ctx context.Context, q engine.Querier, f refresh.Family) error {
	id := FamilyBytes(f.ID)
	if id == nil {
		return errors.New("family id was not made by refresh.NewFamilyID")
	}
	args := append([]any{id, 1}, GrantArgs(&f.Grant)...)
	args = append(args, stateArgs(&f.State)...)
	args = append(args, min(engine.Unix(f.IdleEnd), engine.Unix(f.AbsoluteEnd)))
	if _, err := engine.Exec(ctx, q, "insert into family ("+familyColumns+`, sweep_at) values ($1, $2, $3, $4, $5, $6, $7, $8,
		$9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30,
		$31)`, args...); err != nil {
		return err
	}
	return engine.Record(ctx, q, audit.Event{
		Time: f.Begun, Kind: audit.FamilyBegun,
		Subject: f.Subject, Session: f.Session, Family: string(f.ID), Client: f.Client,
		Parties: []audit.Party{{
			Time: f.Begun, Network: f.Network, Agent: f.Agent, Key: f.Key, Generation: f.Generation,
		}},
	})
}

// Families implements refresh.Store.
type Families struct {
	*engine.DB
	// Uses shares the writing of uses; see [Confirming].
	Uses *engine.Shared[[]refresh.Use, struct{}]
}

// Confirming returns what shares the writing of uses to db.
func Confirming(db *engine.DB) *engine.Shared[[]refresh.Use, struct{}] {
	s := Families{DB: db}
	return &engine.Shared[[]refresh.Use, struct{}]{Do: func(ctx context.Context, batch [][]refresh.Use) ([]struct{}, error) {
		return make([]struct{}, len(batch)), s.confirm(ctx, slices.Concat(batch...))
	}}
}

// Load is for refresh.Store.
func (s Families) Load(ctx context.Context, ids []refresh.FamilyID) ([]refresh.Family, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	load := s.loadEach
	if s.Dialect.Arrays {
		load = s.loadAll
	}
	found, err := load(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("load families: %w", err)
	}
	return found, nil
}

// Swap is for refresh.Store. A family that has ended is never written.
func (s Families) Swap(ctx context.Context, changes []refresh.Change) ([]bool, error) {
	if len(changes) == 0 {
		return nil, nil
	}
	swap := s.swapEach
	if s.Dialect.Arrays {
		swap = s.swapAll
	}
	written, err := swap(ctx, changes)
	if err != nil {
		return nil, fmt.Errorf("swap families: %w", err)
	}
	for i, c := range changes {
		if written[i] && !c.State.Ended.IsZero() {
			s.Tell()
			break
		}
	}
	return written, nil
}

// Confirm is for refresh.Store. Concurrent calls share statements.
func (s Families) Confirm(ctx context.Context, uses []refresh.Use) error {
	if len(uses) == 0 {
		return nil
	}
	if _, err := s.Uses.Call(ctx, uses); err != nil {
		return fmt.Errorf("confirm families: %w", err)
	}
	return nil
}

// confirm writes uses in the order of the families, each of them once.
func (s Families) confirm(ctx context.Context, uses []refresh.Use) error {
	slices.SortFunc(uses, func(a, b refresh.Use) int {
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Generation, b.Generation))
	})
	uses = slices.Compact(uses)
	if s.Dialect.Arrays {
		return s.confirmAll(ctx, uses)
	}
	return s.confirmEach(ctx, uses)
}

// swapOne writes one change with all that belongs to it, and reports whether
// the family was still at its version.
func (s Families) swapOne(ctx context.Context, q engine.Querier, c refresh.Change) (bool, error) {
	id := FamilyBytes(c.ID)
	ends := !c.State.Ended.IsZero()
	if ends && c.EndSession { // a session is locked before its families
		if _, err := engine.List(ctx, q, engine.String, `select id from session
			where id = (select session from family where id = $1)`+s.Dialect.ForUpdate, id); err != nil {
			return false, err
		}
	}
	n, err := engine.Exec(ctx, q, `update family set version = version + 1, generation = $3, confirmed = $4, idle_end = $5,
		rotated = $6, attempt = $7, network = $8, agent = $9, replays = $10, retries = $11, shadows = $12,
		shadowed_in = $13, alarms = $14, ended = $15, reason = $16
		where id = $1 and version = $2 and ended = 0`, append([]any{id, c.Version}, stateArgs(&c.State)...)...)
	if err != nil || n == 0 {
		return false, err
	}
	if err := engine.Record(ctx, q, c.Events...); err != nil {
		return false, err
	}
	if ends {
		if err := s.endSwapped(ctx, q, c); err != nil {
			return false, err
		}
	}
	return true, nil
}

// A Query says which families to list. One of the fields is set.
type Query struct{ Session, Subject string }

// Of returns the families of a session or a subject, ended ones too,
// newest first, at most 1,000.
func (s Families) Of(ctx context.Context, query Query) ([]refresh.Family, error) {
	text, arg := "select "+familyColumns+" from family where subject = $1 order by begun desc, id limit 1000", query.Subject
	if query.Session != "" {
		text, arg = "select "+familyColumns+" from family where session = $1 order by begun desc, id limit 1000", query.Session
	}
	found, err := engine.List(ctx, s.Reader, scanFamily, text, arg)
	if err != nil {
		return nil, fmt.Errorf("list families: %w", err)
	}
	return found, nil
}

// FamilyBytes returns the name of a family as it is stored; nil for a name that
// [refresh.NewFamilyID] did not make, which matches no row.
func FamilyBytes(id refresh.FamilyID) []byte {
	raw, err := opaque.DecodeID(string(id))
	if err != nil {
		return nil
	}
	return raw[:]
}

// FamilyInto scans what [FamilyBytes] returned.
func FamilyInto(id *refresh.FamilyID) sql.Scanner { return familyInto{id} }

type familyInto struct{ id *refresh.FamilyID }

// Scan is for package sql.
func (s familyInto) Scan(v any) error {
	var raw [16]byte
	err := engine.BytesInto(raw[:]).Scan(v)
	*s.id = refresh.FamilyID(opaque.EncodeID(raw))
	return err
}
