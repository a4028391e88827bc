// Package guardtest is an issuer for the tests of programs that use package
// guard: with metadata, keys, a revocation feed, introspection and reports of
// use, all of them over HTTP.
//
//	issuer := guardtest.New(t)
//	g := issuer.Guard(t)
//	r.Header.Set("Authorization", "Bearer "+issuer.Mint(guardtest.Claims{Scope: "orders:read"}))
//
// and, for tokens that are bound to a key:
//
//	guardtest.Prove(t, r, key, issuer.Mint(guardtest.Claims{KeyThumbprint: key.Thumbprint()}), nonce)
//
// It signs whatever it is told to, revokes, and fails on demand. It issues
// tokens to nobody over the network, and makes its keys anew for each test. The
// invariant: what it says on the wire is what the server says.
package guardtest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/fastbind/fastbind/dpop"
	"github.com/fastbind/fastbind/guard"
	"github.com/fastbind/fastbind/internal/jose"
	"github.com/fastbind/fastbind/oauth"
)

// An Issuer is made by [New] or [NewInMemory]. Its methods are safe for
// concurrent use.
type Issuer struct {
	// URL is the issuer identifier, and Audience the API that tokens are for
	// unless they say otherwise.
	URL, Audience string
	// ClientID and ClientSecret are the credentials of that API.
	ClientID, ClientSecret string

	client *http.Client

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced with every change
	signers  []*jose.Signer
	signing  *jose.Signer
	keyAge   time.Duration
	entries  []Entry
	number   int64
	skew     time.Duration
	stuck    time.Time // what the feed says it is complete up to; zero: now
	faults   map[Endpoint]int
	requests map[Endpoint]int
	uses     map[Use]int
}

// New returns an issuer that listens on a loopback address until the test ends.
func New(t testing.TB) *Issuer {
	t.Helper()
	i := newIssuer(t)
	server := httptest.NewServer(i)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	i.URL = server.URL
	i.client = server.Client()
	return i
}

// NewInMemory returns an issuer that can be reached through the client in its
// Config only, without sockets: for tests in a bubble of testing/synctest.
func NewInMemory(t testing.TB) *Issuer {
	t.Helper()
	i := newIssuer(t)
	i.URL = "https://issuer.test"
	i.client = &http.Client{Transport: memory{i}}
	return i
}

func newIssuer(t testing.TB) *Issuer {
	t.Helper()
	i := &Issuer{
		Audience: "https://api.test", ClientID: "api", ClientSecret: rand.Text(),
		changed: make(chan struct{}), faults: map[Endpoint]int{}, requests: map[Endpoint]int{}, uses: map[Use]int{},
	}
	i.Rotate(t, "ES256")
	return i
}

// Config returns the configuration of a guard for the API.
func (i *Issuer) Config() guard.Config {
	return guard.Config{
		Issuer: i.URL, Audience: i.Audience, ClientID: i.ClientID, ClientSecret: i.ClientSecret, HTTPClient: i.client,
		DPoP: guard.DPoP{PublicURLs: []string{i.Audience}},
	}
}

// Guard returns a guard for the API, with the changes to its configuration,
// that runs until the test ends, and is ready.
func (i *Issuer) Guard(t testing.TB, changes ...func(*guard.Config)) *guard.Guard {
	t.Helper()
	c := i.Config()
	for _, change := range changes {
		change(&c)
	}
	g, err := guard.New(c)
	if err != nil {
		t.Fatal(err)
	}
	Run(t, g)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := g.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return g
}

// Run runs g until the test ends, or until the returned function is called,
// which waits until it has stopped.
func Run(t testing.TB, g *guard.Guard) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	stop = func() {
		cancel()
		<-stopped
	}
	t.Cleanup(stop)
	return stop
}

// Claims are what a token says. What is left empty is filled in: somebody who
// signed in just now, with ids of their own.
type Claims struct {
	Subject, ClientID, Scope   string
	SessionID, Family, TokenID string
	Generation                 int64
	KeyThumbprint              string // of the key that the token is bound to; empty: a plain bearer token
	Issued, Expires            time.Time
	// More are further claims, and in place of the others where the names are
	// the same; nil leaves out a claim.
	More map[string]any
}

// Mint returns an access token, signed with the newest key.
func (i *Issuer) Mint(c Claims) string {
	now := time.Now()
	or := func(s, otherwise string) string {
		if s == "" {
			return otherwise
		}
		return s
	}
	if c.Issued.IsZero() {
		c.Issued = now
	}
	if c.Expires.IsZero() {
		c.Expires = c.Issued.Add(5 * time.Minute)
	}
	claims := map[string]any{
		"iss": i.URL, "aud": i.Audience, "sub": or(c.Subject, "ada"), "client_id": or(c.ClientID, "app"),
		"scope": c.Scope, "sid": or(c.SessionID, rand.Text()), "jti": or(c.TokenID, rand.Text()),
		"family": or(c.Family, rand.Text()), "generation": c.Generation,
		"iat": c.Issued.Unix(), "exp": c.Expires.Unix(),
	}
	if c.KeyThumbprint != "" {
		claims["cnf"] = map[string]string{"jkt": c.KeyThumbprint}
	}
	maps.Copy(claims, c.More)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err) // claims that are no JSON: a mistake in the test
	}
	return i.Sign(oauth.TypeAccessToken, payload)
}

