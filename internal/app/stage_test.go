package app_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/apptest"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/refresh"
)

// A kind is a kind of client of the rotation contract.
type kind struct {
	name    string
	bound   bool // tied to a key
	sends   bool // attempt keys
	reports bool // its APIs report use
	policy  string
}

func kinds() []kind {
	return []kind{
		{name: "bound to a key", bound: true, policy: "spa"},
		{name: "bearer with attempt keys", sends: true, policy: "spa"},
		{name: "bearer, APIs report use", reports: true, policy: "spa"},
		{name: "plain bearer", policy: "spa"},
	}
}

// away is where the thief sits.
const away = "203.0.113.9"

// A stage is a server on one or several nodes, in turn asked, with a clock that
// the test moves.
type stage struct {
	t     *testing.T
	clock *apptest.Clock
	nodes []*apptest.Server
	asked int
	api   apptest.App // the resource server
}

// newStage starts the nodes: several where the database can be shared.
func newStage(t *testing.T, o apptest.Options) *stage {
	t.Helper()
	s := &stage{t: t, clock: apptest.NewClock()}
	o.Now = s.clock.Now
	o.Config = func(c *app.Config) { c.TrustedProxies = []string{"127.0.0.1"} } // so that the thief can be elsewhere
	first := apptest.Start(t, o)
	s.nodes = []*apptest.Server{first}
	if o.DatabaseURL != "" {
		o.Data, o.Issuer = first.Data, first.Issuer
		for range 2 {
			s.nodes = append(s.nodes, apptest.Start(t, o))
		}
	}
	first.Person("ada")
	for _, k := range kinds() {
		s.register(k)
	}
	s.api = apptest.App{ID: "orders", Secret: first.Register("orders", true, client.Meta{ResourceServer: true, Audiences: []string{"orders"}})}
	return s
}

// register registers the client of a kind.
func (s *stage) register(k kind) {
	s.nodes[0].Register(k.id(), false, client.Meta{
		RedirectURIs: []string{"http://127.0.0.1/callback"}, GrantTypes: []string{"authorization_code", "refresh_token"},
		Scopes: []string{"openid", "orders:read"}, Audiences: []string{"orders"}, Trusted: true, Policy: k.policy,
		SendsAttempts: k.sends, APIsReport: k.reports,
	})
}

func (k kind) id() string { return strings.ReplaceAll(strings.ReplaceAll(k.name, ",", ""), " ", "-") }

// node returns the node that is asked next.
func (s *stage) node() *apptest.Server {
	s.asked++
	return s.nodes[s.asked%len(s.nodes)]
}

// A bench is one family on a stage: what happens to it, and all that anybody
// got of it.
type bench struct {
	*stage
	t      *testing.T
	kind   kind
	family refresh.FamilyID
	given  []apptest.Tokens
}

// A holder is somebody who has a copy of what was handed out.
type holder struct {
	b      *bench
	number int
	header http.Header     // from where, with what
	key    *apptest.Prover // nil: has none
	sent   int
	tokens apptest.Tokens
	fresh  int // number of the refresh, for its attempt key
}

const thiefNumber = 9

// open begins a family, and returns whom it was given to.
func (s *stage) open(t *testing.T, k kind) (*bench, *holder) {
	t.Helper()
	b := &bench{stage: s, t: t, kind: k}
	h := &holder{b: b, number: 1, header: http.Header{}}
	c := apptest.App{ID: k.id(), Redirect: apptest.Redirect, Scope: "openid orders:read"}
	if k.bound {
		h.key = s.prover(t)
		c.Prover = h.key
	}
	h.take(s.nodes[0].Browser().Tokens(c, "ada"))
	b.family = refresh.FamilyID(claims(t, h.tokens.Access).Family)
	if f := b.row(); k.bound && f.Key != h.key.Key.Thumbprint() || !k.bound && f.Key != "" {
		t.Fatalf("the family is bound to %q", f.Key)
	}
	return b, h
}

// prover returns a new key, whose proofs go by the clock of the stage.
func (s *stage) prover(t *testing.T) *apptest.Prover {
	t.Helper()
	p := apptest.NewProver(t)
	p.Now = s.clock.Now
	return p
}

// take stores an answer.
func (h *holder) take(got apptest.Tokens) {
	h.tokens = got
	h.fresh++
	h.b.given = append(h.b.given, got)
}

// process returns a second process with a copy of all that the holder has.
func (h *holder) process() *holder {
	c := *h
	c.number++
	return &c
}

// thief returns somebody elsewhere with a copy of the tokens, without the key.
// Where there is one he tries his own and none, in turn.
func (h *holder) thief() *holder {
	t := &holder{
		b: h.b, number: thiefNumber, tokens: h.tokens,
		header: http.Header{"X-Forwarded-For": {away}, "User-Agent": {"thief/1.0"}},
	}
	if h.key != nil {
		t.key = h.b.prover(h.b.t)
	}
	return t
}

