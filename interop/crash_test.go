package interop_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	mrand "math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	honest = 8 // clients that refresh without pause
	kills  = 6
)

// An arena is a server that is killed and started again while clients go on.
type arena struct {
	t     *testing.T
	token string // address of the token endpoint

	mu       sync.Mutex
	s        *server
	up       chan struct{} // closed while the server runs
	finished atomic.Bool
	done     atomic.Int64 // refreshes that were finished
	retried  atomic.Int64 // of these, those that needed more than one try
}

// running waits until the server runs.
func (a *arena) running() *server {
	for {
		a.mu.Lock()
		s, up := a.s, a.up
		a.mu.Unlock()
		<-up
		if s != nil {
			return s
		}
	}
}

// TestN118KillInTheMiddle kills the server without a warning, again and again,
// while clients refresh and redeem. No client loses its family, nothing is spent
// twice, and what was revoked stays so.
func TestN118KillInTheMiddle(t *testing.T) {
	databases(t, func(t *testing.T, o options) {
		s := launch(t, o)
		a := &arena{t: t, s: s, token: s.metadata().Token, up: make(chan struct{})}
		close(a.up)
		t.Cleanup(func() { a.s.stop() })
		// For one of them nothing but the attempt key tells a retry from a theft.
		spa, strict := s.client(t, "demo-spa"), s.strict()
		var work sync.WaitGroup
		for i := range honest {
			c := []registration{spa, strict}[i%2]
			f := &family{a: a, c: c, tokens: s.tokens(newPerson(t, s), c, "ada"), seen: map[string]bool{}}
			var err error
			if f.generation, err = f.tokens.generation(); err != nil {
				t.Fatal(err)
			}
			work.Go(f.refresh)
		}
		defer work.Wait()
		defer a.finished.Store(true)
		for round := range kills {
			a.round(round, spa)
		}
		a.await(50)
		t.Logf("%d refreshes over %d kills, %d of them retried", a.done.Load(), kills, a.retried.Load())
		if a.retried.Load() == 0 {
			t.Error("no kill met a refresh: the test shows nothing")
		}
	})
}

// round revokes a family, begins to redeem a code, and kills the server in the
// middle of it all. Then it starts it again and looks.
func (a *arena) round(round int, c registration) {
	t, s := a.t, a.s
	a.await(10 + mrand.Int64N(40))
	doomed := s.tokens(newPerson(t, s), c, "ada")
	code := s.code(newPerson(t, s), c, "ada")
	if r := s.post(s.metadata().Revoke, c, map[string][]string{"token": {doomed.Refresh}}); r.status != http.StatusOK {
		t.Fatalf("revocation: %d", r.status)
	}
	first := make(chan answer, 1)
	go func() {
		r, err := post(t.Context(), a.token, c, redemption(code), nil)
		if err != nil {
			r = answer{}
		}
		first <- r
	}()
	if round%2 == 0 {
		// Somewhere within the redemption, which takes a few milliseconds.
		<-time.After(time.Duration(mrand.Int64N(int64(4 * time.Millisecond))))
	}
	a.mu.Lock()
	a.up = make(chan struct{})
	a.mu.Unlock()
	s.kill()
	redeemed := <-first

	s = s.again()
	a.mu.Lock()
	a.s = s
	close(a.up)
	a.mu.Unlock()
	s.refused("refresh of what was revoked before the kill", s.post(a.token, c, renewal(doomed.Refresh)))
	d := s.until(time.Now(), "the API takes what was revoked before the kill", func() bool {
		return s.get(s.API+"/me", doomed.Access).status == http.StatusUnauthorized
	})
	t.Logf("the API refused what was revoked before the kill %s after the restart", d.Round(time.Millisecond))
	again := s.post(a.token, c, redemption(code))
	t.Logf("redemption at the kill: %d; again after it: %d", redeemed.status, again.status)
	switch {
	case redeemed.status == http.StatusOK:
		s.refused("second redemption of a code", again)
	case again.status == http.StatusOK: // nothing of the first was stored
		s.held(again)
		s.refused("third redemption of a code", s.post(a.token, c, redemption(code)))
	default: // it was stored, and the answer was lost
		s.refused("redemption whose answer was lost", again)
	}
}

// await waits until n more refreshes were finished.
func (a *arena) await(n int64) {
	a.t.Helper()
	want := a.done.Load() + n
	if _, err := poll(a.t.Context(), time.Now(), func() bool { return a.done.Load() >= want || a.t.Failed() }); err != nil {
		a.t.Fatalf("%d of %d refreshes: %v", a.done.Load(), want, err)
	}
	if a.t.Failed() {
		a.t.FailNow()
	}
}

// A family is what an honest client holds: it makes an attempt key before each
// refresh, keeps it until the refresh is finished, and stores an answer before
// it uses it.
type family struct {
	a          *arena
	c          registration
	tokens     tokens
	generation int64
	seen       map[string]bool // refresh tokens that were stored
}

// refresh goes on until the test is over.
func (f *family) refresh() {
	for !f.a.finished.Load() {
		if err := f.once(); err != nil {
			f.a.t.Errorf("%s at generation %d: %v", f.c.ID, f.generation, err)
			return
		}
	}
}

// once refreshes once, with as many tries as that takes.
func (f *family) once() error {
	h := http.Header{"Idempotency-Key": {rand.Text()}}
	for try := 1; ; try++ {
		s := f.a.running()
		r, err := post(f.a.t.Context(), f.a.token, f.c, renewal(f.tokens.Refresh), h)
		unanswered := err != nil || r.status == http.StatusServiceUnavailable
		switch {
		case unanswered && f.a.finished.Load():
			return nil
		case unanswered:
			<-time.After(time.Duration(try) * time.Millisecond)
			continue
		case r.status != http.StatusOK:
			return fmt.Errorf("try %d: %d %s", try, r.status, r.code())
		}
		var k tokens
		if err := json.Unmarshal(r.body, &k); err != nil {
			return err
		}
		s.secret(k.Refresh)
		if err := f.store(k); err != nil {
			return fmt.Errorf("try %d: %w", try, err)
		}
		if try > 1 {
			f.a.retried.Add(1)
		}
		f.a.done.Add(1)
		return f.use(s)
	}
}

// store takes an answer, which must be the next of the chain: of a refresh that
// was carried out twice it would be the one after that.
func (f *family) store(k tokens) error {
	n, err := k.generation()
	if err != nil {
		return err
	}
	if n != f.generation+1 {
		return fmt.Errorf("generation %d follows %d", n, f.generation)
	}
	if f.seen[k.Refresh] {
		return fmt.Errorf("generation %d has the refresh token of an earlier one", f.generation+1)
	}
	f.seen[k.Refresh] = true
	f.tokens = k
	f.generation++
	return nil
}

// use uses the access token now and then, which confirms the generation.
func (f *family) use(s *server) error {
	if f.generation%8 != 0 {
		return nil
	}
	r, err := send(f.a.t.Context(), http.MethodGet, s.API+"/me", bearer(f.tokens.Access), nil)
	if err == nil && r.status == http.StatusUnauthorized {
		return fmt.Errorf("the API refuses a live token")
	}
	return nil
}
