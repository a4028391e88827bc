package limit_test

import (
	"errors"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/limit"
	"github.com/fastbind/fastbind/internal/limit/limittest"
	"github.com/fastbind/fastbind/internal/opaque"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	limittest.Run(t, func(*testing.T) limit.Store { return &limit.Memory{} })
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	m := &limit.Memory{Max: 50}
	rate := limit.Rate{Burst: 2, Every: time.Hour}
	victim := opaque.Digest{31: 1}
	for range 2 {
		if wait, err := m.Take(t.Context(), victim, rate, noon); wait != 0 || err != nil {
			t.Fatalf("take: %v, %v", wait, err)
		}
	}
	for i := range 1000 {
		if wait, err := m.Take(t.Context(), opaque.Digest{byte(i), byte(i >> 8)}, rate, noon); wait != 0 || err != nil {
			t.Fatalf("take %d: %v, %v", i, wait, err)
		}
		if m.Len() > 50 {
			t.Fatalf("%d keys are held, want at most 50", m.Len())
		}
	}
	if wait, err := m.Take(t.Context(), victim, rate, noon); wait == 0 || err != nil {
		t.Errorf("a key that is used up was forgotten before those that are not: wait %v, %v", wait, err)
	}
	if wait, err := m.Take(t.Context(), opaque.Digest{77}, rate, noon.Add(3*time.Hour)); wait != 0 || err != nil {
		t.Fatalf("take later: %v, %v", wait, err)
	}
	if m.Len() != 1 {
		t.Errorf("%d keys are held after all have expired, want 1", m.Len())
	}
}

// TestMemoryOnceFailsWhenFull: what was seen once is never forgotten early.
func TestMemoryOnceFailsWhenFull(t *testing.T) {
	t.Parallel()
	m := &limit.Memory{Max: 10}
	for i := range 10 {
		if ok, err := m.Once(t.Context(), opaque.Digest{byte(i)}, noon, noon.Add(time.Minute)); !ok || err != nil {
			t.Fatalf("once %d: %v, %v", i, ok, err)
		}
	}
	if _, err := m.Once(t.Context(), opaque.Digest{99}, noon, noon.Add(time.Minute)); !errors.Is(err, limit.ErrFull) {
		t.Errorf("once when full: %v, want ErrFull", err)
	}
	if ok, err := m.Once(t.Context(), opaque.Digest{0}, noon, noon.Add(time.Minute)); ok || err != nil {
		t.Errorf("a key that was seen: %v, %v, want false", ok, err)
	}
	if ok, err := m.Once(t.Context(), opaque.Digest{99}, noon.Add(time.Minute), noon.Add(time.Hour)); !ok || err != nil {
		t.Errorf("once when all have expired: %v, %v, want true", ok, err)
	}
}
