package guard_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fastbind/fastbind/dpop"
	"github.com/fastbind/fastbind/guard"
	"github.com/fastbind/fastbind/guard/guardtest"
	"github.com/fastbind/fastbind/oauth"
)

func newKey(t testing.TB) *dpop.Key {
	t.Helper()
	k, err := dpop.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// A holder has a token that is bound to its key.
type holder struct {
	key   *dpop.Key
	token string
}

func newHolder(t testing.TB, issuer *guardtest.Issuer, c guardtest.Claims) holder {
	t.Helper()
	k := newKey(t)
	c.KeyThumbprint = k.Thumbprint()
	return holder{k, issuer.Mint(c)}
}

// request returns a GET of the orders with a proof with the changes.
func (h holder) request(t testing.TB, nonce string, changes ...func(*dpop.Params)) *http.Request {
	t.Helper()
	r := get("")
	p := dpop.Params{Method: r.Method, URL: "https://api.test/orders", AccessToken: h.token, Nonce: nonce}
	for _, change := range changes {
		change(&p)
	}
	proof, err := h.key.Proof(p)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "DPoP "+h.token)
	r.Header.Set("DPoP", proof)
	return r
}

// nonceOf returns the newest nonce of g.
func nonceOf(g *guard.Guard) string {
	w := httptest.NewRecorder()
	g.SendNonce(w)
	return w.Header().Get("DPoP-Nonce")
}

// answer is what a client sees of the answer to r.
type answer struct {
	status      int
	code, nonce string
}

func ask(t *testing.T, g *guard.Guard, r *http.Request, scopes ...string) answer {
	t.Helper()
	resp := serve(g, guard.Rule{Scopes: scopes}, r)
	a := answer{resp.StatusCode, "", resp.Header.Get("DPoP-Nonce")}
	_, challenge, _ := strings.Cut(resp.Header.Get("WWW-Authenticate"), "DPoP ")
	if _, rest, ok := strings.Cut(challenge, `error="`); ok {
		a.code, _, _ = strings.Cut(rest, `"`)
	}
	if (a.status == 401 || a.status == 204 && strings.HasPrefix(r.Header.Get("Authorization"), "DPoP")) != (a.nonce != "") {
		t.Errorf("status %d with the nonce %q", a.status, a.nonce)
	}
	if exposed := strings.Join(resp.Header.Values("Access-Control-Expose-Headers"), ","); (a.nonce != "") != strings.Contains(exposed, "DPoP-Nonce") {
		t.Errorf("scripts may read %q", exposed)
	}
	return a
}

func wantAnswer(t *testing.T, g *guard.Guard, r *http.Request, status int, code oauth.Code) {
	t.Helper()
	if got := ask(t, g, r); got.status != status || got.code != string(code) {
		t.Errorf("got %d %s, want %d %s", got.status, got.code, status, code)
	}
}

// RFC 9449, section 7.1: the scheme in any case, with a proof.
func TestD05SchemeOfABoundToken(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	g := issuer.Guard(t)
	h := newHolder(t, issuer, guardtest.Claims{})
	for _, scheme := range []string{"DPoP ", "dpop ", "DPOP ", "DPoP  "} {
		r := h.request(t, nonceOf(g))
		r.Header.Set("Authorization", scheme+h.token)
		p, err := g.Check(r)
		if err != nil || p.KeyThumbprint != h.key.Thumbprint() {
			t.Errorf("%q: %v", scheme, err)
		}
	}
	if p, err := g.Check(get(issuer.Mint(guardtest.Claims{}))); err != nil || p.KeyThumbprint != "" {
		t.Errorf("a plain bearer token: %v", err)
	}
}

