package life

import (
	"context"
	"encoding/json"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/fsck"
	"github.com/fastbind/fastbind/internal/revoke"
	"github.com/fastbind/fastbind/internal/sqlstore/engine"
)

// inspected is how many rows are read at once: more of them cost memory, fewer
// cost time.
const inspected = 500

// inspectFamilies reads families with what became of their client, subject and
// session (0 gone, 1 ended, 2 live), whether an event of the moment stands for
// the end of many, and whether the feed names the family with others.
const inspectFamilies = "select " + familyColumns + `, sweep_at,
	coalesce((select case when c.disabled = 0 then 2 else 1 end from client c where c.id = f.client), 0),
	coalesce((select case when a.disabled = 0 then 2 else 1 end from account a where a.subject = f.subject), 0),
	coalesce((select case when s.ended = 0 then 2 else 1 end from session s where s.id = f.session), 0),
	case when f.ended > 0 and exists (select 1 from audit_event e where e.at >= f.ended * 1000 and e.at < f.ended * 1000 + 1000
		and e.reason = f.reason and e.session = '' and e.family = '' and (
			e.kind = 'session_ended' and e.subject = '' or e.kind = 'family_ended' and e.client = f.client)) then 1 else 0 end,
	case when f.ended > 0 and (exists (select 1 from feed n where n.kind = 'epoch' and n.before >= f.ended - 1)
		or exists (select 1 from feed n where n.kind = 'client' and n.value = f.client and n.before >= f.ended)
		or not f.offline and exists (select 1 from feed n where n.kind = 'sid' and n.value = f.session)) then 1 else 0 end
	from family f where f.id > $1 order by f.id limit $2`

// InspectFamilies gives every family to check.
func InspectFamilies(ctx context.Context, db *engine.DB, q engine.Querier, check func(fsck.Family)) error {
	after := []byte{}
	for {
		found, err := engine.List(ctx, q, func(r engine.Row) (f fsck.Family, err error) {
			into := append([]any{FamilyInto(&f.ID), &f.Version}, GrantInto(&f.Grant)...)
			into = append(into, stateInto(&f.State)...)
			var many, told int64
			err = r.Scan(append(into, &f.SweepAt, &f.Client, &f.Subject, &f.SessionLife, &many, &told)...)
			f.Ends.General, f.Ends.Told = many == 1, told == 1
			return f, err
		}, inspectFamilies, after, inspected)
		if err != nil || len(found) == 0 {
			return err
		}
		if err := ends(ctx, db, q, found); err != nil {
			return err
		}
		for _, f := range found {
			check(f)
		}
		after = FamilyBytes(found[len(found)-1].ID)
	}
}

// ends fills in what events and feed say about the families alone.
func ends(ctx context.Context, db *engine.DB, q engine.Querier, families []fsck.Family) error {
	names, place := make([]string, len(families)), make(map[string]*fsck.Family, len(families))
	for i := range families {
		names[i] = string(families[i].ID)
		place[names[i]] = &families[i]
	}
	in, list := " in (select value from json_each($1))", any(nil)
	if list = names; db.Dialect.Arrays {
		in = " = any($1)"
	} else if text, err := json.Marshal(names); err != nil {
		return err
	} else {
		list = string(text)
	}
	events, err := engine.List(ctx, q, func(r engine.Row) (e audit.Event, err error) {
		err = r.Scan(&e.Family, &e.Kind, &e.Reason)
		return e, err
	}, `select family, kind, reason from audit_event where family`+in+` and family <> ''
		and kind in ('family_ended', 'theft') and reason <> ''`, list)
	if err != nil {
		return err
	}
	for _, e := range events {
		f := place[e.Family]
		f.Ends.Own++
		f.Ends.Reason = e.Reason
		if fsck.Theft(e) {
			f.Thefts++
		}
	}
	entries, err := engine.List(ctx, q, engine.String, "select value from feed where kind = 'family' and value"+in, list)
	for _, name := range entries {
		place[name].Ends.Told = true
	}
	return err
}

// InspectFeed gives every entry of the feed, in order, to check, and returns the
// counter.
func InspectFeed(ctx context.Context, q engine.Querier, check func(revoke.Entry)) (counter int64, err error) {
	for last := int64(-1 << 62); ; {
		found, err := engine.List(ctx, q, func(r engine.Row) (e revoke.Entry, err error) {
			err = r.Scan(&e.Number, &e.Kind, &e.Value, &e.Before, &e.Reason, &e.At, &e.Until)
			return e, err
		}, "select number, kind, value, before, reason, at, until from feed where number > $1 order by number limit $2", last, inspected)
		if err != nil {
			return 0, err
		}
		if len(found) == 0 {
			return engine.One(ctx, q, engine.Int, "select coalesce(max(number), 0) from feed_counter")
		}
		for _, e := range found {
			check(e)
		}
		last = found[len(found)-1].Number
	}
}

// Exists is a condition: that the family of this name is stored.
func Exists(name string) string { return "exists (select 1 from family where id = " + name + ")" }
