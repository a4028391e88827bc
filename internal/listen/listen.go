// Package listen runs HTTP servers and background work together, and ends them
// in order: stop accepting, wait for requests that are under way, stop the
// background work.
//
// It owns limits in time and size of connections. The invariant: when Run
// returns, nothing that it started is running.
package listen

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// The limits of the HTTP server. Answers have no limit in time: event streams
// live as long as their session.
const (
	headerTimeout = 10 * time.Second
	bodyTimeout   = 30 * time.Second
	idleTimeout   = 120 * time.Second
	maxHeader     = 128 << 10
	drainTimeout  = 15 * time.Second
)

// A Site is a handler on a listener.
type Site struct {
	Listener  net.Listener
	Handler   http.Handler
	Drain     func() // ends what would go on for ever, once nothing new is accepted
	Cert, Key string // files; empty: no TLS

	// Base returns the context that those of all requests come from; may be nil.
	Base func(net.Listener) context.Context
}

// A Server is all that one process does.
type Server struct {
	Sites []Site
	Jobs  []func(context.Context) error // the background work; each ends with its context
	Wait  func(context.Context) error   // returns when everything is ready; may be nil
	Log   *slog.Logger
}

// Run serves until ctx ends or something fails, and calls started when all is
// ready. It stops accepting, waits for requests that are under way, and stops
// the background work, in this order.
func (s *Server) Run(ctx context.Context, started func() error) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g, failed := errgroup.WithContext(work)
	running := make([]*http.Server, 0, len(s.Sites))
	for _, each := range s.Sites {
		h := &http.Server{
			Handler:           readInTime(each.Handler),
			ReadHeaderTimeout: headerTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeader,
			BaseContext:       each.Base,
			ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelInfo),
		}
		h.RegisterOnShutdown(each.Drain)
		running = append(running, h)
		g.Go(func() error { return each.serve(h) })
	}
	for _, job := range s.Jobs {
		g.Go(func() error { return job(failed) })
	}
	err := s.start(ctx, failed, started)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	for i := len(running) - 1; i >= 0; i-- {
		if late := running[i].Shutdown(drain); late != nil {
			err = errors.Join(err, fmt.Errorf("some requests did not end in time: %w", late), running[i].Close())
		}
	}
	stop()
	return errors.Join(err, g.Wait())
}

// start waits until everything is ready, says so, and returns when ctx or failed
// ends.
func (s *Server) start(ctx, failed context.Context, started func() error) error {
	both, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(failed, cancel)()
	if s.Wait != nil {
		if err := s.Wait(both); err != nil {
			if both.Err() != nil {
				return nil // stopped before it was ready; what failed says why
			}
			return err
		}
	}
	s.Log.LogAttrs(ctx, slog.LevelInfo, "ready", slog.String("address", s.Sites[0].Listener.Addr().String()))
	if err := started(); err != nil {
		return err
	}
	<-both.Done()
	s.Log.LogAttrs(ctx, slog.LevelInfo, "stopping")
	return nil
}

func (s *Site) serve(h *http.Server) error {
	var err error
	if s.Cert != "" {
		err = h.ServeTLS(s.Listener, s.Cert, s.Key)
	} else {
		err = h.Serve(s.Listener)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve %s: %w", s.Listener.Addr(), err)
}

// readInTime cuts off requests whose body does not arrive. The limit cannot be
// that of the server: it would also end streams that have no body.
func readInTime(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			//nolint:errcheck // without deadlines the limit on the headers remains
			http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
		}
		next.ServeHTTP(w, r)
	})
}
