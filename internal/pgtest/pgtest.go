//go:build unix

// Package pgtest gives tests a real PostgreSQL: it starts the installed server
// in a temporary directory, on a socket that nobody else can reach, and removes
// it at the end, also when the test process is killed.
//
// Tests run where only Go is installed, so PostgreSQL takes part only where the
// environment variable FASTBIND_TEST_POSTGRES is 1. Where it is, and no server
// is found, tests fail: none is ever passed over.
//
// The invariant: every database that it hands out is fresh and has the newest
// schema.
package pgtest

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver for databases of tests

	"github.com/fastbind/fastbind/internal/sqlstore"
)

// Enabled reports whether tests run on PostgreSQL too.
func Enabled() bool { return os.Getenv("FASTBIND_TEST_POSTGRES") == "1" }

// A Server is a running PostgreSQL. Its methods may be called from one
// goroutine at a time, but for URL and Empty.
type Server struct {
	bin, dir string
	unsafe   bool           // forgets commits when the machine stops
	keeper   *exec.Cmd      // stops the server when this process ends
	hold     io.WriteCloser // the keeper's standard input
	admin    *sql.DB
	names    atomic.Int64
}

// shared is the server of a test process.
var shared = sync.OnceValues(func() (*Server, error) { return start(true) })

// started says that shared was asked for.
var started atomic.Bool

// Main runs the tests of a package and removes the server that they shared.
// Call it as os.Exit(pgtest.Main(m)).
func Main(m *testing.M) int {
	code := m.Run()
	if started.Load() {
		if s, err := shared(); err == nil {
			err = s.remove()
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
	s, err := start(false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.remove(); err != nil {
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
	if _, err := s.admin.ExecContext(t.Context(), "create database "+name+" "+from); err != nil {
		t.Fatalf("create database: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := s.admin.ExecContext(ctx, "drop database "+name+" with (force)"); err != nil {
			t.Errorf("drop database: %v", err)
		}
	})
	return s.url(name)
}

// Stop ends the server as an operator would.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if err := s.control("-m", "fast", "stop"); err != nil {
		t.Fatal(err)
	}
}

// Start starts it again, at the same address and with the same databases.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if err := s.control(s.startArgs()...); err != nil {
		log, _ := os.ReadFile(filepath.Join(s.dir, "log")) // for the reader only
		t.Fatalf("%v\n%s", err, log)
	}
}

// Kill ends the server and all its processes without a warning, as a crash
// would.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	rows, err := s.admin.QueryContext(t.Context(), "select $1::int union all select pid from pg_stat_activity", line)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var pids []int
	for rows.Next() {
		var pid int
		if err := rows.Scan(&pid); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	defer s.forget(t)
	for _, pid := range pids { // the postmaster first, so that it starts no others
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
	}
}

// forget removes the locks of a server that was killed. It would be taken for
// one that lives where nobody collects the dead.
func (s *Server) forget(t testing.TB) {
	t.Helper()
	for _, name := range []string{"data/postmaster.pid", "socket/.s.PGSQL.5432.lock"} {
		if err := os.Remove(filepath.Join(s.dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// template is the database that others are copies of.
const template = "migrated"

func start(unsafe bool) (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "fastbind-pg-") // short: a socket has to fit
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, dir: dir, unsafe: unsafe}
	if err := s.begin(); err != nil {
		return nil, errors.Join(fmt.Errorf("start PostgreSQL: %w", err), s.remove())
	}
	return s, nil
}

// binaries returns the directory of the programs of the newest server.
func binaries() (string, error) {
	if p, err := exec.LookPath("initdb"); err == nil {
		if p, err = filepath.EvalSymlinks(p); err == nil {
			return filepath.Dir(p), nil
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", errors.New("FASTBIND_TEST_POSTGRES is 1 but there is no PostgreSQL server: install one (Debian: apt install postgresql)")
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
}

func version(initdb string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(initdb)))) // 0 sorts first
	return n
}

func (s *Server) begin() error {
	as, err := s.unprivileged()
	if err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(s.dir, "socket"), 0o700); err != nil {
		return err
	}
	if as != nil {
		for _, d := range []string{s.dir, filepath.Join(s.dir, "socket")} {
			if err := os.Chown(d, int(as.Uid), int(as.Gid)); err != nil {
				return err
			}
		}
	}
	if err := s.run("initdb", "-D", s.data(), "-U", owner, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"); err != nil {
		return err
	}
	if err := s.keep(as); err != nil {
		return err
	}
	if s.admin, err = sql.Open("pgx", s.url("postgres")); err != nil {
		return err
	}
	return s.makeTemplate()
}

// keep starts the server below a shell that stops it when this process ends,
// however it ends.
func (s *Server) keep(as *syscall.Credential) (err error) {
	const script = `"$@" >/dev/null && echo ready && cat >/dev/null; "$1" -D "$3" -m immediate -w stop >/dev/null 2>&1`
	s.keeper = exec.Command("/bin/sh", append([]string{"-c", script, "sh", filepath.Join(s.bin, "pg_ctl"), "-D", s.data()}, s.startArgs()...)...)
	s.keeper.Dir = s.dir
	s.keeper.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: as}
	if s.hold, err = s.keeper.StdinPipe(); err != nil {
		return err
	}
	out, err := s.keeper.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.keeper.Start(); err != nil {
		return err
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		log, _ := os.ReadFile(filepath.Join(s.dir, "log")) // it may not have come so far
		return fmt.Errorf("the server did not become ready (%w): %s", err, log)
	}
	return nil
}

func (s *Server) makeTemplate() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := s.admin.ExecContext(ctx, "create database "+template); err != nil {
		return err
	}
	db, err := sqlstore.Open(ctx, s.url(template), sqlstore.Options{})
	if err != nil {
		return err
	}
	_, err = db.Migrate(ctx)
	return errors.Join(err, db.Close())
}

func (s *Server) remove() error {
	if s.admin != nil {
		s.admin.Close()
	}
	if s.hold != nil {
		s.hold.Close()
		_ = s.keeper.Wait() // it reports how the last stop went, and that may have been a kill
	}
	return os.RemoveAll(s.dir)
}

const owner = "fastbind"

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) url(name string) string {
	return "postgres://" + owner + "@/" + name + "?" + url.Values{"host": {filepath.Join(s.dir, "socket")}}.Encode()
}

func (s *Server) startArgs() []string {
	options := "-c listen_addresses='' -c max_connections=300 -c shared_buffers=64MB -k " + filepath.Join(s.dir, "socket")
	if s.unsafe {
		options += " -c fsync=off -c full_page_writes=off"
	}
	return []string{"-w", "-l", filepath.Join(s.dir, "log"), "-o", options, "start"}
}

func (s *Server) control(args ...string) error {
	return s.run("pg_ctl", append([]string{"-D", s.data()}, args...)...)
}

// run runs a program of the server and waits for it.
func (s *Server) run(name string, args ...string) error {
	as, err := s.unprivileged()
	if err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: as}
	out, err := os.CreateTemp(s.dir, name) // not a pipe: the server would hold it open
	if err != nil {
		return err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name()) // for the reader only
		return fmt.Errorf("%s: %w: %s", name, err, said)
	}
	return nil
}

// unprivileged returns as whom to run the server, which refuses to run as root;
// nil: as ourselves.
func (s *Server) unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody")
}

// PID returns the process that the server's other processes are children of.
func (s *Server) PID(t testing.TB) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}
