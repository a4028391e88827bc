package guard_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"hash/maphash"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fastbind/fastbind/guard"
	"github.com/fastbind/fastbind/guard/guardtest"
)

// loaded returns a guard that has read n revocations.
func loaded(b *testing.B, n int) (*guardtest.Issuer, *guard.Guard) {
	b.Helper()
	issuer := guardtest.New(b)
	entries := make([]guardtest.Entry, n)
	for i := range entries {
		kind := []string{"jti", "family", "sid", "sub"}[i%4]
		entries[i] = guardtest.Entry{Kind: kind, Value: "value-" + strconv.Itoa(i), Until: time.Now().Add(time.Hour).Unix()}
	}
	issuer.Append(entries...)
	g := issuer.Guard(b)
	if got := g.Stats().Revocations; got != n {
		b.Fatalf("%d revocations, want %d", got, n)
	}
	return issuer, g
}

// BenchmarkSeen checks tokens that were seen before, of 10,000 in turn, with a
// million revocations. The request is always the same one, since what a server
// has read from the wire is warm, unlike tokens and cache.
func BenchmarkSeen(b *testing.B) {
	issuer, g := loaded(b, 1_000_000)
	issuer.Rotate(b, "EdDSA")
	const scope = "orders:read"
	headers := make([][]string, 10_000)
	r := get("")
	for i := range headers {
		headers[i] = []string{"Bearer " + issuer.Mint(guardtest.Claims{
			Subject: "u" + strconv.Itoa(i), Scope: "openid " + scope, Expires: time.Now().Add(time.Hour),
		})}
		r.Header["Authorization"] = []string{strings.Clone(headers[i][0])} // the guard keeps another copy than it is asked with
		if _, err := g.Check(r, scope); err != nil {
			b.Fatal(err)
		}
	}
	// The least that any cache of tokens costs.
	b.Run("Floor", func(b *testing.B) {
		seed, known := maphash.MakeSeed(), map[uint64]*string{}
		for i := range headers {
			token := strings.Clone(headers[i][0])
			known[maphash.String(seed, token)] = &token
		}
		for i := 0; b.Loop(); i++ {
			token := headers[i%len(headers)][0]
			if t := known[maphash.String(seed, token)]; t == nil || *t != token {
				b.Fatal("not found")
			}
		}
	})
	check := func(b *testing.B, headers [][]string, between func()) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if i%len(headers) == 0 {
				between()
			}
			r.Header["Authorization"] = headers[i%len(headers)]
			if _, err := g.Check(r, scope); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("OneToken", func(b *testing.B) { check(b, headers[:1], func() {}) })
	b.Run("TenThousand", func(b *testing.B) { check(b, headers, func() {}) })
	// Each check is the first one of its token after another revocation.
	b.Run("TenThousandAndRevocations", func(b *testing.B) {
		check(b, headers, func() { issuer.Revoke("jti", "somebody else's") })
	})
	b.Run("Middleware", func(b *testing.B) {
		h := g.Require(scope)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		w := httptest.NewRecorder()
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			r.Header["Authorization"] = headers[i%len(headers)]
			h.ServeHTTP(w, r)
		}
	})
}

// BenchmarkNew checks tokens that were never seen, beside the signature check of
// the standard library that they cannot do without.
func BenchmarkNew(b *testing.B) {
	for _, alg := range []string{"ES256", "EdDSA"} {
		issuer := guardtest.New(b)
		issuer.Rotate(b, alg)
		now := time.Now()
		// A cache of one entry for each shard: nothing is ever seen again.
		g := issuer.Guard(b, func(c *guard.Config) { c.CacheEntries, c.Now = 1, func() time.Time { return now } })
		requests := make([]*http.Request, 1024)
		for i := range requests {
			requests[i] = get(issuer.Mint(guardtest.Claims{Scope: "openid orders:read"}))
		}
		verify := bare(b, alg, len(requests[0].Header.Get("Authorization"))-len("Bearer ")-87)
		b.Run(alg+"/Bare", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !verify() {
					b.Fatal("not verified")
				}
			}
		})
		b.Run(alg+"/Token", func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := g.Check(requests[i%len(requests)], "orders:read"); err != nil {
					b.Fatal(err)
				}
			}
		})
		// In turn, so that what else the machine does meets both.
		b.Run(alg+"/Ratio", func(b *testing.B) {
			var bare, token time.Duration
			for i := 0; b.Loop(); i++ {
				begun := time.Now()
				verify()
				between := time.Now()
				g.Check(requests[i%len(requests)], "orders:read")
				bare, token = bare+between.Sub(begun), token+time.Since(between)
			}
			b.ReportMetric(float64(token)/float64(bare), "x-bare")
		})
		if s := g.Stats(); s.Hits > s.Misses/4 {
			b.Fatalf("the cache was hit: %+v", s)
		}
	}
}

// BenchmarkBound checks bound tokens that were seen before, each time with a new
// proof, in turn with the one signature check that this cannot do without.
func BenchmarkBound(b *testing.B) {
	issuer := guardtest.New(b)
	g := issuer.Guard(b)
	const scope = "orders:read"
	requests := make([]*http.Request, 4096)
	var holders [64]holder
	for i := range holders {
		holders[i] = newHolder(b, issuer, guardtest.Claims{Scope: "openid " + scope, Expires: time.Now().Add(time.Hour)})
	}
	prepare := func() { // each proof counts once
		nonce := nonceOf(g)
		for i := range requests {
			requests[i] = holders[i%len(holders)].request(b, nonce)
		}
	}
	prepare()
	verify := bare(b, "ES256", len(requests[0].Header.Get("DPoP"))-87)
	var bare, whole time.Duration
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%len(requests) == 0 && i > 0 {
			b.StopTimer()
			prepare()
			b.StartTimer()
		}
		begun := time.Now()
		verify()
		between := time.Now()
		if _, err := g.Check(requests[i%len(requests)], scope); err != nil {
			b.Fatal(err)
		}
		bare, whole = bare+between.Sub(begun), whole+time.Since(between)
	}
	b.ReportMetric(float64(whole)/float64(bare), "x-bare")
}

// bare returns what verifies signatures over n bytes, of 1,024 in turn as with
// the tokens: the processor learns a single one by heart.
func bare(b *testing.B, alg string, n int) (verify func() bool) {
	b.Helper()
	var messages, signatures [1024][]byte
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	for i := range messages {
		messages[i] = make([]byte, n)
		rand.Read(messages[i])
		if alg == "EdDSA" {
			signatures[i] = ed25519.Sign(private, messages[i])
			continue
		}
		sum := sha256.Sum256(messages[i])
		if signatures[i], err = ecdsa.SignASN1(rand.Reader, ec, sum[:]); err != nil {
			b.Fatal(err)
		}
	}
	next := 0
	return func() bool {
		next = (next + 1) % len(messages)
		if alg == "EdDSA" {
			return ed25519.Verify(public, messages[next], signatures[next])
		}
		sum := sha256.Sum256(messages[next])
		return ecdsa.VerifyASN1(&ec.PublicKey, sum[:], signatures[next])
	}
}

// TestAllocations holds the budget: none for a token that was seen before.
func TestAllocations(t *testing.T) {
	issuer := guardtest.New(t)
	g := issuer.Guard(t)
	r := get(issuer.Mint(guardtest.Claims{Scope: "openid orders:read"}))
	if n := testing.AllocsPerRun(100, func() {
		if _, err := g.Check(r, "orders:read"); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
