package sqlstore

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/fastbind/fastbind/internal/sqlstore/engine"
)

const (
	day = 24 * time.Hour
	// For how long what has ended can still be asked about.
	codesFor  = day
	pushedFor = time.Hour
	endedFor  = 30 * day
	auditFor  = 400 * day
	// maxSweep is the most rows that one statement deletes.
	maxSweep = 1000
)

// Sweep deletes what has expired, at most batch rows of each kind (0, and at
// most, 1,000), and returns how many rows that were. The caller goes on until
// there are none. Any number of nodes may sweep at once.
func (db *DB) Sweep(ctx context.Context, now time.Time, batch int) (int, error) {
	if batch <= 0 || batch > maxSweep {
		batch = maxSweep
	}
	total := 0
	for _, s := range []struct {
		what, text string
		before     int64
	}{
		{"codes", "delete from code where digest in (select digest from code where expires <= $1 limit $2", engine.Unix(now.Add(-codesFor))},
		{"pushed requests", "delete from pushed where digest in (select digest from pushed where expires <= $1 limit $2", engine.Unix(now.Add(-pushedFor))},
		{"families", "delete from family where id in (select id from family where ended > 0 and ended <= $1 limit $2", engine.Unix(now.Add(-endedFor))},
		{"sessions", "delete from session where id in (select id from session where ended > 0 and ended <= $1 limit $2", engine.Unix(now.Add(-endedFor))},
		{"limits", "delete from rate where key in (select key from rate where free_at <= $1 limit $2", now.UnixMicro()},
		{"keys seen once", "delete from once where key in (select key from once where until <= $1 limit $2", now.UnixMicro()},
		{"feed entries", "delete from feed where number in (select number from feed where until < $1 limit $2", engine.Unix(now)},
		{"events", "delete from audit_event where number in (select number from audit_event where at <= $1 limit $2", engine.Milli(now.Add(-cmp.Or(db.auditFor, auditFor)))},
	} {
		err := db.engine.Write(ctx, func(ctx context.Context, q engine.Querier) error {
			n, err := engine.Exec(ctx, q, s.text+db.engine.Dialect.SkipLocked+")", s.before, batch)
			total += int(n)
			return err
		})
		if err != nil {
			return total, fmt.Errorf("sweep %s: %w", s.what, err)
		}
	}
	return total, nil
}