// Prove lets r show the token with a proof that it comes from the holder of k,
// for the address in r.URL. The guard tells the nonce, which may be empty.
func Prove(t testing.TB, r *http.Request, k *dpop.Key, token, nonce string) {
	t.Helper()
	proof, err := k.Proof(dpop.Params{Method: r.Method, URL: r.URL.String(), AccessToken: token, Nonce: nonce})
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "DPoP "+token)
	r.Header.Set("DPoP", proof)
}

// Sign signs any payload, under any type, with the newest key.
func (i *Issuer) Sign(typ string, payload []byte) string {
	i.mu.Lock()
	signer := i.signing
	i.mu.Unlock()
	token, err := signer.Sign(typ, payload)
	if err != nil {
		panic(err) // keys in memory always sign
	}
	return token
}

// Rotate makes a new key, for ES256, EdDSA or RS256, publishes it, signs with it
// from now on, and returns its kid. The others stay published.
func (i *Issuer) Rotate(t testing.TB, algorithm string) string {
	t.Helper()
	signer, err := jose.Generate("", jose.Algorithm(algorithm))
	if err != nil {
		t.Fatal(err)
	}
	i.change(func() {
		i.signing = signer
		i.signers = append(i.signers, signer)
	})
	return signer.Key().ID
}

// Withdraw takes a key out of the published set. It signs on if it is the
// newest.
func (i *Issuer) Withdraw(kid string) {
	i.change(func() {
		var rest []*jose.Signer
		for _, s := range i.signers {
			if s.Key().ID != kid {
				rest = append(rest, s)
			}
		}
		i.signers = rest
	})
}

// KeysFor lets the key set be used for d before it is asked for again.
func (i *Issuer) KeysFor(d time.Duration) { i.change(func() { i.keyAge = d }) }

// Revoke ends what has the value: kind is jti, family, sid, sub, client, kid or
// jkt. Of sub and client it ends the tokens issued up to now.
func (i *Issuer) Revoke(kind, value string) {
	now := time.Now()
	e := Entry{Kind: kind, Value: value, Until: now.Add(time.Hour).Unix()}
	if kind == "sub" || kind == "client" || kind == "epoch" {
		e.Before = now.Unix()
	}
	i.Append(e)
}

// RevokeAll ends all tokens issued up to now.
func (i *Issuer) RevokeAll() { i.Revoke("epoch", "") }

// Append appends entries to the feed. It sets their numbers and, where they are
// missing, reasons and times.
func (i *Issuer) Append(entries ...Entry) {
	i.change(func() {
		for _, e := range entries {
			i.number++
			e.Number = i.number
			if e.Reason == "" {
				e.Reason = "revoked_by_admin"
			}
			if e.At == 0 {
				e.At = time.Now().UnixMilli()
			}
			i.entries = append(i.entries, e)
		}
	})
}

// Restart forgets the feed and begins its numbers anew, as after the loss of
// the database.
func (i *Issuer) Restart() {
	i.change(func() { i.entries, i.number = nil, 0 })
}

// Stick stops, or lets go on, the time up to which the feed says it is
// complete, as of a server that has lost touch with its database.
func (i *Issuer) Stick(yes bool) {
	i.change(func() {
		i.stuck = time.Time{}
		if yes {
			i.stuck = time.Now()
		}
	})
}

// Skew sets how far the clock that the feed tells is ahead.
func (i *Issuer) Skew(d time.Duration) { i.change(func() { i.skew = d }) }

// An Endpoint is something that an issuer can be asked.
type Endpoint string

// The endpoints. Stream and Pages are at one address.
const (
	Metadata      Endpoint = "metadata"
	Keys          Endpoint = "keys"
	Stream        Endpoint = "stream"
	Pages         Endpoint = "pages"
	Introspection Endpoint = "introspection"
	TokenUse      Endpoint = "token use"
)

// Silent is a status with which an endpoint takes requests and never answers;
// a stream stays open and says nothing more.
const Silent = -1

// Break lets endpoints answer with the status, or be [Silent]. Streams that are
// open are cut off or fall silent.
func (i *Issuer) Break(status int, endpoints ...Endpoint) {
	i.change(func() {
		for _, e := range endpoints {
			i.faults[e] = status
		}
	})
}

// Mend undoes Break.
func (i *Issuer) Mend(endpoints ...Endpoint) {
	i.change(func() {
		for _, e := range endpoints {
			delete(i.faults, e)
		}
	})
}

// Requests returns how often the endpoint was asked.
func (i *Issuer) Requests(e Endpoint) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.requests[e]
}

// A Use is a generation of a family that was seen in use.
type Use struct {
	Family     string `json:"family"`
	Generation int64  `json:"generation"`
}

// Used waits until a use was reported and returns how often, 0 if ctx ends
// before.
func (i *Issuer) Used(ctx context.Context, u Use) int {
	n := 0
	i.Wait(ctx, func() bool {
		n = i.uses[u]
		return n > 0
	})
	return n
}

// Wait waits until is reports true, which is asked whenever something has
// changed, or ctx ends; it returns whether it did. It is called with the issuer
// locked, and so must not call it.
func (i *Issuer) Wait(ctx context.Context, is func() bool) bool {
	for {
		i.mu.Lock()
		ok, changed := is(), i.changed
		i.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// WaitRequests waits until the endpoint was asked n times, or ctx ends.
func (i *Issuer) WaitRequests(ctx context.Context, e Endpoint, n int) bool {
	return i.Wait(ctx, func() bool { return i.requests[e] >= n })
}

func (i *Issuer) change(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f()
	close(i.changed)
	i.changed = make(chan struct{})
}
