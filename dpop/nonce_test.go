package dpop_test

import (
	"testing"
	"time"

	"github.com/fastbind/fastbind/dpop"
)

func TestNonces(t *testing.T) {
	t.Parallel()
	secret := []byte("0123456789abcdef")
	if _, err := dpop.NewNonces(secret[1:]); err == nil {
		t.Error("a short secret is taken")
	}
	a, err := dpop.NewNonces(secret)
	if err != nil {
		t.Fatal(err)
	}
	b, err := dpop.NewNonces(secret)
	if err != nil {
		t.Fatal(err)
	}
	nonce := a.Issue(noon)
	for off, want := range map[time.Duration]bool{
		0: true, dpop.NonceLife: true, dpop.NonceLife + time.Millisecond: false, -dpop.ClockDifference: true, -dpop.ClockDifference - time.Millisecond: false,
		-24 * time.Hour: false, 24 * time.Hour: false,
	} {
		for _, n := range []*dpop.Nonces{a, b} {
			if got := n.Valid(nonce, noon.Add(off)); got != want {
				t.Errorf("after %v: %v, want %v", off, got, want)
			}
		}
	}
	for i := range nonce {
		altered := []byte(nonce)
		altered[i]++
		if a.Valid(string(altered), noon) {
			t.Errorf("%s is taken for %s", altered, nonce)
		}
	}
	if a.Issue(noon.Add(999*time.Millisecond)) != nonce || a.Issue(noon.Add(time.Second)) == nonce {
		t.Error("a nonce is not given out for a second")
	}
	if newNonces(t).Valid(nonce, noon) {
		t.Error("valid under another secret")
	}
}

func TestRetire(t *testing.T) {
	t.Parallel()
	n := newNonces(t)
	old, older := n.Issue(noon), n.Issue(noon.Add(-time.Minute))
	n.Retire(noon)
	n.Retire(noon.Add(-time.Hour)) // takes nothing back
	if n.Valid(old, noon) || n.Valid(older, noon) {
		t.Error("a retired nonce is valid")
	}
	// Even within the same millisecond, or with a clock that went back a bit.
	for _, now := range []time.Time{noon, noon.Add(time.Second), noon.Add(-time.Minute)} {
		if fresh := n.Issue(now); fresh == old || !n.Valid(fresh, now) {
			t.Errorf("at %v a new one is not valid", now)
		}
	}
}

// A proof is remembered for as long as any server might accept it.
func TestN119UntilOfAProof(t *testing.T) {
	t.Parallel()
	s, nonces := es256(t), newNonces(t)
	nonce := nonces.Issue(noon)
	proof := s.proof(nil, members{"nonce": nonce})
	for _, c := range []struct {
		name string
		e    dpop.Expect
	}{
		{"Nonce", expect(func(e *dpop.Expect) { e.Nonces = nonces })},
		{"NoNonce", expect()},
	} {
		first, err := dpop.Check(proof, c.e)
		if err != nil {
			t.Fatal(err)
		}
		accepted := 0
		// By the second, so far as any clock can be: that of this server is up to
		// ClockDifference ahead of the one that accepts last.
		for at := noon; at.Before(noon.Add(time.Hour)); at = at.Add(time.Second) {
			e := c.e
			e.Now = at
			p, err := dpop.Check(proof, e)
			if err != nil {
				continue
			}
			accepted++
			if !p.Until.Equal(first.Until) || at.Add(dpop.ClockDifference).After(first.Until) {
				t.Fatalf("%s: accepted at %v, remembered until %v and %v", c.name, at, first.Until, p.Until)
			}
		}
		if accepted < 60 {
			t.Errorf("%s: accepted for %d s", c.name, accepted)
		}
	}
}

// TestNonceSecretIsChanged: while the secret is being changed, servers that know
// the new one accept the nonces of those that do not.
func TestNonceSecretIsChanged(t *testing.T) {
	t.Parallel()
	newer, older := []byte("a new secret of servers"), []byte("the secret until now...")
	before, err := dpop.NewNonces(older)
	if err != nil {
		t.Fatal(err)
	}
	after, err := dpop.NewNonces(newer, older)
	if err != nil {
		t.Fatal(err)
	}
	if !after.Valid(before.Issue(noon), noon) {
		t.Error("a nonce under the older secret is refused")
	}
	if n := after.Issue(noon); !after.Valid(n, noon) || before.Valid(n, noon) {
		t.Error("a nonce is not issued under the newer secret")
	}
	if _, err := dpop.NewNonces(newer, older[:15]); err == nil {
		t.Error("a short older secret is taken")
	}
}
