package revoke_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/apptest"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/revoke"
	"github.com/fastbind/fastbind/internal/sqlstore"
)

type world struct {
	*apptest.Server
	subject            string
	app, other, public apptest.App
	orders, stock      apptest.App // resource servers
}

func open(t *testing.T, o apptest.Options) *world {
	t.Helper()
	w := &world{Server: apptest.Start(t, o)}
	w.subject = w.Person("ada")
	meta := client.Meta{
		RedirectURIs: []string{"http://127.0.0.1/callback"}, GrantTypes: []string{"authorization_code", "refresh_token", "client_credentials"},
		Scopes: []string{"openid", "orders:read"}, Audiences: []string{"orders"}, Trusted: true, Policy: "spa",
	}
	for _, c := range []*apptest.App{&w.app, &w.other} {
		*c = apptest.App{Redirect: apptest.Redirect, Scope: "openid orders:read"}
	}
	w.app.ID, w.other.ID = "app", "other"
	w.app.Secret, w.other.Secret = w.Register("app", true, meta), w.Register("other", true, meta)
	meta.GrantTypes = meta.GrantTypes[:2]
	w.Register("public", false, meta)
	w.public = apptest.App{ID: "public", Redirect: apptest.Redirect, Scope: "openid orders:read"}
	w.orders = apptest.App{ID: "orders-api", Secret: w.Register("orders-api", true, client.Meta{ResourceServer: true, Audiences: []string{"orders"}})}
	w.stock = apptest.App{ID: "stock-api", Secret: w.Register("stock-api", true, client.Meta{ResourceServer: true, Audiences: []string{"stock"}})}
	return w
}

func (w *world) introspect(c apptest.App, token string) *apptest.Answer {
	return w.Post("/introspect", url.Values{"token": {token}}, c.Header())
}

func (w *world) active(t *testing.T, token string) bool {
	t.Helper()
	a := w.introspect(w.orders, token)
	if a.Status != 200 {
		t.Fatalf("introspect: %d %s", a.Status, a.Body)
	}
	return a.JSON(t)["active"] == true
}

func TestN74Introspection(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	h := w.Browser().Tokens(w.app, "ada")
	m := w.introspect(w.orders, h.Access).JSON(t)
	for name, want := range map[string]any{"active": true, "client_id": "app", "sub": w.subject, "iss": w.Issuer, "scope": "openid orders:read", "token_type": "Bearer"} {
		if m[name] != want {
			t.Errorf("%s is %v, want %v", name, m[name], want)
		}
	}
	for name, a := range map[string]*apptest.Answer{
		"AnotherResourceServer": w.introspect(w.stock, h.Access), "RefreshToken": w.introspect(w.orders, h.Refresh), "IDToken": w.introspect(w.orders, h.ID),
		"Guess": w.introspect(w.orders, "x"), "Altered": w.introspect(w.orders, h.Access[:len(h.Access)-2]+"xx"),
	} {
		if a.Status != 200 || strings.TrimSpace(a.Body) != `{"active":false}` {
			t.Errorf("%s: %d %s, want nothing but inactive", name, a.Status, a.Body)
		}
	}
	if a := w.introspect(w.app, h.Access); a.Status != 403 {
		t.Errorf("an ordinary client: %d, want 403", a.Status)
	}
	if a := w.introspect(apptest.App{ID: "orders-api", Secret: "guess"}, h.Access); a.Status != 401 || a.Code() != "invalid_client" {
		t.Errorf("a wrong secret: %d %s", a.Status, a.Body)
	}
	if a := w.Post("/introspect", url.Values{"token": {h.Access}}, nil); a.Status != 401 {
		t.Errorf("nobody: %d, want 401", a.Status)
	}
	throttled := false
	for range 40 {
		throttled = throttled || w.introspect(apptest.App{ID: "orders-api", Secret: "guess"}, h.Access).Status == 429
	}
	if !throttled {
		t.Error("guessing is not throttled")
	}
}

func TestN75RevocationOfOthers(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	h := w.Browser().Tokens(w.app, "ada")
	end := func(c apptest.App, token string) *apptest.Answer {
		v := url.Values{"token": {token}, "token_type_hint": {"nonsense"}}
		if c.Secret == "" {
			v.Set("client_id", c.ID)
		}
		return w.Post("/revoke", v, c.Header())
	}
	for _, token := range []string{h.Refresh, h.Access} {
		if a := end(w.other, token); a.Status != 400 || a.Code() != "unauthorized_client" {
			t.Errorf("token of another client: %d %s", a.Status, a.Body)
		}
	}
	if !w.active(t, h.Access) {
		t.Error("another client ended the token")
	}
	for _, token := range []string{"x", "fbr_x", h.Refresh[:len(h.Refresh)-1] + "0", h.ID} {
		if a := end(w.app, token); a.Status != 200 {
			t.Errorf("a token that means nothing: %d, want 200", a.Status)
		}
	}
	if a := end(w.app, h.Access); a.Status != 200 {
		t.Fatalf("revoke: %d %s", a.Status, a.Body)
	}
	if w.active(t, h.Access) {
		t.Error("a revoked access token is active")
	}
	if h = w.Renew(h); !w.active(t, h.Access) {
		t.Error("revoking an access token ended its family")
	}
	if a := end(w.app, h.Refresh); a.Status != 200 {
		t.Fatalf("revoke: %d %s", a.Status, a.Body)
	}
	if w.active(t, h.Access) || w.Refresh(w.app, h.Refresh, "").Code() != "invalid_grant" {
		t.Error("revoking the refresh token left its access token or itself alive")
	}
	p := w.Browser().Tokens(w.public, "ada")
	if a := end(w.public, p.Refresh); a.Status != 200 || w.Refresh(w.public, p.Refresh, "").Code() != "invalid_grant" {
		t.Error("a public client cannot revoke its refresh token")
	}
}

