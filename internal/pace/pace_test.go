package pace_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fastbind/fastbind/internal/pace"
)

func TestDo(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, c := range []struct {
		name          string
		fails, ends   error
		took, elapsed time.Duration
	}{
		{"Rests", nil, nil, time.Second, 5 * time.Second},
		{"FailsAtOnce", broken, nil, 0, time.Second},
		{"EndsTheRest", nil, context.Canceled, time.Second, 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.ends != nil {
					time.AfterFunc(2*time.Second, cancel)
				}
				began := time.Now()
				took, err := pace.Do(ctx, func() error {
					time.Sleep(time.Second)
					return c.fails
				})
				if want := errors.Join(c.fails, c.ends); took != c.took || time.Since(began) != c.elapsed || (err == nil) != (want == nil) ||
					err != nil && !errors.Is(want, err) {
					t.Errorf("took %v of %v, %v; want %v of %v, %v", took, time.Since(began), err, c.took, c.elapsed, want)
				}
			})
		})
	}
}
