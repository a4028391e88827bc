package dpop_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fastbind/fastbind/dpop"
)

// A peer is a server that demands proofs with its nonces.
type peer struct {
	*httptest.Server
	nonces *dpop.Nonces
	ahead  time.Duration // of its clock
	// refuse writes how the server refuses a proof: as an API unless it is set.
	refuse func(w http.ResponseWriter, code string)
	// demand is whether a nonce is demanded.
	demand bool
	// always is whether no proof is good enough.
	always bool

	mu    sync.Mutex
	asked []asked
}

// asked is what one request was.
type asked struct {
	path, authorization, body, refused string
	headers                            int
}

func newPeer(t *testing.T) *peer {
	t.Helper()
	p := &peer{nonces: newNonces(t), demand: true, refuse: asAPI}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

// asAPI refuses as RFC 9449, section 9, says.
func asAPI(w http.ResponseWriter, code string) {
	w.Header().Set("WWW-Authenticate", `DPoP error="`+code+`", algs="ES256"`)
	w.WriteHeader(http.StatusUnauthorized)
}

// asServer refuses as RFC 9449, section 8, says.
func asServer(w http.ResponseWriter, code string) {
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprintf(w, `{"error":%q}`, code)
}

func (p *peer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now().Add(p.ahead)
	body, _ := io.ReadAll(r.Body)
	a := asked{path: r.URL.Path, authorization: r.Header.Get("Authorization"), body: string(body), headers: len(r.Header.Values("DPoP"))}
	e := dpop.Expect{Method: r.Method, URLs: []string{p.URL + r.URL.EscapedPath()}, Now: now}
	if p.demand {
		e.Nonces = p.nonces
		w.Header().Set("DPoP-Nonce", p.nonces.Issue(now))
	}
	if scheme, token, _ := strings.Cut(a.authorization, " "); scheme == "DPoP" {
		e.AccessToken = token
	}
	proof, err := dpop.Header(r.Header)
	if err == nil {
		_, err = dpop.Check(proof, e)
	}
	if p.always {
		err = dpop.ErrNonce
		w.Header().Set("DPoP-Nonce", rand.Text())
	}
	switch {
	case errors.Is(err, dpop.ErrNonce):
		a.refused = "use_dpop_nonce"
	case err != nil:
		a.refused = "invalid_dpop_proof"
	}
	p.mu.Lock()
	p.asked = append(p.asked, a)
	p.mu.Unlock()
	w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
	if a.refused != "" {
		p.refuse(w, a.refused)
		return
	}
	io.WriteString(w, "hello")
}

// requests returns what was asked since the last time.
func (p *peer) requests() []asked {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { p.asked = nil }()
	return p.asked
}

// do sends a request and returns the status and body of its answer.
func do(t *testing.T, transport *dpop.Transport, method, url string, body io.Reader, header ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	before := r.Header.Clone()
	client := http.Client{Transport: transport}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(before) != fmt.Sprint(r.Header) {
		t.Errorf("the request was changed: %v", r.Header)
	}
	return resp.StatusCode, string(b)
}

// refusals are the codes with which requests were refused, in their order.
func refusals(all []asked) []string {
	var list []string
	for _, a := range all {
		list = append(list, a.refused)
	}
	return list
}

func TestTransport(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func(http.ResponseWriter, string){"API": asAPI, "AuthorizationServer": asServer} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, transport := newPeer(t), &dpop.Transport{Key: newKey(t)}
			p.refuse = refuse
			// The first request learns the nonce, and is sent again, body and all.
			if status, body := do(t, transport, http.MethodPost, p.URL+"/a%2Fb?c=d#e", strings.NewReader("body"), "Authorization", "Bearer "+token); status != 200 || body != "hello" {
				t.Errorf("%d %s", status, body)
			}
			all := p.requests()
			if got := refusals(all); !slices.Equal(got, []string{"use_dpop_nonce", ""}) {
				t.Errorf("refusals %q", got)
			}
			for _, a := range all {
				if a.authorization != "DPoP "+token || a.body != "body" || a.headers != 1 {
					t.Errorf("sent %+v", a)
				}
			}
			// The second knows it already. Other credentials stay as they are.
			do(t, transport, http.MethodPost, p.URL, strings.NewReader("body"), "Authorization", "Basic YTpi")
			if all := p.requests(); len(all) != 1 || all[0].refused != "" || all[0].authorization != "Basic YTpi" {
				t.Errorf("sent %+v", all)
			}
			do(t, transport, http.MethodGet, p.URL, nil, "Authorization", "dpop "+token)
			if all := p.requests(); len(all) != 1 || all[0].refused != "" || all[0].authorization != "DPoP "+token {
				t.Errorf("sent %+v", all)
			}
		})
	}
}