// TestN73SubjectAndClient: a client that acts for itself cannot be taken for a
// person.
func TestN73SubjectAndClient(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	c := client.Client{ID: w.subject, Meta: client.Meta{Name: "impostor"}}
	if c.Check() == nil {
		t.Error("a client may be registered under an id that has the form of a subject")
	}
	a := w.Post("/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:read"}}, w.app.Header())
	m := w.introspect(w.orders, a.JSON(t)["access_token"].(string)).JSON(t)
	if m["sub"] != "app" || m["client_id"] != "app" || m["sid"] != nil {
		t.Errorf("claims of a client that acts for itself: %v", m)
	}
}

// A line is one event of the feed.
type line struct {
	event, id string
	data      map[string]any
}

// listen opens the feed and returns its events.
func (w *world) listen(t *testing.T, lastID string) <-chan line {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.URL+"/revocations", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = w.orders.Header()
	r.Header.Set("Accept", "text/event-stream")
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	res, err := http.DefaultClient.Do(r) //nolint:bodyclose // closed below
	if err != nil || res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("feed: %v %v", res, err)
	}
	out := make(chan line, 1000)
	var work sync.WaitGroup
	work.Go(func() {
		defer close(out)
		defer res.Body.Close() //nolint:errcheck // the test is over
		var l line
		for s := bufio.NewScanner(res.Body); s.Scan(); {
			name, value, _ := strings.Cut(s.Text(), ": ")
			switch name {
			case "event":
				l.event = value
			case "id":
				l.id = value
			case "data":
				l.data = nil
				if err := json.Unmarshal([]byte(value), &l.data); err != nil {
					t.Errorf("data %q: %v", value, err)
				}
			case "":
				out <- l
				l = line{}
			}
		}
	})
	t.Cleanup(func() { cancel(); work.Wait() })
	return out
}

// until returns the first event for which ok is true, within 5 seconds.
func until(t *testing.T, in <-chan line, ok func(line) bool) line {
	t.Helper()
	deadline := time.After(5 * time.Second)
	for {
		select {
		case l, open := <-in:
			if !open {
				t.Fatal("the feed ended")
			}
			if ok(l) {
				return l
			}
		case <-deadline:
			t.Fatal("nothing within 5 s")
		}
	}
}

func complete(l line) bool { return l.event == "complete" }

func TestFeed(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	before := w.listen(t, "")
	until(t, before, complete)
	h := w.Browser().Tokens(w.app, "ada")
	second := w.Renew(h)
	w.Renew(second)
	if a := w.Refresh(w.app, h.Refresh, ""); a.Code() != "invalid_grant" {
		t.Fatalf("no theft: %s", a.Body)
	}
	began := time.Now()
	ended := func(l line) bool { return l.event == "entry" && l.data["reason"] == string(audit.TokenTheft) }
	l := until(t, before, ended)
	if d := time.Since(began); d > time.Second {
		t.Errorf("the theft took %s to the feed", d)
	}
	for _, name := range []string{"seq", "kind", "value", "reason", "at", "exp"} {
		if l.data[name] == nil {
			t.Errorf("the entry lacks %s: %v", name, l.data)
		}
	}
	first := until(t, before, complete)
	later := until(t, before, func(l line) bool { // two within a millisecond say the same time
		return complete(l) && l.data["time"].(float64) > first.data["time"].(float64)
	})

	snapshot := w.listen(t, "")
	if got := until(t, snapshot, ended); got.id != l.id {
		t.Errorf("the snapshot has it as %s, want %s", got.id, l.id)
	}
	resumed := w.listen(t, later.id)
	if got := until(t, resumed, func(line) bool { return true }); got.event != "complete" {
		t.Errorf("after resuming at %s came %v, want nothing but completeness", later.id, got)
	}
	ahead := w.listen(t, "1000000")
	if got := until(t, ahead, func(line) bool { return true }); got.event != "reset" {
		t.Errorf("resuming ahead of the list: %v, want a reset", got)
	}
	until(t, ahead, ended)
}

