package jose_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"strings"
	"testing"

	"github.com/fastbind/fastbind/internal/jose"
)

// claims is the payload of a usual access token.
const claims = `{"iss":"https://id.example.com","sub":"5Q0kYgU6sTn1rWwJ2qXb7Z","aud":"https://api.example.com",` +
	`"exp":1795000300,"iat":1795000000,"jti":"0a1B2c3D4e5F6g7H8i9J0k","client_id":"demo-spa","scope":"openid orders:read",` +
	`"sid":"7Z5Q0kYgU6sTn1rWwJ2qXb","cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}`

var algorithms = []jose.Algorithm{jose.ES256, jose.EdDSA, jose.RS256}

// bare returns the two functions of the standard library that a signature
// costs at the very least.
func bare(tb testing.TB, s *jose.Signer, signed []byte) (sign func() []byte, verify func(sig []byte) bool) {
	tb.Helper()
	der, err := s.PKCS8()
	if err != nil {
		tb.Fatal(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		tb.Fatal(err)
	}
	must := func(b []byte, err error) []byte {
		if err != nil {
			tb.Fatal(err)
		}
		return b
	}
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		return func() []byte {
				sum := sha256.Sum256(signed)
				return must(key.Sign(nil, sum[:], crypto.SHA256))
			}, func(sig []byte) bool {
				sum := sha256.Sum256(signed)
				return ecdsa.VerifyASN1(&key.PublicKey, sum[:], sig)
			}
	case ed25519.PrivateKey:
		pub := key.Public().(ed25519.PublicKey)
		return func() []byte { return ed25519.Sign(key, signed) },
			func(sig []byte) bool { return ed25519.Verify(pub, signed, sig) }
	case *rsa.PrivateKey:
		return func() []byte {
				sum := sha256.Sum256(signed)
				return must(rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:]))
			}, func(sig []byte) bool {
				sum := sha256.Sum256(signed)
				return rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum[:], sig) == nil
			}
	}
	tb.Fatalf("%T", key)
	return nil, nil
}

func BenchmarkVerify(b *testing.B) {
	for _, alg := range algorithms {
		s := newSigner(b, alg)
		token := sign(b, s, "at+jwt", claims)
		signed := []byte(token[:strings.LastIndexByte(token, '.')])
		signFunc, verify := bare(b, s, signed)
		sig := signFunc()
		set := jose.NewKeySet(s.Key())
		b.Run(string(alg)+"/Bare", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !verify(sig) {
					b.Fatal("not verified")
				}
			}
		})
		b.Run(string(alg)+"/Token", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := check(token, set); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSign(b *testing.B) {
	payload := []byte(claims)
	for _, alg := range algorithms {
		s := newSigner(b, alg)
		token := sign(b, s, "at+jwt", claims)
		signFunc, _ := bare(b, s, []byte(token[:strings.LastIndexByte(token, '.')]))
		b.Run(string(alg)+"/Bare", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				signFunc()
			}
		})
		b.Run(string(alg)+"/Token", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Sign("at+jwt", payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRead measures what is not cryptography.
func BenchmarkRead(b *testing.B) {
	token := sign(b, newSigner(b, jose.EdDSA), "at+jwt", claims)
	b.Run("Parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := jose.Parse(token); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Scan", func(b *testing.B) {
		payload := []byte(claims)
		b.ReportAllocs()
		for b.Loop() {
			if err := scanClaims(payload); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestAllocations holds the budget: over the bare primitive at most two
// allocations to verify a token and read its times, and one to sign it.
func TestAllocations(t *testing.T) {
	for _, alg := range algorithms {
		s := newSigner(t, alg)
		token := sign(t, s, "at+jwt", claims)
		set := jose.NewKeySet(s.Key())
		signFunc, verify := bare(t, s, []byte(token[:strings.LastIndexByte(token, '.')]))
		sig, payload := signFunc(), []byte(claims)
		const runs = 50
		budget := func(what string, over, bare, ours float64) {
			if ours > bare+over {
				t.Errorf("%s %s: %v allocations, the bare primitive %v, want at most %v more", alg, what, ours, bare, over)
			}
		}
		budget("verify", 2,
			testing.AllocsPerRun(runs, func() { verify(sig) }),
			testing.AllocsPerRun(runs, func() {
				if err := check(token, set); err != nil {
					t.Fatal(err)
				}
			}))
		budget("sign", 1,
			testing.AllocsPerRun(runs, func() { signFunc() }),
			testing.AllocsPerRun(runs, func() {
				if _, err := s.Sign("at+jwt", payload); err != nil {
					t.Fatal(err)
				}
			}))
	}
	payload := []byte(claims)
	if n := testing.AllocsPerRun(50, func() {
		if err := scanClaims(payload); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("scan: %v allocations, want none", n)
	}
}

// check is the hot path of whoever takes tokens.
func check(token string, set jose.KeySet) error {
	m, err := jose.Parse(token)
	if err != nil {
		return err
	}
	h := m.Header()
	err = jose.ErrSignature
	for _, k := range set.Find(h.KeyID, h.Algorithm) {
		var payload []byte
		if payload, err = m.Verify(k); err == nil {
			return scanClaims(payload)
		}
	}
	return err
}

func scanClaims(payload []byte) error {
	var exp, iat int64
	err := jose.Scan(payload, func(name, value []byte) error {
		var err error
		switch string(name) {
		case "exp":
			exp, err = jose.Time(value)
		case "iat":
			iat, err = jose.Time(value)
		}
		return err
	})
	if err == nil && exp <= iat {
		err = jose.ErrMalformed
	}
	return err
}

func newSigner(tb testing.TB, alg jose.Algorithm) *jose.Signer {
	tb.Helper()
	s, err := jose.Generate("", alg)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func sign(tb testing.TB, s *jose.Signer, typ, payload string) string {
	tb.Helper()
	token, err := s.Sign(typ, []byte(payload))
	if err != nil {
		tb.Fatal(err)
	}
	return token
}
