package demo

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/fastbind/fastbind/guard"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/page"
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

	once     sync.Once
	failed   error // why there is no guard
	guard    *guard.Guard
	tasks    chan func(context.Context)
	done     chan struct{} // closed when Run ends
	hands    [parties]hand
	visitors visitors

	metaMu sync.Mutex
	meta   oauth.Metadata // zero until it was read
}

func (s *Server) prepare() {
	s.once.Do(func() {
		api := s.Facts.client(apiID)
		s.guard, s.failed = guard.New(guard.Config{
			Issuer: s.Issuer, Audience: Audience, ClientID: api.ID, ClientSecret: api.Secret, Log: s.Log,
		})
		s.tasks = make(chan func(context.Context))
		s.done = make(chan struct{})
		s.hands = hands()
	})
}

// Handler returns the handler of the API and the page, to be served at URL.
func (s *Server) Handler() http.Handler {
	s.prepare()
	mux := http.NewServeMux()
	s.routeAPI(mux)
	s.routePage(mux)
	edge := &web.Edge{Log: s.Log}
	return edge.Wrap(mux)
}

func (s *Server) routePage(mux *http.ServeMux) {
	own := http.NewCrossOriginProtection()
	own.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.problem(w, r, http.StatusForbidden, page.ProblemForbidden, "")
	}))
	get := func(path string, h http.HandlerFunc) { mux.Handle("GET "+path, s.here(h)) }
	post := func(path string, h http.HandlerFunc) { mux.Handle("POST "+path, s.here(own.Handler(h))) }
	get("/{$}", s.show)
	get("/live", s.live)
	get("/callback", s.callback)
	post("/signin", s.signIn)
	post("/again", s.again)
	post("/do/{what}", s.act)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.problem(w, r, http.StatusNotFound, page.ProblemNotFound, "")
	})
}

// here answers only requests for URL: cookies and redirects belong to that
// address, and a name that somebody made point to this machine gets nothing.
func (s *Server) here(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, err := url.Parse(s.URL); err != nil || r.Host != u.Host {
			s.problem(w, r, http.StatusMisdirectedRequest, page.ProblemNotFound, "the demo is at "+s.URL)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) problem(w http.ResponseWriter, r *http.Request, status int, p page.Problem, detail string) {
	page.Error(w, r, status, page.ErrorData{
		Problem: p, Detail: detail, RequestID: web.RequestID(r.Context()), Continue: s.URL + "/", ContinueName: "the demo",
	})
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

// Run keeps the guard up to date and the page's streams open until ctx ends. It
// runs once.
func (s *Server) Run(ctx context.Context) error {
	s.prepare()
	if s.failed != nil {
		return s.failed
	}
	var work sync.WaitGroup
	defer work.Wait()
	defer close(s.done)
	failed := make(chan error, 1)
	work.Go(func() { failed <- s.guard.Run(ctx) })
	sweep := time.NewTicker(time.Minute)
	defer sweep.Stop()
	for {
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		case f := <-s.tasks:
			work.Go(func() { f(ctx) })
		case now := <-sweep.C:
			s.visitors.sweep(now)
		}
	}
}

// errStopped says that Run does not run any more.
var errStopped = errors.New("the demo has been stopped")

// spawn has Run run f, which must return soon after its context ends. It waits
// until that has begun.
func (s *Server) spawn(ctx context.Context, f func(context.Context)) error {
	select {
	case s.tasks <- f:
		return nil
	case <-s.done:
		return errStopped
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