// RFC 9449, sections 7.1 and 9: what a client reads on the wire.
func TestD05Challenges(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	const (
		bearer  = `Bearer realm="https://api.test"`
		proofs  = `DPoP realm="https://api.test", algs="ES256 Ed25519 EdDSA"`
		invalid = `, error="invalid_token", error_description="The access token is not valid"`
	)
	h := newHolder(t, issuer, guardtest.Claims{})
	for name, demand := range map[string]guard.Demand{"Accepted": guard.DPoPAccepted, "Required": guard.DPoPRequired, "Off": guard.DPoPOff} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := issuer.Guard(t, func(c *guard.Config) { c.DPoP.Demand = demand })
			asBearer := h.request(t, "")
			asBearer.Header.Set("Authorization", "Bearer "+h.token)
			twice := h.request(t, nonceOf(g))
			twice.Header.Add("DPoP", twice.Header.Get("DPoP"))
			for _, c := range []struct {
				what string
				r    *http.Request
				want [3]string // accepted, required, off
			}{
				{"nothing", get(""), [3]string{bearer + ", " + proofs, proofs, bearer}},
				{"bound as bearer", asBearer, [3]string{bearer + invalid + ", " + proofs, proofs + invalid, bearer + invalid}},
				{"plain", get(issuer.Mint(guardtest.Claims{})), [3]string{"", proofs + invalid, ""}},
				{"no nonce", h.request(t, ""), [3]string{
					bearer + ", " + proofs + `, error="use_dpop_nonce", error_description="the DPoP proof needs a new nonce"`,
					proofs + `, error="use_dpop_nonce", error_description="the DPoP proof needs a new nonce"`, bearer,
				}},
				{"two proofs", twice, [3]string{
					bearer + ", " + proofs + `, error="invalid_dpop_proof", error_description="more than one DPoP proof"`,
					proofs + `, error="invalid_dpop_proof", error_description="more than one DPoP proof"`, bearer,
				}},
			} {
				resp := serve(g, guard.Rule{}, c.r)
				if got := resp.Header.Get("WWW-Authenticate"); got != c.want[demand] || (got == "") != (resp.StatusCode == 204) {
					t.Errorf("%s: got %d %s\nwant %s", c.what, resp.StatusCode, got, c.want[demand])
				}
				if (resp.Header.Get("DPoP-Nonce") != "") != (demand != guard.DPoPOff && resp.StatusCode == 401) {
					t.Errorf("%s: nonce %q", c.what, resp.Header.Get("DPoP-Nonce"))
				}
			}
		})
	}
}

// Without public addresses nothing can be compared with them: bound tokens are
// refused, and nobody is told to come with a proof.
func TestNoPublicURLs(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	g := issuer.Guard(t, func(c *guard.Config) { c.DPoP.PublicURLs = nil })
	h := newHolder(t, issuer, guardtest.Claims{})
	for _, scheme := range []string{"DPoP ", "Bearer "} {
		r := h.request(t, "")
		r.Header.Set("Authorization", scheme+h.token)
		resp := serve(g, guard.Rule{}, r)
		if challenge := resp.Header.Get("WWW-Authenticate"); resp.StatusCode != 401 || strings.Contains(challenge, "DPoP") || resp.Header.Get("DPoP-Nonce") != "" {
			t.Errorf("%s: %d %s", scheme, resp.StatusCode, challenge)
		}
	}
}

// RFC 9449, section 9: the nonce is asked for, and comes with every answer.
func TestD06NonceOfAnAPI(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	now := &clock{now: time.Now()}
	g := issuer.Guard(t, func(c *guard.Config) { c.Now = now.Now })
	h := newHolder(t, issuer, guardtest.Claims{Expires: time.Now().Add(time.Hour)})
	first := ask(t, g, h.request(t, ""))
	if first.status != 401 || first.code != "use_dpop_nonce" || first.nonce == "" {
		t.Fatalf("without a nonce: %+v", first)
	}
	second := ask(t, g, h.request(t, first.nonce))
	if second.status != 204 {
		t.Errorf("with the nonce: %+v", second)
	}
	now.add(2 * time.Second)
	third := ask(t, g, h.request(t, second.nonce))
	if third.status != 204 || third.nonce == second.nonce {
		t.Errorf("with the next nonce: %+v", third)
	}
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// store remembers proofs for several guards.
type store struct {
	mu   sync.Mutex
	seen map[[sha256.Size]byte]time.Time
	err  error
}

func (s *store) Once(_ context.Context, digest [sha256.Size]byte, until time.Time) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return false, s.err
	}
	_, seen := s.seen[digest]
	if s.seen == nil {
		s.seen = map[[sha256.Size]byte]time.Time{}
	}
	s.seen[digest] = until
	return !seen, nil
}

func secret() []byte {
	b := make([]byte, 32)
	rand.Read(b)
	return b
}

