package interop_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"flag"
	mrand "math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/pgtest"
)

// rounds is how often TestOneSuccessor sends a token to all processes at once.
var rounds = flag.Int("rounds", 20, "rounds of TestOneSuccessor for each kind of client")

const (
	processes = 3
	atOnce    = 50 // refreshes of one token
	murders   = 6  // kills of TestOneSuccessorThroughKills
)

// A crowd is several processes of the server on one database.
type crowd struct {
	t     *testing.T
	nodes []*server
	by    *http.Transport // keeps as many connections as are needed at once

	retried atomic.Int64  // requests that needed more than one try
	slowest time.Duration // that a round took
}

// newCrowd starts the processes, which end with the test.
func newCrowd(t *testing.T) *crowd {
	t.Helper()
	first := launch(t, options{database: pgtest.Empty(t)})
	w := &crowd{t: t, nodes: []*server{first}, by: &http.Transport{MaxIdleConnsPerHost: atOnce}}
	for len(w.nodes) < processes {
		w.nodes = append(w.nodes, first.node())
	}
	t.Cleanup(func() {
		w.by.CloseIdleConnections()
		for _, s := range w.nodes {
			s.stop()
		}
	})
	return w
}

// refresh shows a token to a node, and to the next one, as a balancer would,
// where that does not answer.
func (w *crowd) refresh(ctx context.Context, node int, c registration, token, attempt string) (answer, error) {
	h := http.Header{}
	if attempt != "" {
		h.Set("Idempotency-Key", attempt)
	}
	for try := 0; ; try++ {
		address := "http://" + w.nodes[(node+try)%processes].listen
		a, err := postBy(ctx, w.by, address+"/token", c, renewal(token), h)
		unanswered := err != nil || a.status == http.StatusServiceUnavailable
		if !unanswered || try == 2*processes {
			return a, err
		}
		if try == 0 {
			w.retried.Add(1)
		}
		<-time.After(time.Duration(1+mrand.IntN(20)) * time.Millisecond)
	}
}

// round shows a token to all processes at once, and returns the one successor
// that all answers must hold.
func (w *crowd) round(c registration, token, attempt string) tokens {
	w.t.Helper()
	var (
		begin = make(chan struct{})
		work  sync.WaitGroup
		got   [atOnce]answer
		errs  [atOnce]error
	)
	for i := range atOnce {
		work.Go(func() {
			<-begin
			got[i], errs[i] = w.refresh(w.t.Context(), i, c, token, attempt)
		})
	}
	from := time.Now()
	close(begin)
	work.Wait()
	w.slowest = max(w.slowest, time.Since(from))
	var next tokens
	for i, a := range got {
		var k tokens
		if errs[i] != nil || a.status != http.StatusOK || json.Unmarshal(a.body, &k) != nil {
			w.t.Fatalf("%s: request %d: %d %s %v", c.ID, i, a.status, a.code(), errs[i])
		}
		switch {
		case k.Refresh == "" || k.Refresh == token:
			w.t.Fatalf("%s: request %d got no successor", c.ID, i)
		case next.Refresh != "" && k.Refresh != next.Refresh:
			w.t.Fatalf("%s: two successors of one token", c.ID)
		}
		next = k
	}
	w.nodes[0].secret(next.Refresh)
	return next
}

// quiet fails the test if there is an event of a family that is no beginning.
func (w *crowd) quiet() {
	w.t.Helper()
	for _, kind := range []string{"theft", "replay", "foreign_key", "family_ended", "session_ended"} {
		out := w.nodes[0].command("", "events", "--json", "--kind", kind)
		if got := strings.TrimSpace(string(out)); got != "[]" && got != "" {
			w.t.Errorf("events of kind %s, want none: %s", kind, got)
		}
	}
}

// kinds are the kinds of clients that share a token between processes: with an
// attempt key that all of them know, and without.
func (w *crowd) kinds() []registration {
	first := w.nodes[0]
	return []registration{first.client(w.t, "demo-spa"), first.client(w.t, "demo-web"), first.strict()}
}

// attempt returns a new attempt key for the client that sends them.
func attempt(c registration) string {
	if c.ID == "strict-spa" {
		return rand.Text()
	}
	return ""
}

// TestOneSuccessor shows one token to three processes fifty times at once, and
// the successor again, and so on: each time there are fifty answers with one
// successor, and no alarm.
func TestOneSuccessor(t *testing.T) {
	if !pgtest.Enabled() {
		return // several processes need a database that can be shared
	}
	w := newCrowd(t)
	for _, c := range w.kinds() {
		held := w.nodes[0].tokens(newPerson(t, w.nodes[0]), c, "ada")
		from := time.Now()
		w.slowest = 0
		for range *rounds {
			held = w.round(c, held.Refresh, attempt(c))
		}
		took := time.Since(from)
		n, err := held.generation()
		if want := int64(1 + *rounds); err != nil || n != want {
			t.Errorf("%s: generation %d after %d rounds, want %d (%v)", c.ID, n, *rounds, want, err)
		}
		t.Logf("%s: %d rounds of %d refreshes through %d processes: %d answers, 1 successor each; %.0f refreshes/s, slowest round %s",
			c.ID, *rounds, atOnce, processes, *rounds*atOnce, float64(*rounds*atOnce)/took.Seconds(), w.slowest.Round(time.Millisecond))
	}
	if n := w.retried.Load(); n > 0 {
		t.Errorf("%d requests were not answered at the first try", n)
	}
	w.quiet()
}

// TestOneSuccessorThroughKills is TestOneSuccessor while one of the processes
// is killed without a warning in the middle of each round: whoever was not
// answered tries again at another one.
func TestOneSuccessorThroughKills(t *testing.T) {
	if !pgtest.Enabled() {
		return // several processes need a database that can be shared
	}
	w := newCrowd(t)
	kinds := w.kinds()
	for _, c := range kinds {
		held := w.nodes[0].tokens(newPerson(t, w.nodes[0]), c, "ada")
		for i := range murders {
			victim := i % processes
			over := make(chan struct{})
			go func() {
				defer close(over)
				// Somewhere within the round, which takes some tens of milliseconds.
				<-time.After(time.Duration(mrand.Int64N(int64(15 * time.Millisecond))))
				if err := w.nodes[victim].cmd.Process.Kill(); err != nil {
					t.Errorf("kill: %v", err)
				}
			}()
			held = w.round(c, held.Refresh, attempt(c))
			<-over
			w.nodes[victim].bury()
			w.nodes[victim] = w.nodes[victim].again()
		}
		n, err := held.generation()
		if want := int64(1 + murders); err != nil || n != want {
			t.Errorf("%s: generation %d after %d rounds, want %d (%v)", c.ID, n, murders, want, err)
		}
	}
	t.Logf("%d of %d requests were tried again", w.retried.Load(), len(kinds)*murders*atOnce)
	if w.retried.Load() == 0 {
		t.Error("no kill met a refresh: the test shows nothing")
	}
	w.quiet()
}
