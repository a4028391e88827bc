package refresh_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/refresh/refreshtest"
)

// begun stores n families, each in generation 5, and returns their ids.
func begun(m *refreshtest.Memory, n int) []refresh.FamilyID {
	ids := make([]refresh.FamilyID, n)
	for i := range ids {
		f := unbound()
		f.Session = fmt.Sprint("sid-", i)
		m.Begin(f)
		ids[i] = f.ID
	}
	return ids
}

func shown(generation int64) refresh.Shown {
	return refresh.Shown{Generation: generation, Client: "app", Network: home, Agent: fox}
}

func at(now time.Time) func() time.Time { return func() time.Time { return now } }

// between is a store to which something happens between what it is asked.
type between struct {
	refresh.Store
	beforeSwap func(changes []refresh.Change)
}

func (b between) Swap(ctx context.Context, changes []refresh.Change) ([]bool, error) {
	b.beforeSwap(changes)
	return b.Store.Swap(ctx, changes)
}

// TestFiftyAtOnce shows one token fifty times at once to three nodes.
func TestFiftyAtOnce(t *testing.T) {
	t.Parallel()
	m := &refreshtest.Memory{}
	id := begun(m, 1)[0]
	var nodes []*refresh.Rotator
	for i := range 3 {
		nodes = append(nodes, &refresh.Rotator{Store: m, Now: at(start.Add(time.Minute)), Parallel: i + 1})
	}
	var rotated, repeated atomic.Int64
	var callers sync.WaitGroup
	for i := range 50 {
		callers.Go(func() {
			got, err := nodes[i%3].Rotate(t.Context(), id, rules(), shown(5))
			if err != nil {
				t.Errorf("Rotate: %v", err)
			}
			switch got.Answer {
			case refresh.Rotated:
				rotated.Add(1)
			case refresh.Repeated:
				repeated.Add(1)
			default:
				t.Errorf("answer %d %q", got.Answer, got.Why)
			}
			if got.State.Generation != 6 || got.Family.Generation != 6 {
				t.Errorf("generation %d, want 6", got.State.Generation)
			}
		})
	}
	callers.Wait()
	for _, n := range nodes {
		n.Wait()
	}
	if rotated.Load() != 1 || repeated.Load() != 49 {
		t.Errorf("%d successors and %d repeated answers, want 1 and 49", rotated.Load(), repeated.Load())
	}
	f := m.Family(id)
	if f.Generation != 6 || f.Replays != 49 || !f.Ended.IsZero() {
		t.Errorf("stored: %+v", f.State)
	}
	if e := m.Events(id); len(e) > 0 {
		t.Errorf("events of an honest client: %v", e)
	}
}

// TestManyFamiliesMixed lets honest clients, replays, thieves and strangers at
// 1,000 families at once, on two nodes.
func TestManyFamiliesMixed(t *testing.T) {
	t.Parallel()
	m := &refreshtest.Memory{}
	ids := begun(m, 1000)
	now := at(start.Add(time.Minute))
	nodes := []*refresh.Rotator{{Store: m, Now: now, Parallel: 2}, {Store: m, Now: now, Parallel: 2}}
	var callers sync.WaitGroup
	show := func(i, node int, generation int64, want ...refresh.Answer) {
		callers.Go(func() {
			got, err := nodes[node].Rotate(t.Context(), ids[i], rules(), shown(generation))
			if err != nil {
				t.Errorf("family %d: %v", i, err)
			}
			if slices.Contains(want, got.Answer) {
				return
			}
			t.Errorf("family %d, generation %d: answer %d %q, want one of %v", i, generation, got.Answer, got.Why, want)
		})
	}
	for i := range ids {
		switch i % 4 {
		case 0, 1: // two tabs
			show(i, 0, 5, refresh.Rotated, refresh.Repeated)
			show(i, 1, 5, refresh.Rotated, refresh.Repeated)
		case 2: // a theft, and the victim at the same time
			show(i, 0, 3, refresh.Refused)
			show(i, 1, 5, refresh.Rotated, refresh.Refused)
		case 3:
			show(i, 0, 6, refresh.Refused, refresh.Repeated) // ahead, unless the other was first
		}
	}
	callers.Wait()
	for _, n := range nodes {
		n.Wait()
	}
	if m.Len() != len(ids) {
		t.Errorf("%d rows, want %d", m.Len(), len(ids))
	}
	for i, id := range ids {
		f := m.Family(id)
		want := []audit.Reason{"", "", audit.TokenTheft, audit.Epoch}[i%4]
		if f.Reason != want || len(m.Events(id)) != min(len(want), 1) {
			t.Errorf("family %d: ended for %q with %d events, want %q", i, f.Reason, len(m.Events(id)), want)
		}
		if i%4 < 2 && (f.Generation != 6 || f.Replays != 1) {
			t.Errorf("family %d: %+v", i, f.State)
		}
	}
}