// RFC 9449, section 11.1.
func TestN60ProofReplayed(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	h := newHolder(t, issuer, guardtest.Claims{})
	t.Run("SameGuard", func(t *testing.T) {
		t.Parallel()
		g := issuer.Guard(t)
		r := h.request(t, nonceOf(g))
		wantAnswer(t, g, r, 204, "")
		for range 3 {
			wantAnswer(t, g, r, 401, oauth.InvalidDPoPProof)
		}
		wantAnswer(t, g, h.request(t, nonceOf(g)), 204, "")
		if s := g.Stats(); s.Proofs != 2 || s.Refused["invalid_dpop_proof"] != 3 {
			t.Errorf("stats: %+v", s)
		}
	})
	t.Run("AtOnce", func(t *testing.T) {
		t.Parallel()
		g := issuer.Guard(t)
		proof := h.request(t, nonceOf(g)).Header.Get("DPoP")
		var all sync.WaitGroup
		var mu sync.Mutex
		through := 0
		for range 50 {
			all.Go(func() {
				r := get("")
				r.Header.Set("Authorization", "DPoP "+h.token)
				r.Header.Set("DPoP", proof)
				if _, err := g.Check(r); err == nil {
					mu.Lock()
					defer mu.Unlock()
					through++
				}
			})
		}
		all.Wait()
		if through != 1 {
			t.Errorf("%d of 50 got through", through)
		}
	})
	// By default the nonces are those of one process.
	t.Run("OtherInstanceAndAfterRestart", func(t *testing.T) {
		t.Parallel()
		before := issuer.Guard(t)
		r := h.request(t, nonceOf(before))
		wantAnswer(t, before, r, 204, "")
		after := issuer.Guard(t)
		wantAnswer(t, after, r, 401, oauth.UseDPoPNonce)
		wantAnswer(t, after, h.request(t, nonceOf(after)), 204, "")
	})
	// With a secret that outlives the process, and a memory that does not.
	t.Run("AfterRestartWithSecret", func(t *testing.T) {
		t.Parallel()
		now := &clock{now: time.Now()}
		share := secret()
		start := func() *guard.Guard {
			return issuer.Guard(t, func(c *guard.Config) { c.DPoP.NonceSecret, c.Now = share, now.Now })
		}
		before := start()
		now.add(time.Second)
		used, unused := h.request(t, nonceOf(before)), h.request(t, nonceOf(before))
		wantAnswer(t, before, used, 204, "")
		after := start() // within the same millisecond
		for range 2 {
			wantAnswer(t, after, used, 401, oauth.UseDPoPNonce)
			wantAnswer(t, after, unused, 401, oauth.UseDPoPNonce)
			wantAnswer(t, after, h.request(t, nonceOf(after)), 204, "")
			now.add(time.Minute)
		}
		// They take each other's newer ones.
		wantAnswer(t, before, h.request(t, nonceOf(after)), 204, "")
		wantAnswer(t, after, h.request(t, nonceOf(before)), 204, "")
	})
	t.Run("SharedMemory", func(t *testing.T) {
		t.Parallel()
		memory, share := &store{}, secret()
		start := func() *guard.Guard {
			return issuer.Guard(t, func(c *guard.Config) { c.DPoP.NonceSecret, c.DPoP.Replays = share, memory })
		}
		one, other := start(), start()
		r := h.request(t, nonceOf(one))
		wantAnswer(t, one, r, 204, "")
		wantAnswer(t, other, r, 401, oauth.InvalidDPoPProof)
		restarted := start()
		wantAnswer(t, restarted, r, 401, oauth.InvalidDPoPProof)
		// What was asked for before a restart is good after it.
		wantAnswer(t, restarted, h.request(t, nonceOf(one)), 204, "")
		for _, until := range memory.seen {
			if left := time.Until(until); left < dpop.NonceLife || left > dpop.NonceLife+dpop.ClockDifference+time.Second {
				t.Errorf("remembered for %v", left)
			}
		}
		// A memory that does not answer is a fault, and not a yes.
		memory.mu.Lock()
		memory.err = errors.New("out of order")
		memory.mu.Unlock()
		r = h.request(t, nonceOf(one))
		resp := serve(one, guard.Rule{}, r)
		if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || resp.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("got %d %v", resp.StatusCode, resp.Header)
		}
		memory.mu.Lock()
		memory.err = nil
		memory.mu.Unlock()
		wantAnswer(t, one, r, 204, "")
	})
	// Without nonces everything hangs on the time.
	t.Run("NonceOptional", func(t *testing.T) {
		t.Parallel()
		now := &clock{now: time.Now()}
		start := func() *guard.Guard {
			return issuer.Guard(t, func(c *guard.Config) { c.DPoP.NonceOptional, c.Now = true, now.Now })
		}
		undated := func() *http.Request {
			return h.request(t, "", func(p *dpop.Params) { p.Now = now.Now() })
		}
		before := start()
		ahead := h.request(t, "", func(p *dpop.Params) { p.Now = now.Now().Add(dpop.Window + 10*time.Second) })
		now.add(dpop.Window + time.Second)
		used := undated()
		wantAnswer(t, before, used, 204, "")
		wantAnswer(t, before, used, 401, oauth.InvalidDPoPProof)
		wantAnswer(t, before, ahead, 204, "")
		after := start()
		wantAnswer(t, after, used, 401, oauth.UseDPoPNonce)
		wantAnswer(t, after, ahead, 401, oauth.UseDPoPNonce)
		wantAnswer(t, after, undated(), 401, oauth.UseDPoPNonce)
		wantAnswer(t, after, h.request(t, nonceOf(after)), 204, "")
		now.add(dpop.Window + time.Second)
		wantAnswer(t, after, ahead, 401, oauth.UseDPoPNonce)
		wantAnswer(t, after, undated(), 204, "")
	})
}