// However often a server asks for a nonce, a request is sent twice at most.
func TestTransportRetriesOnce(t *testing.T) {
	t.Parallel()
	p, transport := newPeer(t), &dpop.Transport{Key: newKey(t)}
	p.always = true
	for range 3 {
		if status, _ := do(t, transport, http.MethodGet, p.URL, nil); status != http.StatusUnauthorized {
			t.Errorf("status %d", status)
		}
		if all := p.requests(); len(all) != 2 {
			t.Errorf("sent %d times", len(all))
		}
	}
	// A server that asks for a nonce and has none does not get a second request.
	p.always, p.demand, p.refuse = false, false, func(w http.ResponseWriter, _ string) { asServer(w, "use_dpop_nonce") }
	p.ahead = time.Hour // refuses
	transport = &dpop.Transport{Key: newKey(t)}
	if status, body := do(t, transport, http.MethodGet, p.URL, nil); status != http.StatusBadRequest || body != `{"error":"use_dpop_nonce"}` {
		t.Errorf("%d %s", status, body)
	}
	if all := p.requests(); len(all) != 1 {
		t.Errorf("sent %d times", len(all))
	}
}

// A body that cannot be had again is not sent again; the next request knows the
// nonce.
func TestTransportBodyThatCannotBeSentAgain(t *testing.T) {
	t.Parallel()
	p, transport := newPeer(t), &dpop.Transport{Key: newKey(t)}
	stream := func() io.Reader { return io.MultiReader(strings.NewReader("stream")) }
	if status, _ := do(t, transport, http.MethodPost, p.URL, stream()); status != http.StatusUnauthorized {
		t.Errorf("status %d", status)
	}
	if status, _ := do(t, transport, http.MethodPost, p.URL, stream()); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	if got := refusals(p.requests()); !slices.Equal(got, []string{"use_dpop_nonce", ""}) {
		t.Errorf("refusals %q", got)
	}
}

// Other refusals are handed on as they are.
func TestTransportHandsOnOtherRefusals(t *testing.T) {
	t.Parallel()
	p, transport := newPeer(t), &dpop.Transport{Key: newKey(t)}
	large := strings.Repeat("x", 200<<10)
	p.refuse = func(w http.ResponseWriter, _ string) {
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, large)
	}
	if status, body := do(t, transport, http.MethodGet, p.URL, nil); status != http.StatusBadRequest || body != large {
		t.Errorf("%d with %d bytes", status, len(body))
	}
	if all := p.requests(); len(all) != 1 {
		t.Errorf("sent %d times", len(all))
	}
}

// A wrong clock is corrected by that of the server, for each server its own.
func TestTransportCorrectsItsClock(t *testing.T) {
	t.Parallel()
	for _, demand := range []bool{true, false} {
		a, b := newPeer(t), newPeer(t)
		a.ahead, b.ahead = 3*time.Hour, -3*time.Hour
		a.demand, b.demand = demand, demand
		transport := &dpop.Transport{Key: newKey(t)}
		for range 2 {
			for _, p := range []*peer{a, b} {
				if status, _ := do(t, transport, http.MethodGet, p.URL, nil); status != http.StatusOK {
					t.Errorf("nonces %v: status %d", demand, status)
				}
			}
		}
		for _, p := range []*peer{a, b} {
			if all := p.requests(); len(all) != 3 {
				t.Errorf("nonces %v: sent %d times, want 3", demand, len(all))
			}
		}
	}
}

func TestTransportToken(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	broken := errors.New("signed out")
	var fail atomic.Bool
	transport := &dpop.Transport{Key: newKey(t), Token: func(r *http.Request) (string, error) {
		if fail.Load() {
			return "", broken
		}
		if r.URL.Path != "/api" {
			return "", nil
		}
		return token, nil
	}}
	do(t, transport, http.MethodGet, p.URL+"/api", nil)
	do(t, transport, http.MethodGet, p.URL+"/other", nil)
	do(t, transport, http.MethodGet, p.URL+"/api", nil, "Authorization", "Basic YTpi")
	for _, a := range p.requests() {
		want := map[string]string{"/api": "DPoP " + token, "/other": ""}[a.path]
		if a.authorization != want && a.authorization != "Basic YTpi" {
			t.Errorf("%s with %q, want %q", a.path, a.authorization, want)
		}
	}
	fail.Store(true)
	body := &closing{Reader: bytes.NewReader(nil)}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL+"/api", body)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := transport.RoundTrip(r); !errors.Is(err, broken) || !body.closed {
		t.Errorf("got %v, error %v, body closed %v", resp, err, body.closed)
	}
	r = r.Clone(t.Context())
	if _, err := (&dpop.Transport{}).RoundTrip(r); err == nil {
		t.Error("sent without a key")
	}
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return nil
}