func TestUnknownFamily(t *testing.T) {
	t.Parallel()
	m := &refreshtest.Memory{}
	r := &refresh.Rotator{Store: m}
	got, err := r.Rotate(t.Context(), refresh.NewFamilyID(), rules(), shown(1))
	want := refresh.Result{Verdict: refresh.Verdict{Answer: refresh.Refused, Why: refresh.Unknown}}
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("Rotate = %+v, %v; want %+v", got, err, want)
	}
}

// TestWaitingRequestsShareABatch holds up the store and sees how often it is
// asked for what has gathered meanwhile.
func TestWaitingRequestsShareABatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var largest int
		release := make(chan struct{})
		m := &refreshtest.Memory{}
		var once sync.Once
		m.Inject = func(string) refreshtest.Fault {
			once.Do(func() { <-release })
			return refreshtest.Healthy
		}
		store := between{m, func(changes []refresh.Change) { largest = max(largest, len(changes)) }}
		r := &refresh.Rotator{Store: store, Now: at(start)}
		const n = 1300
		var callers sync.WaitGroup
		for _, id := range begun(m, n) {
			callers.Go(func() {
				if got, err := r.Rotate(t.Context(), id, rules(), shown(5)); err != nil || got.Answer != refresh.Rotated {
					t.Errorf("Rotate = %+v, %v", got, err)
				}
			})
		}
		synctest.Wait()
		close(release)
		callers.Wait()
		r.Wait()
		// The first went alone; the others in three batches of at most 512.
		if got := m.Calls(); got != 2+3*2 {
			t.Errorf("the store was asked %d times for %d requests, want 8", got, n)
		}
		if largest != 512 {
			t.Errorf("the largest batch had %d families, want 512", largest)
		}
	})
}

// TestRetryAfterAFaultHeals is the crash table of docs/rotation.md: whether the
// swap was written or not before it failed, the client tries again with what it
// has, and goes on.
func TestRetryAfterAFaultHeals(t *testing.T) {
	t.Parallel()
	faults := map[string]struct {
		method string
		fault  refreshtest.Fault
		wrote  bool
	}{
		"LoadFailed":       {"Load", refreshtest.FailBefore, false},
		"SwapFailedBefore": {"Swap", refreshtest.FailBefore, false},
		"SwapFailedAfter":  {"Swap", refreshtest.FailAfter, true},
	}
	for name, f := range faults {
		for _, k := range kinds() {
			for _, pause := range []time.Duration{2 * time.Second, time.Hour} {
				if k.id == "Plain" && pause > overlap {
					continue // the fourth of the seven tests
				}
				t.Run(fmt.Sprint(name, k.id, "After", pause), func(t *testing.T) {
					t.Parallel()
					b := newBench(t, k)
					broken := true
					b.store.Inject = func(method string) refreshtest.Fault {
						if broken && method == f.method {
							return f.fault
						}
						return refreshtest.Healthy
					}
					s := shown(1)
					s.Key = b.store.Family(b.id).Key
					if k.sends {
						s.Attempt = attempt(1)
					}
					if got, err := b.rotator.Rotate(t.Context(), b.id, k.rules, s); !errors.Is(err, refreshtest.ErrFault) || !cmp.Equal(got, refresh.Result{}) {
						t.Fatalf("Rotate = %+v, %v; want nothing but the fault", got, err)
					}
					if wrote := b.store.Family(b.id).Generation == 2; wrote != f.wrote {
						t.Fatalf("written: %t, want %t", wrote, f.wrote)
					}
					broken = false
					b.pass(pause)
					got, err := b.rotator.Rotate(t.Context(), b.id, k.rules, s)
					if err != nil || got.Answer == refresh.Refused || got.State.Generation != 2 {
						t.Errorf("the retry: %+v, %v; want generation 2", got, err)
					}
					if len(b.store.Events(b.id)) > 0 {
						t.Errorf("events of an honest client: %v", b.store.Events(b.id))
					}
				})
			}
		}
	}
}

