package refresh_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/refresh/refreshtest"
)

// TestTooBusy lets somebody else be first every time.
func TestTooBusy(t *testing.T) {
	t.Parallel()
	m := &refreshtest.Memory{}
	ids := begun(m, 2)
	busy := m.Family(ids[0])
	tries := 0
	r := &refresh.Rotator{Now: at(start), Store: between{m, func([]refresh.Change) {
		tries++
		f := m.Family(busy.ID)
		if w, err := m.Swap(t.Context(), []refresh.Change{{ID: f.ID, Version: f.Version, State: f.State}}); err != nil || !w[0] {
			t.Errorf("Swap = %v, %v", w, err)
		}
	}}}
	if got, err := r.Rotate(t.Context(), busy.ID, rules(), shown(5)); !errors.Is(err, refresh.ErrUnavailable) {
		t.Errorf("Rotate = %+v, %v; want ErrUnavailable", got, err)
	}
	if tries != 50 {
		t.Errorf("%d tries, want 50", tries)
	}
	if got := m.Family(busy.ID); got.State != busy.State {
		t.Errorf("a call that gave up changed the family:\n%s", cmp.Diff(busy.State, got.State))
	}
	if got, err := r.Rotate(t.Context(), ids[1], rules(), shown(5)); err != nil || got.Answer != refresh.Rotated {
		t.Errorf("another family: %+v, %v", got, err)
	}
}

func TestCallersThatGoAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		m := &refreshtest.Memory{}
		m.Inject = func(string) refreshtest.Fault { <-release; return refreshtest.Healthy }
		ids := begun(m, 3)
		r := &refresh.Rotator{Store: m, Now: at(start)}
		gone := errors.New("the client has hung up")
		before, cancelBefore := context.WithCancelCause(t.Context())
		cancelBefore(gone)
		during, cancelDuring := context.WithCancelCause(t.Context())
		var callers sync.WaitGroup
		rotate := func(ctx context.Context, id refresh.FamilyID) {
			callers.Go(func() {
				if got, err := r.Rotate(ctx, id, rules(), shown(5)); !errors.Is(err, gone) || !cmp.Equal(got, refresh.Result{}) {
					t.Errorf("Rotate = %+v, %v; want the cause of the cancellation", got, err)
				}
			})
			synctest.Wait()
		}
		rotate(before, ids[0])
		rotate(during, ids[1]) // its batch is under way
		rotate(during, ids[2]) // waits for the next batch
		cancelDuring(gone)
		callers.Wait() // although the store has not answered
		close(release)
		r.Wait()
		for i, want := range []int64{5, 6, 5} {
			if got := m.Family(ids[i]).Generation; got != want {
				t.Errorf("family %d is in generation %d, want %d", i, got, want)
			}
		}
		// The one whose answer nobody took is a lost response: the next try heals.
		if got, err := r.Rotate(t.Context(), ids[1], rules(), shown(5)); err != nil || got.Answer != refresh.Repeated || got.State.Generation != 6 {
			t.Errorf("the next try: %+v, %v; want generation 6 again", got, err)
		}
		r.Wait()
	})
}

// TestStoreThatBlocks checks that a batch ends in time, that everybody in it is
// told, and that nothing is left running: the bubble fails otherwise.
func TestStoreThatBlocks(t *testing.T) {
	t.Parallel()
	for _, timeout := range []time.Duration{0, time.Minute} {
		t.Run(fmt.Sprint("Timeout", timeout), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := &refreshtest.Memory{Inject: func(string) refreshtest.Fault { return refreshtest.Block }}
				ids := begun(m, 20)
				r := &refresh.Rotator{Store: m, Timeout: timeout, Parallel: 2}
				want := timeout
				if want == 0 {
					want = 10 * time.Second
				}
				began := time.Now()
				var callers sync.WaitGroup
				for i, id := range ids {
					callers.Go(func() {
						if i >= 10 { // somebody who does not want to wait that long
							ctx, cancel := context.WithTimeout(t.Context(), time.Second)
							defer cancel()
							if _, err := r.Rotate(ctx, id, rules(), shown(5)); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
								t.Errorf("after %v: %v", time.Since(began), err)
							}
							return
						}
						if _, err := r.Rotate(t.Context(), id, rules(), shown(5)); !errors.Is(err, context.DeadlineExceeded) {
							t.Errorf("after %v: %v", time.Since(began), err)
						}
					})
				}
				callers.Wait()
				r.Wait()
				// Two batches at once, and one more with all who waited.
				if d := time.Since(began); d > 2*want {
					t.Errorf("the last was told after %v, want at most %v", d, 2*want)
				}
				for _, id := range ids {
					if g := m.Family(id).Generation; g != 5 {
						t.Errorf("family is in generation %d, want 5", g)
					}
				}
			})
		})
	}
}
