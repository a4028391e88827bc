package interop_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"
)

// A holder is one of two parties who hold the same family: the victim or the
// thief.
type holder struct {
	name   string
	tokens tokens
	over   chan time.Time // gets the moment at which the holder's stream ends
}

// listen opens the stream of the API with the holder's access token.
func (h *holder) listen(s *server) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.API+"/stream", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header = bearer(h.tokens.Access)
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		s.t.Fatalf("stream of the %s: %v", h.name, err)
	}
	lines := bufio.NewScanner(res.Body)
	if res.StatusCode != http.StatusOK || !lines.Scan() {
		s.t.Fatalf("stream of the %s: %d, %v", h.name, res.StatusCode, lines.Err())
	}
	h.over = make(chan time.Time, 1)
	go func() {
		defer res.Body.Close()
		for lines.Scan() { // until the server ends it
		}
		h.over <- time.Now()
	}()
}

// works fails the test unless the holder can use the API.
func (h *holder) works(s *server) {
	s.t.Helper()
	for _, path := range []string{"/me", "/orders"} {
		if a := s.get(s.API+path, h.tokens.Access); a.status != http.StatusOK {
			s.t.Fatalf("%s of the %s before the theft is noticed: %d", path, h.name, a.status)
		}
	}
}

// renew refreshes with what the holder has.
func (h *holder) renew(s *server, c registration) {
	s.t.Helper()
	h.tokens = s.renew(c, h.tokens.Refresh)
}

// TestTheftEndsWithinASecond plays the story of a copied refresh token to its
// end: whoever of the two comes first, the second use of an old token ends
// everything that both hold, at every API, within a second.
func TestTheftEndsWithinASecond(t *testing.T) {
	databases(t, func(t *testing.T, o options) {
		s := start(t, o)
		strict := s.strict()
		for _, story := range []struct {
			name   string
			client registration
			ahead  int // generations by which the first is ahead
		}{
			{"Spa", s.client(t, "demo-spa"), 2},
			{"Web", s.client(t, "demo-web"), 2},
			{"AttemptKeys", strict, 1},
		} {
			for _, order := range []string{"ThiefFirst", "VictimFirst"} {
				t.Run(story.name+order, func(t *testing.T) { theft(t, s.in(t), story.client, order == "ThiefFirst", story.ahead) })
			}
		}
	})
}

func theft(t *testing.T, s *server, c registration, thiefFirst bool, ahead int) {
	here, there := newPerson(t, s), newPerson(t, s) // the browsers on two devices
	victim := &holder{name: "victim", tokens: s.tokens(here, c, "ada")}
	other := &holder{name: "victim's other device", tokens: s.tokens(there, c, "ada")}
	stranger := &holder{name: "stranger", tokens: s.tokens(newPerson(t, s), c, "bob")}
	thief := &holder{name: "thief", tokens: victim.tokens} // copied
	first, second := victim, thief
	if thiefFirst {
		first, second = thief, victim
	}
	victim.listen(s)
	other.listen(s)
	stranger.listen(s)
	for range ahead {
		first.renew(s, c)
	}
	if first == thief {
		thief.listen(s)
	}
	first.works(s)
	second.works(s)

	from := time.Now()
	s.refused("the second use by the "+second.name, s.post(s.metadata().Token, c, renewal(second.tokens.Refresh)))
	noticed := time.Since(from)
	slowest := gone(t, s, from, victim, thief)
	t.Logf("refused after %s; the last trace was gone after %s", noticed.Round(100*time.Microsecond), slowest.Round(100*time.Microsecond))
	if slowest > bound {
		t.Errorf("the last trace of the theft was gone after %s, want at most %s", slowest, bound)
	}
	for _, h := range []*holder{victim, thief} {
		s.refused("refresh by the "+h.name, s.post(s.metadata().Token, c, renewal(h.tokens.Refresh)))
	}
	if here.isSignedIn(c) {
		t.Error("the session on the device whose token was copied lives on")
	}
	if !there.isSignedIn(c) {
		t.Error("the session on the other device has ended")
	}
	for _, h := range []*holder{other, stranger} {
		h.works(s)
		h.renew(s, c)
		select {
		case <-h.over:
			t.Errorf("the stream of the %s has ended", h.name)
		default:
		}
	}
}

// gone waits until no token of the holders is good for anything and their
// streams have ended, and returns how long after from that was.
func gone(t *testing.T, s *server, from time.Time, holders ...*holder) (slowest time.Duration) {
	t.Helper()
	var (
		mu   sync.Mutex
		work sync.WaitGroup
	)
	watch := func(what string, f func(context.Context) (time.Duration, error)) {
		work.Go(func() {
			d, err := f(t.Context())
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
			mu.Lock()
			defer mu.Unlock()
			slowest = max(slowest, d)
			t.Logf("%s: gone after %s", what, d.Round(100*time.Microsecond))
		})
	}
	for _, h := range holders {
		for _, path := range []string{"/me", "/orders"} {
			watch(path+" of the "+h.name, func(ctx context.Context) (time.Duration, error) {
				return poll(ctx, from, func() bool {
					a, err := send(ctx, http.MethodGet, s.API+path, bearer(h.tokens.Access), nil)
					return err == nil && a.status == http.StatusUnauthorized
				})
			})
		}
		if h.over == nil {
			continue
		}
		watch("stream of the "+h.name, func(ctx context.Context) (time.Duration, error) {
			select {
			case at := <-h.over:
				return at.Sub(from), nil
			case <-time.After(10 * bound):
				return 0, fmt.Errorf("still open")
			}
		})
	}
	work.Wait()
	return slowest
}
