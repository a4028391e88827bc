package sqlstore

import (
	"context"
	"fmt"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/sqlstore/engine"
)

// Record writes events that belong to no other change.
func (db *DB) Record(ctx context.Context, events ...audit.Event) error {
	return db.engine.Write(ctx, func(ctx context.Context, q engine.Querier) error { return engine.Record(ctx, q, events...) })
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
	text := "select " + engine.EventColumns + ` from audit_event
		where ($1 = '' or subject = $1) and ($2 = '' or session = $2) and ($3 = '' or family = $3)` + rest
	switch {
	case query.Family != "":
		text = "select " + engine.EventColumns + ` from audit_event where family = $3 and family <> ''
			and ($1 = '' or subject = $1) and ($2 = '' or session = $2)` + rest
	case query.Session != "":
		text = "select " + engine.EventColumns + ` from audit_event where session = $2 and session <> ''
			and ($1 = '' or subject = $1) and ($3 = '' or family = $3)` + rest
	case query.Subject != "":
		text = "select " + engine.EventColumns + ` from audit_event where subject = $1 and subject <> ''
			and ($2 = '' or session = $2) and ($3 = '' or family = $3)` + rest
	}
	limit := query.Limit
	if limit == 0 {
		limit = 100
	}
	events, err := engine.List(ctx, db.engine.Reader, engine.Event, text, query.Subject, query.Session, query.Family, string(query.Kind), limit)
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	return events, nil
}

// EventsAfter returns the events with numbers after one, oldest first, at most
// limit. On PostgreSQL an event can become visible later than one with a higher
// number: transactions commit in their own order.
func (db *DB) EventsAfter(ctx context.Context, number int64, limit int) ([]audit.Event, error) {
	events, err := engine.List(ctx, db.engine.Reader, engine.NumberedEvent,
		"select number, "+engine.EventColumns+" from audit_event where number > $1 order by number limit $2", number, limit)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	return events, nil
}
