// Package theft owns the demo page, on which a person steals a refresh token and
// sees what comes of it.
//
// The page is an ordinary OAuth client: it learns what it shows from answers to
// requests, and from the events that the server has recorded. It works without
// JavaScript. The invariant: the tokens of visitors stay in memory, within
// bounds, and only their beginnings are ever shown.
package theft

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/demo/party"
	"github.com/fastbind/fastbind/internal/page"
	"github.com/fastbind/fastbind/internal/web"
	"github.com/fastbind/fastbind/oauth"
)

// A Page shows how a theft is noticed. Set the exported fields before use; it
// works while [Page.Run] runs, and is safe for concurrent use.
type Page struct {
	// Issuer is the server that is shown.
	Issuer string
	// URL is the address of the page, http://127.0.0.1:PORT, where the API is
	// too: GET /me, /orders and /stream.
	URL string
	// ClientID is the public client that the page is, and Scope what it asks
	// for: openid, and what the API wants.
	ClientID string
	Scope    []string
	// Users are those whom the page proposes to sign in.
	Users []User
	// Events returns the security events of a family, newest first.
	Events func(ctx context.Context, family string) ([]audit.Event, error)
	Log    *slog.Logger

	once     sync.Once
	tasks    chan func(context.Context)
	done     chan struct{} // closed when Run ends
	hands    [sides]party.Hand
	visitors visitors

	metaMu sync.Mutex
	meta   oauth.Metadata // zero until it was read
}

// A User is somebody who can sign in, with a password for everybody to know.
type User struct{ Username, Password string }

func (s *Page) prepare() {
	s.once.Do(func() {
		s.tasks = make(chan func(context.Context))
		s.done = make(chan struct{})
		s.hands = hands()
	})
}

// Route adds the page to mux, at the root.
func (s *Page) Route(mux *http.ServeMux) {
	s.prepare()
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
func (s *Page) here(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, err := url.Parse(s.URL); err != nil || r.Host != u.Host {
			s.problem(w, r, http.StatusMisdirectedRequest, page.ProblemNotFound, "the demo is at "+s.URL)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Page) problem(w http.ResponseWriter, r *http.Request, status int, p page.Problem, detail string) {
	page.Error(w, r, status, page.ErrorData{
		Problem: p, Detail: detail, RequestID: web.RequestID(r.Context()), Continue: s.URL + "/", ContinueName: "the demo",
	})
}

// Run keeps the streams of visitors open until ctx ends, and waits for them. It
// runs once.
func (s *Page) Run(ctx context.Context) error {
	s.prepare()
	var work sync.WaitGroup
	defer work.Wait()
	defer close(s.done)
	sweep := time.NewTicker(time.Minute)
	defer sweep.Stop()
	for {
		select {
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
func (s *Page) spawn(ctx context.Context, f func(context.Context)) error {
	select {
	case s.tasks <- f:
		return nil
	case <-s.done:
		return errStopped
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
