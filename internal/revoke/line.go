package revoke

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// A line is an entry of the feed as all verifiers get it: it is encoded once,
// and what it takes of memory does not depend on how many of them there are.
type line struct {
	number int64
	until  int64  // unix seconds after which it is of no use
	event  []byte // a whole event of the stream
}

// encode returns the entries as lines. Those of one call share their memory.
func encode(all []Entry) ([]line, error) {
	if len(all) == 0 {
		return nil, nil
	}
	var text []byte
	ends := make([]int, len(all))
	for i, e := range all {
		b, err := json.Marshal(e)
		if err != nil {
			return nil, fmt.Errorf("encode entry %d of the feed: %w", e.Number, err)
		}
		text = appendEvent(text, "entry", e.Number, b)
		ends[i] = len(text)
	}
	text = slices.Clip(text)
	lines := make([]line, len(all))
	from := 0
	for i, e := range all {
		lines[i] = line{e.Number, e.Until, text[from:ends[i]:ends[i]]}
		from = ends[i]
	}
	return lines, nil
}

const beforeData, afterData = "\ndata: ", "\n\n"

func appendEvent(to []byte, event string, id int64, data []byte) []byte {
	to = append(to, "event: "...)
	to = append(to, event...)
	to = append(to, "\nid: "...)
	to = strconv.AppendInt(to, id, 10)
	to = append(to, beforeData...)
	to = append(to, data...)
	return append(to, afterData...)
}

// json returns the entry alone.
func (l line) json() []byte {
	_, data, _ := bytes.Cut(l.event, []byte(beforeData))
	return bytes.TrimSuffix(data, []byte(afterData))
}

// completeEvent says that the list is complete up to at with the entry of that
// number.
func completeEvent(number int64, at time.Time) []byte {
	b := strconv.AppendInt([]byte(`{"seq":`), number, 10)
	b = strconv.AppendInt(append(b, `,"time":`...), at.UnixMilli(), 10)
	return appendEvent(nil, "complete", number, append(b, '}'))
}

// linesAtOnce is how many lines are handed out at once: what a verifier that
// reads slowly holds in memory does not grow with the feed.
const linesAtOnce = 1_000

// A view is what there is to know of the feed after a number.
type view struct {
	lines    []line
	more     bool            // there are lines after these
	newest   int64           // number
	complete time.Time       // up to when that is complete; zero: not read yet
	beat     []byte          // the event that says so
	history  int64           // another one: what was told before does not count
	changed  <-chan struct{} // closed when there is more to know
	read     <-chan struct{} // closed when the feed was read again
}

// after returns what there is to know after a number.
func (c *Core) after(number int64) view {
	c.init()
	c.mu.Lock()
	defer c.mu.Unlock()
	i, _ := slices.BinarySearchFunc(c.lines, number+1, func(l line, n int64) int { return cmp.Compare(l.number, n) })
	n := min(len(c.lines), i+linesAtOnce)
	return view{
		lines: c.lines[i:n:n], more: n < len(c.lines),
		newest: c.newest, complete: c.complete, beat: c.beat, history: c.history, changed: c.changed, read: c.read,
	}
}

// catchUp is for how long somebody waits who knows more of the feed than this
// node has read.
const catchUp = 2 * time.Second

// resume returns what there is to know after a number that a verifier has got
// from some node. If this one has not come so far, the feed is read first: only
// then is a number that does not exist a sign of lost history.
func (c *Core) resume(ctx context.Context, number int64) (view, error) {
	asked := c.now()
	var late <-chan time.Time
	for {
		v := c.after(number)
		switch {
		case number <= v.newest || !v.complete.IsZero() && !v.complete.Before(asked):
			return v, nil
		case late == nil:
			t := time.NewTimer(catchUp)
			defer t.Stop()
			late = t.C
		}
		c.Notify()
		select {
		case <-v.read:
		case <-late:
			return view{}, ErrNotRead
		case <-ctx.Done():
			return view{}, context.Cause(ctx)
		}
	}
}

// Age returns how long ago the feed was complete in memory, and false if it
// never was.
func (c *Core) Age() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.complete.IsZero() {
		return 0, false
	}
	return max(0, c.now().Sub(c.complete)), true
}
