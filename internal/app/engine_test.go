package app_test

import (
	"fmt"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/apptest"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/pgtest"
	"github.com/fastbind/fastbind/internal/revoke"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// onEach runs a test with a database of each engine: SQLite, and PostgreSQL where
// the tests may start one.
func onEach(t *testing.T, test func(t *testing.T, o apptest.Options)) {
	t.Run("SQLite", func(t *testing.T) { t.Parallel(); test(t, apptest.Options{}) })
	if pgtest.Enabled() {
		t.Run("PostgreSQL", func(t *testing.T) { t.Parallel(); test(t, apptest.Options{DatabaseURL: pgtest.URL(t)}) })
	}
}

// TestParallelRefresh: fifty refreshes of one token at once yield one successor,
// fifty answers and no alarm.
func TestParallelRefresh(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, o apptest.Options) {
		w := open(t, o)
		h := w.Browser().Tokens(w.spa, "ada")
		for range 5 {
			var mu sync.Mutex
			seen := map[string]int{}
			var next apptest.Tokens
			var work sync.WaitGroup
			for range 50 {
				work.Go(func() {
					a := w.Refresh(w.spa, h.Refresh, "")
					token, _ := a.JSON(t)["refresh_token"].(string) //nolint:errcheck // counted below
					mu.Lock()
					defer mu.Unlock()
					seen[fmt.Sprint(a.Status, token)]++
					next = apptest.Tokens{App: w.spa, Refresh: token}
				})
			}
			work.Wait()
			if len(seen) != 1 {
				t.Fatalf("%d different answers, want one successor for all: %v", len(seen), seen)
			}
			h = next
		}
		if a := w.Refresh(w.spa, h.Refresh, ""); a.Status != 200 {
			t.Errorf("afterwards: %d %s", a.Status, a.Body)
		}
	})
}

// TestTheft: whoever comes first, the second use is noticed and ends everything.
func TestTheft(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, o apptest.Options) {
		w := open(t, o)
		for name, first := range map[string]bool{"VictimFirst": true, "ThiefFirst": false} {
			b := w.Browser()
			stolen := b.Tokens(w.spa, "ada")
			ahead := w.Renew(w.Renew(stolen)) // by the victim or by the thief
			if a := w.Refresh(w.spa, stolen.Refresh, ""); a.Status != 400 || a.Code() != "invalid_grant" {
				t.Errorf("%s (victim ahead: %v): the other one got %d %s", name, first, a.Status, a.Body)
			}
			if a := w.Refresh(w.spa, ahead.Refresh, ""); a.Code() != "invalid_grant" {
				t.Errorf("%s: the first one goes on: %d", name, a.Status)
			}
			if a := w.Do("GET", "/userinfo", nil, apptest.Bearer(ahead.Access)); a.Status != 401 {
				t.Errorf("%s: the access token works on: %d", name, a.Status)
			}
			v, _ := w.spa.Request()
			v.Set("prompt", "none")
			if got := b.Open(w.Path(v)).Location(t).Query(); got.Get("error") != "login_required" {
				t.Errorf("%s: the session of the device lives on: %v", name, got)
			}
		}
	})
}

// TestNodes: what ends on one node is known on the other within a second, and
// what one node issued the other one renews.
func TestNodes(t *testing.T) {
	t.Parallel()
	nodes := func(t *testing.T, o apptest.Options) {
		a := open(t, o)
		o.Data, o.Issuer = a.Data, a.Issuer
		b := apptest.Start(t, o)
		h := a.Browser().Tokens(a.spa, "ada")
		next := b.Renew(h)
		if again := a.Refresh(a.spa, h.Refresh, ""); again.JSON(t)["refresh_token"] != next.Refresh {
			t.Errorf("two nodes made two successors: %s", again.Body)
		}
		var kid string
		for _, k := range a.App.Keys.KeySet().Keys() {
			if k.Algorithm == "ES256" {
				kid = k.ID
			}
		}
		if err := a.App.Keys.Revoke(t.Context(), kid); err != nil {
			t.Fatal(err)
		}
		if _, err := a.App.Revoke.End(t.Context(), revoke.Order{Kind: revoke.Key, Value: kid, Reason: audit.KeyRevoked}); err != nil {
			t.Fatal(err)
		}
		within(t, time.Second, "the other node forgets the key", func() bool {
			return b.Do("GET", "/userinfo", nil, apptest.Bearer(next.Access)).Status == 401
		})
		if last := a.Renew(next); b.Do("GET", "/userinfo", nil, apptest.Bearer(last.Access)).Status != 200 {
			t.Error("the honest client was logged out with the key")
		}
	}
	onEach(t, nodes)
}

// within polls until ok, for at most d.
func within(t *testing.T, d time.Duration, what string, ok func() bool) {
	t.Helper()
	began := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Since(began) > d {
			t.Fatalf("not within %s: %s", d, what)
		}
		<-tick.C
	}
}

// TestDatabaseDown: a database that does not answer is 503 with Retry-After,
// clears no cookie and loses nothing.
func TestDatabaseDown(t *testing.T) {
	t.Parallel()
	if pgtest.Enabled() { // the one that can be stopped
		t.Run("PostgreSQL", databaseDown)
	}
}

func databaseDown(t *testing.T) {
	db := pgtest.New(t)
	w := open(t, apptest.Options{DatabaseURL: db.URL(t)})
	w.ExpectFaults()
	b := w.Browser()
	h := b.Tokens(w.spa, "ada")
	v, _ := w.spa.Request()
	page := b.Open("/authorize?" + v.Encode() + "&prompt=login")
	db.Stop(t)
	for name, a := range map[string]*apptest.Answer{
		"Refresh": w.Refresh(w.spa, h.Refresh, ""), "UserInfo": w.Do("GET", "/userinfo", nil, apptest.Bearer(h.Access)),
		"Authorize": b.Open(w.Path(v)), "SignIn": b.SignIn(page, "ada"), "Ready": w.Do("GET", "/readyz", nil, nil),
	} {
		if a.Status != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" || a.Code() == "invalid_grant" || len(a.Header.Values("Set-Cookie")) > 0 {
			t.Errorf("%s: %d, Retry-After %q, Set-Cookie %q, %.200s", name, a.Status, a.Header.Get("Retry-After"), a.Header.Values("Set-Cookie"), a.Body)
		}
	}
	if a := w.Do("GET", "/jwks", nil, nil); a.Status != 200 {
		t.Errorf("the keys are in memory: %d", a.Status)
	}
	db.Start(t)
	within(t, 10*time.Second, "the server answers again", func() bool { return w.Do("GET", "/readyz", nil, nil).Status == 204 })
	w.Renew(h)
	if got := b.Open(w.Path(v)).Location(t).Query(); got.Get("code") == "" {
		t.Errorf("the person was signed out by the fault: %v", got)
	}
}
