package refreshtest

import (
	"testing"

	"github.com/fastbind/fastbind/internal/refresh"
)

// confirmTogether lets many callers confirm the generations of the same
// families, some that do not exist and some families that do not: each family
// ends up at its newest generation, and nothing else about it has changed.
func confirmTogether(t *testing.T, h Harness) {
	const generation = 8
	var families []refresh.Family
	for range 6 {
		f := begin(t, h)
		c := rotated(f, "advance")
		c.State.Generation, c.State.Confirmed = generation, 1
		swap(t, h, c)
		families = append(families, load(t, h, f.ID))
	}
	race(func(i int) {
		uses := []refresh.Use{{Family: refresh.NewFamilyID(), Generation: 1}, {Family: "malformed", Generation: 1}}
		for j := range families {
			f := families[(i+j)%len(families)]
			uses = append(uses,
				refresh.Use{Family: f.ID, Generation: int64(1 + i%generation)},
				refresh.Use{Family: f.ID, Generation: generation + 1}) // it has not been issued
		}
		if err := h.Store.Confirm(t.Context(), uses); err != nil {
			t.Errorf("Confirm: %v", err)
		}
	})
	for _, f := range families {
		got := load(t, h, f.ID)
		if got.Version <= f.Version || got.Version > f.Version+generation {
			t.Errorf("version %d after at most %d changes of version %d", got.Version, generation, f.Version)
		}
		f.Confirmed, f.Version = generation, got.Version
		diff(t, "confirmed family", got, f)
	}
}
