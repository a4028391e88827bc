// Package trail writes a copy of the security events as lines of JSON, for those
// who collect logs.
//
// The database is the truth: an event is in it in the same transaction as the
// change that it reports. The invariant: who commits an event never waits for
// its line, and a line is written only of an event that is durable. A file gets
// each event of this process at least once; the number of an event tells two
// lines of it apart from two events.
package trail

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
)

const (
	// maxQueued bounds the events that wait for their lines. What does not fit
	// is read from the database later.
	maxQueued = 8_192
	// tail is how much of the end of a file is looked at for what it holds.
	tail = 256 << 10
	// slack is how far below the newest number in a file there may be events
	// that are not in it, because they were committed later.
	slack = 1_000
	// maxMissed bounds what is read from the database at once.
	maxMissed = 100_000
	atOnce    = 1_000
	retry     = time.Second
)

// A Trail writes lines. Set the exported fields before use; it is safe for
// concurrent use.
type Trail struct {
	// File is the name of the file to which lines are appended; empty: they go
	// to Out.
	File string
	Out  io.Writer
	// Events returns events with numbers after one, oldest first.
	Events func(ctx context.Context, after int64, limit int) ([]audit.Event, error)
	Log    *slog.Logger

	once   sync.Once
	wake   chan struct{} // one waits at most
	mu     sync.Mutex
	queued []audit.Event
	missed span // what did not fit; under mu

	// The rest belongs to who writes: Run, and Close after it.
	file   *os.File
	torn   bool // the last write ended within a line
	behind span // what has to be read from the database
}

// A span is the numbers after one and up to another; zero: none.
type span struct{ after, upTo int64 }

// with returns the span that also holds n.
func (s span) with(n int64) span {
	if s == (span{}) {
		return span{n - 1, n}
	}
	return span{min(s.after, n-1), max(s.upTo, n)}
}

func (t *Trail) init() { t.once.Do(func() { t.wake = make(chan struct{}, 1) }) }

// Add queues events that are durable, and never waits.
func (t *Trail) Add(events []audit.Event) {
	t.init()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range events {
		if len(t.queued) < maxQueued {
			t.queued = append(t.queued, e)
		} else {
			t.missed = t.missed.with(e.Number)
		}
	}
	select {
	case t.wake <- struct{}{}:
	default: // it has not looked yet
	}
}

// Open opens the file, and finds out what an earlier process did not come to
// write into it.
func (t *Trail) Open(ctx context.Context) error {
	t.init()
	if t.File == "" {
		return nil
	}
	if err := t.reopen(); err != nil {
		return err
	}
	known, err := t.known()
	if err != nil || len(known) == 0 {
		return err // a new file begins with what happens from now on
	}
	numbers := slices.Sorted(maps.Keys(known))
	oldest, newest := numbers[0], numbers[len(numbers)-1]
	return t.copy(ctx, span{after: max(newest-slack, oldest-1)}, known)
}

// known returns the numbers at the end of the file.
func (t *Trail) known() (map[int64]bool, error) {
	f, err := os.Open(t.File)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	b := make([]byte, min(info.Size(), tail))
	if _, err := f.ReadAt(b, info.Size()-int64(len(b))); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	t.torn = len(b) > 0 && b[len(b)-1] != '\n'
	known := map[int64]bool{}
	for l := range bytes.Lines(b) {
		var v struct{ Number int64 }
		if json.Unmarshal(l, &v) == nil && v.Number > 0 { // the first and the last may be half a line
			known[v.Number] = true
		}
	}
	return known, nil
}

// Run writes lines until ctx ends.
func (t *Trail) Run(ctx context.Context) error {
	t.init()
	for {
		var again <-chan time.Time
		if err := t.work(ctx); err != nil && ctx.Err() == nil {
			t.Log.LogAttrs(ctx, slog.LevelError, "audit log not written", slog.Any("err", err))
			again = time.After(retry)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.wake:
		case <-again:
		}
	}
}

// Close writes what is queued and closes the file. Call it when Run has ended
// and nothing is committed any more.
func (t *Trail) Close(ctx context.Context) error {
	err := t.work(ctx)
	if t.file != nil {
		err = errors.Join(err, t.file.Close())
	}
	return err
}

