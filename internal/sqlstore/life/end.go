package life

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/policy"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/revoke"
	"github.com/fastbind/fastbind/internal/sqlstore/engine"
)

// untilMargin is what is added to the longest life of an access token for the
// clocks of those who verify.
const untilMargin = 2 * time.Minute

// An ending is all that ends in one transaction: every end goes through one,
// and [ending.finish] tells the feed and the audit trail about it.
type ending struct {
	db     *engine.DB
	q      engine.Querier
	at     time.Time
	until  time.Time // zero: when no access token issued before at can be valid
	reason audit.Reason
	note   string
	leap   int64 // the least number before the next of the feed

	entries []revoke.Entry
	events  []audit.Event
	ended   revoke.Ended
	codes   int64
}

// tell adds an entry for the feed.
func (e *ending) tell(kind revoke.Kind, value string) { e.tellBefore(kind, value, 0) }

func (e *ending) tellBefore(kind revoke.Kind, value string, before int64) {
	until := e.until
	if until.IsZero() {
		until = e.at.Add(policy.MaxAccessLife + untilMargin)
	}
	e.entries = append(e.entries, revoke.Entry{
		Kind: kind, Value: value, Before: before, Reason: e.reason, At: engine.Milli(e.at), Until: engine.Unix(until),
	})
}

func (e *ending) event(v audit.Event) {
	v.Time, v.Reason = e.at, e.reason
	if v.Note == "" {
		v.Note = e.note
	}
	e.events = append(e.events, v)
}

// finish numbers the entries and writes them with the events. The counter is
// locked from here to the end of the transaction, so that numbers have no gaps
// and become visible in order.
func (e *ending) finish(ctx context.Context) error {
	if err := engine.Record(ctx, e.q, e.events...); err != nil {
		return err
	}
	if len(e.entries) == 0 && e.leap == 0 {
		return nil
	}
	newest, err := engine.One(ctx, e.q, engine.Int, `update feed_counter
		set number = case when number < $2 then cast($2 as bigint) else number end + $1 where id = 1 returning number`,
		len(e.entries), e.leap)
	if err != nil {
		return fmt.Errorf("number feed entries: %w", err)
	}
	for i, n := range e.entries {
		n.Number = newest - int64(len(e.entries)-1-i)
		if _, err := engine.Exec(ctx, e.q, `insert into feed (number, kind, value, before, reason, at, until)
			values ($1, $2, $3, $4, $5, $6, $7)`,
			n.Number, string(n.Kind), n.Value, n.Before, string(n.Reason), n.At, n.Until); err != nil {
			return fmt.Errorf("append to feed: %w", err)
		}
	}
	e.ended.Number = newest
	if e.db.Dialect.Notify == "" {
		return nil
	}
	_, err = engine.Exec(ctx, e.q, e.db.Dialect.Notify, strconv.FormatInt(newest, 10))
	return err
}

type endedSession struct{ id, subject string }

type endedFamily struct {
	id                       refresh.FamilyID
	client, subject, session string
	offline                  bool
}