// A proof is used up only by what it gets through with.
func TestProofIsUsedUpLast(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	g := issuer.Guard(t)
	h := newHolder(t, issuer, guardtest.Claims{Scope: "orders:read"})
	r := h.request(t, nonceOf(g))
	if got := ask(t, g, r, "orders:write"); got.status != 403 || got.code != "insufficient_scope" {
		t.Errorf("got %+v", got)
	}
	if s := g.Stats(); s.Proofs != 0 {
		t.Errorf("%d proofs are remembered", s.Proofs)
	}
	wantAnswer(t, g, r, 204, "")
	// Who has only the token does not learn what it is good for.
	thief := holder{newKey(t), h.token}
	if got := ask(t, g, thief.request(t, nonceOf(g)), "orders:write"); got.status != 401 {
		t.Errorf("a thief: %+v", got)
	}
}

// RFC 9449, section 4.3, checks 8 and 9: against what is configured, and no
// header.
func TestN61AddressOfAPI(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	h := newHolder(t, issuer, guardtest.Claims{})
	for name, c := range map[string]struct {
		public []string
		method string
		target string // as it arrives
		proof  dpop.Params
		want   int
	}{
		"Same":           {nil, "GET", "/orders", dpop.Params{}, 204},
		"Query":          {nil, "GET", "/orders?a=b", dpop.Params{}, 204},
		"ProofWithQuery": {nil, "GET", "/orders?a=b", dpop.Params{URL: "https://api.test/orders?c=d#e"}, 204},
		"CaseAndPort":    {nil, "GET", "/orders", dpop.Params{URL: "HTTPS://API.TEST:443/orders"}, 204},
		"Method":         {nil, "POST", "/orders", dpop.Params{Method: "GET"}, 401},
		"MethodInCase":   {nil, "GET", "/orders", dpop.Params{Method: "get"}, 401},
		"Host":           {nil, "GET", "/orders", dpop.Params{URL: "https://evil.test/orders"}, 401},
		"Scheme":         {nil, "GET", "/orders", dpop.Params{URL: "http://api.test/orders"}, 401},
		"Port":           {nil, "GET", "/orders", dpop.Params{URL: "https://api.test:8443/orders"}, 401},
		"Path":           {nil, "GET", "/orders", dpop.Params{URL: "https://api.test/orders/1"}, 401},
		"EncodedSlash":   {nil, "GET", "/orders/a%2Fb", dpop.Params{URL: "https://api.test/orders/a/b"}, 401},
		"SlashAsItIs":    {nil, "GET", "/orders/a%2Fb", dpop.Params{URL: "https://api.test/orders/a%2fb"}, 204},
		"EncodedLetter":  {nil, "GET", "/%6Frders", dpop.Params{}, 204},
		"DotSegments":    {nil, "GET", "/a/../orders", dpop.Params{}, 401},
		"Whole":          {nil, "GET", "http://evil.test/orders", dpop.Params{}, 204},
		"WholeOfProof":   {nil, "GET", "http://evil.test/orders", dpop.Params{URL: "http://evil.test/orders"}, 401},
		"Behind":         {[]string{"https://api.test/v1"}, "GET", "/orders", dpop.Params{URL: "https://api.test/v1/orders"}, 204},
		"BehindSlash":    {[]string{"https://api.test/v1/"}, "GET", "/orders", dpop.Params{URL: "https://api.test/v1/orders"}, 204},
		"BehindWithout":  {[]string{"https://api.test/v1"}, "GET", "/orders", dpop.Params{}, 401},
		"SecondAddress":  {[]string{"https://a.test", "https://b.test:8443"}, "GET", "/orders", dpop.Params{URL: "https://b.test:8443/orders"}, 204},
		"ThirdAddress":   {[]string{"https://a.test", "https://b.test:8443"}, "GET", "/orders", dpop.Params{URL: "https://b.test/orders"}, 401},
		"Root":           {nil, "GET", "/", dpop.Params{URL: "https://api.test"}, 204},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := issuer.Guard(t, func(conf *guard.Config) {
				if c.public != nil {
					conf.DPoP.PublicURLs = c.public
				}
			})
			proven := h.request(t, nonceOf(g), func(p *dpop.Params) {
				p.Method = c.method
				if c.proof.Method != "" {
					p.Method = c.proof.Method
				}
				if c.proof.URL != "" {
					p.URL = c.proof.URL
				}
			})
			r := httptest.NewRequest(c.method, c.target, nil)
			r.Header = proven.Header
			// What a request says of itself is of no meaning.
			r.Host = "evil.test"
			r.Header.Set("X-Forwarded-Host", "evil.test")
			r.Header.Set("X-Forwarded-Proto", "http")
			r.Header.Set("Forwarded", "host=evil.test;proto=http")
			// Nor is what was made of it on the way to the guard.
			r.URL.Path, r.URL.RawPath = "/elsewhere", ""
			if strings.HasPrefix(c.target, "http") {
				r.URL.Path = "/orders"
			}
			got := ask(t, g, r)
			if got.status != c.want || c.want == 401 && got.code != "invalid_dpop_proof" {
				t.Errorf("got %+v, want %d", got, c.want)
			}
		})
	}
}

