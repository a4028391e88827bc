package guard_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fastbind/fastbind/guard"
	"github.com/fastbind/fastbind/guard/guardtest"
	"github.com/fastbind/fastbind/oauth"
)

// A stale view is decided about by the policy of the route, and never by
// letting through what nobody knows about.
func TestStalePolicies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := guardtest.NewInMemory(t)
		g := issuer.Guard(t)
		token := issuer.Mint(guardtest.Claims{SessionID: "live", Expires: time.Now().Add(time.Hour)})
		revoked := issuer.Mint(guardtest.Claims{SessionID: "ended", Expires: time.Now().Add(time.Hour)})
		check := func(policy guard.Policy, token string) error {
			_, err := g.CheckRule(get(token), guard.Rule{WhenStale: policy})
			return err
		}
		if err := check(guard.Deny, revoked); err != nil {
			t.Fatal(err)
		}
		issuer.Break(http.StatusServiceUnavailable, guardtest.Stream, guardtest.Pages)
		issuer.Revoke("sid", "ended")
		time.Sleep(4 * time.Second) // still fresh enough
		if err := check(guard.Deny, token); err != nil {
			t.Errorf("after 4 s: %v", err)
		}
		time.Sleep(2 * time.Second)
		wantRefusal(t, check(guard.Deny, token), oauth.TemporarilyUnavailable, guard.ErrUnavailable)
		if err := check(guard.InsecureAllow, token); err != nil {
			t.Error(err)
		}
		for _, policy := range []guard.Policy{guard.Introspect, guard.Default} {
			if err := check(policy, token); err != nil {
				t.Error(err)
			}
			wantRefusal(t, check(policy, revoked), oauth.InvalidToken, guard.ErrRevoked)
		}
		for _, status := range []int{http.StatusServiceUnavailable, http.StatusUnauthorized, guardtest.Silent} {
			issuer.Break(status, guardtest.Introspection)
			time.Sleep(2 * time.Second)
			begun := time.Now()
			wantRefusal(t, check(guard.Introspect, token), oauth.TemporarilyUnavailable, guard.ErrUnavailable)
			if d := time.Since(begun); d > 2*time.Second {
				t.Errorf("status %d: took %v", status, d)
			}
			resp := serve(g, guard.Rule{}, get(token))
			if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || resp.Header.Get("WWW-Authenticate") != "" {
				t.Errorf("status %d: %d %v", status, resp.StatusCode, resp.Header)
			}
		}
		issuer.Mend(guardtest.Stream, guardtest.Pages)
		time.Sleep(5 * time.Second)
		if err := check(guard.Deny, token); err != nil {
			t.Errorf("after the feed came back: %v", err)
		}
		wantRefusal(t, check(guard.Deny, revoked), oauth.InvalidToken, guard.ErrRevoked)
	})
}

// What is known is refused, and without asking, however old the view is.
func TestStaleViewStillRefuses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := guardtest.NewInMemory(t)
		g := issuer.Guard(t)
		token := issuer.Mint(claims)
		issuer.Revoke("family", "f1")
		synctest.Wait()
		issuer.Break(http.StatusServiceUnavailable, guardtest.Stream, guardtest.Pages, guardtest.Introspection)
		time.Sleep(time.Minute)
		_, err := g.CheckRule(get(token), guard.Rule{WhenStale: guard.InsecureAllow})
		wantRefusal(t, err, oauth.InvalidToken, guard.ErrRevoked)
	})
}

// Before the first snapshot the view is stale.
func TestNoSnapshotYet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := guardtest.NewInMemory(t)
		issuer.Break(http.StatusServiceUnavailable, guardtest.Stream, guardtest.Pages)
		g, err := guard.New(issuer.Config())
		if err != nil {
			t.Fatal(err)
		}
		guardtest.Run(t, g)
		synctest.Wait()
		token := issuer.Mint(claims)
		_, err = g.CheckRule(get(token), guard.Rule{WhenStale: guard.Deny})
		wantRefusal(t, err, oauth.TemporarilyUnavailable, guard.ErrUnavailable)
		if _, err := g.Check(get(token)); err != nil || issuer.Requests(guardtest.Introspection) != 1 {
			t.Errorf("%v, asked %d times", err, issuer.Requests(guardtest.Introspection))
		}
		if age := g.Stats().ViewAge; age >= 0 {
			t.Errorf("age %v", age)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if g.Ready(ctx) == nil {
			t.Error("ready without a snapshot")
		}
	})
}