// TestFaultReachesWholeBatch holds up the store until a theft and a request
// that comes after it in the same family wait for one swap, which then fails.
// The second is a refusal that writes nothing, but it rests on the first and
// may not be given before that is durable.
func TestFaultReachesWholeBatch(t *testing.T) {
	t.Parallel()
	for _, fault := range []refreshtest.Fault{refreshtest.Healthy, refreshtest.FailBefore} {
		t.Run(fmt.Sprint("Fault", fault), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				var once sync.Once
				m := &refreshtest.Memory{}
				m.Inject = func(method string) refreshtest.Fault {
					once.Do(func() { <-release })
					if method == "Swap" {
						return fault
					}
					return refreshtest.Healthy
				}
				id := begun(m, 1)[0]
				other := unbound()
				other.Session = m.Family(id).Session
				m.Begin(other)
				r := &refresh.Rotator{Store: m, Now: at(start.Add(time.Minute))}
				var callers sync.WaitGroup
				callers.Go(func() { // holds up the store
					if got, err := r.Rotate(t.Context(), refresh.NewFamilyID(), rules(), shown(1)); err != nil || got.Why != refresh.Unknown {
						t.Errorf("Rotate = %+v, %v", got, err)
					}
				})
				synctest.Wait()
				for _, generation := range []int64{2, 5} {
					callers.Go(func() {
						got, err := r.Rotate(t.Context(), id, rules(), shown(generation))
						if fault == refreshtest.Healthy {
							if err != nil || got.Answer != refresh.Refused || got.Why != refresh.Why(audit.TokenTheft) {
								t.Errorf("generation %d: %+v, %v; want a refusal for theft", generation, got, err)
							}
							return
						}
						if !errors.Is(err, refreshtest.ErrFault) {
							t.Errorf("generation %d: %+v, %v; want the fault", generation, got, err)
						}
					})
					synctest.Wait()
				}
				close(release)
				callers.Wait()
				r.Wait()
				if ended := !m.Family(id).Ended.IsZero(); ended != (fault == refreshtest.Healthy) {
					t.Errorf("ended: %t", ended)
				}
				if ended := !m.Family(other.ID).Ended.IsZero(); ended != (fault == refreshtest.Healthy) {
					t.Errorf("the session ended: %t", ended)
				}
				if got, want := len(m.Events(id)), 1-int(min(fault, 1)); got != want {
					t.Errorf("%d events, want %d", got, want)
				}
			})
		})
	}
}

