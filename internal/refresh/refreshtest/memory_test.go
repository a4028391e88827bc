package refreshtest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/refresh/refreshtest"
)

func TestMemoryKeepsTheContract(t *testing.T) {
	t.Parallel()
	refreshtest.Run(t, func(*testing.T) refreshtest.Harness {
		m := &refreshtest.Memory{}
		return refreshtest.Harness{
			Store:  m,
			Begin:  func(_ *testing.T, f refresh.Family) { m.Begin(f) },
			Events: func(_ *testing.T, id refresh.FamilyID) []audit.Event { return m.Events(id) },
		}
	})
}

func TestMemoryFaults(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		fault   refreshtest.Fault
		wrote   bool
		wantErr error
	}{
		{"Healthy", refreshtest.Healthy, true, nil},
		{"FailBefore", refreshtest.FailBefore, false, refreshtest.ErrFault},
		{"FailAfter", refreshtest.FailAfter, true, refreshtest.ErrFault},
		{"Block", refreshtest.Block, false, context.Canceled},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			m := &refreshtest.Memory{Inject: func(string) refreshtest.Fault { return tc.fault }}
			f := refreshtest.NewFamily(time.Unix(1_000_000, 0))
			m.Begin(f)
			ctx, cancel := context.WithCancel(t.Context())
			if tc.fault == refreshtest.Block {
				time.AfterFunc(time.Millisecond, cancel)
			}
			defer cancel()
			next := f.State
			next.Generation = 2
			_, err := m.Swap(ctx, []refresh.Change{{ID: f.ID, Version: 1, State: next}})
			if !errors.Is(err, tc.wantErr) {
				t.Errorf("error = %v, want %v", err, tc.wantErr)
			}
			if got := m.Family(f.ID).Generation == 2; got != tc.wrote {
				t.Errorf("written: %t, want %t", got, tc.wrote)
			}
		})
	}
}
