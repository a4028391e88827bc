package refresh_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/refresh/refreshtest"
)

// TestJudgeAllocates holds the budget: a decision that tells nobody anything
// allocates nothing.
func TestJudgeAllocates(t *testing.T) { // not parallel: it counts allocations
	r, f := rules(), unbound()
	for name, s := range map[string]refresh.Shown{"Rotated": shown(5), "Repeated": shown(4)} {
		if n := testing.AllocsPerRun(1000, func() { refresh.Judge(r, f, s, start.Add(time.Second)) }); n > 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}
}

func BenchmarkJudge(b *testing.B) {
	r, f := rules(), unbound()
	for name, s := range map[string]refresh.Shown{"Rotated": shown(5), "Repeated": shown(4), "Theft": shown(3)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			now := start.Add(time.Second)
			for b.Loop() {
				refresh.Judge(r, f, s, now)
			}
		})
	}
}

// BenchmarkRotate is what a Rotator costs beside its store: one caller, and 64
// of them who share batches.
func BenchmarkRotate(b *testing.B) {
	b.Run("Alone", func(b *testing.B) {
		b.ReportAllocs()
		m := &refreshtest.Memory{}
		r := &refresh.Rotator{Store: m, Now: at(start)}
		id := begun(m, 1)[0]
		for generation := int64(5); b.Loop(); generation++ {
			if got, err := r.Rotate(b.Context(), id, rules(), shown(generation)); err != nil || got.Answer != refresh.Rotated {
				b.Fatalf("Rotate = %+v, %v", got, err)
			}
		}
	})
	b.Run("Together64", func(b *testing.B) {
		b.ReportAllocs()
		m := &refreshtest.Memory{}
		r := &refresh.Rotator{Store: m, Now: at(start)}
		ids := begun(m, 64)
		var left atomic.Int64
		left.Store(int64(b.N))
		var callers sync.WaitGroup
		for _, id := range ids {
			callers.Go(func() {
				for generation := int64(5); left.Add(-1) >= 0; generation++ {
					if got, err := r.Rotate(b.Context(), id, rules(), shown(generation)); err != nil || got.Answer != refresh.Rotated {
						b.Errorf("Rotate = %+v, %v", got, err)
						return
					}
				}
			})
		}
		callers.Wait()
	})
}

func BenchmarkToken(b *testing.B) {
	m := minter(opaque.NewSecrets())
	id := refresh.NewFamilyID()
	token := m.Token(id, 5).Reveal()
	b.Run("Write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m.Token(id, 5)
		}
	})
	b.Run("Read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := m.Read(token); err != nil {
				b.Fatal(err)
			}
		}
	})
}