// RFC 9449, section 7.1, and section 4.3, checks 10 and 12.
func TestN62HashAndNonceAtAPI(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	now := &clock{now: time.Now()}
	g, other := issuer.Guard(t, func(c *guard.Config) { c.Now = now.Now }), issuer.Guard(t)
	h := newHolder(t, issuer, guardtest.Claims{Expires: time.Now().Add(time.Hour)})
	another := issuer.Mint(guardtest.Claims{KeyThumbprint: h.key.Thumbprint()})
	wantAnswer(t, g, h.request(t, nonceOf(g), func(p *dpop.Params) { p.AccessToken = "" }), 401, oauth.InvalidDPoPProof)
	wantAnswer(t, g, h.request(t, nonceOf(g), func(p *dpop.Params) { p.AccessToken = another }), 401, oauth.InvalidDPoPProof)
	wantAnswer(t, g, h.request(t, ""), 401, oauth.UseDPoPNonce)
	wantAnswer(t, g, h.request(t, nonceOf(other)), 401, oauth.UseDPoPNonce)
	wantAnswer(t, g, h.request(t, "made up"), 401, oauth.UseDPoPNonce)
	old := nonceOf(g)
	now.add(dpop.NonceLife + time.Second)
	wantAnswer(t, g, h.request(t, old), 401, oauth.UseDPoPNonce)
	wantAnswer(t, g, h.request(t, nonceOf(g)), 204, "")
	none := h.request(t, nonceOf(g))
	none.Header.Del("DPoP")
	wantAnswer(t, g, none, 401, oauth.InvalidDPoPProof)
}

// RFC 9449, section 4.3, check 11.
func TestN63TimeAtAPI(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	usual := issuer.Guard(t)
	strict := issuer.Guard(t, func(c *guard.Config) { c.DPoP.ClockError = time.Minute })
	lax := issuer.Guard(t, func(c *guard.Config) { c.DPoP.ClockError = 24 * time.Hour })
	h := newHolder(t, issuer, guardtest.Claims{})
	for off, want := range map[time.Duration][3]int{
		0: {204, 204, 204}, 10 * time.Second: {204, 204, 204}, 2 * time.Minute: {204, 401, 204}, time.Hour: {401, 401, 204}, 25 * time.Hour: {401, 401, 401},
	} {
		for _, off := range []time.Duration{off, -off} {
			for i, g := range []*guard.Guard{usual, strict, lax} {
				got := ask(t, g, h.request(t, nonceOf(g), func(p *dpop.Params) { p.Now = time.Now().Add(off) }))
				if got.status != want[i] || want[i] == 401 && got.code != "invalid_dpop_proof" {
					t.Errorf("guard %d, %v: got %+v, want %d", i, off, got, want[i])
				}
			}
		}
	}
}

