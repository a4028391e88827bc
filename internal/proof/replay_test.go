package proof_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/apptest"
	"github.com/fastbind/fastbind/internal/limit"
	"github.com/fastbind/fastbind/internal/opaque"
)

// TestN60ReplayedProof: a proof is taken once, on whichever node, also after a
// restart, at every endpoint that takes any; and what it went with is not
// consumed by a replay.
func TestN60ReplayedProof(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, o apptest.Options) {
		w := open(t, o)
		other := w.node(t, nil)
		p := w.spa.Prover
		first := w.Browser().Tokens(w.spa, "ada")
		proof := w.Proof(p, call(w.spa, nil))
		a := w.Send(proof, call(w.spa, refreshing(w.spa, first.Refresh)))
		want(t, "first use", a, 200, "")
		next, _ := a.JSON(t)["refresh_token"].(string) //nolint:errcheck // the status says that it is there
		again := call(w.spa, refreshing(w.spa, next))
		wantWords(t, "same node", w.Send(proof, again), 400, "used before")
		wantWords(t, "other node", other.Send(proof, again), 400, "used before")

		access, _ := a.JSON(t)["access_token"].(string) //nolint:errcheck // the status says that it is there
		asks := userinfo(access)
		shown := w.Proof(p, asks)
		want(t, "userinfo", other.Send(shown, asks), 200, "")
		wantWords(t, "userinfo on the other node", w.Send(shown, asks), 401, "used before")

		v, _ := w.web.Request()
		push := apptest.Call{Method: http.MethodPost, Path: "/par", Form: v, Header: w.web.Header()}
		pushed := w.Proof(p, push)
		want(t, "push", w.Send(pushed, push), 201, "")
		wantWords(t, "push on the other node", other.Send(pushed, push), 400, "used before")

		own := call(w.service, form(w.service, "grant_type", "client_credentials"))
		mine := w.Proof(p, own)
		want(t, "client credentials", w.Send(mine, own), 200, "")
		wantWords(t, "client credentials on the other node", other.Send(mine, own), 400, "used before")

		other.Stop()
		w.Stop()
		restarted := w.node(t, nil)
		for what, replay := range map[string]*apptest.Answer{
			"token": restarted.Send(proof, again), "push": restarted.Send(pushed, push), "client credentials": restarted.Send(mine, own),
		} {
			wantWords(t, what+" after a restart", replay, 400, "used before")
		}
		wantWords(t, "userinfo after a restart", restarted.Send(shown, asks), 401, "used before")
		want(t, "with a new proof", restarted.Prove(p, again), 200, "")
	})
}

// TestN60ParallelReplay: of fifty requests with one proof on two nodes one goes
// on.
func TestN60ParallelReplay(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, o apptest.Options) {
		w := open(t, o)
		nodes := []*apptest.Server{w.Server, w.node(t, nil)}
		h := w.Browser().Tokens(w.spa, "ada")
		proof := w.Proof(w.spa.Prover, call(w.spa, nil))
		var mu sync.Mutex
		seen := map[string]int{}
		var work sync.WaitGroup
		for i := range 50 {
			work.Go(func() {
				a := nodes[i%2].Send(proof, call(w.spa, refreshing(w.spa, h.Refresh)))
				mu.Lock()
				defer mu.Unlock()
				seen[fmt.Sprint(a.Status, a.Code())]++
			})
		}
		work.Wait()
		if seen["200"] != 1 || seen["400invalid_dpop_proof"] != 49 {
			t.Errorf("answers: %v, want one 200 and 49 refusals of the proof", seen)
		}
	})
}

// TestN52ParallelRefreshOfABoundFamily: fifty proofs of one key with one refresh
// token on two nodes yield one successor and no alarm.
func TestN52ParallelRefreshOfABoundFamily(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, o apptest.Options) {
		w := open(t, o)
		nodes := []*apptest.Server{w.Server, w.node(t, nil)}
		h := w.Browser().Tokens(w.spa, "ada")
		var mu sync.Mutex
		seen := map[string]int{}
		var work sync.WaitGroup
		for i := range 50 {
			work.Go(func() {
				a := nodes[i%2].Refresh(w.spa, h.Refresh, "")
				mu.Lock()
				defer mu.Unlock()
				seen[fmt.Sprint(a.Status, a.JSON(t)["refresh_token"])]++
			})
		}
		work.Wait()
		if len(seen) != 1 {
			t.Errorf("%d different answers, want one successor for all: %v", len(seen), seen)
		}
	})
}

