package wire_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fastbind/fastbind/chaos/internal/clock"
	"github.com/fastbind/fastbind/chaos/internal/wire"
)

// A server counts what reaches it.
type server struct {
	down bool

	mu      sync.Mutex
	reached int
}

func (s *server) Client() (*http.Client, string) {
	if s.down {
		return nil, ""
	}
	return &http.Client{Transport: s}, "server.example"
}

func (s *server) RoundTrip(*http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reached++
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("answer"))}, nil
}

// sent is what became of one call.
type sent struct {
	answered bool
	reached  int
	took     time.Duration
}

// send sends calls over a network and returns what became of each.
func send(t *testing.T, seed uint64, l wire.Losses, late bool) []sent {
	t.Helper()
	var all []sent
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		c := clock.New()
		w := &wire.Wire{Clock: c, Nodes: []wire.Node{&server{down: true}, s}, Losses: l}
		r := rand.New(rand.NewPCG(seed, 0))
		c.Go(func() {
			for range 2000 {
				before, seen, began := s.reached, 0, c.Now()
				call := &wire.Call{Method: http.MethodGet, Path: "/", Header: http.Header{}, LateDouble: late}
				var mu sync.Mutex
				call.Sent = func() func(wire.Answer) {
					return func(wire.Answer) {
						mu.Lock()
						defer mu.Unlock()
						seen++
					}
				}
				_, err := w.Send(t.Context(), r, call)
				if err != nil && !errors.Is(err, wire.ErrLost) {
					t.Errorf("send: %v", err)
				}
				took := c.Now().Sub(began)
				c.Sleep(time.Minute, 0) // a late double arrives meanwhile
				if seen != s.reached-before {
					t.Errorf("%d answers were given, and %d seen", s.reached-before, seen)
				}
				all = append(all, sent{err == nil, s.reached - before, took})
			}
		})
		c.Run()
	})
	return all
}

// TestSend: as much is lost, late and doubled as was asked for, and a seed
// decides which.
func TestSend(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		first := send(t, 1, wire.Usual(), late)
		var requests, responses, doubles, delays int
		for _, s := range first {
			switch {
			case !s.answered && s.reached == 0:
				requests++
			case !s.answered:
				responses++
			}
			if s.reached > 1 {
				doubles++
			}
			if s.answered && s.took > 0 {
				delays++
			}
		}
		for what, n := range map[string]int{"lost requests": requests, "lost responses": responses, "delays": delays} {
			if n < 60 || n > 140 { // 5 %
				t.Errorf("%d %s of 2000", n, what)
			}
		}
		if doubles < 30 || doubles > 90 { // 3 %
			t.Errorf("%d doubles of 2000", doubles)
		}
		if !slices.Equal(first, send(t, 1, wire.Usual(), late)) {
			t.Error("the same seed loses something else")
		}
		if slices.Equal(first, send(t, 2, wire.Usual(), late)) {
			t.Error("another seed loses the same")
		}
	}
}

// TestNoLosses: a network that loses nothing delivers everything once.
func TestNoLosses(t *testing.T) {
	t.Parallel()
	for i, s := range send(t, 1, wire.Losses{}, true) {
		if (s != sent{answered: true, reached: 1}) {
			t.Fatalf("call %d: %+v", i, s)
		}
	}
}
