package revoke_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/jose"
	"github.com/fastbind/fastbind/internal/limit"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/revoke"
	tokens "github.com/fastbind/fastbind/internal/token"
)

// A feedLog is the feed of a database, as far as readers of it see it.
type feedLog struct {
	revoke.Store

	mu      sync.Mutex
	entries []revoke.Entry
	leap    int64 // the numbers go on after it
	made    int
	room    int // for so many ends, then one fails; 0: for all
}

func (l *feedLog) Since(_ context.Context, number int64, now time.Time, limit int) (found []revoke.Entry, newest int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		newest = max(e.Number, l.leap)
		if e.Number > number && e.Until >= now.Unix() && len(found) < limit {
			found = append(found, e)
		}
	}
	return found, newest, nil
}

// Wake tells nothing: the feed is read when somebody asks, and each second.
func (l *feedLog) Wake(ctx context.Context, _ func()) error {
	<-ctx.Done()
	return nil
}

// write appends n entries that are of use until a time.
func (l *feedLog) write(n int, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range n {
		l.made++
		l.add(revoke.Entry{Kind: revoke.Token, Value: strconv.Itoa(l.made), At: until.UnixMilli(), Until: until.Unix()})
	}
}

func (l *feedLog) add(e revoke.Entry) {
	e.Number = l.leap
	if n := len(l.entries); n > 0 {
		e.Number = max(e.Number, l.entries[n-1].Number)
	}
	e.Number++
	l.entries = append(l.entries, e)
}

// End is for revoke.Store: as far as a server needs it that remembers what the
// database has lost.
func (l *feedLog) End(_ context.Context, o revoke.Order) (revoke.Ended, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o.Kind == revoke.History {
		l.leap = o.At.Unix() * revoke.Leap
	} else if l.room--; l.room == 0 {
		return revoke.Ended{}, errors.New("no room")
	} else {
		l.add(revoke.Entry{Kind: o.Kind, Value: o.Value, Reason: o.Reason, At: o.At.UnixMilli(), Until: o.Until.Unix()})
	}
	return revoke.Ended{}, nil
}

// restore goes back to a backup that has the first n entries.
func (l *feedLog) restore(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = l.entries[:n]
}

// oneClient is a store with one client, which can be disabled.
type oneClient struct {
	client.Store

	mu sync.Mutex
	c  client.Client
}

func (o *oneClient) Client(context.Context, string) (client.Client, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.c, nil
}

type feedWorld struct {
	log     *feedLog
	clients *oneClient
	core    *revoke.Core
	feed    *revoke.Feed
	secret  opaque.Handle

	mu  sync.Mutex
	now time.Time
}

func (w *feedWorld) time() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// pass lets time pass and reads the feed.
func (w *feedWorld) pass(t *testing.T, d time.Duration) {
	t.Helper()
	w.mu.Lock()
	w.now = w.now.Add(d)
	w.mu.Unlock()
	if err := w.core.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func newFeedWorld() *feedWorld {
	w := &feedWorld{log: &feedLog{}, secret: opaque.New(opaque.ClientSecret), now: time.Unix(1_800_000_000, 0)}
	w.clients = &oneClient{c: client.Client{ID: "api", Secrets: []opaque.Digest{w.secret.Digest()}, Meta: client.Meta{ResourceServer: true}}}
	discard := slog.New(slog.DiscardHandler)
	w.core = &revoke.Core{Store: w.log, Log: discard, Now: w.time}
	w.feed = &revoke.Feed{Core: w.core, Log: discard, Auth: &client.Authenticator{Store: w.clients, Throttle: &limit.Memory{}}}
	return w
}

// open begins a stream after a number, into a writer, until the test or the
// stream ends.
func (w *feedWorld) open(t *testing.T, into http.ResponseWriter) (ended <-chan struct{}) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, revoke.FeedPath, nil)
	r.Header.Set("Accept", "text/event-stream")
	r.SetBasicAuth("api", w.secret.Reveal())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.feed.ServeHTTP(into, r)
	}()
	t.Cleanup(func() { <-done })
	return done
}

// A reader takes a stream event by event: each is handed over, and until it is
// taken the stream stands still.
type reader struct {
	t      *testing.T
	header http.Header
	events chan string
	done   <-chan struct{} // of the test
	ready  bool            // a deadline was set
}

func newReader(t *testing.T) *reader {
	t.Helper()
	return &reader{t: t, header: http.Header{}, events: make(chan string), done: t.Context().Done()}
}

func (r *reader) Header() http.Header { return r.header }
func (r *reader) WriteHeader(int)     {}
func (r *reader) Flush()              {}
func (r *reader) Write(b []byte) (int, error) {
	if !r.ready {
		r.t.Error("something is written for which there is no limit in time")
	}
	select {
	case r.events <- string(bytes.Clone(b)):
		return len(b), nil
	case <-r.done:
		return 0, context.Canceled
	}
}

func (r *reader) SetWriteDeadline(d time.Time) error {
	r.ready = !d.IsZero()
	return nil
}

// next returns the kind of the next event and its number; "" after the end.
func (r *reader) next(ended <-chan struct{}) (kind string, number int64) {
	r.t.Helper()
	select {
	case e := <-r.events:
		kind, rest, _ := strings.Cut(strings.TrimPrefix(e, "event: "), "\n")
		_, data, _ := strings.Cut(rest, "data: ")
		var v struct {
			Number int64 `json:"seq"`
		}
		if err := json.Unmarshal([]byte(data), &v); err != nil {
			r.t.Fatalf("event %q: %v", e, err)
		}
		return kind, v.Number
	case <-ended:
		return "", 0
	case <-time.After(10 * time.Second):
		r.t.Fatal("nothing within 10 s")
		return "", 0
	}
}

