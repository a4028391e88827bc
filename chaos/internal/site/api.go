package site

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/fastbind/fastbind/guard"
)

// An api is what stands behind the guards, each of them at an address of its
// own. It is asked without a network.
type api struct {
	handlers map[string]http.Handler // by host
}

// address returns that of the API behind a guard.
func address(number int) string { return fmt.Sprintf("https://api-%d.example.com", number) }

// rule asks guards to go by what the feed has told alone: time moves too fast
// for their view to be fresh, and this is about the feed.
func rule() guard.Rule { return guard.Rule{WhenStale: guard.InsecureAllow} }

func (a *api) add(number int, g *guard.Guard) {
	if a.handlers == nil {
		a.handlers = make(map[string]http.Handler)
	}
	a.handlers[address(number)[len("https://"):]] = g.RequireRule(rule())(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	}))
}

// RoundTrip answers a request to one of the addresses.
func (a *api) RoundTrip(r *http.Request) (*http.Response, error) {
	h, ok := a.handlers[r.URL.Host]
	if !ok {
		return nil, fmt.Errorf("there is no API at %s", r.URL.Host)
	}
	w := &answer{header: make(http.Header), status: http.StatusOK}
	h.ServeHTTP(w, r)
	return &http.Response{StatusCode: w.status, Header: w.header, Body: io.NopCloser(&w.body), Request: r}, nil
}

// An answer is written in memory.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header is for http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader is for http.ResponseWriter.
func (a *answer) WriteHeader(status int) { a.status = status }

// Write is for http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

// call asks the API behind a guard with the bound access token of h, as
// dpop.Transport does, and returns the status of the answer.
func (a *api) call(ctx context.Context, number int, h *Holding) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address(number)+"/orders", nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "DPoP "+h.Tokens.Access)
	res, err := h.Prover.transport.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}
