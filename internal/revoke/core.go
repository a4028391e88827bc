package revoke

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/fastbind/fastbind/internal/pace"
	"github.com/fastbind/fastbind/internal/policy"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/token"
)

// skew is added to the longest life of an access token: clocks differ.
const skew = 2 * time.Minute

// A Core ends things, and keeps in memory what verifiers have to know. Set the
// exported fields before use; it is safe for concurrent use.
type Core struct {
	Store    Store
	Families refresh.Store
	Log      *slog.Logger
	// Observe is called, in order, with each entry that appears in the feed,
	// whoever wrote it. It must not block. May be nil.
	Observe func(Entry)
	// Lost is called with revocations that the database had lost and that were
	// carried out again. May be nil.
	Lost func(context.Context, []Entry)
	// Now returns the time; nil means time.Now.
	Now func() time.Time

	once sync.Once
	wake chan struct{} // one waits at most

	mu sync.Mutex
	// lines are by number; those that are of no use any more are dropped.
	// What was handed out by after is never written to again.
	lines    []line
	newest   int64
	history  int64         // counts how often the database has lost history
	untold   bool          // not all of what it has lost is told again yet
	complete time.Time     // up to when lines is complete; zero: not read yet
	beat     []byte        // the event that says so, for all streams
	told     time.Time     // complete as streams were last woken for
	changed  chan struct{} // closed when there is something to tell
	read     chan struct{} // closed when the feed was read

	confirmMu sync.Mutex
	confirmed map[refresh.Use]struct{}
}

func (c *Core) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

func (c *Core) init() {
	c.once.Do(func() {
		c.wake = make(chan struct{}, 1)
		c.changed, c.read = make(chan struct{}), make(chan struct{})
		c.confirmed = make(map[refresh.Use]struct{})
	})
}

// End carries out an order and returns when that is durable and on its way to
// every verifier. At may be zero: now. Until is filled in. An error means that
// nothing is known to have ended: the caller says so, and never "done".
func (c *Core) End(ctx context.Context, o Order) (Ended, error) {
	if o.At.IsZero() {
		o.At = c.now()
	}
	o.Until = o.At.Add(policy.MaxAccessLife + skew)
	e, err := c.Store.End(ctx, o)
	if err != nil {
		return Ended{}, fmt.Errorf("end %s: %w", o.Kind, err)
	}
	c.Notify()
	return e, nil
}

// Notify says that there may be new entries in the feed.
func (c *Core) Notify() {
	c.init()
	select {
	case c.wake <- struct{}{}:
	default: // a wake-up is waiting already
	}
}

// How often the feed is read even if nobody said that there is news, and how
// often what has run out is ended.
const (
	heartbeat     = time.Second
	expireEvery   = 30 * time.Second
	expireBatch   = 50
	retryListen   = time.Second
	entriesAtOnce = 5_000
)