// TestN52ReusedRefreshTokenOfABoundFamily: who has the key may show an older
// token; who has not gets nothing and ends nothing.
func TestN52ReusedRefreshTokenOfABoundFamily(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, o apptest.Options) {
		w := open(t, o)
		first := w.Browser().Tokens(w.spa, "ada")
		third := w.Renew(w.Renew(first))
		thief := w.spa
		thief.Prover = apptest.NewProver(t)
		for what, token := range map[string]string{"an ancestor": first.Refresh, "the current one": third.Refresh} {
			want(t, what+" with another key", w.Refresh(thief, token, ""), 400, "invalid_grant")
			want(t, what+" without a proof", w.Refresh(bearer(w.spa), token, ""), 400, "invalid_grant")
		}
		a := w.Refresh(w.spa, first.Refresh, "")
		want(t, "an ancestor with the key", a, 200, "")
		if got := a.JSON(t)["refresh_token"]; got != third.Refresh {
			t.Error("an ancestor with the key does not yield the current token")
		}
		want(t, "the holder afterwards", w.Refresh(w.spa, third.Refresh, ""), 200, "")
	})
}

// TestN54BoundFamilyDoesNotOutliveTheGrant: a key moves no absolute end.
func TestN54BoundFamilyDoesNotOutliveTheGrant(t *testing.T) {
	t.Parallel()
	c := apptest.NewClock()
	w := open(t, apptest.Options{Now: c.Now})
	w.spa.Prover.Now = c.Now
	h := w.Browser().Tokens(w.spa, "ada")
	const step = 11 * time.Hour
	for elapsed := step; elapsed < 30*24*time.Hour; elapsed += step {
		c.Add(step)
		h = w.Renew(h)
	}
	c.Add(step)
	want(t, "past the absolute end", w.Refresh(w.spa, h.Refresh, ""), 400, "invalid_grant")
}

// TestN119ClocksOfNodes: nodes whose clocks are 5 seconds or 2 minutes apart take
// each other's nonces, and none takes a proof that another has seen, as long as
// any of them would.
func TestN119ClocksOfNodes(t *testing.T) {
	t.Parallel()
	for _, apart := range []time.Duration{5 * time.Second, 2 * time.Minute} {
		t.Run(apart.String(), func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, o apptest.Options) { clocksApart(t, o, apart) })
		})
	}
}

func clocksApart(t *testing.T, o apptest.Options, apart time.Duration) {
	c := apptest.NewClock()
	o.Now = c.Now
	w := open(t, o)
	nodes := map[string]*apptest.Server{"ahead": w.Server, "behind": w.node(t, c.Off(-apart))}
	own := call(w.service, form(w.service, "grant_type", "client_credentials"))
	for name, from := range nodes {
		for to, node := range nodes {
			p := apptest.NewProver(t)
			p.Now = c.Now
			p.Heard(from.Do(http.MethodGet, "/userinfo", nil, nil))
			proof := node.Proof(p, own)
			want(t, fmt.Sprintf("nonce of the node %s at the node %s", name, to), node.Send(proof, own), 200, "")
			for elapsed := time.Duration(0); elapsed <= 12*time.Minute; elapsed += 30 * time.Second {
				for which, again := range nodes {
					if a := again.Send(proof, own); a.Status == 200 {
						t.Fatalf("the proof is taken again by the node %s after %s", which, elapsed)
					}
				}
				if err := w.App.Sweep(t.Context()); err != nil {
					t.Fatal(err)
				}
				c.Add(30 * time.Second)
			}
		}
	}
}

