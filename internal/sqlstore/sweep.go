package sqlstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/fastbind/fastbind/internal/pace"
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

// An expiry says what is deleted when.
type expiry struct {
	what, text string
	before     int64
}

func (db *DB) expiries(now time.Time) []expiry {
	return []expiry{
		{"codes", "delete from code where digest in (select digest from code where expires <= $1 limit $2", engine.Unix(now.Add(-codesFor))},
		{"pushed requests", "delete from pushed where digest in (select digest from pushed where expires <= $1 limit $2", engine.Unix(now.Add(-pushedFor))},
		{"families", "delete from family where id in (select id from family where ended > 0 and ended <= $1 limit $2", engine.Unix(now.Add(-endedFor))},
		{"sessions", "delete from session where id in (select id from session where ended > 0 and ended <= $1 limit $2", engine.Unix(now.Add(-endedFor))},
		{"limits", "delete from rate where key in (select key from rate where free_at <= $1 limit $2", now.UnixMicro()},
		{"keys seen once", "delete from once where key in (select key from once where until <= $1 limit $2", now.UnixMicro()},
		{"feed entries", "delete from feed where number in (select number from feed where until < $1 limit $2", engine.Unix(now)},
		{"events", "delete from audit_event where number in (select number from audit_event where at <= $1 limit $2", engine.Milli(now.Add(-cmp.Or(db.auditFor, auditFor)))},
	}
}

// delete deletes at most batch rows and returns how many it was.
func (db *DB) delete(ctx context.Context, e expiry, batch int) (deleted int, err error) {
	err = db.engine.Write(ctx, func(ctx context.Context, q engine.Querier) error {
		n, err := engine.Exec(ctx, q, e.text+db.engine.Dialect.SkipLocked+")", e.before, batch)
		deleted = int(n)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("sweep %s: %w", e.what, err)
	}
	return deleted, nil
}

// Sweep deletes what has expired, at most batch rows of each kind (0, and at
// most, 1,000), and returns how many rows that were. Any number of nodes may
// sweep at once.
func (db *DB) Sweep(ctx context.Context, now time.Time, batch int) (int, error) {
	if batch <= 0 || batch > maxSweep {
		batch = maxSweep
	}
	total := 0
	for _, e := range db.expiries(now) {
		n, err := db.delete(ctx, e, batch)
		if err != nil {
			return total, err
		}
		total += n
	}
	return total, nil
}

const (
	// minSweep and firstSweep bound and begin the batches of [DB.Clean].
	minSweep, firstSweep = 10, 100
	// sweepTime is what a batch should take at most: others wait behind it.
	sweepTime = 5 * time.Millisecond
)

// Clean deletes all that has expired, in batches that are as large as can be
// deleted in a few milliseconds, each with its rest. It stops early, and says that
// it is not done, once work and rest have taken as long as atMost; 0: it does not.
func (db *DB) Clean(ctx context.Context, now time.Time, atMost time.Duration) (done bool, err error) {
	all := db.expiries(now)
	sizes := slices.Repeat([]int{firstSweep}, len(all))
	for spent := time.Duration(0); atMost == 0 || spent < atMost; {
		total := 0
		for i, e := range all {
			n := 0
			took, err := pace.Do(ctx, func() (err error) {
				n, err = db.delete(ctx, e, sizes[i])
				return err
			})
			if err != nil {
				return false, err
			}
			spent += took * (1 + pace.Rest)
			total += n
			switch {
			case took > sweepTime:
				sizes[i] = max(sizes[i]/2, minSweep)
			case n == sizes[i] && took < sweepTime/2:
				sizes[i] = min(sizes[i]*2, maxSweep)
			}
		}
		if total == 0 {
			return true, nil
		}
	}
	return false, nil
}