// RFC 9449, section 7.1: the key is the one that the token names.
func TestN64KeyOfAnother(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	g := issuer.Guard(t)
	h := newHolder(t, issuer, guardtest.Claims{})
	thief := holder{newKey(t), h.token}
	for range 2 { // also after the right key was seen
		wantAnswer(t, g, thief.request(t, nonceOf(g)), 401, oauth.InvalidToken)
		wantAnswer(t, g, h.request(t, nonceOf(g)), 204, "")
	}
}

// RFC 9449, sections 7.1, 7.2 and 4.3, check 1.
func TestN65WrongWaysToShowABoundToken(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	g := issuer.Guard(t)
	h := newHolder(t, issuer, guardtest.Claims{})
	plain := holder{h.key, issuer.Mint(guardtest.Claims{})}
	with := func(change func(http.Header)) *http.Request {
		r := h.request(t, nonceOf(g))
		change(r.Header)
		return r
	}
	for name, c := range map[string]struct {
		r    *http.Request
		want oauth.Code
	}{
		"BoundAsBearer":   {with(func(h http.Header) { h.Set("Authorization", "Bearer"+h.Get("Authorization")[4:]) }), ""},
		"BearerAlone":     {get(h.token), ""},
		"UnboundAsDPoP":   {plain.request(t, nonceOf(g)), oauth.InvalidToken},
		"NoProof":         {with(func(h http.Header) { h.Del("DPoP") }), oauth.InvalidDPoPProof},
		"TwoProofs":       {with(func(h http.Header) { h.Add("DPoP", h.Get("DPoP")) }), oauth.InvalidDPoPProof},
		"TwoInOne":        {with(func(h http.Header) { h.Set("DPoP", h.Get("DPoP")+", "+h.Get("DPoP")) }), oauth.InvalidDPoPProof},
		"TokenAsProof":    {with(func(h http.Header) { h.Set("DPoP", strings.Fields(h.Get("Authorization"))[1]) }), oauth.InvalidDPoPProof},
		"ProofAsToken":    {with(func(h http.Header) { h.Set("Authorization", "DPoP "+h.Get("DPoP")) }), oauth.InvalidToken},
		"HundredKilobyte": {with(func(h http.Header) { h.Set("DPoP", strings.Repeat("a", 100<<10)) }), oauth.InvalidDPoPProof},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantAnswer(t, g, c.r, 401, c.want)
		})
	}
	if !strings.Contains(serve(g, guard.Rule{}, get(h.token)).Header.Get("WWW-Authenticate"), `Bearer realm="https://api.test", error="invalid_token"`) {
		t.Error("a bound token as bearer is refused in another way")
	}
}

// Confirmations that nobody here can check are refused, however they are shown.
func TestUnknownConfirmation(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	g := issuer.Guard(t)
	h := newHolder(t, issuer, guardtest.Claims{})
	for name, cnf := range map[string]any{
		"Empty": map[string]any{}, "Certificate": map[string]any{"x5t#S256": h.key.Thumbprint()}, "Short": map[string]any{"jkt": "abc"},
		"Both":   map[string]any{"jkt": h.key.Thumbprint(), "x5t#S256": h.key.Thumbprint()},
		"Number": map[string]any{"jkt": 1}, "Null": map[string]any{"jkt": nil}, "Text": h.key.Thumbprint(), "Array": []string{h.key.Thumbprint()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad := holder{h.key, issuer.Mint(guardtest.Claims{More: map[string]any{"cnf": cnf}})}
			wantAnswer(t, g, bad.request(t, nonceOf(g)), 401, oauth.InvalidToken)
			wantAnswer(t, g, get(bad.token), 401, "")
		})
	}
}

