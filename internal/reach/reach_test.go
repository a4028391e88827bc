package reach_test

import (
	"slices"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/reach"
)

// A world is readers at a time that the test sets, and what reached all.
type world struct {
	reach.Readers
	now     time.Time
	reached []time.Duration
}

func newWorld() *world {
	w := &world{now: time.Unix(1_800_000_000, 0)}
	w.Readers.Now = func() time.Time { return w.now }
	w.Readers.Reached = func(d time.Duration) { w.reached = append(w.reached, d) }
	return w
}

func (w *world) want(t *testing.T, what string, all ...time.Duration) {
	t.Helper()
	if !slices.Equal(w.reached, all) {
		t.Errorf("%s: reached all after %v, want %v", what, w.reached, all)
	}
}

func (w *world) pass(d time.Duration) { w.now = w.now.Add(d) }

// TestReachedByTheLast: what counts is the last of those who were connected when
// the entry appeared; who comes later does not.
func TestReachedByTheLast(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a, b := w.Join("api", "192.0.2.1", 0), w.Join("api", "192.0.2.2", 0)
	w.Appeared(1, w.now.Add(-time.Millisecond))
	late := w.Join("api", "192.0.2.3", 0)
	w.Appeared(2, w.now)
	a.Told(2)
	w.pass(time.Millisecond)
	w.want(t, "one of two has it")
	b.Told(1)
	w.want(t, "both have the first", 2*time.Millisecond)
	b.Told(2)
	w.want(t, "who came between lacks the second", 2*time.Millisecond)
	w.pass(time.Millisecond)
	late.Told(2)
	w.want(t, "all have the second", 2*time.Millisecond, 2*time.Millisecond)
}

// TestWhoGoesIsNotWaitedFor: an entry has reached all when the last who lacks it
// is gone, and has reached nobody when nobody got it.
func TestWhoGoesIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.Appeared(1, w.now)
	w.want(t, "nobody is connected")
	a, b := w.Join("api", "192.0.2.1", 1), w.Join("api", "192.0.2.2", 1)
	w.Appeared(2, w.now)
	a.Told(2)
	w.pass(time.Second)
	b.Drop()
	b.Leave()
	w.want(t, "the other is gone", time.Second)
	w.Appeared(3, w.now)
	a.Leave()
	w.want(t, "nobody got the third", time.Second)
	if n, dropped := w.Count(); n != 0 || dropped != 1 {
		t.Errorf("%d connected, %d dropped, want 0 and 1", n, dropped)
	}
}

// TestLostHistory: numbers that begin anew hold nobody up.
func TestLostHistory(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a := w.Join("api", "192.0.2.1", 0)
	for n := range int64(10) {
		w.Appeared(n+1, w.now)
	}
	a.Told(4)
	w.want(t, "the first four", 0, 0, 0, 0)
	w.Appeared(3, w.now)
	a.Told(3)
	w.want(t, "the third of the new history", 0, 0, 0, 0, 0)
}

// TestView: who is connected, and how far behind.
func TestView(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.Appeared(1, w.now)
	began := w.now
	a := w.Join("orders", "192.0.2.1", 0)
	w.pass(time.Second)
	w.Join("mail", "192.0.2.2", 1)
	w.Appeared(2, w.now)
	w.Appeared(3, w.now)
	a.Told(3)
	w.pass(2 * time.Second)
	want := []reach.Connected{
		{Client: "orders", Network: "192.0.2.1", Since: began, Number: 3},
		{Client: "mail", Network: "192.0.2.2", Since: began.Add(time.Second), Number: 1, Lacks: 2, Behind: 2},
	}
	if v := w.View(); v.Newest != 3 || !slices.Equal(v.Readers, want) {
		t.Errorf("newest %d, readers %+v, want 3 and %+v", v.Newest, v.Readers, want)
	}
}

// TestBounded: who never reads does not make the memory grow.
func TestBounded(t *testing.T) {
	t.Parallel()
	w := newWorld()
	slow, quick := w.Join("slow", "192.0.2.1", 0), w.Join("quick", "192.0.2.2", 0)
	const many = 20_000
	for n := range int64(many) {
		w.Appeared(n+1, w.now)
		quick.Told(n + 1)
	}
	slow.Leave()
	if n := len(w.reached); n == 0 || n > 5_000 {
		t.Errorf("%d entries were remembered", n)
	}
}
