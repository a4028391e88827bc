package dpop_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/fastbind/fastbind/dpop"
)

// bare returns what verifies an ES256 signature over n bytes with the standard
// library alone, of 1,024 in turn: the processor learns a single one by heart.
func bare(tb testing.TB, n int) (verify func() bool) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	var messages, signatures [1024][]byte
	for i := range messages {
		messages[i] = make([]byte, n)
		rand.Read(messages[i])
		sum := sha256.Sum256(messages[i])
		if signatures[i], err = ecdsa.SignASN1(rand.Reader, key, sum[:]); err != nil {
			tb.Fatal(err)
		}
	}
	next := 0
	return func() bool {
		next = (next + 1) % len(messages)
		sum := sha256.Sum256(messages[next])
		return ecdsa.VerifyASN1(&key.PublicKey, sum[:], signatures[next])
	}
}

// usual returns proofs of one key with nonces, and what they are for.
func usual(tb testing.TB) (proofs []string, e dpop.Expect) {
	tb.Helper()
	nonces, k := newNonces(tb), newKey(tb)
	for range 1024 {
		proofs = append(proofs, prove(tb, k, func(p *dpop.Params) { p.Nonce = nonces.Issue(noon) }))
	}
	return proofs, expect(func(e *dpop.Expect) { e.Nonces = nonces })
}

// BenchmarkCheck checks proofs with nonces, in turn with the bare signature check
// so that what else the machine does meets both.
func BenchmarkCheck(b *testing.B) {
	proofs, first := usual(b)
	verify := bare(b, len(proofs[0])-87)
	again := first
	p, err := dpop.Check(proofs[0], first)
	if err != nil {
		b.Fatal(err)
	}
	again.Sender = p.Sender
	for _, c := range []struct {
		name string
		e    dpop.Expect
	}{{"NewSender", first}, {"KnownSender", again}} {
		b.Run(c.name, func(b *testing.B) {
			var signature, whole time.Duration
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				begun := time.Now()
				verify()
				between := time.Now()
				if _, err := dpop.Check(proofs[i%len(proofs)], c.e); err != nil {
					b.Fatal(err)
				}
				signature, whole = signature+between.Sub(begun), whole+time.Since(between)
			}
			b.ReportMetric(float64(whole)/float64(signature), "x-bare")
			b.ReportMetric(float64(whole-signature)/float64(b.N), "ns-above-bare")
		})
	}
}

func BenchmarkProof(b *testing.B) {
	k := newKey(b)
	b.ReportAllocs()
	for b.Loop() {
		prove(b, k)
	}
}