// A clock that is set back, or another one, opens no window for replays, and
// locks nobody out.
func TestN119ClocksOfGuards(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	for name, optional := range map[string]bool{"NonceDemanded": false, "NonceOptional": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			now := &clock{now: begin}
			share := secret()
			g := issuer.Guard(t, func(c *guard.Config) { c.Now, c.DPoP.NonceSecret, c.DPoP.NonceOptional = now.Now, share, optional })
			h := newHolder(t, issuer, guardtest.Claims{Expires: begin.Add(6 * time.Hour)})
			var used []*http.Request
			prove := func(nonce string) {
				r := h.request(t, nonce, func(p *dpop.Params) { p.Now = now.Now() })
				wantAnswer(t, g, r, 204, "")
				used = append(used, r)
			}
			now.add(3 * time.Minute)
			for range 2 * 60 {
				now.add(time.Minute)
				prove(nonceOf(g))
				if optional {
					prove("")
				}
			}
			// What is forgotten by now would be new again an hour ago.
			for _, back := range []time.Duration{5 * time.Second, time.Minute, time.Minute, time.Hour, 10 * time.Minute, 30 * time.Minute} {
				now.add(-back)
				for _, r := range used {
					if got := ask(t, g, r); got.status != 401 {
						t.Fatalf("after the clock was set back by %v a proof got through again: %+v", back, got)
					}
				}
				wantAnswer(t, g, h.request(t, nonceOf(g), func(p *dpop.Params) { p.Now = now.Now() }), 204, "")
			}
		})
	}
	t.Run("FiveSecondsApart", func(t *testing.T) {
		t.Parallel()
		share, memory := secret(), &store{}
		start := func(off time.Duration) *guard.Guard {
			return issuer.Guard(t, func(c *guard.Config) {
				c.DPoP.NonceSecret, c.DPoP.Replays, c.Now = share, memory, func() time.Time { return time.Now().Add(off) }
			})
		}
		h := newHolder(t, issuer, guardtest.Claims{})
		guards := []*guard.Guard{start(0), start(5 * time.Second), start(-5 * time.Second), start(55 * time.Second), start(-55 * time.Second)}
		for i, from := range guards {
			for j, to := range guards {
				r := h.request(t, nonceOf(from))
				if got := ask(t, to, r); got.status != 204 {
					t.Errorf("%d does not take a nonce of %d: %+v", j, i, got)
				}
				for _, again := range guards {
					wantAnswer(t, again, r, 401, oauth.InvalidDPoPProof)
				}
			}
		}
	})
}

// When the memory is full everybody comes again with a new nonce, and nothing
// gets through twice.
func TestMemoryOfProofsIsBounded(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	for name, optional := range map[string]bool{"NonceDemanded": false, "NonceOptional": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := &clock{now: time.Now()}
			g := issuer.Guard(t, func(c *guard.Config) { c.DPoP.MaxProofs, c.DPoP.NonceOptional, c.Now = 10, optional, now.Now })
			h := newHolder(t, issuer, guardtest.Claims{Expires: time.Now().Add(time.Hour)})
			now.add(3 * time.Minute)
			var used []*http.Request
			asked := 0
			for i := range 45 {
				nonce := ""
				if !optional || i%2 == 0 {
					nonce = nonceOf(g)
				}
				for {
					r := h.request(t, nonce, func(p *dpop.Params) { p.Now = now.Now() })
					got := ask(t, g, r)
					if got.status == 204 {
						used = append(used, r)
						break
					}
					if got.code != "use_dpop_nonce" || asked > 100 {
						t.Fatalf("got %+v", got)
					}
					asked++
					nonce = got.nonce
				}
				for _, r := range used {
					if got := ask(t, g, r); got.status != 401 {
						t.Fatalf("got through again: %+v", got)
					}
				}
			}
			if s := g.Stats(); s.Proofs > 10 {
				t.Errorf("%d proofs are remembered", s.Proofs)
			}
			if asked == 0 || !optional && asked > 5 {
				t.Errorf("asked %d times for a new nonce", asked)
			}
			// Time empties the memory, too.
			now.add(time.Hour)
			wantAnswer(t, g, get(""), 401, "")
		})
	}
}

