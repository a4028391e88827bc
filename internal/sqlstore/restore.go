package sqlstore

import (
	"context"
	"fmt"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/history"
	"github.com/fastbind/fastbind/internal/keys"
	"github.com/fastbind/fastbind/internal/sqlstore/engine"
	"github.com/fastbind/fastbind/internal/sqlstore/life"
)

// histories implements history.Store.
type histories struct{ *engine.DB }

// Mark is for history.Store.
func (s histories) Mark(ctx context.Context) (history.Mark, error) {
	m, err := engine.One(ctx, s.Reader, func(r engine.Row) (m history.Mark, err error) {
		err = r.Scan(&m.Installation, &m.Epoch, &m.Begun, &m.Number, &m.Seen)
		return m, err
	}, `select h.installation, h.epoch, h.begun, c.number, h.seen from history h cross join feed_counter c`)
	if err != nil {
		return history.Mark{}, fmt.Errorf("read history: %w", err)
	}
	return m, nil
}

// Seen is for history.Store.
func (s histories) Seen(ctx context.Context, now time.Time) error {
	err := s.Write(ctx, func(ctx context.Context, q engine.Querier) error {
		_, err := engine.Exec(ctx, q, "update history set seen = $1 where seen < $1", engine.Milli(now))
		return err
	})
	if err != nil {
		return fmt.Errorf("note time in history: %w", err)
	}
	return nil
}

// A Restore is what makes a database that was restored from a backup safe.
type Restore struct {
	At   time.Time
	Keys []keys.Record // sign from now on, instead of all that there are
	// Noted is what was noted of the database before it was restored; it may be
	// the zero Mark.
	Noted history.Mark
	Note  string // goes into the events
}

// Restored is what was ended.
type Restored struct {
	Epoch    int64 `json:"epoch"`
	Sessions int   `json:"sessions"`
	Families int   `json:"families"`
	Codes    int64 `json:"codes"`
	Pushed   int64 `json:"pushed_requests"`
	Consents int64 `json:"consents"`
	Keys     int64 `json:"signing_keys"`
}

// FinishRestore ends, in one transaction, all that the backup holds and that may
// have been ended, rotated, used or stolen since it was made: that is everything
// but people, their credentials, and clients. It begins a new epoch: what was
// issued before counts nowhere.
func (db *DB) FinishRestore(ctx context.Context, o Restore) (done Restored, err error) {
	err = db.engine.Transact(ctx, func(ctx context.Context, q engine.Querier) (err error) {
		done = Restored{}
		if done.Epoch, err = engine.One(ctx, q, engine.Int, `update history set begun = $1,
			seen = case when seen < $2 then $2 else seen end,
			epoch = 1 + case when epoch < $3 then $3 else epoch end returning epoch`,
			engine.Unix(o.At), engine.Milli(o.At), o.Noted.Epoch); err != nil {
			return err
		}
		old, events, err := replaceKeys(ctx, q, o.Keys)
		if err != nil {
			return err
		}
		done.Keys = int64(len(old))
		note := fmt.Sprintf("epoch %d", done.Epoch)
		if o.Note != "" {
			note += ": " + o.Note
		}
		for i := range events {
			events[i].Time = o.At
		}
		ended, err := life.StartOver(ctx, db.engine, q, life.NewStart{At: o.At, Note: note, Keys: old, Events: events})
		if err != nil {
			return err
		}
		done.Sessions, done.Families = ended.Ended.Sessions, ended.Ended.Families
		done.Codes, done.Pushed, done.Consents = ended.Codes, ended.Pushed, ended.Consents
		return nil
	})
	if err != nil {
		return Restored{}, fmt.Errorf("finish restore: %w", err)
	}
	db.engine.Tell()
	return done, nil
}

// replaceKeys puts records in the place of all keys, and returns the names of
// those that are gone and the events that say so.
func replaceKeys(ctx context.Context, q engine.Querier, records []keys.Record) (old []string, events []audit.Event, err error) {
	old, err = engine.List(ctx, q, engine.String, "select id from signing_key order by position")
	if err != nil || len(records) == 0 {
		return old, nil, err
	}
	if _, err := engine.Exec(ctx, q, `insert into key_set (id, version) values (1, 1)
		on conflict (id) do update set version = key_set.version + 1`); err != nil {
		return nil, nil, err
	}
	for _, k := range records {
		events = append(events, audit.Event{Kind: audit.KeyRotated, Note: k.ID})
	}
	return old, events, putKeys(ctx, q, records)
}

// CopyTo writes a copy of the database, as it is at one moment, into a file that
// is empty, and checks that it is sound. It holds up nobody. PostgreSQL has tools
// of its own, and says so with an error.
func (db *DB) CopyTo(ctx context.Context, file string) error { return db.engine.CopyTo(ctx, file) }

// Histories returns the store of package history.
func (db *DB) Histories() history.Store { return histories{db.engine} }
