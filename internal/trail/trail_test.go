package trail_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/trail"
)

// A database holds events.
type database struct {
	mu     sync.Mutex
	events []audit.Event
}

func (d *database) commit(n int) (committed []audit.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for range n {
		d.events = append(d.events, audit.Event{
			Number: int64(len(d.events)) + 1, Time: time.Unix(1_800_000_000, 0), Kind: audit.FamilyEnded, Reason: audit.TokenTheft,
			Family: "f", Note: "a <note>", Parties: []audit.Party{{Network: "192.0.2.1"}},
		})
	}
	return slices.Clone(d.events[len(d.events)-n:])
}

func (d *database) after(_ context.Context, number int64, limit int) ([]audit.Event, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	from := min(int(number), len(d.events))
	return slices.Clone(d.events[from:min(len(d.events), from+limit)]), nil
}

func newTrail(d *database, file string) *trail.Trail {
	return &trail.Trail{File: file, Events: d.after, Log: slog.New(slog.DiscardHandler)}
}

// numbers returns those of the lines, and how many lines are none.
func numbers(t *testing.T, text []byte) (all []int64, broken int) {
	t.Helper()
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		var v struct{ Number int64 }
		if json.Unmarshal(s.Bytes(), &v) != nil {
			broken++
			continue
		}
		all = append(all, v.Number)
	}
	return all, broken
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func upTo(n int64) (all []int64) {
	for i := range n {
		all = append(all, i+1)
	}
	return all
}

// write is a process that commits n events.
func write(t *testing.T, d *database, file string, n int) {
	t.Helper()
	tr := newTrail(d, file)
	if err := tr.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	tr.Add(d.commit(n))
	if err := tr.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestLine: the form of a line.
func TestLine(t *testing.T) {
	t.Parallel()
	d, file := &database{}, filepath.Join(t.TempDir(), "audit.jsonl")
	write(t, d, file, 1)
	const want = `{"time":"2027-01-15T08:00:00Z","number":1,"kind":"family_ended","reason":"token_theft","family":"f",` +
		`"note":"a <note>","parties":[{"time":"0001-01-01T00:00:00Z","network":"192.0.2.1"}]}` + "\n"
	if got := string(read(t, file)); got != want {
		t.Errorf("line\n%swant\n%s", got, want)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// TestCrash: what a process committed and did not come to write is written by
// the next one, and what is there is not written again.
func TestCrash(t *testing.T) {
	t.Parallel()
	d, file := &database{}, filepath.Join(t.TempDir(), "audit.jsonl")
	d.commit(50) // before there was an audit log
	write(t, d, file, 10)
	d.commit(5) // the process is killed
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(f, `{"time":"2027-01-15T08:0`) // within a line
	f.Close()
	write(t, d, file, 2)
	got, broken := numbers(t, read(t, file))
	if want := upTo(67)[50:]; !slices.Equal(got, want) || broken != 1 {
		t.Errorf("numbers %v and %d broken lines, want %v and 1", got, broken, want)
	}
}

// TestLateCommit: an event that was numbered early and committed late is not
// lost with the process that did.
func TestLateCommit(t *testing.T) {
	t.Parallel()
	d, file := &database{}, filepath.Join(t.TempDir(), "audit.jsonl")
	all := d.commit(9)
	tr := newTrail(d, file)
	tr.Add(append(all[:3:3], all[5:]...))
	if err := tr.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, d, file, 0)
	got, _ := numbers(t, read(t, file))
	slices.Sort(got)
	if !slices.Equal(got, upTo(9)) {
		t.Errorf("numbers %v, want 1 to 9", got)
	}
}

// TestMovedAway: a file that was moved away is begun anew.
func TestMovedAway(t *testing.T) {
	t.Parallel()
	d, file := &database{}, filepath.Join(t.TempDir(), "audit.jsonl")
	tr := newTrail(d, file)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		if err := tr.Open(ctx); err != nil {
			t.Fatal(err)
		}
		var work sync.WaitGroup
		work.Go(func() { tr.Run(ctx) })
		tr.Add(d.commit(2))
		synctest.Wait()
		if err := os.Rename(file, file+".1"); err != nil {
			t.Fatal(err)
		}
		tr.Add(d.commit(1))
		synctest.Wait()
		cancel()
		work.Wait()
		if err := tr.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	old, _ := numbers(t, read(t, file+".1"))
	now, _ := numbers(t, read(t, file))
	if !slices.Equal(old, []int64{1, 2}) || !slices.Equal(now, []int64{3}) {
		t.Errorf("moved %v, new %v, want 1 2 and 3", old, now)
	}
}

// A sink takes lines when it is open.
type sink struct {
	mu   sync.Mutex
	open bool
	b    bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open {
		n, _ := s.b.Write(p[:len(p)/2])
		return n, errors.New("full")
	}
	return s.b.Write(p)
}

// TestNobodyWaits: while nothing can be written, or more comes than can be
// queued, who commits goes on; in the end every event has a whole line.
func TestNobodyWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const many = 20_000
		d, out := &database{}, &sink{}
		tr := &trail.Trail{Out: out, Events: d.after, Log: slog.New(slog.DiscardHandler)}
		tr.Add(d.commit(many)) // nobody writes yet
		ctx, cancel := context.WithCancel(t.Context())
		var work sync.WaitGroup
		work.Go(func() { tr.Run(ctx) })
		time.Sleep(5 * time.Second)
		out.mu.Lock()
		out.open = true
		out.b.Reset()
		out.mu.Unlock()
		time.Sleep(2 * time.Second)
		cancel()
		work.Wait()
		if err := tr.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		got, _ := numbers(t, out.b.Bytes())
		slices.Sort(got)
		if got = slices.Compact(got); !slices.Equal(got, upTo(many)) {
			t.Errorf("%d events have a line, want %d", len(got), many)
		}
	})
}

// A disk is full at first.
type disk struct{ full bool }

func (d *disk) Write(p []byte) (int, error) {
	if d.full {
		return 0, io.ErrShortWrite
	}
	return len(p), nil
}

// TestLostMeanwhile: of events that could not be written nothing is left in the
// database, which has many later ones.
func TestLostMeanwhile(t *testing.T) {
	t.Parallel()
	d, out := &database{}, &disk{full: true}
	asked := 0
	tr := newTrail(d, "")
	tr.Out = out
	tr.Events = func(ctx context.Context, number int64, limit int) ([]audit.Event, error) {
		if asked++; asked > 3 {
			return nil, errors.New("asked again and again")
		}
		return d.after(ctx, max(number, 3), limit)
	}
	tr.Add(d.commit(3))
	if err := tr.Close(t.Context()); err == nil {
		t.Fatal("written to a full disk")
	}
	d.commit(5_000)
	out.full = false
	if err := tr.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
