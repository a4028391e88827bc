package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/demo"
	"github.com/fastbind/fastbind/internal/listen"
)

// ready is what a server says of itself when it is ready. What it does not have
// is left out.
type ready struct {
	Issuer  string        `json:"issuer"`
	API     string        `json:"api,omitempty"`
	Users   []demo.User   `json:"users,omitempty"`
	Clients []demo.Client `json:"clients,omitempty"`
}

// write is for people.
func (r ready) write(w io.Writer) error {
	if r.API == "" {
		_, err := fmt.Fprintf(w, "Fastbind is ready at %s\n", r.Issuer)
		return err
	}
	fmt.Fprintf(w, "Fastbind is ready. Open %s/ and steal a token.\n\n  issuer  %s\n  API     %s\n", r.API, r.Issuer, r.API)
	for _, u := range r.Users {
		fmt.Fprintf(w, "  user    %s, password %s\n", u.Username, u.Password)
	}
	for _, k := range r.Clients {
		secret := "public"
		if k.Secret != "" {
			secret = "secret " + k.Secret
		}
		fmt.Fprintf(w, "  client  %s, %s\n", k.ID, secret)
	}
	return nil
}

// demoSecrets is the file in the data folder that keeps the secrets of the demo
// clients.
const demoSecrets = "demo-secrets"

// furnish adds to s what a server in development mode shows besides itself: demo
// users and clients, and the demo API with its page on an address of their own.
func furnish(ctx context.Context, s *listen.Server, a *app.App, log *slog.Logger) (ready, error) {
	stores := demo.Stores{Clients: a.Clients, Accounts: a.Accounts}
	facts, err := demo.Seed(ctx, stores, filepath.Join(a.Config.Data, demoSecrets), time.Now())
	if err != nil {
		return ready{}, err
	}
	// Wherever the server listens: this is the address that the page's client
	// is registered with.
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return ready{}, fmt.Errorf("demo: %w", err)
	}
	d := &demo.Server{
		Issuer: a.Config.Issuer, URL: "http://" + ln.Addr().String(), Facts: facts, Log: log.With("component", "demo"),
		Events: func(ctx context.Context, family string) ([]audit.Event, error) {
			return a.DB.Events(ctx, app.EventQuery{Family: family})
		},
	}
	// Requests of the demo end with it: its streams would go on for ever.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.Sites = append(s.Sites, listen.Site{
		Listener: ln, Handler: d.Handler(), Drain: stop,
		Base: func(net.Listener) context.Context { return work },
	})
	s.Jobs = append(s.Jobs, func(ctx context.Context) error {
		end := context.AfterFunc(ctx, stop)
		defer end()
		err := d.Run(work)
		if work.Err() != nil {
			return nil
		}
		return errors.Join(err, errors.New("the demo stopped"))
	})
	s.Wait = d.Ready
	return ready{Issuer: a.Config.Issuer, API: d.URL, Users: facts.Users, Clients: facts.Clients}, nil
}
