// Package site owns what a chaos run is about: a database, the servers on it,
// the guards that follow them, and what is registered there.
//
// The invariant: what is done to the site behind the back of its servers is what
// a sign-in page would have done, and nothing else.
package site

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/fastbind/fastbind/chaos/internal/clock"
	"github.com/fastbind/fastbind/chaos/internal/node"
	"github.com/fastbind/fastbind/chaos/internal/watch"
	"github.com/fastbind/fastbind/chaos/internal/wire"
	"github.com/fastbind/fastbind/guard"
	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/postgres"
	"github.com/fastbind/fastbind/internal/session"
)

// Options say what site to build.
type Options struct {
	// Postgres builds it on a PostgreSQL server of its own; else it is SQLite.
	Postgres bool
	Nodes    int // server processes
	Guards   int
	Dir      string // for all files
	// CheckEvery is after how many refreshes the whole state is looked at.
	CheckEvery int64
}

// A Site is running servers. It is safe for concurrent use.
type Site struct {
	Clock *clock.Clock
	Log   *watch.Log
	Wire  *wire.Wire
	DB    *app.Database

	options  Options
	setup    node.Setup
	nodes    []*node.Process
	postgres *postgres.Server
	gate     session.Gate
	secret   string // of the resource server
	secrets  map[string]string
	guards   []*guard.Guard
	api      api
	stop     func()
	work     sync.WaitGroup

	mu       sync.Mutex
	uses     []use
	families []*watch.Family
	checked  int64 // refreshes at the last check of the whole state
}

// Issuer is what the servers call themselves. Nobody listens there: the wire
// leads to the servers.
const Issuer = "http://127.0.0.1:9"

// Open builds a site and starts its servers.
func Open(ctx context.Context, o Options, c *clock.Clock, l *watch.Log) (*Site, error) {
	s := &Site{Clock: c, Log: l, options: o, secrets: make(map[string]string)}
	ctx, s.stop = context.WithCancel(ctx)
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	c.Quiet = func() { s.quiet(ctx) }
	c.Moved = s.moved
	return s, nil
}

func (s *Site) open(ctx context.Context) (err error) {
	s.setup = node.Setup{Issuer: Issuer, Data: s.options.Dir, Database: "sqlite://" + filepath.Join(s.options.Dir, "fastbind.db")}
	if s.options.Postgres {
		if s.postgres, err = postgres.New(postgres.Options{}); err != nil {
			return err
		}
		if _, err := s.postgres.Admin().ExecContext(ctx, "create database chaos"); err != nil {
			return err
		}
		s.setup.Database = s.postgres.URL("chaos")
	}
	s.DB, err = app.OpenDatabase(ctx, app.Config{DatabaseURL: s.setup.Database})
	if err != nil {
		return err
	}
	if _, err = s.DB.Migrate(ctx); err != nil {
		return err
	}
	s.gate = session.Gate{Store: s.DB.Sessions(), Life: session.Life{Idle: days, Absolute: days}, Now: s.Clock.Now}
	if err := s.register(ctx); err != nil {
		return err
	}
	s.Wire = &wire.Wire{Clock: s.Clock, Losses: wire.Usual()}
	for i := range s.options.Nodes {
		name := "node-" + strconv.Itoa(i)
		p := &node.Process{Name: name, Log: filepath.Join(s.options.Dir, name+".log")}
		s.nodes, s.Wire.Nodes = append(s.nodes, p), append(s.Wire.Nodes, p)
		if err := p.Start(ctx, s.setup); err != nil {
			return err
		}
	}
	return s.follow(ctx)
}

// days is for how long sessions and families live: longer than any run.
const days = 60 * 24 * time.Hour

// follow starts the guards.
func (s *Site) follow(ctx context.Context) error {
	for i := range s.options.Guards {
		g, err := guard.New(guard.Config{
			Issuer: Issuer, Audience: audience, ClientID: resourceServer, ClientSecret: s.secret,
			HTTPClient: &http.Client{Transport: s.Wire}, Now: s.Clock.Now,
			DPoP: guard.DPoP{PublicURLs: []string{address(i)}},
		})
		if err != nil {
			return err
		}
		s.guards = append(s.guards, g)
		s.api.add(i, g)
		s.work.Go(func() { g.Run(ctx) }) //nolint:errcheck // it returns nil
	}
	ready, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, g := range s.guards {
		if err := g.Ready(ready); err != nil {
			return err
		}
	}
	return nil
}

// Close ends all that was started.
func (s *Site) Close() error {
	s.stop()
	s.work.Wait()
	var err error
	for _, p := range s.nodes {
		err = errors.Join(err, p.Kill(), s.panics(p))
	}
	if s.DB != nil {
		err = errors.Join(err, s.DB.Close())
	}
	if s.postgres != nil {
		err = errors.Join(err, s.postgres.Remove())
	}
	return err
}

// panics reports what a server has logged of a panic.
func (s *Site) panics(p *node.Process) error {
	b, err := os.ReadFile(p.Log)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil && panicked(b) {
		s.Log.Report("panic", "%s has panicked: see its log", p.Name)
	}
	return err
}

// moved tells the servers the time.
func (s *Site) moved(ahead time.Duration) {
	for _, p := range s.nodes {
		if err := p.Set(ahead); err != nil && !s.Clock.Stopped() {
			s.Log.Report("server", "%v", err)
		}
	}
}

// quiet does what has to be done before time moves on.
func (s *Site) quiet(ctx context.Context) {
	s.report(ctx)
	if n := s.Log.Refreshes.Load(); n-s.checked >= s.options.CheckEvery {
		s.checked = n
		s.Check(ctx)
	}
}

// Nodes returns how many places for servers there are.
func (s *Site) Nodes() int { return len(s.nodes) }

// Skew says by how much the clock of a server differs from that of the run.
func (s *Site) Skew(number int, d time.Duration) error { return s.nodes[number].Skew(d) }

// Kill kills a server process, waits, and starts it again.
func (s *Site) Kill(ctx context.Context, number int, down time.Duration) error {
	p := s.nodes[number]
	over := s.Log.Trouble()
	defer over()
	if err := p.Kill(); err != nil {
		return err
	}
	for s.Clock.Sleep(down, 0) {
		err := p.Restart(ctx)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		if s.postgres == nil {
			return fmt.Errorf("start again: %w", err)
		}
		down = time.Second // the database may be down too
	}
	return nil
}

// Crash kills the database, waits, and starts it again. Where there is no
// process to be killed it does nothing.
func (s *Site) Crash(ctx context.Context, down time.Duration) error {
	if s.postgres == nil {
		return nil
	}
	over := s.Log.Trouble()
	defer over()
	if err := s.postgres.Kill(ctx); err != nil {
		return fmt.Errorf("kill the database: %w", err)
	}
	s.Clock.Sleep(down, 0)
	if err := s.postgres.Start(); err != nil {
		return fmt.Errorf("start the database again: %w", err)
	}
	return nil
}

// Again calls f until it returns nil, for what the harness itself asks of a
// database that may be down. It reports whether it did.
func (s *Site) Again(f func() error) bool {
	const tries = 60
	var err error
	for range tries {
		if err = f(); err == nil {
			return true
		}
		if !s.Clock.Sleep(time.Second, time.Second) {
			return false
		}
	}
	s.Log.Report("harness", "%v", err)
	return false
}
