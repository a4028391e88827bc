package engine

import (
	"context"
	"fmt"

	"github.com/fastbind/fastbind/internal/audit"
)

// EventColumns are the columns of an event, in the order of [Event].
const EventColumns = "at, kind, reason, subject, session, family, client, note, parties"

// Record writes events in the transaction of q, which is one of [DB.Transact] or
// [DB.Write].
func Record(ctx context.Context, q Querier, events ...audit.Event) error {
	if len(events) == 0 {
		return nil
	}
	t, ok := q.(*transaction)
	if !ok {
		return errForeign
	}
	for _, e := range events {
		parties, err := JSON(e.Parties)
		if err != nil {
			return fmt.Errorf("write parties of event: %w", err)
		}
		e.Number, err = One(ctx, q, Int, "insert into audit_event ("+EventColumns+`)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9) returning number`,
			Milli(e.Time), string(e.Kind), string(e.Reason), e.Subject, e.Session, e.Family, e.Client, e.Note, parties)
		if err != nil {
			return fmt.Errorf("write event: %w", err)
		}
		t.events = append(t.events, e)
	}
	return nil
}

// Event scans what [Record] wrote.
func Event(r Row) (e audit.Event, err error) {
	err = r.Scan(Millis(&e.Time), &e.Kind, &e.Reason, &e.Subject, &e.Session, &e.Family, &e.Client, &e.Note,
		JSONInto(&e.Parties))
	return e, err
}

// NumberedEvent scans the number of an event and then what [Event] does.
func NumberedEvent(r Row) (e audit.Event, err error) {
	err = r.Scan(&e.Number, Millis(&e.Time), &e.Kind, &e.Reason, &e.Subject, &e.Session, &e.Family, &e.Client, &e.Note,
		JSONInto(&e.Parties))
	return e, err
}