// TestN119ClockSetBack: a clock that is set back opens no window for what was
// seen before, with a nonce or without one.
func TestN119ClockSetBack(t *testing.T) {
	t.Parallel()
	for _, nonce := range []string{"required", "optional"} {
		for _, back := range []time.Duration{5 * time.Second, time.Minute, 2 * time.Minute, time.Hour, 24 * time.Hour} {
			c := apptest.NewClock()
			w := open(t, apptest.Options{Now: c.Now, Config: dpopNonce(nonce)})
			p := apptest.NewProver(t)
			p.Now = c.Now
			if nonce == "required" {
				w.hear(p)
			}
			own := call(w.service, form(w.service, "grant_type", "client_credentials"))
			proof := w.Proof(p, own)
			want(t, "first", w.Send(proof, own), 200, "")
			c.Add(-back)
			for range 20 {
				if err := w.App.Sweep(t.Context()); err != nil {
					t.Fatal(err)
				}
				if a := w.Send(proof, own); a.Status == 200 {
					t.Fatalf("nonce %s: the proof is taken again after the clock was set back by %s", nonce, back)
				}
				c.Add(back / 10)
			}
		}
	}
}

// brokenSeen is a store that does not answer.
type brokenSeen struct{ limit.Store }

func (brokenSeen) Once(context.Context, opaque.Digest, time.Time, time.Time) (bool, error) {
	return false, errors.New("no database")
}

// TestAskD4StoreThatDoesNotAnswer: it is a fault, and never a yes; and nothing was
// consumed.
func TestAskD4StoreThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	w.ExpectFaults()
	h := w.Browser().Tokens(w.spa, "ada")
	redeem := w.code(t, w.spa)
	v, _ := w.web.Request()
	calls := map[string]apptest.Call{
		"refresh": call(w.spa, refreshing(w.spa, h.Refresh)), "code": call(w.spa, redeem), "userinfo": userinfo(h.Access),
		"push":               {Method: http.MethodPost, Path: "/par", Form: v, Header: w.web.Header()},
		"client credentials": call(w.service, form(w.service, "grant_type", "client_credentials")),
	}
	good := w.App.Proofs.Seen
	w.App.Proofs.Seen = brokenSeen{good}
	for what, c := range calls {
		a := w.Prove(w.spa.Prover, c)
		want(t, what, a, 503, "temporarily_unavailable")
		if a.Header.Get("Retry-After") == "" {
			t.Errorf("%s: 503 without Retry-After", what)
		}
	}
	w.App.Proofs.Seen = good
	for what, c := range calls {
		status := 200
		if what == "push" {
			status = 201
		}
		want(t, what+" afterwards", w.Prove(w.spa.Prover, c), status, "")
	}
}

// countingSeen counts what is remembered.
type countingSeen struct {
	limit.Store
	mu sync.Mutex
	n  int
}

func (c *countingSeen) Once(ctx context.Context, key opaque.Digest, now, expires time.Time) (bool, error) {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
	return c.Store.Once(ctx, key, now, expires)
}

// TestD08StrangersFillNoStore: a proof is remembered only when it goes with
// something that could be good.
func TestD08StrangersFillNoStore(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	seen := &countingSeen{Store: w.App.Proofs.Seen}
	w.App.Proofs.Seen = seen
	p := apptest.NewProver(t)
	h := w.Browser().Tokens(bearer(w.spa), "ada")
	other := w.Browser().Tokens(w.spa, "ada")
	stranger := apptest.App{ID: "service", Secret: "wrong"}
	code := w.code(t, w.spa)
	code.Set("code_verifier", apptest.Random())
	before := seen.n
	for what, c := range map[string]apptest.Call{
		"no code":                 call(w.spa, form(w.spa, "grant_type", "authorization_code", "code", "x")),
		"wrong verifier":          call(w.spa, code),
		"forged refresh token":    call(w.spa, refreshing(w.spa, "fbr_x")),
		"wrong secret":            call(stranger, form(stranger, "grant_type", "client_credentials")),
		"unknown grant":           call(w.spa, form(w.spa, "grant_type", "password")),
		"no access token of ours": userinfo("x"),
		"unbound access token":    userinfo(h.Access),
		"token of another key":    userinfo(other.Access),
		"push of a bad request":   {Method: http.MethodPost, Path: "/par", Form: form(w.spa, "response_type", "token")},
	} {
		if a := w.Prove(p, c); a.Status < 400 || a.Status > 499 {
			t.Errorf("%s: %d %s", what, a.Status, a.Body)
		}
	}
	if seen.n != before {
		t.Errorf("%d proofs of strangers were remembered", seen.n-before)
	}
	want(t, "a good one", w.Prove(w.spa.Prover, userinfo(other.Access)), 200, "")
	if seen.n != before+1 {
		t.Errorf("a good proof was remembered %d times, want once", seen.n-before)
	}
}
