//go:build unix

// Package postgres runs the installed PostgreSQL server in a temporary
// directory, on a socket that nobody else can reach. Tests, benchmarks and the
// chaos harness stop, start and kill it.
//
// The invariant: a server ends, and its directory goes, with the process that
// started it, also when that is killed.
package postgres

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
	"syscall"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver of the connection for administration
)

// Options are what can be chosen about a server. The zero value is one in
// earnest.
type Options struct {
	// InsecureCommits forgets commits when the machine stops; it is faster.
	InsecureCommits bool
}

// A Server is a running PostgreSQL. Its methods may be called from one
// goroutine at a time, but for URL and Admin.
type Server struct {
	bin, dir string
	options  Options
	keeper   *exec.Cmd      // stops the server when this process ends
	hold     io.WriteCloser // the keeper's standard input
	admin    *sql.DB
}

// New starts a server. The caller removes it.
func New(o Options) (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "fastbind-pg-") // short: a socket has to fit
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, dir: dir, options: o}
	if err := s.begin(); err != nil {
		return nil, errors.Join(fmt.Errorf("start PostgreSQL: %w", err), s.Remove())
	}
	return s, nil
}

// Admin returns connections to the database postgres, as its superuser.
func (s *Server) Admin() *sql.DB { return s.admin }

// URL returns the address of a database of the server.
func (s *Server) URL(name string) string {
	return "postgres://" + owner + "@/" + name + "?" + url.Values{"host": {filepath.Join(s.dir, "socket")}}.Encode()
}

// Stop ends the server as an operator would.
func (s *Server) Stop() error { return s.control("-m", "fast", "stop") }

// Start starts it again, at the same address and with the same databases.
func (s *Server) Start() error {
	if err := s.control(s.startArgs()...); err != nil {
		log, _ := os.ReadFile(filepath.Join(s.dir, "log")) // for the reader only
		return fmt.Errorf("%w\n%s", err, log)
	}
	return nil
}

// Kill ends the server and all its processes without a warning, as a crash
// would.
func (s *Server) Kill(ctx context.Context) error {
	master, err := s.PID()
	if err != nil {
		return err
	}
	pids, err := s.processes(ctx)
	if err != nil {
		return err
	}
	for _, pid := range append([]int{master}, pids...) { // the first so that it starts no others
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return s.forget()
}

// processes returns the processes of the server but its first.
func (s *Server) processes(ctx context.Context) ([]int, error) {
	rows, err := s.admin.QueryContext(ctx, "select pid from pg_stat_activity")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var pids []int
	for rows.Next() {
		var pid int
		if err := rows.Scan(&pid); err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, rows.Err()
}

// forget removes the locks of a server that was killed. It would be taken for
// one that lives where nobody collects the dead.
func (s *Server) forget() error {
	return errors.Join(
		os.Remove(filepath.Join(s.dir, "data", "postmaster.pid")),
		os.Remove(filepath.Join(s.dir, "socket", ".s.PGSQL.5432.lock")),
	)
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
		return "", errors.New("there is no PostgreSQL server: install one (Debian: apt install postgresql)")
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
	s.admin, err = sql.Open("pgx", s.URL("postgres"))
	return err
}

// keep starts the server below a shell that stops it, and removes its directory,
// when this process ends, however it ends.
func (s *Server) keep(as *syscall.Credential) (err error) {
	const script = `"$@" >/dev/null && echo ready && cat >/dev/null; "$1" -D "$3" -m immediate -w stop >/dev/null 2>&1; cd / && rm -rf "${3%/data}"`
	s.keeper = exec.Command("/bin/sh", append([]string{"-c", script, "sh", filepath.Join(s.bin, "pg_ctl"), "-D", s.data()}, s.startArgs()...)...) //nolint:noctx // it outlives every context
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

// Remove ends the server and removes all that it kept.
func (s *Server) Remove() error {
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

// Tool returns the path of a program that came with the server.
func (s *Server) Tool(name string) string { return filepath.Join(s.bin, name) }

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) startArgs() []string {
	options := "-c listen_addresses='' -c max_connections=300 -c shared_buffers=64MB -k " + filepath.Join(s.dir, "socket")
	if s.options.InsecureCommits {
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
	cmd := exec.Command(filepath.Join(s.bin, name), args...) //nolint:noctx // what it starts outlives every context
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
func (s *Server) PID() (int, error) {
	b, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strconv.Atoi(line)
}
