package engine_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/fastbind/fastbind/internal/sqlstore/engine"
)

// TestShared: a call waits for nobody when idle; who arrives while a batch is
// under way shares the next; who has gone before it begins is not in it; each
// caller gets its own answer.
func TestShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var batches [][]int
		next := make(chan error)
		s := engine.Shared[int, int]{Do: func(_ context.Context, in []int) ([]int, error) {
			batches = append(batches, in)
			if err := <-next; err != nil {
				return nil, err
			}
			out := make([]int, len(in))
			for i, n := range in {
				out[i] = -n
			}
			return out, nil
		}}
		var callers sync.WaitGroup
		broken, gone := errors.New("broken"), errors.New("gone")
		call := func(ctx context.Context, in int, want error) {
			callers.Go(func() {
				if out, err := s.Call(ctx, in); !errors.Is(err, want) || err == nil && out != -in {
					t.Errorf("call %d: %d, %v, want %v", in, out, err, want)
				}
			})
			synctest.Wait()
		}
		call(t.Context(), 1, nil) // alone, under way
		leaving, leave := context.WithCancelCause(t.Context())
		call(leaving, 2, gone)
		for i := 3; i <= 600; i++ {
			call(t.Context(), i, map[bool]error{true: broken}[i > 514])
		}
		leave(gone)
		synctest.Wait()
		call(leaving, 601, gone)
		for _, err := range []error{nil, nil, broken} {
			next <- err
			synctest.Wait()
		}
		callers.Wait()
		s.Wait()
		var sizes []int
		for _, b := range batches {
			sizes = append(sizes, len(b))
		}
		if diff := cmp.Diff([]int{1, 512, 86}, sizes); diff != "" {
			t.Error(diff)
		}
		if slices.Contains(slices.Concat(batches...), 2) {
			t.Error("the call that nobody waited for was made")
		}
	})
}