// After a redirect to another host there is a new proof, and no token.
func TestTransportRedirect(t *testing.T) {
	t.Parallel()
	target := newPeer(t)
	from := httptest.NewServer(http.RedirectHandler(strings.Replace(target.URL, "127.0.0.1", "localhost", 1)+"/there", http.StatusTemporaryRedirect))
	t.Cleanup(from.Close)
	target.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target.URL = "http://" + r.Host
		target.ServeHTTP(w, r)
	})
	transport := &dpop.Transport{Key: newKey(t)}
	if status, body := do(t, transport, http.MethodGet, from.URL, nil, "Authorization", "Bearer "+token); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	for _, a := range target.requests() {
		if a.authorization != "" || a.path != "/there" {
			t.Errorf("sent %+v", a)
		}
	}
}

// Many at once share what is learned.
func TestTransportConcurrently(t *testing.T) {
	t.Parallel()
	p, transport := newPeer(t), &dpop.Transport{Key: newKey(t)}
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for range 10 {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL, strings.NewReader(fmt.Sprint(i)))
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("Authorization", "Bearer "+token)
				resp, err := transport.RoundTrip(r)
				if err != nil {
					t.Error(err)
					return
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					t.Errorf("status %d", resp.StatusCode)
				}
			}
		})
	}
	all.Wait()
	if n := len(p.requests()); n > 160+16 {
		t.Errorf("%d requests for 160", n)
	}
}

// What is remembered of servers is bounded.
func TestTransportForgets(t *testing.T) {
	t.Parallel()
	nonces := newNonces(t)
	transport := &dpop.Transport{Key: newKey(t), Base: roundTrip(func(r *http.Request) (*http.Response, error) {
		h := http.Header{}
		h.Set("DPoP-Nonce", nonces.Issue(time.Now()))
		return &http.Response{StatusCode: http.StatusOK, Header: h, Body: http.NoBody, Request: r}, nil
	})}
	for i := range 1000 {
		do(t, transport, http.MethodGet, fmt.Sprintf("https://%d.example.com", i), nil)
	}
	if n := transport.Servers(); n != 256 {
		t.Errorf("%d servers are remembered, want 256", n)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// What net/http sends again by itself, with the same proof, after a server was cut
// off that had seen it already, is a replay. It is sent with a new proof.
func TestTransportAfterAReplay(t *testing.T) {
	t.Parallel()
	var (
		mu   sync.Mutex
		seen = map[string]bool{}
		sent []string
	)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		proof := r.Header.Get("DPoP")
		mu.Lock()
		replayed := seen[proof]
		seen[proof] = true
		sent = append(sent, r.URL.Path)
		n := len(sent)
		mu.Unlock()
		switch {
		case replayed:
			asServer(w, "invalid_dpop_proof")
		case n == 2: // the connection is lost when all is done
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		}
	}))
	t.Cleanup(server.Close)
	transport := &dpop.Transport{Key: newKey(t), Base: server.Client().Transport}
	do(t, transport, http.MethodGet, server.URL+"/before", nil) // so that there is a connection
	if status, body := do(t, transport, http.MethodPost, server.URL+"/token", strings.NewReader("body"), "Idempotency-Key", "attempt"); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	if want := []string{"/before", "/token", "/token", "/token"}; !slices.Equal(sent, want) {
		t.Errorf("sent %q, want %q", sent, want)
	}
}

// Of two servers at one address each takes its own nonces only. Whatever others
// learn at the same time, a request is sent again with the nonce that came with
// its refusal.
func TestTransportUsesTheNonceOfTheRefusal(t *testing.T) {
	t.Parallel()
	answer := func(status int, nonce string) *http.Response {
		h := http.Header{}
		h.Set("DPoP-Nonce", nonce)
		return &http.Response{StatusCode: status, Header: h, Body: http.NoBody}
	}
	transport := &dpop.Transport{Key: newKey(t), Base: roundTrip(func(r *http.Request) (*http.Response, error) {
		_, payload, _ := strings.Cut(r.Header.Get("DPoP"), ".")
		payload, _, _ = strings.Cut(payload, ".")
		claims, err := base64.RawURLEncoding.DecodeString(payload)
		if err != nil {
			return nil, err
		}
		switch {
		case r.URL.Path == "/old":
			return answer(http.StatusOK, "old"), nil
		case bytes.Contains(claims, []byte(`"nonce":"new"`)):
			return answer(http.StatusOK, "new"), nil
		}
		resp := answer(http.StatusUnauthorized, "new")
		resp.Header.Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
		return resp, nil
	})}
	var all sync.WaitGroup
	for i := range 16 {
		path := []string{"/old", "/new"}[i%2]
		all.Go(func() {
			for range 500 {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example"+path, nil)
				if err != nil {
					t.Error(err)
					return
				}
				resp, err := transport.RoundTrip(r)
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					t.Errorf("%s: status %d", path, resp.StatusCode)
					return
				}
			}
		})
	}
	all.Wait()
}
