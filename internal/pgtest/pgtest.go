//go:build unix

// Package pgtest gives tests a real PostgreSQL. Tests run where only Go is
// installed, so it takes part only where the environment variable
// FASTBIND_TEST_POSTGRES is 1. Where it is, and no server is found, tests fail:
// none is ever passed over.
//
// The invariant: every database that it hands out is fresh and has the newest
// schema.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/postgres"
	"github.com/fastbind/fastbind/internal/sqlstore"
)

// Enabled reports whether tests run on PostgreSQL too.
func Enabled() bool { return os.Getenv("FASTBIND_TEST_POSTGRES") == "1" }

// A Server is a running PostgreSQL. Its methods may be called from one
// goroutine at a time, but for URL and Empty.
type Server struct {
	server *postgres.Server
	names  atomic.Int64
}

// shared is the server of a test process.
var shared = sync.OnceValues(func() (*Server, error) { return start(postgres.Options{InsecureCommits: true}) })

// started says that shared was asked for.
var started atomic.Bool

// Main runs the tests of a package and removes the server that they shared.
// Call it as os.Exit(pgtest.Main(m)).
func Main(m *testing.M) int {
	code := m.Run()
	if started.Load() {
		if s, err := shared(); err == nil {
			err = s.server.Remove()
			if err != nil {
				fmt.Fprintln(os.Stderr, "pgtest:", err)
				return 1
			}
		}
	}
	return code
}

// URL returns the address of a fresh, migrated database on the server that the
// tests of the process share, and drops it when the test ends.
func URL(t testing.TB) string {
	t.Helper()
	return sharedServer(t).URL(t)
}

// Empty is [URL] for a database without a schema.
func Empty(t testing.TB) string {
	t.Helper()
	return sharedServer(t).Empty(t)
}

// Tool returns the path of a program of the server that the tests of the process
// share, such as pg_dump.
func Tool(t testing.TB, name string) string {
	t.Helper()
	return sharedServer(t).server.Tool(name)
}

func sharedServer(t testing.TB) *Server {
	t.Helper()
	requireEnabled(t)
	started.Store(true)
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func requireEnabled(t testing.TB) {
	t.Helper()
	if !Enabled() {
		t.Fatal("this test asks for PostgreSQL though FASTBIND_TEST_POSTGRES is not 1")
	}
}

// New starts a server for one test, which commits as durably as one in earnest.
func New(t testing.TB) *Server {
	t.Helper()
	requireEnabled(t)
	s, err := start(postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.server.Remove(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// URL returns the address of a fresh, migrated database.
func (s *Server) URL(t testing.TB) string {
	t.Helper()
	return s.create(t, "template "+template)
}

// Empty returns the address of a database without a schema.
func (s *Server) Empty(t testing.TB) string {
	t.Helper()
	return s.create(t, "template template0")
}

func (s *Server) create(t testing.TB, from string) string {
	t.Helper()
	name := "test" + strconv.FormatInt(s.names.Add(1), 10)
	if _, err := s.server.Admin().ExecContext(t.Context(), "create database "+name+" "+from); err != nil {
		t.Fatalf("create database: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := s.server.Admin().ExecContext(ctx, "drop database "+name+" with (force)"); err != nil {
			t.Errorf("drop database: %v", err)
		}
	})
	return s.server.URL(name)
}

// Stop ends the server as an operator would.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	must(t, s.server.Stop())
}

// Start starts it again, at the same address and with the same databases.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	must(t, s.server.Start())
}

// Kill ends the server and all its processes without a warning, as a crash
// would.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	must(t, s.server.Kill(t.Context()))
}

// PID returns the process that the server's other processes are children of.
func (s *Server) PID(t testing.TB) int {
	t.Helper()
	pid, err := s.server.PID()
	must(t, err)
	return pid
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// template is the database that others are copies of.
const template = "migrated"

func start(o postgres.Options) (*Server, error) {
	server, err := postgres.New(o)
	if err != nil {
		return nil, err
	}
	s := &Server{server: server}
	if err := s.makeTemplate(); err != nil {
		return nil, errors.Join(err, server.Remove())
	}
	return s, nil
}

func (s *Server) makeTemplate() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := s.server.Admin().ExecContext(ctx, "create database "+template); err != nil {
		return err
	}
	db, err := sqlstore.Open(ctx, s.server.URL(template), sqlstore.Options{})
	if err != nil {
		return err
	}
	_, err = db.Migrate(ctx)
	return errors.Join(err, db.Close())
}