// Without credentials there is no view: nothing gets through unless somebody
// has written that it may.
func TestNoCredentials(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	for policy, want := range map[guard.Policy]int{guard.Default: 503, guard.Deny: 503, guard.InsecureAllow: 204} {
		g := issuer.Guard(t, func(c *guard.Config) { c.ClientID, c.ClientSecret, c.WhenStale = "", "", policy })
		if resp := serve(g, guard.Rule{}, get(issuer.Mint(claims))); resp.StatusCode != want {
			t.Errorf("policy %v: %d, want %d", policy, resp.StatusCode, want)
		}
	}
	if n := issuer.Requests(guardtest.Stream) + issuer.Requests(guardtest.Pages) + issuer.Requests(guardtest.TokenUse); n > 0 {
		t.Errorf("%d requests that need credentials", n)
	}
}

// A server that no longer knows up to when its list is complete makes the view
// old, although it goes on talking.
func TestServerOutOfTouch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := guardtest.NewInMemory(t)
		g := issuer.Guard(t, func(c *guard.Config) { c.WhenStale = guard.Deny })
		token := issuer.Mint(claims)
		issuer.Stick(true)
		time.Sleep(7 * time.Second)
		_, err := g.Check(get(token))
		wantRefusal(t, err, oauth.TemporarilyUnavailable, guard.ErrUnavailable)
		issuer.Stick(false)
		time.Sleep(2 * time.Second)
		if _, err := g.Check(get(token)); err != nil {
			t.Error(err)
		}
	})
}

// The age of the view is by one clock: it does not matter how far that of the
// server is off.
func TestClocksApart(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			issuer := guardtest.NewInMemory(t)
			issuer.Skew(skew)
			g := issuer.Guard(t, func(c *guard.Config) { c.WhenStale = guard.Deny })
			token := issuer.Mint(claims)
			time.Sleep(10 * time.Second)
			if _, err := g.Check(get(token)); err != nil {
				t.Error(err)
			}
			issuer.Break(guardtest.Silent, guardtest.Stream, guardtest.Pages)
			time.Sleep(7 * time.Second)
			_, err := g.Check(get(token))
			wantRefusal(t, err, oauth.TemporarilyUnavailable, guard.ErrUnavailable)
		})
	}
}

// All who ask about one token at the same time share one question, whoever goes
// away meanwhile, and its answer holds for no longer than a second.
func TestIntrospectionIsShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := guardtest.NewInMemory(t)
		g := issuer.Guard(t)
		token := issuer.Mint(claims)
		if _, err := g.Check(get(token)); err != nil {
			t.Fatal(err)
		}
		issuer.Break(http.StatusServiceUnavailable, guardtest.Stream, guardtest.Pages)
		issuer.Break(guardtest.Silent, guardtest.Introspection)
		time.Sleep(10 * time.Second)
		var all sync.WaitGroup
		begun := time.Now()
		gone, leave := context.WithCancel(t.Context())
		all.Go(func() { g.Check(get(token).WithContext(gone)) })
		synctest.Wait()
		for range 20 {
			all.Go(func() {
				_, err := g.Check(get(token))
				wantRefusal(t, err, oauth.TemporarilyUnavailable, guard.ErrUnavailable)
			})
		}
		synctest.Wait()
		leave()
		all.Wait()
		if n := issuer.Requests(guardtest.Introspection); n != 1 {
			t.Errorf("asked %d times", n)
		}
		if d := time.Since(begun); d != 2*time.Second {
			t.Errorf("the question ended after %v, with who asked first", d)
		}
		issuer.Mend(guardtest.Introspection)
		for range 20 {
			if _, err := g.Check(get(token)); err != nil {
				t.Error(err)
			}
		}
		if n := issuer.Requests(guardtest.Introspection); n != 2 {
			t.Errorf("asked %d times", n)
		}
		issuer.Revoke("jti", "t1")
		time.Sleep(time.Second)
		_, err := g.Check(get(token))
		wantRefusal(t, err, oauth.InvalidToken, guard.ErrRevoked)
	})
}
