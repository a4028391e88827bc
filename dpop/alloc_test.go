//go:build !race

package dpop_test

import (
	"testing"

	"github.com/fastbind/fastbind/dpop"
)

// TestAllocations holds the budget over the bare signature check. The race
// detector lets pools forget.
func TestAllocations(t *testing.T) {
	proofs, e := usual(t)
	verify := bare(t, len(proofs[0]))
	least := testing.AllocsPerRun(100, func() { verify() })
	count := func() float64 {
		return testing.AllocsPerRun(100, func() {
			if _, err := dpop.Check(proofs[0], e); err != nil {
				t.Fatal(err)
			}
		})
	}
	if got := count(); got > least+27 {
		t.Errorf("%v allocations with a new key, the bare signature check %v", got, least)
	}
	p, err := dpop.Check(proofs[0], e)
	if err != nil {
		t.Fatal(err)
	}
	e.Sender = p.Sender
	if got := count(); got > least+1 {
		t.Errorf("%v allocations with a known key, the bare signature check %v", got, least)
	}
	if n := testing.AllocsPerRun(100, func() { e.Nonces.Valid(p.Nonce, noon) }); n > 0 {
		t.Errorf("%v allocations to check a nonce", n)
	}
}
