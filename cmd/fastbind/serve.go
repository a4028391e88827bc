package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/config"
	"github.com/fastbind/fastbind/internal/listen"
)

type serve struct {
	Dev         bool   `help:"Run with demo users and clients on a loopback address, without any configuration."`
	Listen      string `placeholder:"ADDR" help:"Address to listen on; 127.0.0.1:8080 if nothing says otherwise."`
	Metrics     string `name:"metrics-listen" placeholder:"ADDR" help:"Address of a listener for operators: /metrics and /connected. None if nothing says otherwise."`
	NoMigration bool   `name:"no-migration" help:"Refuse to start if migrations are pending, instead of applying them."`
}

// Run serves until ctx ends. It stops accepting, waits for requests that are
// under way, stops the background work and closes the database, in this order.
func (s *serve) Run(ctx context.Context, c *console) (err error) {
	if !slices.ContainsFunc(c.environ, func(v string) bool { return strings.HasPrefix(v, "GOGC=") }) {
		// Little of the memory is live: collecting it less often saves an eighth
		// of the processor time of a refresh.
		debug.SetGCPercent(300)
	}
	cfg, err := s.configure(c)
	if err != nil {
		return err
	}
	if s.Dev && cfg.Data == "" {
		if cfg.Data, err = os.MkdirTemp("", "fastbind-*"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(cfg.Data)) }()
	}
	if cfg.Data != "" {
		if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
			return fmt.Errorf("data: %w", err)
		}
	}
	var ln net.Listener
	if s.Dev { // the issuer follows from the address
		if ln, err = (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen); err != nil {
			return err
		}
		cfg.Issuer = "http://" + ln.Addr().String()
	}
	log := config.Logger(c.err, cfg)
	a, err := app.Open(ctx, cfg, log, app.Options{NoMigration: s.NoMigration, Stderr: c.err})
	if err != nil {
		if ln != nil {
			err = errors.Join(err, ln.Close())
		}
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	if ln == nil { // no earlier: who is connected to a node that cannot answer yet waits, and is not sent to another
		if ln, err = (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen); err != nil {
			return err
		}
	}
	srv := &listen.Server{
		Sites: []listen.Site{{Listener: ln, Handler: a.Handler(), Drain: a.Drain, Cert: cfg.TLSCert, Key: cfg.TLSKey}},
		Jobs:  []func(context.Context) error{a.Run},
		Log:   log,
	}
	if err := operate(ctx, srv, a); err != nil {
		return errors.Join(err, ln.Close())
	}
	told := ready{Issuer: cfg.Issuer}
	if s.Dev {
		if told, err = furnish(ctx, srv, a, log); err != nil {
			return errors.Join(err, ln.Close())
		}
	}
	return srv.Run(ctx, func() error { return c.print(told, told.write) })
}

// configure returns the configuration of the server. One in development mode
// depends on its flags only.
func (s *serve) configure(c *console) (app.Config, error) {
	cfg, err := c.config()
	if err != nil {
		return cfg, err
	}
	if s.Dev {
		if c.options.Config != "" {
			return cfg, usageError{"--dev goes with --listen, --data and --database-url only: it configures everything else itself"}
		}
		if c.options.DatabaseURL == "" && !config.Nearby(cfg.DatabaseURL) {
			return cfg, usageError{"FASTBIND_DATABASE_URL leads to another machine: --dev would put well-known users into that database; unset it, or name it with --database-url"}
		}
		cfg = app.Config{
			Listen: config.DefaultListen, Data: c.options.Data, DatabaseURL: cfg.DatabaseURL,
			LogLevel: cfg.LogLevel, LogFormat: cfg.LogFormat,
		}
	}
	if s.Listen != "" {
		cfg.Listen = s.Listen
	}
	if s.Metrics != "" {
		cfg.MetricsListen = s.Metrics
	}
	if s.Dev && cfg.MetricsListen != "" {
		if err := loopback(cfg.MetricsListen); err != nil {
			return cfg, err
		}
	}
	if s.Dev {
		return cfg, loopback(cfg.Listen)
	}
	return cfg, cfg.Check()
}

// operate adds to srv the listener for operators, if there is to be one.
func operate(ctx context.Context, srv *listen.Server, a *app.App) error {
	if a.Config.MetricsListen == "" {
		return nil
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", a.Config.MetricsListen)
	if err != nil {
		return fmt.Errorf("metrics_listen: %w", err)
	}
	srv.Sites = append(srv.Sites, listen.Site{Listener: ln, Handler: a.Operator(), Drain: func() {}})
	srv.Log.LogAttrs(ctx, slog.LevelInfo, "metrics", slog.String("address", ln.Addr().String()))
	return nil
}

// loopback returns an error if others could reach the address.
func loopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return usageError{fmt.Sprintf("--listen and --metrics-listen: %v", err)}
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return usageError{fmt.Sprintf("--dev has well-known users and listens on loopback addresses only, not on %s", address)}
	}
	return nil
}
