package bench_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// crowded is how many requests are under way at once.
const crowded = 64

// BenchmarkCredentials asks for access tokens with client credentials, 64 at
// once, in turn with the bare ES256 signature on all processors: x-floor is the
// share of its rate.
func BenchmarkCredentials(b *testing.B) {
	for _, e := range engines() {
		b.Run(e.name, func(b *testing.B) {
			dbURL, cpu := e.open(b)
			f := newFixture(b, dbURL, few)
			s := f.serve(b)
			conns := dialAll(b, s)
			sign, _ := signature(b)
			beside(b, sign, func() time.Duration { return processors(s.pid) + cpu() }, func(worker int) {
				status, body, err := conns[worker].post("/token", f.basic(), "grant_type=client_credentials")
				if err != nil || status != 200 {
					b.Errorf("client credentials: %d %s %v", status, body, err)
				}
			})
		})
	}
}

// BenchmarkIntrospection introspects access tokens, 64 at once, in turn with the
// bare verification of an ES256 signature on all processors.
func BenchmarkIntrospection(b *testing.B) {
	for _, e := range engines() {
		b.Run(e.name, func(b *testing.B) {
			dbURL, cpu := e.open(b)
			f := newFixture(b, dbURL, few)
			s := f.serve(b)
			conns := dialAll(b, s)
			tokens := f.accessTokens(b, conns)
			_, verify := signature(b)
			beside(b, verify, func() time.Duration { return processors(s.pid) + cpu() }, func(worker int) {
				status, body, err := conns[worker].post("/introspect", f.basic(), "token="+tokens[worker])
				if err != nil || status != 200 || !strings.HasPrefix(string(body), `{"active":true`) {
					b.Errorf("introspection: %d %s %v", status, body, err)
				}
			})
		})
	}
}

func dialAll(b *testing.B, s *served) []*conn {
	b.Helper()
	conns := make([]*conn, crowded)
	for i := range conns {
		conns[i] = dial(b, s)
	}
	return conns
}

// basic is the header line with the credentials of the client that may
// introspect.
func (f *fixture) basic() string {
	id := base64.StdEncoding.EncodeToString([]byte("orders:" + url.QueryEscape(f.secret)))
	return "Authorization: Basic " + id + "\r\n"
}

// accessTokens refreshes a family for each connection and returns the access
// tokens.
func (f *fixture) accessTokens(b *testing.B, conns []*conn) []string {
	b.Helper()
	tokens := make([]string, len(conns))
	for i := range conns {
		family := int64(1 + i)
		_, body, err := conns[i].post("/token", "", "grant_type=refresh_token&client_id=spa&refresh_token="+f.token(family, int64(f.current[family])))
		f.current[family]++
		_, rest, ok := strings.Cut(string(body), `"access_token":"`)
		token, _, ok2 := strings.Cut(rest, `"`)
		if err != nil || !ok || !ok2 {
			b.Fatalf("refresh: %s %v", body, err)
		}
		tokens[i] = token
	}
	return tokens
}

// beside runs op by 64 workers in turn with its floor on all processors, so that
// what else the machine does meets both, and reports medians.
func beside(b *testing.B, floor func(), cpu func() time.Duration, op func(worker int)) {
	b.Helper()
	const ops, floors = 3_000, 6_000
	load(crowded, crowded, cpu, op) // warms up
	var own, least []*measured
	for b.Loop() {
		own = append(own, load(crowded, ops, cpu, op))
		least = append(least, load(runtime.GOMAXPROCS(0), floors, cpu, func(int) { floor() }))
	}
	var rates, floorRates, shares, costs, latest []float64
	for i, m := range own {
		rates, floorRates = append(rates, m.rate()), append(floorRates, least[i].rate())
		shares = append(shares, m.rate()/least[i].rate())
		costs = append(costs, float64(m.cpu.Microseconds())/1000/ops)
		latest = append(latest, float64(m.quantile(0.99).Microseconds())/1000)
	}
	b.ReportMetric(median(rates), "op/s")
	b.ReportMetric(median(floorRates), "floor-op/s")
	b.ReportMetric(median(shares), "x-floor")
	b.ReportMetric(median(costs), "cpu-ms/op")
	b.ReportMetric(median(latest), "p99-ms")
	b.ReportMetric(0, "ns/op")
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// signature returns what signs and what verifies as much as an access token
// has, with the standard library and nothing else.
func signature(b *testing.B) (sign, verify func()) {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(b, err)
	text := make([]byte, 600)
	sum := sha256.Sum256(text)
	signed, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	must(b, err)
	sign = func() {
		sum := sha256.Sum256(text)
		if _, err := key.Sign(nil, sum[:], crypto.SHA256); err != nil {
			b.Error(err)
		}
	}
	verify = func() {
		sum := sha256.Sum256(text)
		if !ecdsa.VerifyASN1(&key.PublicKey, sum[:], signed) {
			b.Error("not verified")
		}
	}
	return sign, verify
}
