// Package wire is the network of a chaos run: it loses requests and answers,
// delays them, and delivers requests twice.
//
// The invariant: what is lost is decided by the caller's source of randomness,
// so that a seed decides it; and a server's answer is seen by [Call.Seen] even
// when the client never gets it.
package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/fastbind/fastbind/chaos/internal/clock"
)

// A Wire leads to the servers. Set the fields before use.
type Wire struct {
	Clock *clock.Clock
	Nodes []Node
	// Losses are what it does to requests, in a thousand.
	Losses Losses
}

// A Node is one place in the cluster.
type Node interface {
	// Client returns what asks the server that is there, and its address; nil
	// while there is none.
	Client() (*http.Client, string)
}

// Losses are in a thousand requests.
type Losses struct {
	Requests, Responses int // never arrive
	Delays              int // take up to maxDelay, on either way
	Doubles             int // requests that are delivered twice
}

// Usual are the losses of a run.
func Usual() Losses { return Losses{Requests: 50, Responses: 50, Delays: 50, Doubles: 30} }

const (
	maxDelay = 5 * time.Second
	// patience is how long a client waits for an answer.
	patience = 3 * time.Second
)

// ErrLost says that no answer came.
var ErrLost = errors.New("no answer")

// An Answer is what a server answered.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// A Call is one request of a client. Set the fields before use.
type Call struct {
	Method, Path string
	Body         []byte
	Header       http.Header
	// LateDouble says that a double may arrive some seconds later; else it
	// arrives together with the request.
	LateDouble bool
	// Slack is how much later than it should anything may happen to it.
	Slack time.Duration
	// Sent is called when the request is sent, and what it returns with each
	// answer that a server gave; may be nil.
	Sent func() (seen func(Answer))
}

// Send sends a call over the lossy network. Only actors may call it.
func (w *Wire) Send(ctx context.Context, r *rand.Rand, c *Call) (Answer, error) {
	roll, first, other := r.IntN(1000), r.IntN(len(w.Nodes)), r.IntN(len(w.Nodes))
	delay, late := time.Duration(r.Int64N(int64(maxDelay))), time.Duration(r.Int64N(int64(maxDelay)))
	is := func(perMille int) bool {
		roll -= perMille
		return roll < 0 && roll >= -perMille
	}
	if is(w.Losses.Requests) {
		w.Clock.Sleep(patience, c.Slack)
		return Answer{}, ErrLost
	}
	lost := is(w.Losses.Responses)
	if is(w.Losses.Delays) && !w.Clock.Sleep(delay, c.Slack) {
		return Answer{}, ErrLost
	}
	var a Answer
	var err error
	switch {
	case !is(w.Losses.Doubles):
		a, err = w.Deliver(ctx, first, c)
	case c.LateDouble:
		a, err = w.Deliver(ctx, first, c)
		w.Clock.Go(func() {
			if w.Clock.Sleep(late, c.Slack) {
				w.Deliver(ctx, other, c) //nolint:errcheck // nobody waits for its answer
			}
		})
	default:
		w.Clock.Together(
			func() { a, err = w.Deliver(ctx, first, c) },
			func() { w.Deliver(ctx, other, c) }, //nolint:errcheck // nobody waits for its answer
		)
	}
	if lost {
		w.Clock.Sleep(patience, c.Slack)
		return Answer{}, ErrLost
	}
	return a, err
}

// Deliver sends a call once, to the node with a number, or the next that is up.
// An error is that of a connection that broke.
func (w *Wire) Deliver(ctx context.Context, number int, c *Call) (Answer, error) {
	client, address := w.up(number)
	if client == nil {
		return Answer{}, fmt.Errorf("%w: no server is up", ErrLost)
	}
	r, err := http.NewRequestWithContext(ctx, c.Method, "http://"+address+c.Path, bytes.NewReader(c.Body))
	if err != nil {
		return Answer{}, err
	}
	r.Header = c.Header.Clone()
	seen := func(Answer) {}
	if c.Sent != nil {
		seen = c.Sent()
	}
	res, err := client.Do(r)
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrLost, err)
	}
	defer res.Body.Close() //nolint:errcheck // it was read to the end
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrLost, err)
	}
	a := Answer{res.StatusCode, res.Header, b}
	seen(a)
	return a, nil
}

func (w *Wire) up(number int) (*http.Client, string) {
	for i := range w.Nodes {
		if client, address := w.Nodes[(number+i)%len(w.Nodes)].Client(); client != nil {
			return client, address
		}
	}
	return nil, ""
}

// RoundTrip is for who asks through an ordinary HTTP client, such as a guard: it
// sends the request to a node that is up and loses nothing.
func (w *Wire) RoundTrip(r *http.Request) (*http.Response, error) {
	client, address := w.up(int(time.Now().UnixNano() % int64(len(w.Nodes))))
	if client == nil {
		return nil, fmt.Errorf("%w: no server is up", ErrLost)
	}
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host = "http", address
	return client.Transport.RoundTrip(out)
}
