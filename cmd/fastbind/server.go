package main

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

// A site is a handler on a listener.
type site struct {
	listener  net.Listener
	handler   http.Handler
	drain     func() // ends what would go on for ever, once nothing new is accepted
	cert, key string // files; empty: no TLS

	// base returns the context that those of all requests come from; may be nil.
	base func(net.Listener) context.Context
}

// A server is all that one process does.
type server struct {
	sites []site
	jobs  []func(context.Context) error // the background work
	wait  func(context.Context) error   // returns when everything is ready; may be nil
	told  ready
	log   *slog.Logger
}

// run serves until ctx ends or something fails, and calls started when all is
// ready. It stops accepting, waits for requests that are under way, and stops
// the background work, in this order.
func (s *server) run(ctx context.Context, started func() error) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g, failed := errgroup.WithContext(work)
	running := make([]*http.Server, 0, len(s.sites))
	for _, each := range s.sites {
		h := &http.Server{
			Handler:           readInTime(each.handler),
			ReadHeaderTimeout: headerTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeader,
			BaseContext:       each.base,
			ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelInfo),
		}
		h.RegisterOnShutdown(each.drain)
		running = append(running, h)
		g.Go(func() error { return each.serve(h) })
	}
	for _, job := range s.jobs {
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
func (s *server) start(ctx, failed context.Context, started func() error) error {
	both, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(failed, cancel)()
	if s.wait != nil {
		if err := s.wait(both); err != nil {
			if both.Err() != nil {
				return nil // stopped before it was ready; what failed says why
			}
			return err
		}
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "ready", slog.String("issuer", s.told.Issuer),
		slog.String("address", s.sites[0].listener.Addr().String()))
	if err := started(); err != nil {
		return err
	}
	<-both.Done()
	s.log.LogAttrs(ctx, slog.LevelInfo, "stopping")
	return nil
}

func (s *site) serve(h *http.Server) error {
	var err error
	if s.cert != "" {
		err = h.ServeTLS(s.listener, s.cert, s.key)
	} else {
		err = h.Serve(s.listener)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve %s: %w", s.listener.Addr(), err)
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
