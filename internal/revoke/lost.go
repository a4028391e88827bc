package revoke

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
)

// margin is for how long before its last moment an entry is sure to be in the
// database: whoever sweeps may have a clock that is ahead.
const margin = 5 * time.Minute

// newestHeld returns the line of the newest number, if it is in memory and must
// be in the database.
func (c *Core) newestHeld(at time.Time) (line, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.lines); n > 0 && c.lines[n-1].number == c.newest && c.lines[n-1].until > at.Add(margin).Unix() {
		return c.lines[n-1], true
	}
	return line{}, false
}

// continues reports whether what was read begins with the line that is held, and
// returns what comes after it.
func continues(held line, read []Entry) (fresh []Entry, ok bool) {
	var mine Entry
	if len(read) == 0 || json.Unmarshal(held.json(), &mine) != nil || read[0] != mine {
		return nil, false
	}
	return read[1:], true
}

// recover is called when the database has lost history: what it says is not how
// what was read before goes on. It may have been restored from a backup, or a
// standby has taken over that lacked the last commits. What is in memory and
// was lost is told again, so that nothing lives that was ended; then the feed is
// read from its beginning.
func (c *Core) recover(ctx context.Context, after int64) error {
	now := c.now()
	c.owe(true) // if the rest fails: the numbers will not show it again
	if _, err := c.Store.End(ctx, Order{Kind: History, Reason: audit.Epoch, At: now, Note: "noticed by a server that runs"}); err != nil {
		return fmt.Errorf("database has lost history: %w", err)
	}
	stored, _, err := c.all(ctx, now)
	if err != nil {
		return err
	}
	lost, err := c.lost(stored, now)
	if err != nil {
		return err
	}
	for _, e := range lost {
		if _, err := c.Store.End(ctx, again(e)); err != nil {
			return fmt.Errorf("tell again what the database has lost: %w", err)
		}
	}
	if c.Lost != nil {
		c.Lost(ctx, lost)
	}
	c.Log.LogAttrs(ctx, slog.LevelWarn, "the database has lost history; what was revoked is told again",
		slog.Int64("after", after), slog.Int("revocations", len(lost)))
	if err := c.readAgain(ctx, after); err != nil {
		return err
	}
	c.owe(false)
	return nil
}

func (c *Core) owe(untold bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.untold = untold
}

// lost returns the entries in memory that nothing of what is stored stands for.
func (c *Core) lost(stored []Entry, now time.Time) ([]Entry, error) {
	type name struct {
		kind  Kind
		value string
	}
	known := make(map[name]int64, len(stored))
	for _, e := range stored {
		n := name{e.Kind, e.Value}
		known[n] = max(known[n], e.Before)
	}
	c.mu.Lock()
	lines := c.lines
	c.mu.Unlock()
	var lost []Entry
	for _, l := range lines {
		var e Entry
		if err := json.Unmarshal(l.json(), &e); err != nil {
			return nil, fmt.Errorf("read entry %d of the feed: %w", l.number, err)
		}
		if before, ok := known[name{e.Kind, e.Value}]; (!ok || before < e.Before) && e.Until > now.Unix() {
			lost = append(lost, e)
		}
	}
	return lost, nil
}

// again returns the order that an entry came from. Who was disabled or deleted
// is disabled.
func again(e Entry) Order {
	return Order{
		Kind: e.Kind, Value: e.Value, Reason: e.Reason, At: time.UnixMilli(e.At), Until: time.Unix(e.Until, 0),
		Disable: slices.Contains([]audit.Reason{audit.UserDisabled, audit.UserDeleted, audit.ClientDisabled}, e.Reason),
		Note:    "the database had lost this",
	}
}

// all reads all of the feed.
func (c *Core) all(ctx context.Context, now time.Time) (all []Entry, newest int64, err error) {
	for last := int64(0); ; last = all[len(all)-1].Number {
		fresh, newest, err := c.Store.Since(ctx, last, now, entriesAtOnce)
		if err != nil {
			return nil, 0, fmt.Errorf("read revocation feed anew: %w", err)
		}
		all = append(all, fresh...)
		if len(fresh) < entriesAtOnce {
			return all, newest, nil
		}
	}
}

// readAgain reads all of the feed: the numbers mean something else than before.
func (c *Core) readAgain(ctx context.Context, after int64) error {
	began := c.now()
	all, newest, err := c.all(ctx, began)
	if err != nil {
		return err
	}
	lines, err := encode(all)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.newest == after {
		c.lines = nil
		c.history++
		c.told = time.Time{}
		c.complete = began
		c.extend(all, lines, newest)
	}
	return nil
}
