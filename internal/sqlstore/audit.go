package sqlstore

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/fastbind/fastbind/internal/audit"
)

const eventColumns = "at, kind, reason, subject, session, family, client, note, parties"

// record writes events in the transaction of q.
func record(ctx context.Context, q querier, events ...audit.Event) error {
	for _, e := range events {
		parties := ""
		if len(e.Parties) > 0 {
			b, err := json.Marshal(e.Parties)
			if err != nil {
				return fmt.Errorf("write parties of event: %w", err)
			}
			parties = string(b)
		}
		if _, err := exec(ctx, q, "insert into audit_event ("+eventColumns+") values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
			milli(e.Time), string(e.Kind), string(e.Reason), e.Subject, e.Session, e.Family, e.Client, e.Note,
			parties); err != nil {
			return fmt.Errorf("write event: %w", err)
		}
	}
	return nil
}

// Record writes events that belong to no other change.
func (db *DB) Record(ctx context.Context, events ...audit.Event) error {
	return db.write(ctx, func(ctx context.Context, q querier) error { return record(ctx, q, events...) })
}

// An EventQuery says which events to list. Empty fields do not restrict.
type EventQuery struct {
	Subject, Session, Family string
	Kind                     audit.Kind
	Limit                    int // 0 means 100
}

// Events returns the events that fit, newest first.
func (db *DB) Events(ctx context.Context, query EventQuery) ([]audit.Event, error) {
	// One text for each index that can serve the query.
	const rest = ` and ($4 = '' or kind = $4) order by number desc limit $5`
	text := "select " + eventColumns + ` from audit_event
		where ($1 = '' or subject = $1) and ($2 = '' or session = $2) and ($3 = '' or family = $3)` + rest
	switch {
	case query.Family != "":
		text = "select " + eventColumns + ` from audit_event where family = $3 and family <> ''
			and ($1 = '' or subject = $1) and ($2 = '' or session = $2)` + rest
	case query.Session != "":
		text = "select " + eventColumns + ` from audit_event where session = $2 and session <> ''
			and ($1 = '' or subject = $1) and ($3 = '' or family = $3)` + rest
	case query.Subject != "":
		text = "select " + eventColumns + ` from audit_event where subject = $1 and subject <> ''
			and ($2 = '' or session = $2) and ($3 = '' or family = $3)` + rest
	}
	limit := query.Limit
	if limit == 0 {
		limit = 100
	}
	events, err := list(ctx, db.reader, scanEvent, text, query.Subject, query.Session, query.Family, string(query.Kind), limit)
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	return events, nil
}

func scanEvent(r scanner) (e audit.Event, err error) {
	err = r.Scan(millis{&e.Time}, &e.Kind, &e.Reason, &e.Subject, &e.Session, &e.Family, &e.Client, &e.Note,
		partiesInto{&e.Parties})
	return e, err
}

// partiesInto scans the parties of an event.
type partiesInto struct{ list *[]audit.Party }

// Scan is for package sql.
func (s partiesInto) Scan(v any) error { return unmarshalText(v, s.list) }