// TestFeedSlowReader: while a verifier reads slowly, entries that are of no use
// any more go and others come. It misses none.
func TestFeedSlowReader(t *testing.T) {
	t.Parallel()
	w := newFeedWorld()
	w.log.write(40, w.time().Add(10*time.Second))
	w.log.write(60, w.time().Add(time.Hour))
	w.pass(t, 0)
	r := newReader(t)
	ended := w.open(t, r)
	var got []int64
	take := func(n int) {
		for len(got) < n {
			if kind, number := r.next(ended); kind == "entry" {
				got = append(got, number)
			} else if kind == "" {
				t.Fatal("the stream has ended")
			}
		}
	}
	take(50)
	w.log.write(5, w.time().Add(time.Hour))
	w.pass(t, time.Minute) // the first 40 are of no use any more
	take(105)
	want := make([]int64, 105)
	for i := range want {
		want[i] = int64(i) + 1
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("entries (-want +got):\n%s", d)
	}
}

// TestFeedLostHistory: a database that was restored under a running server is
// told again what it has lost, and read from its beginning, and so is the
// stream. That is noticed also where the new numbers have passed the old ones.
func TestFeedLostHistory(t *testing.T) {
	t.Parallel()
	for name, more := range map[string]int{"Shorter": 0, "AsLong": 20, "Longer": 40} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFeedWorld()
			w.log.write(30, w.time().Add(time.Hour))
			w.pass(t, 0)
			r := newReader(t)
			ended := w.open(t, r)
			for kind := ""; kind != "complete"; {
				kind, _ = r.next(ended)
			}
			w.log.restore(10)
			w.log.write(more, w.time().Add(59*time.Minute))
			w.pass(t, time.Second)
			kind, _ := r.next(ended)
			for kind == "complete" { // of before
				kind, _ = r.next(ended)
			}
			if kind != "reset" {
				t.Fatalf("after the loss came %q, want reset", kind)
			}
			for i := range int64(10 + more + 20) {
				want := i + 1
				if i >= int64(10+more) {
					want += w.log.leap - int64(10+more)
				}
				for kind, number := r.next(ended); kind != "entry" || number != want; kind, number = r.next(ended) {
					if kind != "complete" {
						t.Fatalf("after the reset came %s %d, want entry %d", kind, number, want)
					}
				}
			}
			if w.log.leap < 1<<50 {
				t.Errorf("the numbers go on after %d", w.log.leap)
			}
		})
	}
}

// TestFeedLostHistoryInTwoSteps: what a database has lost is told again also if
// that fails half-way, when the numbers no longer show that something is missing.
func TestFeedLostHistoryInTwoSteps(t *testing.T) {
	t.Parallel()
	w := newFeedWorld()
	w.log.write(30, w.time().Add(2*time.Minute))
	w.pass(t, 0)
	w.log.restore(10)
	w.log.room = 5
	if err := w.core.Refresh(t.Context()); err == nil {
		t.Fatal("nothing failed")
	}
	w.pass(t, time.Second)
	values := map[string]bool{}
	for _, e := range w.log.entries {
		values[e.Value] = true
	}
	if len(values) != 30 {
		t.Errorf("%d of 30 entries are there", len(values))
	}
}

// TestFeedEndsForTheUnwelcome: a stream ends when its resource server may read
// no more.
func TestFeedEndsForTheUnwelcome(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(c *client.Client){
		"Disabled":  func(c *client.Client) { c.Disabled = time.Unix(1, 0) },
		"NewSecret": func(c *client.Client) { c.Secrets = []opaque.Digest{opaque.New(opaque.ClientSecret).Digest()} },
		"NoAPI":     func(c *client.Client) { c.ResourceServer = false },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFeedWorld()
			w.pass(t, 0)
			r := newReader(t)
			ended := w.open(t, r)
			if kind, _ := r.next(ended); kind != "complete" {
				t.Fatalf("%s, want complete", kind)
			}
			w.clients.mu.Lock()
			change(&w.clients.c)
			w.clients.mu.Unlock()
			w.pass(t, time.Second)
			if kind, _ := r.next(ended); kind != "" {
				t.Errorf("%s was sent, want the end", kind)
			}
		})
	}
}

type lostKeys struct{}

func (lostKeys) Find(context.Context, string, jose.Algorithm) ([]*jose.Key, error) {
	return nil, errors.New("no database")
}

// TestKeysThatCannotBeLoaded: while nobody knows what a token is, it is neither
// inactive nor revoked.
func TestKeysThatCannotBeLoaded(t *testing.T) {
	t.Parallel()
	w := newFeedWorld()
	token := "eyJhbGciOiJFUzI1NiIsImtpZCI6IngiLCJ0eXAiOiJhdCtqd3QifQ.e30." + strings.Repeat("A", 86)
	reader := &tokens.Reader{Keys: lostKeys{}}
	for name, h := range map[string]http.Handler{
		"Revoke":     &revoke.Handler{Core: w.core, Auth: w.feed.Auth, Minter: refresh.Minter{Keys: opaque.NewSecrets().Keys("test")}, Reader: reader, Log: w.feed.Log},
		"Introspect": &revoke.Introspection{Core: w.core, Auth: w.feed.Auth, Reader: reader, Log: w.feed.Log},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader("token="+token))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth("api", w.secret.Reveal())
		a := httptest.NewRecorder()
		if h.ServeHTTP(a, r); a.Code != http.StatusServiceUnavailable {
			t.Errorf("%s: %d %s, want 503", name, a.Code, a.Body)
		}
	}
}
