package guard_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fastbind/fastbind/guard"
	"github.com/fastbind/fastbind/guard/guardtest"
)

// The first use of each generation is reported within a fraction of a second,
// once, however often its token is shown and however many tokens it has.
func TestFirstUseIsReported(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := guardtest.NewInMemory(t)
		g := issuer.Guard(t)
		for generation := range int64(3) {
			for range 2 {
				token := issuer.Mint(guardtest.Claims{Family: "f", Generation: generation})
				for range 3 {
					if _, err := g.Check(get(token)); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		time.Sleep(250 * time.Millisecond)
		for generation := range int64(3) {
			if n := issuer.Used(t.Context(), guardtest.Use{Family: "f", Generation: generation}); n != 1 {
				t.Errorf("generation %d: reported %d times", generation, n)
			}
		}
		if n := issuer.Requests(guardtest.TokenUse); n != 1 {
			t.Errorf("%d reports, want 1", n)
		}
		if s := g.Stats(); s.Reported != 3 || s.ReportsDropped != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A token that was refused was not used.
func TestRefusedIsNoUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := guardtest.NewInMemory(t)
		g := issuer.Guard(t)
		issuer.Revoke("family", "revoked")
		synctest.Wait()
		g.Check(get(issuer.Mint(guardtest.Claims{Family: "revoked"})))
		g.Check(get(issuer.Mint(guardtest.Claims{Family: "expired", Issued: time.Now().Add(-time.Hour)})))
		g.Check(get(issuer.Mint(guardtest.Claims{More: map[string]any{"family": nil}})))
		time.Sleep(time.Minute)
		if n := issuer.Requests(guardtest.TokenUse); n != 0 {
			t.Errorf("%d reports", n)
		}
	})
}

// Who has a bound token and not its key does not use it: what he shows confirms
// nothing. What its holder shows then does.
func TestUnprovenIsNoUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := guardtest.NewInMemory(t)
		g := issuer.Guard(t)
		h := newHolder(t, issuer, guardtest.Claims{Family: "f", Generation: 7})
		thief := holder{newKey(t), h.token}
		for _, r := range []*http.Request{get(h.token), thief.request(t, nonceOf(g)), h.request(t, "")} {
			if _, err := g.Check(r); err == nil {
				t.Fatal("a bound token is taken without its key or without a nonce")
			}
		}
		time.Sleep(time.Minute)
		use := guardtest.Use{Family: "f", Generation: 7}
		if n := issuer.Requests(guardtest.TokenUse); n != 0 {
			t.Errorf("%d reports of a thief", n)
		}
		for range 2 {
			if _, err := g.Check(h.request(t, nonceOf(g))); err != nil {
				t.Fatal(err)
			}
		}
		if n := issuer.Used(t.Context(), use); n != 1 {
			t.Errorf("reported %d times", n)
		}
	})
}

// An issuer that does not answer holds up no request, hears of the use later,
// and costs bounded memory; what did not fit is counted.
func TestReportsWhileTheIssuerIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := guardtest.NewInMemory(t)
		g := issuer.Guard(t, func(c *guard.Config) { c.WhenStale = guard.InsecureAllow })
		issuer.Break(guardtest.Silent, guardtest.TokenUse)
		const many = 10_000
		issuer.Rotate(t, "EdDSA")
		time.Sleep(time.Minute)
		begun := time.Now()
		for n := range int64(many) {
			if _, err := g.Check(get(issuer.Mint(guardtest.Claims{Family: "f", Generation: n}))); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(begun); d > 0 {
			t.Errorf("requests waited for %v", d)
		}
		if s := g.Stats(); s.ReportsDropped == 0 || s.ReportsDropped > many-8192 {
			t.Errorf("%d dropped", s.ReportsDropped)
		}
		time.Sleep(10 * time.Second)
		issuer.Mend(guardtest.TokenUse)
		time.Sleep(time.Minute)
		s := g.Stats()
		if s.Reported+s.ReportsDropped != many {
			t.Errorf("%d reported and %d dropped of %d", s.Reported, s.ReportsDropped, many)
		}
		if n := issuer.Used(t.Context(), guardtest.Use{Family: "f", Generation: 0}); n != 1 {
			t.Errorf("the first was reported %d times", n)
		}
	})
}

// A report that the issuer calls malformed is not sent again.
func TestReportRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := guardtest.NewInMemory(t)
		g := issuer.Guard(t)
		issuer.Break(http.StatusBadRequest, guardtest.TokenUse)
		g.Check(get(issuer.Mint(guardtest.Claims{Family: "a"})))
		time.Sleep(time.Hour)
		if n, s := issuer.Requests(guardtest.TokenUse), g.Stats(); n != 1 || s.ReportsDropped != 1 {
			t.Errorf("%d requests, %d dropped", n, s.ReportsDropped)
		}
	})
}

// What is queued when the guard stops is still reported.
func TestReportsAtTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := guardtest.NewInMemory(t)
		g, err := guard.New(issuer.Config())
		if err != nil {
			t.Fatal(err)
		}
		stop := guardtest.Run(t, g)
		if err := g.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		for n := range int64(1200) {
			if _, err := g.Check(get(issuer.Mint(guardtest.Claims{Family: "f", Generation: n}))); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		if s := g.Stats(); s.Reported != 1200 {
			t.Errorf("%d reported", s.Reported)
		}
	})
}
