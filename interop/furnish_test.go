package interop_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/fastbind/fastbind/guard"
)

// furnish makes on a server without demo data what one for development has:
// users and clients, by the commands of the binary, and an API behind the
// guard, which runs in the test.
func (s *server) furnish() {
	s.t.Helper()
	if s.set != nil {
		s.API, s.Users, s.Clients = s.set.API, s.set.Users, s.set.Clients
		return
	}
	for _, name := range []string{"ada", "bob"} {
		u := user{name, name + "-of-the-tests-password"}
		s.command(u.Password+"\n", "user", "create", u.Username, "--password-stdin", "--json",
			"--claim", "email="+name+"@example.com", "--claim", "email_verified=true")
		s.Users = append(s.Users, u)
	}
	app := []string{
		"--redirect-uri", "http://127.0.0.1/callback", "--post-logout-redirect-uri", "http://127.0.0.1/", "--trusted",
		"--scope", allScopes, "--audience", "demo-api", "--apis-report-use",
	}
	s.register(append([]string{"demo-spa", "--public", "--policy", "spa"}, app...)...)
	s.register(append([]string{"demo-web", "--policy", "web"}, app...)...)
	s.register("demo-api", "--resource-server", "--audience", "demo-api")
	s.API = startAPI(s.t, s.Issuer, s.client(s.t, "demo-api"))
	s.set = &s.ready
}

// register registers a client by the command line.
func (s *server) register(args ...string) registration {
	s.t.Helper()
	var c registration
	out := s.command("", append([]string{"client", "create", "--json"}, args...)...)
	if err := json.Unmarshal(out, &c); err != nil || c.ID != args[0] {
		s.t.Fatalf("fastbind client create says nothing of %s: %v", args[0], err)
	}
	s.secret(c.Secret)
	s.Clients = append(s.Clients, c)
	return c
}

// strict registers a client that sends attempt keys: there is no overlap, and the
// first replay of a parent without its key is theft.
func (s *server) strict() registration {
	s.t.Helper()
	return s.register("strict-spa", "--public", "--policy", "spa", "--redirect-uri", "http://127.0.0.1/callback", "--trusted",
		"--scope", allScopes, "--audience", "demo-api", "--sends-attempt-keys")
}

// startAPI starts an API behind the guard, as in the demo, that ends with the
// test, and returns its address.
func startAPI(t testing.TB, issuer string, id registration) string {
	t.Helper()
	g, err := guard.New(guard.Config{Issuer: issuer, Audience: id.ID, ClientID: id.ID, ClientSecret: id.Secret})
	if err != nil {
		t.Fatalf("guard: %v", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var work sync.WaitGroup
	work.Go(func() {
		if err := g.Run(ctx); err != nil && ctx.Err() == nil {
			t.Errorf("guard: %v", err)
		}
	})
	mux := http.NewServeMux()
	mux.Handle("GET /me", g.RequireRule(guard.Rule{})(http.HandlerFunc(claims)))
	mux.Handle("GET /orders", g.RequireRule(guard.Rule{Scopes: []string{"orders:read"}})(http.HandlerFunc(claims)))
	mux.Handle("GET /stream", g.RequireRule(guard.Rule{OutliveToken: true})(http.HandlerFunc(stream)))
	api := httptest.NewServer(mux)
	t.Cleanup(func() {
		cancel()
		api.CloseClientConnections()
		api.Close()
		work.Wait()
	})
	waiting, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	if err := g.Ready(waiting); err != nil {
		t.Fatalf("the guard is not ready: %v", err)
	}
	return api.URL
}

func claims(w http.ResponseWriter, r *http.Request) {
	p, ok := guard.PrincipalFrom(r.Context())
	if !ok {
		http.Error(w, "no principal", http.StatusInternalServerError)
		return
	}
	w.Write(p.Claims())
}

// stream sends one event and then nothing until the request ends.
func stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	_, err := w.Write([]byte("event: tick\ndata: {}\n\n"))
	if err = errors.Join(err, http.NewResponseController(w).Flush()); err == nil {
		<-r.Context().Done()
	}
}