// work writes what is queued, and what was not.
func (t *Trail) work(ctx context.Context) error {
	t.mu.Lock()
	queued, missed := t.queued, t.missed
	t.queued, t.missed = nil, span{}
	t.mu.Unlock()
	if missed != (span{}) {
		t.behind = t.behind.with(missed.after + 1).with(missed.upTo)
	}
	for len(queued) > 0 {
		n := min(len(queued), atOnce)
		if err := t.write(queued[:n]); err != nil {
			for _, e := range queued { // the database still has them
				t.behind = t.behind.with(e.Number)
			}
			return err
		}
		queued = queued[n:]
	}
	if t.behind == (span{}) {
		return nil
	}
	if err := t.copy(ctx, t.behind, nil); err != nil {
		return err
	}
	t.behind = span{}
	return nil
}

// copy writes what the database has of a span; upTo 0: all of it. What is known
// to be written is left out.
func (t *Trail) copy(ctx context.Context, s span, known map[int64]bool) error {
	for copied := 0; copied < maxMissed; {
		events, err := t.Events(ctx, s.after, atOnce)
		if err != nil {
			return fmt.Errorf("audit log: read what is missing: %w", err)
		}
		var missing []audit.Event
		for _, e := range events {
			if s.upTo == 0 || e.Number <= s.upTo {
				s.after = e.Number
				if !known[e.Number] {
					missing = append(missing, e)
				}
			}
		}
		if err := t.write(missing); err != nil {
			return err
		}
		copied += len(missing)
		if len(events) < atOnce || s.upTo > 0 && events[len(events)-1].Number >= s.upTo {
			return nil // upTo itself may be gone
		}
	}
	t.Log.LogAttrs(ctx, slog.LevelWarn, "too much is missing in the audit log: the rest is in the database only",
		slog.Int64("after", s.after))
	return nil
}

// write appends a line for each event, with one call.
func (t *Trail) write(events []audit.Event) error {
	if len(events) == 0 {
		return nil
	}
	var b bytes.Buffer
	if t.torn {
		b.WriteByte('\n')
	}
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for _, v := range events {
		if err := e.Encode(lineOf(v)); err != nil {
			return fmt.Errorf("audit log: %w", err)
		}
	}
	out := t.Out
	if t.File != "" {
		if err := t.reopen(); err != nil {
			return err
		}
		out = t.file
	}
	n, err := out.Write(b.Bytes())
	t.torn = err != nil && (n > 0 || t.torn)
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	return nil
}

// reopen opens the file if it is not open, or has been moved away.
func (t *Trail) reopen() error {
	if t.file != nil {
		is, err := t.file.Stat()
		named, errNamed := os.Stat(t.File)
		if err == nil && errNamed == nil && os.SameFile(is, named) {
			return nil
		}
		if errNamed != nil && !errors.Is(errNamed, fs.ErrNotExist) {
			return fmt.Errorf("audit log: %w", errNamed)
		}
		if err := t.file.Close(); err != nil {
			return fmt.Errorf("audit log: %w", err)
		}
		t.file = nil
	}
	f, err := os.OpenFile(t.File, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	t.file = f
	return nil
}

// A line is an event as it is written. The names are those of fastbind events.
type line struct {
	Time    time.Time     `json:"time"`
	Number  int64         `json:"number"`
	Kind    audit.Kind    `json:"kind"`
	Reason  audit.Reason  `json:"reason,omitempty"`
	Subject string        `json:"subject,omitempty"`
	Session string        `json:"session,omitempty"`
	Family  string        `json:"family,omitempty"`
	Client  string        `json:"client_id,omitempty"`
	Note    string        `json:"note,omitempty"`
	Parties []audit.Party `json:"parties,omitempty"`
}

func lineOf(e audit.Event) line {
	return line{e.Time.UTC().Truncate(time.Millisecond), e.Number, e.Kind, e.Reason, e.Subject, e.Session, e.Family, e.Client, e.Note, e.Parties}
}
