package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/fastbind/fastbind/guard"
	"github.com/fastbind/fastbind/internal/web"
	"github.com/fastbind/fastbind/oauth"
)

// routeAPI adds the demo API, which scripts of any origin may call.
func (s *Server) routeAPI(mux *http.ServeMux) {
	add := func(path string, rule guard.Rule, h http.HandlerFunc) {
		if s.failed != nil {
			h = unavailable
		} else {
			h = s.guard.RequireRule(rule)(h).ServeHTTP
		}
		call := web.CORS(h, "GET")
		mux.Handle("GET "+path, call)
		mux.Handle("OPTIONS "+path, call)
	}
	add("/me", guard.Rule{}, s.me)
	add("/orders", guard.Rule{Scopes: []string{ordersScope}}, s.orders)
	// The stream ends with the session, not with the token that opened it.
	add("/stream", guard.Rule{OutliveToken: true}, s.stream)
}

func unavailable(w http.ResponseWriter, _ *http.Request) {
	oauth.WriteError(w, &oauth.Error{Code: oauth.TemporarilyUnavailable, RetryAfter: 1})
}

// me answers the claims of the token that was shown.
func (s *Server) me(w http.ResponseWriter, r *http.Request) {
	p, ok := guard.PrincipalFrom(r.Context())
	if !ok {
		unavailable(w, r)
		return
	}
	web.NoStore(w)
	w.Header().Set("Content-Type", "application/json")
	w.Write(p.Claims()) // the client is gone: it can ask again
}

type order struct {
	ID     string `json:"id"`
	Item   string `json:"item"`
	Amount string `json:"amount"`
	Placed string `json:"placed"`
}

// orders answers some orders that nobody has placed.
func (s *Server) orders(w http.ResponseWriter, r *http.Request) {
	p, ok := guard.PrincipalFrom(r.Context())
	if !ok {
		unavailable(w, r)
		return
	}
	b, err := json.Marshal(struct {
		Subject string  `json:"sub"`
		Orders  []order `json:"orders"`
	}{p.Subject, []order{
		{"1001", "A lock with two keys", "24.00 EUR", "2026-03-02"},
		{"1002", "Binding thread, 100 m", "7.50 EUR", "2026-03-09"},
		{"1003", "A very small bell", "3.20 EUR", "2026-04-17"},
	}})
	if err != nil {
		unavailable(w, r)
		return
	}
	web.NoStore(w)
	w.Header().Set("Content-Type", "application/json")
	w.Write(b) // the client is gone: it can ask again
}

const (
	tickEvery    = time.Second
	writeTimeout = 5 * time.Second
)

// stream sends an event each second until the session ends, and then one that
// says why it was the last.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	web.NoStore(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	c := http.NewResponseController(w)
	send := func(event, data string) bool {
		c.SetWriteDeadline(time.Now().Add(writeTimeout)) //nolint:errcheck // not every writer has deadlines
		_, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, data)
		return err == nil && c.Flush() == nil
	}
	ticks := time.NewTicker(tickEvery)
	defer ticks.Stop()
	for n := 1; send("tick", fmt.Sprintf(`{"n":%d}`, n)); n++ {
		select {
		case <-r.Context().Done():
			send("end", fmt.Sprintf(`{"reason":%q}`, ending(r.Context())))
			return
		case <-s.done:
			send("end", `{"reason":"shutdown"}`)
			return
		case <-ticks.C:
		}
	}
}

// ending says why the context of a guarded request ended.
func ending(ctx context.Context) string {
	switch err := context.Cause(ctx); {
	case errors.Is(err, guard.ErrRevoked):
		return "revoked"
	case errors.Is(err, guard.ErrExpired):
		return "expired"
	default:
		return "closed"
	}
}
