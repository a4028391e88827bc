package sqlstore

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/fastbind/fastbind/internal/fsck"
	"github.com/fastbind/fastbind/internal/keys"
	"github.com/fastbind/fastbind/internal/sqlstore/engine"
	"github.com/fastbind/fastbind/internal/sqlstore/life"
)

// inspected is how many rows are read at once.
const inspected = 500

// Fsck looks at the whole of what is stored, at one moment, and reports each
// broken invariant. Now is the time of that moment. It changes nothing and holds
// up nobody, and its memory does not grow with the data.
func (db *DB) Fsck(ctx context.Context, now time.Time) (fsck.Report, error) {
	c := &fsck.Checker{Now: now, EventsFor: cmp.Or(db.auditFor, auditFor)}
	err := db.engine.Snapshot(ctx, func(ctx context.Context, q engine.Querier) error {
		for _, part := range []struct {
			what string
			look func(context.Context, engine.Querier, *fsck.Checker) error
		}{
			{"feed", inspectFeed},
			{"sessions", inspectSessions},
			{"families", func(ctx context.Context, q engine.Querier, c *fsck.Checker) error {
				return life.InspectFamilies(ctx, db.engine, q, c.Family)
			}},
			{"codes", inspectCodes},
			{"keys", inspectKeys},
			{"other rows", inspectRest},
		} {
			if err := part.look(ctx, q, c); err != nil {
				return fmt.Errorf("look at %s: %w", part.what, err)
			}
		}
		return nil
	})
	if err != nil {
		return fsck.Report{}, fmt.Errorf("fsck: %w", err)
	}
	return c.Report(), nil
}

func inspectFeed(ctx context.Context, q engine.Querier, c *fsck.Checker) error {
	counter, err := life.InspectFeed(ctx, q, c.Entry)
	if err == nil {
		c.Counter(counter)
	}
	return err
}

func inspectSessions(ctx context.Context, q engine.Querier, c *fsck.Checker) error {
	for after := ""; ; {
		found, err := engine.List(ctx, q, func(r engine.Row) (s fsck.Session, err error) {
			var general, told int64
			err = r.Scan(append(sessionInto(&s.Session), &s.SweepAt, &s.Subject, &s.Ends.Own, &s.Ends.Reason, &general, &told)...)
			s.Ends.General, s.Ends.Told = general == 1, told == 1
			return s, err
		}, "select "+sessionColumns+`, sweep_at,
			coalesce((select case when a.disabled = 0 then 2 else 1 end from account a where a.subject = s.subject), 0),
			(select count(*) from audit_event e where e.session = s.id and e.session <> '' and e.kind = 'session_ended'),
			coalesce((select min(e.reason) from audit_event e where e.session = s.id and e.session <> '' and e.kind = 'session_ended'), ''),
			case when s.ended > 0 and exists (select 1 from audit_event e where e.at >= s.ended * 1000 and e.at < s.ended * 1000 + 1000
				and e.reason = s.reason and e.session = '' and e.subject = '' and e.kind = 'session_ended') then 1 else 0 end,
			case when exists (select 1 from feed n where n.kind = 'sid' and n.value = s.id)
				or exists (select 1 from feed n where n.kind = 'epoch' and n.before >= s.ended - 1) then 1 else 0 end
			from session s where s.id > $1 order by s.id limit $2`, after, inspected)
		if err != nil || len(found) == 0 {
			return err
		}
		for _, s := range found {
			c.Session(s)
		}
		after = found[len(found)-1].ID
	}
}

func inspectCodes(ctx context.Context, q engine.Querier, c *fsck.Checker) error {
	for after := []byte{}; ; {
		found, err := engine.List(ctx, q, func(r engine.Row) (v fsck.Code, err error) {
			var yielded int64
			err = r.Scan(append(codeInto(&v.Code), &yielded)...)
			v.Yielded = yielded == 1
			return v, err
		}, "select "+codeColumns+", case when "+life.Exists("code.family")+` then 1 else 0 end
			from code where digest > $1 order by digest limit $2`, after, inspected)
		if err != nil || len(found) == 0 {
			return err
		}
		for _, v := range found {
			c.Code(v)
		}
		after = found[len(found)-1].Digest[:]
	}
}

func inspectKeys(ctx context.Context, q engine.Querier, c *fsck.Checker) error {
	type placed struct {
		keys.Record
		position int64
	}
	found, err := engine.List(ctx, q, func(r engine.Row) (k placed, err error) {
		err = r.Scan(&k.ID, &k.position, &k.Algorithm, &k.Public, &k.Sealed, &k.State, engine.Seconds(&k.Created), engine.Seconds(&k.Since))
		return k, err
	}, "select id, position, algorithm, public, sealed, state, created, since from signing_key order by position")
	if err != nil {
		return err
	}
	for _, k := range found {
		c.Key(k.Record, k.position)
	}
	version, err := engine.One(ctx, q, engine.Int, "select coalesce(max(version), 0) from key_set")
	if err == nil {
		c.KeySet(version)
	}
	return err
}

// inspectRest looks at rows that mean little alone: each text counts those that
// break an invariant.
func inspectRest(ctx context.Context, q engine.Querier, c *fsck.Checker) error {
	for _, v := range []struct{ check, row, text string }{
		{"account", "account", "select count(*) from account where version < 1 or subject = '' or username = '' or disabled < 0"},
		{"client", "client", "select count(*) from client where version < 1 or id = '' or disabled < 0"},
		{"consent_owner", "consent", `select count(*) from consent g where not exists (select 1 from account where subject = g.subject)
		or not exists (select 1 from client where id = g.client)`},
		{"consent_time", "consent", "select count(*) from consent where given <= 0"},
		{"pushed", "pushed request", "select count(*) from pushed where used < 0 or expires <= 0"},
		{"limit", "limit", "select count(*) from rate where length(key) <> 32 or free_at <= 0"},
		{"once", "key seen once", "select count(*) from once where length(key) <> 32 or until <= 0"},
		{"feed_counter", "feed counter", "select abs(count(*) - 1) from feed_counter"},
		{"event", "event", "select count(*) from audit_event where at <= 0 or kind = ''"},
	} {
		n, err := engine.One(ctx, q, engine.Int, v.text)
		if err != nil {
			return err
		}
		if n > 0 {
			c.Found(v.check, v.row, "%d rows are malformed or belong to nobody", n)
		}
	}
	return nil
}