// Run keeps the feed up to date and ends what has run out, until ctx ends.
func (c *Core) Run(ctx context.Context) error {
	c.init()
	var work sync.WaitGroup
	work.Go(func() { c.listen(ctx) })
	work.Go(func() { c.expire(ctx) })
	defer work.Wait()
	t := time.NewTicker(heartbeat)
	defer t.Stop()
	for {
		if err := c.Refresh(ctx); err != nil && ctx.Err() == nil {
			c.Log.LogAttrs(ctx, slog.LevelError, "revocation feed cannot be read", slog.Any("err", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		case <-t.C:
		}
	}
}

// listen waits for news from other nodes and processes.
func (c *Core) listen(ctx context.Context) {
	for ctx.Err() == nil {
		if err := c.Store.Wake(ctx, c.Notify); err != nil && ctx.Err() == nil {
			c.Log.LogAttrs(ctx, slog.LevelWarn, "revocation wake-ups interrupted", slog.Any("err", err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryListen):
		}
	}
}

func (c *Core) expire(ctx context.Context) {
	t := time.NewTicker(expireEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		for n := expireBatch; n == expireBatch && ctx.Err() == nil; {
			_, err := pace.Do(ctx, func() (err error) {
				n, err = c.Store.EndExpired(ctx, c.now(), expireBatch)
				if n > 0 {
					c.Notify()
				}
				return err
			})
			if err != nil {
				if ctx.Err() == nil {
					c.Log.LogAttrs(ctx, slog.LevelWarn, "ending what has run out", slog.Any("err", err))
				}
				break
			}
		}
	}
}

// Refresh reads what is new in the feed. Run calls it; it is exported for
// whoever needs the view to be complete at once.
func (c *Core) Refresh(ctx context.Context) error {
	c.init()
	for {
		began := c.now()
		c.mu.Lock()
		after, untold := c.newest, c.untold
		c.mu.Unlock()
		if untold {
			return c.recover(ctx, after)
		}
		ask, limit := after, entriesAtOnce
		held, known := c.newestHeld(began)
		if known { // and see that it is still the same
			ask, limit = after-1, entriesAtOnce+1
		}
		fresh, newest, err := c.Store.Since(ctx, ask, began, limit)
		if err != nil {
			return fmt.Errorf("read revocation feed: %w", err)
		}
		if known {
			fresh, known = continues(held, fresh)
			if !known {
				return c.recover(ctx, after)
			}
		}
		if newest < after {
			return c.recover(ctx, after)
		}
		if len(fresh) == entriesAtOnce {
			newest = fresh[len(fresh)-1].Number
		}
		if err := c.add(fresh, after, newest, began); err != nil {
			return err
		}
		if len(fresh) < entriesAtOnce {
			return nil
		}
	}
}

func (c *Core) add(fresh []Entry, after, newest int64, at time.Time) error {
	lines, err := encode(fresh)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.newest != after { // somebody else read the same meanwhile
		return nil
	}
	useless := 0
	for useless < len(c.lines) && c.lines[useless].until <= at.Unix() {
		useless++
	}
	c.lines = c.lines[useless:] // not in place: streams are reading them
	if len(fresh) < entriesAtOnce {
		c.complete = at
	}
	c.extend(fresh, lines, newest)
	return nil
}

// extend appends entries and tells whoever waits for them. Mu is held.
func (c *Core) extend(fresh []Entry, lines []line, newest int64) {
	c.lines = append(c.lines, lines...)
	c.newest = newest
	if !c.complete.IsZero() {
		c.beat = completeEvent(newest, c.complete)
	}
	close(c.read)
	c.read = make(chan struct{})
	// Of an end here and its notice by the database only one has entries: all
	// streams wake for that one, and not for the other.
	if len(lines) > 0 || c.complete.Sub(c.told).Abs() >= heartbeat/2 {
		c.told = c.complete
		close(c.changed)
		c.changed = make(chan struct{})
	}
	if c.Observe != nil {
		for _, e := range fresh {
			c.Observe(e)
		}
	}
}

// Standing reports whether an access token that verifies still counts at now,
// and confirms its generation: it was seen in use.
func (c *Core) Standing(ctx context.Context, t token.Claims, now time.Time) (bool, error) {
	ok, err := c.Store.Counts(ctx, Question{
		Token: t.ID, Family: t.Family, Session: t.Session, Subject: t.Subject,
		Client: t.Client, Key: t.KeyID, Device: t.Thumbprint, Issued: t.Issued,
	}, now)
	if err != nil {
		return false, fmt.Errorf("ask whether the token counts: %w", err)
	}
	if ok && t.Family != "" {
		err = c.Confirm(ctx, []refresh.Use{{Family: refresh.FamilyID(t.Family), Generation: t.Generation}})
	}
	return ok, err
}

// maxConfirmed bounds what is remembered of uses that were written.
const maxConfirmed = 20_000

// Confirm notes that something minted with the generations was seen in use.
// What was noted lately is not written again.
func (c *Core) Confirm(ctx context.Context, uses []refresh.Use) error {
	c.init()
	c.confirmMu.Lock()
	uses = slices.DeleteFunc(slices.Clone(uses), func(u refresh.Use) bool {
		_, ok := c.confirmed[u]
		return ok
	})
	c.confirmMu.Unlock()
	if len(uses) == 0 {
		return nil
	}
	if err := c.Families.Confirm(ctx, uses); err != nil {
		return fmt.Errorf("confirm generations: %w", err)
	}
	c.confirmMu.Lock()
	defer c.confirmMu.Unlock()
	if len(c.confirmed) > maxConfirmed {
		clear(c.confirmed)
	}
	for _, u := range uses {
		c.confirmed[u] = struct{}{}
	}
	return nil
}

// ClaimsRequest returns the claims parameter with which a family was
// authorized.
func (c *Core) ClaimsRequest(ctx context.Context, family string) (string, error) {
	f, err := c.family(ctx, refresh.FamilyID(family))
	if err != nil || f == nil {
		return "", err
	}
	return f.Claims, nil
}

// family returns a family; nil: there is none.
func (c *Core) family(ctx context.Context, id refresh.FamilyID) (*refresh.Family, error) {
	if id == "" {
		return nil, nil
	}
	fs, err := c.Families.Load(ctx, []refresh.FamilyID{id})
	if err != nil {
		return nil, fmt.Errorf("load family: %w", err)
	}
	if len(fs) == 0 {
		return nil, nil
	}
	return &fs[0], nil
}

// ErrNotRead says that the feed has not been read since the start, or not as far
// as a verifier already knows it.
var ErrNotRead = errors.New("the revocation feed has not been read yet")