// Revocation of a device ends the tokens that are bound to its key, and what is
// running with them.
func TestRevokedDevice(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	g := issuer.Guard(t)
	lost, kept := newHolder(t, issuer, guardtest.Claims{}), newHolder(t, issuer, guardtest.Claims{})
	p, err := g.Check(lost.request(t, nonceOf(g)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := g.Watch(t.Context(), p)
	defer stop()
	issuer.Revoke("jkt", lost.key.Thumbprint())
	select {
	case <-ctx.Done():
	case <-soon(t).Done():
		t.Fatal("still running")
	}
	if !errors.Is(context.Cause(ctx), guard.ErrRevoked) {
		t.Errorf("ended because of %v", context.Cause(ctx))
	}
	_, err = g.Check(lost.request(t, nonceOf(g)))
	wantRefusal(t, err, oauth.InvalidToken, guard.ErrRevoked)
	wantAnswer(t, g, kept.request(t, nonceOf(g)), 204, "")
	wantAnswer(t, g, get(issuer.Mint(guardtest.Claims{})), 204, "")
}

// tamper says another key in the answers of introspection.
type tamper struct {
	base http.RoundTripper
	key  string
}

func (c tamper) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.base.RoundTrip(r)
	if err == nil && r.URL.Path == "/introspect" {
		resp.Body.Close()
		body := `{"active":true}`
		if c.key != "" {
			body = `{"active":true,"cnf":{"jkt":"` + c.key + `"}}`
		}
		resp.Body = io.NopCloser(strings.NewReader(body))
	}
	return resp, err
}

// RFC 9449, section 6.2: what the issuer says about the key counts.
func TestD04IntrospectedKey(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	for name, c := range map[string]struct {
		key          string
		bound, plain int
	}{
		"TheSame": {k.Thumbprint(), 204, 401},
		"Another": {newKey(t).Thumbprint(), 401, 401},
		"None":    {"", 204, 204},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			issuer := guardtest.New(t)
			h := holder{k, issuer.Mint(guardtest.Claims{KeyThumbprint: k.Thumbprint()})}
			now := &clock{now: time.Now()}
			g := issuer.Guard(t, func(conf *guard.Config) {
				client := *conf.HTTPClient
				client.Transport = tamper{client.Transport, c.key}
				conf.HTTPClient, conf.Now = &client, now.Now
			})
			issuer.Break(http.StatusServiceUnavailable, guardtest.Stream, guardtest.Pages)
			now.add(time.Minute)
			if got := ask(t, g, h.request(t, nonceOf(g))); got.status != c.bound {
				t.Errorf("bound: got %+v, want %d", got, c.bound)
			}
			if got := ask(t, g, get(issuer.Mint(guardtest.Claims{}))); got.status != c.plain {
				t.Errorf("plain: got %+v, want %d", got, c.plain)
			}
			if n := issuer.Requests(guardtest.Introspection); n != 2 {
				t.Errorf("asked %d times", n)
			}
			// The proof is needed whatever the issuer says.
			wantAnswer(t, g, h.request(t, ""), 401, oauth.UseDPoPNonce)
		})
	}
}

// An API behind a guard, and clients with the transport of package dpop: many at
// once, each request answered.
func TestTransportAndGuard(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	server := httptest.NewUnstartedServer(nil)
	g := issuer.Guard(t, func(c *guard.Config) {
		c.DPoP.PublicURLs = []string{"http://" + server.Listener.Addr().String() + "/v1"}
		c.DPoP.Demand = guard.DPoPRequired
	})
	api := g.Require("orders:read")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
	}))
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // what a proxy does
		r.RequestURI = strings.TrimPrefix(r.RequestURI, "/v1")
		api.ServeHTTP(w, r)
	})
	server.Start()
	t.Cleanup(server.Close)
	var all sync.WaitGroup
	for range 4 {
		h := newHolder(t, issuer, guardtest.Claims{Scope: "orders:read"})
		client := &http.Client{Transport: &dpop.Transport{Key: h.key, Token: func(*http.Request) (string, error) { return h.token, nil }}}
		for i := range 4 {
			all.Go(func() {
				for range 5 {
					want := "order " + strconv.Itoa(i)
					r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/v1/orders/a%2Fb?c=d", strings.NewReader(want))
					if err != nil {
						t.Error(err)
						return
					}
					resp, err := client.Do(r)
					if err != nil {
						t.Error(err)
						return
					}
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || resp.StatusCode != http.StatusOK || string(body) != want {
						t.Errorf("%d %s, %v", resp.StatusCode, body, err)
					}
				}
			})
		}
	}
	all.Wait()
	s := g.Stats()
	for reason, n := range s.Refused {
		if n != 0 && reason != "use_dpop_nonce" {
			t.Errorf("%d requests were refused: %s", n, reason)
		}
	}
	if n := s.Refused["use_dpop_nonce"]; s.Proofs != 80 || n == 0 || n > 16 {
		t.Errorf("%d proofs used, nonce asked for %d times", s.Proofs, n)
	}
}
