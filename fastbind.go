// Package fastbind is the whole server as a library: an OAuth 2.1 authorization
// server and OpenID provider that runs inside a Go program, or inside its tests.
//
// It holds no state outside of the database and the folder it is given. See
// docs/rotation.md and docs/revocation.md for what it promises. Users and
// clients are registered with the command fastbind on the same database.
package fastbind

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"

	"github.com/fastbind/fastbind/internal/app"
)

// A Config is what an operator chooses. Issuer and one of Data and DatabaseURL
// are needed; everything else has a safe default.
type Config struct {
	// Issuer is the public address: https, or http on a loopback address;
	// scheme, host and port only.
	Issuer string
	// Data is the folder of the embedded database and of the master key. It and
	// they are created when they are missing.
	Data string
	// DatabaseURL is postgres://…; empty: SQLite in Data.
	DatabaseURL string
	// MasterKeyFile holds the master secrets, one a line, newest first; empty:
	// master.key in Data. It must not be readable by others.
	MasterKeyFile string
	// TrustedProxies are the networks whose X-Forwarded-For is believed; none
	// by default.
	TrustedProxies []string
	// Log receives what the server has to say; nil: nothing is logged.
	Log *slog.Logger
}

// A Server is a running authorization server. It is safe for concurrent use.
type Server struct{ app *app.App }

// New opens the database, brings its schema up to date and loads the keys. It
// starts nothing: see [Server.Handler] and [Server.Run].
func New(ctx context.Context, c Config) (*Server, error) {
	log := c.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if c.Data != "" {
		if err := os.MkdirAll(c.Data, 0o700); err != nil {
			return nil, fmt.Errorf("data: %w", err)
		}
	}
	a, err := app.Open(ctx, app.Config{
		Issuer: c.Issuer, Data: c.Data, DatabaseURL: c.DatabaseURL,
		MasterKeyFile: c.MasterKeyFile, TrustedProxies: c.TrustedProxies,
	}, log, app.Options{})
	if err != nil {
		return nil, err
	}
	return &Server{a}, nil
}

// Handler returns the handler of all endpoints, to be served at the root of the
// issuer.
func (s *Server) Handler() http.Handler { return s.app.Handler() }

// Run does the background work until ctx ends. A server whose Run is not called
// answers, but tells nobody of revocations.
func (s *Server) Run(ctx context.Context) error { return s.app.Run(ctx) }

// Close ends the event streams, waits for what is under way and closes the
// database. Call it after the HTTP server stopped accepting requests and after
// Run has returned.
func (s *Server) Close() error {
	s.app.Drain()
	return s.app.Close()
}
