package bench_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
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
			conns := dialAll(b, s.address)
			sign := signature(b)
			beside(b, func() time.Duration { return processors(s.pid) + cpu() }, func(worker int) { f.credentials(b, conns[worker]) }, func(ops int) *measured {
				return load(runtime.GOMAXPROCS(0), ops, cpu, func(int) { sign() })
			}, func(int) {})
		})
	}
}

// BenchmarkIntrospection introspects access tokens, 64 at once, in turn with a
// server that reads as much and answers as much: tokens that were introspected
// before, and new ones.
func BenchmarkIntrospection(b *testing.B) {
	for _, e := range engines() {
		b.Run(e.name, func(b *testing.B) {
			dbURL, cpu := e.open(b)
			f := newFixture(b, dbURL, few)
			s := f.serve(b)
			conns := dialAll(b, s.address)
			introspect := func(worker int, token string) []byte {
				status, body, err := conns[worker].post("/introspect", f.basic(), "token="+token)
				if err != nil || status != 200 || !strings.HasPrefix(string(body), `{"active":true`) {
					b.Errorf("introspection: %d %s %v", status, body, err)
				}
				return body
			}
			seen := f.accessTokens(b, conns)
			bare := dialAll(b, answering(b, bytes.Clone(introspect(0, seen[0]))))
			least := func(ops int) *measured {
				return load(crowded, ops, processor, func(worker int) {
					if status, _, err := bare[worker].post("/introspect", f.basic(), "token="+seen[worker]); err != nil || status != 200 {
						b.Errorf("bare answer: %d %v", status, err)
					}
				})
			}
			both := func() time.Duration { return processors(s.pid) + cpu() }
			b.Run("Seen", func(b *testing.B) {
				beside(b, both, func(worker int) { introspect(worker, seen[worker]) }, least, func(int) {})
			})
			b.Run("New", func(b *testing.B) {
				var fresh []string
				var next atomic.Int64
				beside(b, both, func(worker int) { introspect(worker, fresh[next.Add(1)-1]) }, least, func(ops int) {
					fresh = fresh[:0]
					for len(fresh) < ops {
						fresh = append(fresh, f.accessTokens(b, conns)...)
					}
					next.Store(0)
				})
			})
		})
	}
}

// answering serves one answer to everything that has an authorization and a
// token, and returns its address.
func answering(b *testing.B, answer []byte) string {
	b.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); !ok || r.PostFormValue("token") == "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(answer) //nolint:errcheck // the other end notices
	}))
	b.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// credentials asks for an access token with client credentials.
func (f *fixture) credentials(b *testing.B, c *conn) string {
	b.Helper()
	status, body, err := c.post("/token", f.basic(), "grant_type=client_credentials")
	if err != nil || status != 200 {
		b.Errorf("client credentials: %d %s %v", status, body, err)
	}
	return accessToken(b, body)
}

// accessToken reads the access token of an answer.
func accessToken(b *testing.B, body []byte) string {
	b.Helper()
	_, rest, ok := strings.Cut(string(body), `"access_token":"`)
	token, _, ended := strings.Cut(rest, `"`)
	if !ok || !ended {
		b.Errorf("no access token: %s", body)
	}
	return token
}

func dialAll(b *testing.B, address string) []*conn {
	b.Helper()
	conns := make([]*conn, crowded)
	for i := range conns {
		conns[i] = dial(b, address)
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
		if err != nil {
			b.Fatal(err)
		}
		tokens[i] = accessToken(b, body)
	}
	return tokens
}

// beside runs op by 64 workers in turn with its floor, so that what else the
// machine does meets both, and reports medians. Before each turn it prepares for
// so many ops.
func beside(
	b *testing.B, cpu func() time.Duration, op func(worker int), floor func(ops int) *measured, prepare func(ops int),
) {
	b.Helper()
	const ops = 3_000
	prepare(ops)
	load(crowded, ops, cpu, op) // warms up
	var own, least []*measured
	for b.Loop() {
		prepare(ops)
		own = append(own, load(crowded, ops, cpu, op))
		least = append(least, floor(2*ops))
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

// signature returns what signs as much as an access token has, with the standard
// library and nothing else.
func signature(b *testing.B) func() {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(b, err)
	text := make([]byte, 600)
	return func() {
		sum := sha256.Sum256(text)
		if _, err := key.Sign(nil, sum[:], crypto.SHA256); err != nil {
			b.Error(err)
		}
	}
}
