package guard_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/fastbind/fastbind/guard"
	"github.com/fastbind/fastbind/guard/guardtest"
)

// A program makes one guard, runs it as long as it serves, and wraps what it
// protects. New uses no network: everything that can be wrong with the
// configuration it says at once.
func Example() {
	g, err := guard.New(guard.Config{
		Issuer:   "https://id.example.com",
		Audience: "https://api.example.com",
		ClientID: "orders-api", ClientSecret: "from a file",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error)
	go func() { stopped <- g.Run(ctx) }() // usually in the program's errgroup

	mux := http.NewServeMux()
	mux.Handle("GET /orders", g.Require("orders:read")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := guard.PrincipalFrom(r.Context())
		fmt.Fprintf(w, "the orders of %s", p.Subject)
	})))
	// A transfer would rather fail than be decided on old knowledge.
	mux.Handle("POST /transfers", g.RequireRule(guard.Rule{Scopes: []string{"transfers"}, WhenStale: guard.Deny})(http.NotFoundHandler()))

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/orders", nil))
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	stop()
	fmt.Println(<-stopped)
	// Output:
	// 401 Bearer realm="https://api.example.com"
	// <nil>
}

// An event stream ends when the session of the person ends: the handler watches
// its context.
func ExampleGuard_Require_stream() {
	stream := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		out := http.NewResponseController(w)
		ticks := time.NewTicker(time.Second)
		defer ticks.Stop()
		for {
			select {
			case <-r.Context().Done():
				if errors.Is(context.Cause(r.Context()), guard.ErrRevoked) {
					fmt.Fprint(w, "event: signed-out\n\n")
				}
				return
			case t := <-ticks.C:
				fmt.Fprintf(w, "data: %d\n\n", t.Unix())
				if out.Flush() != nil {
					return
				}
			}
		}
	}
	g, err := guard.New(guard.Config{Issuer: "https://id.example.com", Audience: "https://api.example.com"})
	if err != nil {
		fmt.Println(err)
		return
	}
	http.NewServeMux().Handle("GET /stream", g.Require()(http.HandlerFunc(stream)))
}

// In a framework with handlers of its own, a guard is asked with Check and
// answers with Refuse.
func ExampleGuard_Check() {
	g, err := guard.New(guard.Config{Issuer: "https://id.example.com", Audience: "https://api.example.com"})
	if err != nil {
		fmt.Println(err)
		return
	}
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/orders?access_token=x", nil)
	if _, err := g.Check(r, "orders:read"); err != nil {
		fmt.Println(errors.Is(err, guard.ErrMalformed))
		g.Refuse(w, r, err)
	}
	fmt.Println(w.Code)
	// Output:
	// true
	// 400
}

// The test of an API: who may read orders, and that a revoked session may not.
func TestExampleOfATest(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	g := issuer.Guard(t)
	api := httptest.NewServer(g.Require("orders:read")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := guard.PrincipalFrom(r.Context())
		io.WriteString(w, p.Subject)
	})))
	t.Cleanup(api.Close)
	ask := func(token string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, api.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	token := issuer.Mint(guardtest.Claims{Subject: "ada", SessionID: "s1", Scope: "orders:read"})
	if got := ask(token); got != http.StatusOK {
		t.Errorf("status %d", got)
	}
	issuer.Revoke("sid", "s1")
	begun := time.Now()
	for ask(token) == http.StatusOK {
		if time.Since(begun) > time.Second {
			t.Fatal("still let in a second after the revocation")
		}
	}
}