func TestFeedPage(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	page := func(after string) map[string]any {
		a := w.Do("GET", "/revocations"+after, nil, w.orders.Header())
		if a.Status != 200 {
			t.Fatalf("page: %d %s", a.Status, a.Body)
		}
		return a.JSON(t)
	}
	if m := page(""); len(m["entries"].([]any)) != 0 || m["seq"] == nil || m["time"] == nil {
		t.Errorf("an empty page: %v", m)
	}
	for i := range 5 {
		if _, err := w.App.Revoke.End(t.Context(), revoke.Order{Kind: revoke.Token, Value: fmt.Sprint("t", i), Reason: audit.RevokedByAdmin}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.App.Revoke.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := page("")["entries"].([]any)
	if len(all) != 5 {
		t.Fatalf("%d entries, want 5", len(all))
	}
	for i, e := range all {
		if e.(map[string]any)["value"] != fmt.Sprint("t", i) {
			t.Errorf("entry %d: %v", i, e)
		}
	}
	last := all[2].(map[string]any)["seq"].(float64)
	if rest := page(fmt.Sprintf("?after=%d", int(last)))["entries"].([]any); len(rest) != 2 {
		t.Errorf("%d entries after the third, want 2", len(rest))
	}
	for _, a := range []*apptest.Answer{
		w.Do("GET", "/revocations", nil, nil), w.Do("GET", "/revocations", nil, w.app.Header()), w.Do("GET", "/revocations?after=x", nil, w.orders.Header()),
	} {
		if a.Status < 400 || a.Status > 403 {
			t.Errorf("%d %s, want a refusal", a.Status, a.Body)
		}
	}
}

// TestUses: what a resource server reports as used is confirmed, and closes the
// window in which a lost response heals.
func TestUses(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now := time.Now()
	w := open(t, apptest.Options{Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return now }})
	w.Register("reporting", false, client.Meta{
		RedirectURIs: []string{"http://127.0.0.1/callback"}, GrantTypes: []string{"authorization_code", "refresh_token"},
		Scopes: []string{"openid"}, Audiences: []string{"orders"}, Trusted: true, Policy: "spa", APIsReport: true,
	})
	c := apptest.App{ID: "reporting", Redirect: apptest.Redirect, Scope: "openid"}
	h := w.Browser().Tokens(c, "ada")
	lost := w.Renew(h)
	later := func() { mu.Lock(); now = now.Add(time.Hour); mu.Unlock() }
	later()
	again := w.Renew(h)
	if again.Refresh != lost.Refresh {
		t.Fatal("a lost response does not heal")
	}
	family := w.introspectFamily(t, again.Access)
	report, err := json.Marshal(map[string]any{"uses": []map[string]any{{"family": family, "generation": 2}, {"family": "nonsense", "generation": 1}}})
	if err != nil {
		t.Fatal(err)
	}
	head := w.orders.Header()
	head.Set("Content-Type", "application/json")
	if a := w.Do("POST", "/token-use", strings.NewReader(string(report)), head); a.Status != 204 {
		t.Fatalf("report: %d %s", a.Status, a.Body)
	}
	if a := w.Do("POST", "/token-use", strings.NewReader(string(report)), w.app.Header()); a.Status != 403 {
		t.Errorf("report of an ordinary client: %d, want 403", a.Status)
	}
	if a := w.Do("POST", "/token-use", strings.NewReader("{"), head); a.Status != 400 {
		t.Errorf("a broken report: %d, want 400", a.Status)
	}
	if a := w.Refresh(c, h.Refresh, ""); a.Code() != "invalid_grant" {
		t.Errorf("the parent of a confirmed generation: %d %s", a.Status, a.Body)
	}
	if a := w.Refresh(c, lost.Refresh, ""); a.Code() != "invalid_grant" {
		t.Error("the family lives on after the theft")
	}
}

// introspectFamily returns the family of an access token.
func (w *world) introspectFamily(t *testing.T, access string) refresh.FamilyID {
	t.Helper()
	fs, err := w.App.DB.FamiliesOf(t.Context(), sqlstore.FamilyQuery{Subject: w.subject})
	if err != nil || len(fs) == 0 {
		t.Fatalf("families: %v %v (%d bytes of token)", fs, err, len(access))
	}
	return fs[len(fs)-1].ID
}

// TestN77Revoked: a key that was revoked takes its tokens with it.
func TestN77RevokedKey(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	h := w.Browser().Tokens(w.app, "ada")
	kid := ""
	for _, k := range w.App.Keys.KeySet().Keys() {
		if k.Algorithm == "ES256" {
			kid = k.ID
		}
	}
	if err := w.App.Keys.Revoke(t.Context(), kid); err != nil {
		t.Fatal(err)
	}
	if _, err := w.App.Revoke.End(t.Context(), revoke.Order{Kind: revoke.Key, Value: kid, Reason: audit.KeyRevoked}); err != nil {
		t.Fatal(err)
	}
	if w.active(t, h.Access) {
		t.Error("a token of a revoked key is active")
	}
	if next := w.Renew(h); !w.active(t, next.Access) {
		t.Error("the honest client was logged out with the key")
	}
}