// TestOneWriteForAFamily gathers several requests for one family: each is judged
// on what the one before it left, and one write holds what came of them all.
func TestOneWriteForAFamily(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var once sync.Once
		m := &refreshtest.Memory{Inject: func(string) refreshtest.Fault {
			once.Do(func() { <-release })
			return refreshtest.Healthy
		}}
		id := begun(m, 1)[0]
		version := m.Family(id).Version
		r := &refresh.Rotator{Store: m, Now: at(start.Add(time.Minute))}
		var callers sync.WaitGroup
		callers.Go(func() { // holds up the store
			if _, err := r.Rotate(t.Context(), refresh.NewFamilyID(), rules(), shown(1)); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		for i, tc := range []struct {
			shown  int64
			answer refresh.Answer
			after  int64
		}{
			{5, refresh.Rotated, 6}, {5, refresh.Repeated, 6}, {6, refresh.Rotated, 7}, {6, refresh.Repeated, 7}, {6, refresh.Repeated, 7},
		} {
			callers.Go(func() {
				got, err := r.Rotate(t.Context(), id, rules(), shown(tc.shown))
				if err != nil || got.Answer != tc.answer || got.State.Generation != tc.after || got.Family.Version != version+1 {
					t.Errorf("request %d: %+v, %v; want answer %d, generation %d", i, got, err, tc.answer, tc.after)
				}
			})
			synctest.Wait() // they come in this order
		}
		close(release)
		callers.Wait()
		r.Wait()
		if f := m.Family(id); f.Generation != 7 || f.Replays != 2 || f.Version != version+1 {
			t.Errorf("stored: version %d, %+v; want version %d, generation 7, 2 replays", f.Version, f.State, version+1)
		}
	})
}

// TestTheftEndsTheSession checks that what a batch decides for a family reaches
// the store as one change.
func TestTheftEndsTheSession(t *testing.T) {
	t.Parallel()
	m := &refreshtest.Memory{}
	f, other := unbound(), unbound()
	m.Begin(f)
	m.Begin(other) // of the same session
	r := &refresh.Rotator{Store: m, Now: at(start.Add(time.Hour))}
	if got, err := r.Rotate(t.Context(), f.ID, rules(), shown(1)); err != nil || !got.EndSession {
		t.Fatalf("Rotate = %+v, %v; want a theft", got, err)
	}
	got, err := r.Rotate(t.Context(), other.ID, rules(), shown(5))
	if err != nil || got.Why != refresh.Why(audit.TokenTheft) {
		t.Errorf("a family of the same session: %+v, %v; want it ended for theft", got, err)
	}
}

// TestJudgedAnew changes a family after it was loaded, as another node would.
func TestJudgedAnew(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*refresh.State)
		answer refresh.Answer
		why    refresh.Why
	}{
		"RotatedMeanwhile":     {func(s *refresh.State) { s.Generation, s.Rotated = 6, start }, refresh.Repeated, ""},
		"RotatedTwice":         {func(s *refresh.State) { s.Generation, s.Rotated = 7, start }, refresh.Refused, refresh.Why(audit.TokenTheft)},
		"EndedMeanwhile":       {func(s *refresh.State) { s.Ended, s.Reason = start, audit.Logout }, refresh.Refused, refresh.Why(audit.Logout)},
		"NothingButTheVersion": {func(*refresh.State) {}, refresh.Rotated, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := &refreshtest.Memory{}
			id := begun(m, 1)[0]
			times := 0
			r := &refresh.Rotator{Now: at(start), Store: between{m, func([]refresh.Change) {
				if times++; times > 1 {
					return
				}
				f := m.Family(id)
				c := refresh.Change{ID: id, Version: f.Version, State: f.State}
				tc.change(&c.State)
				if w, err := m.Swap(t.Context(), []refresh.Change{c}); err != nil || !w[0] {
					t.Errorf("Swap = %v, %v", w, err)
				}
			}}}
			got, err := r.Rotate(t.Context(), id, rules(), shown(5))
			if err != nil || got.Answer != tc.answer || got.Why != tc.why {
				t.Fatalf("Rotate = %+v, %v; want %d %q", got, err, tc.answer, tc.why)
			}
			if d := cmp.Diff(m.Family(id), got.Family); d != "" {
				t.Errorf("the result is not what is stored:\n%s", d)
			}
		})
	}
}