// claims are the claims of an access token that the tests look at.
func claims(t testing.TB, access string) (c struct {
	Family     string `json:"family"`
	Generation int64  `json:"generation"`
},
) {
	t.Helper()
	parts := strings.Split(access, ".")
	if len(parts) != 3 {
		t.Fatalf("an access token of %d parts", len(parts))
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(raw, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// send shows the refresh token and returns the answer, which the holder does not
// have yet; nothing if it was refused.
func (h *holder) send() (apptest.Tokens, bool) {
	t := h.b.t
	t.Helper()
	head := h.header.Clone()
	if h.b.kind.sends && h.number != thiefNumber {
		head.Set("Idempotency-Key", fmt.Sprintf("attempt of the test %d of %d", h.fresh, h.number))
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {h.tokens.Refresh}, "client_id": {h.b.kind.id()}}
	c := apptest.App{ID: h.b.kind.id(), Prover: h.key}
	if h.sent++; h.number == thiefNumber && h.sent%2 == 0 {
		c.Prover = nil
	}
	a := h.b.node().Token(c, form, head)
	switch {
	case a.Status == http.StatusOK:
		m := a.JSON(t)
		access, _ := m["access_token"].(string)   //nolint:errcheck // looked at by whoever uses it
		renewed, _ := m["refresh_token"].(string) //nolint:errcheck // the same
		return apptest.Tokens{Access: access, Refresh: renewed}, true
	case a.Status != http.StatusBadRequest || a.Code() != "invalid_grant":
		t.Fatalf("refresh: %d %s", a.Status, a.Body)
	}
	return apptest.Tokens{}, false
}

// refresh sends, stores the answer and uses it. It reports whether there was
// one.
func (h *holder) refresh() bool {
	h.b.t.Helper()
	got, ok := h.send()
	if !ok {
		return false
	}
	h.take(got)
	if h.b.kind.reports {
		h.b.reported(got.Access)
	}
	return true
}

// reported reports, as the guard of an API does, that an access token was used.
func (b *bench) reported(access string) {
	b.t.Helper()
	c := claims(b.t, access)
	body := fmt.Sprintf(`{"uses":[{"family":%q,"generation":%d}]}`, c.Family, c.Generation)
	h := b.api.Header()
	h.Set("Content-Type", "application/json")
	if a := b.node().Do(http.MethodPost, "/token-use", strings.NewReader(body), h); a.Status/100 != 2 {
		b.t.Fatalf("report of use: %d %s", a.Status, a.Body)
	}
	b.confirmed(c.Generation)
}

// confirmed waits until a generation is confirmed: reports are written in
// batches.
func (b *bench) confirmed(generation int64) {
	b.t.Helper()
	within(b.t, 2*time.Second, "the use is noted", func() bool { return b.row().Confirmed >= generation })
}

func (b *bench) pass(d time.Duration) { b.clock.Add(d) }

// row returns the family as it is stored.
func (b *bench) row() refresh.Family {
	b.t.Helper()
	found, err := b.nodes[0].App.Families.Load(b.t.Context(), []refresh.FamilyID{b.family})
	if err != nil || len(found) != 1 {
		b.t.Fatalf("load the family: %d, %v", len(found), err)
	}
	return found[0]
}

func (b *bench) live() bool { f := b.row(); return f.Live(b.clock.Now()) }

// told reports whether there is an event of the kind.
func (b *bench) told(k audit.Kind) bool {
	b.t.Helper()
	found, err := b.nodes[0].App.DB.Events(b.t.Context(), app.EventQuery{Family: string(b.family), Kind: k})
	if err != nil {
		b.t.Fatal(err)
	}
	return len(found) > 0
}

// theft reports whether the family has ended for a theft that was told, and
// nothing that anybody got of it is worth anything, at any node.
func (b *bench) theft() bool {
	b.t.Helper()
	if b.live() || b.row().Reason != audit.TokenTheft || !b.told(audit.Theft) {
		return false
	}
	for _, n := range b.nodes {
		for _, g := range b.given {
			if a := n.Do(http.MethodGet, "/userinfo", nil, apptest.Bearer(g.Access)); a.Status != http.StatusUnauthorized {
				b.t.Errorf("an access token of a family that was stolen: %d", a.Status)
			}
		}
		last := (&holder{b: b, number: 1, header: http.Header{}, tokens: b.given[len(b.given)-1]})
		if _, ok := last.send(); ok {
			b.t.Error("a family that was stolen lives on")
		}
	}
	return true
}