// sessions ends the sessions that text, an update, returns.
func (e *ending) sessions(ctx context.Context, text string, args ...any) ([]endedSession, error) {
	found, err := engine.List(ctx, e.q, func(r engine.Row) (s endedSession, err error) {
		err = r.Scan(&s.id, &s.subject)
		return s, err
	}, text+" returning id, subject", append([]any{engine.Unix(e.at), string(e.reason)}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("end sessions: %w", err)
	}
	for _, s := range found {
		e.ended.Sessions++
		e.tell(revoke.Session, s.id)
		e.event(audit.Event{Kind: audit.SessionEnded, Subject: s.subject, Session: s.id})
	}
	return found, nil
}

// families ends the families that text, an update, returns.
func (e *ending) families(ctx context.Context, text string, args ...any) ([]endedFamily, error) {
	found, err := engine.List(ctx, e.q, func(r engine.Row) (f endedFamily, err error) {
		err = r.Scan(FamilyInto(&f.id), &f.client, &f.subject, &f.session, &f.offline)
		return f, err
	}, text+" returning id, client, subject, session, offline", append([]any{engine.Unix(e.at), string(e.reason)}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("end families: %w", err)
	}
	for _, f := range found {
		e.ended.Families++
		e.event(audit.Event{
			Kind: audit.FamilyEnded, Subject: f.subject, Session: f.session, Family: string(f.id), Client: f.client,
		})
	}
	return found, nil
}

// lock locks the rows that text selects, in their order.
func (e *ending) lock(ctx context.Context, text string, args ...any) error {
	_, err := engine.One(ctx, e.q, engine.Int, "select count(*) from ("+text+e.db.Dialect.ForUpdate+") as locked", args...)
	return err
}

const (
	endSession  = "update session set ended = $1, reason = $2, version = version + 1 where ended = 0"
	endFamilies = "update family set ended = $1, reason = $2, version = version + 1 where ended = 0"
)

// session ends a session and its families; those with offline access only if
// offline is set. For verifiers the entry of the session stands for the
// families that depend on it.
func (e *ending) session(ctx context.Context, id string, offline bool) error {
	sessions, err := e.sessions(ctx, endSession+" and id = $3", id)
	if err != nil {
		return err
	}
	if err := e.lock(ctx, "select id from family where session = $1 and ended = 0 order by id", id); err != nil {
		return err
	}
	found, err := e.families(ctx, endFamilies+" and session = $3 and (not offline or $4)", id, offline)
	for _, f := range found {
		if f.offline || len(sessions) == 0 {
			e.tell(revoke.Family, string(f.id))
		}
	}
	return err
}

func (e *ending) family(ctx context.Context, id refresh.FamilyID) error {
	found, err := e.families(ctx, endFamilies+" and id = $3", FamilyBytes(id))
	for _, f := range found {
		e.tell(revoke.Family, string(f.id))
	}
	return err
}

// subject ends all of a person but what belongs to the session o.Except.
func (e *ending) subject(ctx context.Context, o revoke.Order) error {
	if err := e.lock(ctx, "select subject from account where subject = $1", o.Value); err != nil {
		return err
	}
	if err := e.lock(ctx, `select id from session where subject = $1 and id <> $2 and ended = 0 order by id`,
		o.Value, o.Except); err != nil {
		return err
	}
	if _, err := e.sessions(ctx, endSession+" and subject = $3 and id <> $4", o.Value, o.Except); err != nil {
		return err
	}
	if err := e.lock(ctx, "select id from family where subject = $1 and ended = 0 order by id", o.Value); err != nil {
		return err
	}
	found, err := e.families(ctx, endFamilies+" and subject = $3 and session <> $4", o.Value, o.Except)
	if err != nil {
		return err
	}
	for _, f := range found {
		e.tell(revoke.Family, string(f.id))
	}
	if o.Except == "" { // it would name the tokens of the spared session too
		before := engine.Unix(e.at)
		if !o.Disable && !o.Delete {
			before-- // who signs in again within the second gets tokens that count
		}
		e.tellBefore(revoke.Subject, o.Value, before)
	}
	return e.barAccount(ctx, o)
}

// barAccount disables or deletes the account of an order.
func (e *ending) barAccount(ctx context.Context, o revoke.Order) error {
	if o.Delete {
		if _, err := engine.Exec(ctx, e.q, "delete from consent where subject = $1", o.Value); err != nil {
			return err
		}
		n, err := engine.Exec(ctx, e.q, "delete from account where subject = $1", o.Value)
		if err == nil && n == 1 {
			e.event(audit.Event{Kind: audit.AccountChanged, Subject: o.Value, Note: "deleted"})
		}
		return err
	}
	if o.Disable {
		n, err := engine.Exec(ctx, e.q, `update account set disabled = $2, version = version + 1
			where subject = $1 and disabled = 0`, o.Value, engine.Unix(e.at))
		if err == nil && n == 1 {
			e.event(audit.Event{Kind: audit.AccountChanged, Subject: o.Value, Note: "disabled"})
		}
		return err
	}
	return nil
}

// consent ends what one client holds of a person, and forgets the consent.
func (e *ending) consent(ctx context.Context, o revoke.Order) error {
	if err := e.lock(ctx, "select subject from account where subject = $1", o.Value); err != nil {
		return err
	}
	if _, err := engine.Exec(ctx, e.q, "delete from code where subject = $1 and client = $2 and redeemed = 0",
		o.Value, o.Client); err != nil {
		return err
	}
	if err := e.lock(ctx, "select id from family where subject = $1 and client = $2 and ended = 0 order by id",
		o.Value, o.Client); err != nil {
		return err
	}
	found, err := e.families(ctx, endFamilies+" and subject = $3 and client = $4 and session <> $5",
		o.Value, o.Client, o.Except)
	if err != nil {
		return err
	}
	for _, f := range found {
		e.tell(revoke.Family, string(f.id))
	}
	n, err := engine.Exec(ctx, e.q, "delete from consent where subject = $1 and client = $2", o.Value, o.Client)
	if err == nil && n == 1 {
		e.event(audit.Event{Kind: audit.ConsentEnded, Subject: o.Value, Client: o.Client})
	}
	return err
}

// client ends all that a client holds. There may be very many families: one
// event stands for them, and each row keeps its reason.
func (e *ending) client(ctx context.Context, o revoke.Order) error {
	if err := e.lock(ctx, "select id from client where id = $1", o.Value); err != nil {
		return err
	}
	if _, err := engine.Exec(ctx, e.q, "delete from code where client = $1 and redeemed = 0", o.Value); err != nil {
		return err
	}
	if err := e.lock(ctx, "select id from family where client = $1 and ended = 0 order by id", o.Value); err != nil {
		return err
	}
	n, err := engine.Exec(ctx, e.q, endFamilies+" and client = $3", engine.Unix(e.at), string(e.reason), o.Value)
	if err != nil {
		return fmt.Errorf("end families: %w", err)
	}
	e.ended.Families += int(n)
	e.event(audit.Event{Kind: audit.FamilyEnded, Client: o.Value})
	before := engine.Unix(e.at)
	if o.Disable {
		before += int64(revoke.ClientLag / time.Second)
	}
	e.tellBefore(revoke.Client, o.Value, before)
	if !o.Disable {
		return nil
	}
	n, err = engine.Exec(ctx, e.q, "update client set disabled = $2, version = version + 1 where id = $1 and disabled = 0",
		o.Value, engine.Unix(e.at))
	if err == nil && n == 1 {
		e.event(audit.Event{Kind: audit.ClientChanged, Client: o.Value, Note: "disabled"})
	}
	return err
}

// device ends the families that are bound to a key. The feed names them too: the
// newest token of a confidential client may be bound to another key.
func (e *ending) device(ctx context.Context, key string) error {
	if _, err := engine.Exec(ctx, e.q, "delete from code where key = $1 and key <> '' and redeemed = 0", key); err != nil {
		return err
	}
	if err := e.lock(ctx, "select id from family where key = $1 and key <> '' and ended = 0 order by id", key); err != nil {
		return err
	}
	found, err := e.families(ctx, endFamilies+" and key = $3 and key <> ''", key)
	if err != nil {
		return err
	}
	for _, f := range found {
		e.tell(revoke.Family, string(f.id))
	}
	e.event(audit.Event{Kind: audit.TokenRevoked})
	e.tell(revoke.Device, key)
	return nil
}

// everything ends all sessions and families; one event stands for them. Tokens
// count no more that were issued until before, in unix seconds. Codes are worth
// nothing without their session; where history was lost they are deleted.
func (e *ending) everything(ctx context.Context, before int64) error {
	if err := e.lock(ctx, "select id from session where ended = 0 order by id"); err != nil {
		return err
	}
	sessions, err := engine.Exec(ctx, e.q, endSession, engine.Unix(e.at), string(e.reason))
	if err != nil {
		return fmt.Errorf("end sessions: %w", err)
	}
	if e.leap > 0 {
		if e.codes, err = engine.Exec(ctx, e.q, "delete from code where redeemed = 0"); err != nil {
			return fmt.Errorf("delete codes: %w", err)
		}
	}
	if err := e.lock(ctx, "select id from family where ended = 0 order by id"); err != nil {
		return err
	}
	families, err := engine.Exec(ctx, e.q, endFamilies, engine.Unix(e.at), string(e.reason))
	if err != nil {
		return fmt.Errorf("end families: %w", err)
	}
	e.ended.Sessions, e.ended.Families = int(sessions), int(families)
	e.event(audit.Event{Kind: audit.SessionEnded})
	e.tellBefore(revoke.Epoch, "", before)
	return nil
}

// carryOut does what an order says.
func (e *ending) carryOut(ctx context.Context, o revoke.Order) error {
	switch o.Kind {
	case revoke.Session:
		return e.session(ctx, o.Value, o.Offline)
	case revoke.Family:
		return e.family(ctx, refresh.FamilyID(o.Value))
	case revoke.Subject:
		if o.Client != "" {
			return e.consent(ctx, o)
		}
		return e.subject(ctx, o)
	case revoke.Client:
		return e.client(ctx, o)
	case revoke.Epoch:
		return e.everything(ctx, engine.Unix(e.at))
	case revoke.Device:
		return e.device(ctx, o.Value)
	case revoke.Token:
		e.event(audit.Event{Kind: audit.TokenRevoked})
		e.tell(o.Kind, o.Value)
		return nil
	case revoke.Key:
		e.event(audit.Event{Kind: audit.KeyRevokedKind})
		e.tell(o.Kind, o.Value)
		return nil
	case revoke.History:
		e.event(audit.Event{Kind: audit.HistoryLost})
		e.leap = engine.Unix(e.at) * revoke.Leap
		return nil
	}
	return errors.New("unknown kind of revocation")
}

// endSwapped is the end of a family that a change has just written: it tells
// verifiers, and ends the session where the change says so.
func (s Families) endSwapped(ctx context.Context, q engine.Querier, c refresh.Change) error {
	e := &ending{db: s.DB, q: q, at: c.State.Ended, reason: c.State.Reason}
	e.tell(revoke.Family, string(c.ID))
	if c.EndSession {
		id, err := engine.One(ctx, q, engine.String, "select session from family where id = $1", FamilyBytes(c.ID))
		if err != nil {
			return err
		}
		if err := e.session(ctx, id, false); err != nil {
			return err
		}
	}
	return e.finish(ctx)
}
