package demo

import (
	"context"
	"log/slog"
	"net/http"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/fastbind/fastbind/guard"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/demo/theft"
	"github.com/fastbind/fastbind/internal/web"
	"github.com/fastbind/fastbind/oauth"
)

// A Server is the demo API and the demo page, which share a listener on a
// loopback address. Set the exported fields before use; it works while
// [Server.Run] runs, and is safe for concurrent use.
type Server struct {
	// Issuer is the server that is shown.
	Issuer string
	// URL is the address of this server, http://127.0.0.1:PORT.
	URL string
	// Facts are what [Seed] returned.
	Facts Facts
	// Events returns the security events of a family, newest first.
	Events func(ctx context.Context, family string) ([]audit.Event, error)
	Log    *slog.Logger

	once   sync.Once
	failed error // why there is no guard
	guard  *guard.Guard
	page   *theft.Page
	done   chan struct{} // closed when Run ends
}

func (s *Server) prepare() {
	s.once.Do(func() {
		api := s.Facts.client(apiID)
		s.guard, s.failed = guard.New(guard.Config{
			Issuer: s.Issuer, Audience: Audience, ClientID: api.ID, ClientSecret: api.Secret, Log: s.Log,
			DPoP: guard.DPoP{PublicURLs: []string{s.URL}},
		})
		s.page = &theft.Page{
			Issuer: s.Issuer, URL: s.URL, ClientID: spaID, Scope: []string{oauth.ScopeOpenID, oauth.ScopeProfile, ordersScope},
			Events: s.Events, Log: s.Log,
		}
		for _, u := range s.Facts.Users {
			s.page.Users = append(s.page.Users, theft.User(u))
		}
		s.done = make(chan struct{})
	})
}

// Handler returns the handler of the API and the page, to be served at URL.
func (s *Server) Handler() http.Handler {
	s.prepare()
	mux := http.NewServeMux()
	s.routeAPI(mux)
	s.page.Route(mux)
	edge := &web.Edge{Log: s.Log}
	return edge.Wrap(mux)
}

// Ready waits until the API can tell who a token belongs to and what has been
// revoked. It returns an error only when ctx ends before, or the configuration
// is wrong.
func (s *Server) Ready(ctx context.Context) error {
	s.prepare()
	if s.failed != nil {
		return s.failed
	}
	return s.guard.Ready(ctx)
}

// Run keeps the guard up to date and the page at work until ctx ends. It runs
// once.
func (s *Server) Run(ctx context.Context) error {
	s.prepare()
	if s.failed != nil {
		return s.failed
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.guard.Run(ctx) })
	g.Go(func() error { return s.page.Run(ctx) })
	defer close(s.done)
	return g.Wait()
}
