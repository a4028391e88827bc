package interop_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/pgtest"
)

// binary is the server as TestMain built it.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "interop:", err)
		return 1
	}
	if err := need(); err != nil {
		return fail(err)
	}
	dir, err := os.MkdirTemp("", "fastbind-interop-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "fastbind")
	build := exec.Command("go", "build", "-o", binary, "./cmd/fastbind")
	build.Dir = ".."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fail(fmt.Errorf("build the server: %w\n%s", err, out))
	}
	code := pgtest.Main(m)
	if err := closeChromium(); err != nil && code == 0 {
		return fail(fmt.Errorf("close the browser: %w", err))
	}
	return code
}

// need says what is missing for the tests. None is left out for want of it.
func need() error {
	var missing, packages []string
	for _, n := range []struct{ program, pkg string }{{"node", "nodejs"}, {"npm", "npm"}} {
		if _, err := exec.LookPath(n.program); err != nil {
			missing, packages = append(missing, n.program), append(packages, n.pkg)
		}
	}
	if chromiumPath() == "" {
		missing, packages = append(missing, "chromium"), append(packages, "chromium")
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%s is missing: install it (Debian: apt-get install %s)", strings.Join(missing, ", "), strings.Join(packages, " "))
}

// A ready line is what the server prints once it answers.
type ready struct {
	Issuer  string         `json:"issuer"`
	API     string         `json:"api"`
	Users   []user         `json:"users"`
	Clients []registration `json:"clients"`
}

type user struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

type registration struct {
	ID       string   `json:"client_id"`
	Secret   string   `json:"client_secret"`
	Redirect []string `json:"redirect_uris"`
	Return   []string `json:"post_logout_redirect_uris"`
	Policy   string   `json:"policy"`
}

// options are what a test chooses about a server. The zero value is a server of
// its own on SQLite, on a port that the system chose.
type options struct {
	data   string // folder; empty: a new one
	listen string // address; empty: 127.0.0.1:0
	// database is the URL of a PostgreSQL database. With one the server is not
	// one for development: it is configured by the environment, and users and
	// clients come from the command line. Empty: SQLite in data.
	database string
	// issuer is the public address of a node that is not the first on its
	// database; empty: its own.
	issuer string

	met *purse // what must not be in the log; nil: nothing yet
	set *ready // what was made on the data before; nil: nothing
}

// A server is a process of the binary.
type server struct {
	ready
	options
	took time.Duration // from the start of the process until it was ready

	t      testing.TB
	cmd    *exec.Cmd
	stderr *buffer
	stdout *bufio.Reader
	ended  bool
}

// start starts a server that ends with the test: on SIGTERM, with exit code 0,
// and without a secret in its log.
func start(t testing.TB, o options) *server {
	t.Helper()
	s := launch(t, o)
	t.Cleanup(s.stop)
	return s
}

// launch is start for a server that the test ends itself.
func launch(t testing.TB, o options) *server {
	t.Helper()
	if o.data == "" {
		o.data = t.TempDir()
	}
	if o.listen == "" {
		o.listen = "127.0.0.1:0"
	}
	if o.met == nil {
		o.met = &purse{all: map[string]bool{}}
	}
	s := &server{options: o, t: t, stderr: &buffer{}}
	s.begin()
	if o.database != "" {
		s.furnish()
	}
	for _, v := range s.secrets() {
		s.secret(v)
	}
	t.Logf("ready after %s at %s", s.took.Round(time.Millisecond), s.Issuer)
	return s
}

// begin starts the process and waits until it says that it is ready.
func (s *server) begin() {
	t := s.t
	t.Helper()
	args := []string{"serve", "--data", s.data, "--json"}
	var more []string
	if s.database == "" {
		args = append(args, "--dev")
	} else {
		s.listen = concrete(t, s.listen)
		issuer := s.issuer
		if issuer == "" {
			issuer = "http://" + s.listen
		}
		more = []string{"FASTBIND_ISSUER=" + issuer, "FASTBIND_DATABASE_URL=" + s.database}
	}
	s.cmd = exec.Command(binary, append(args, "--listen", s.listen)...)
	s.cmd.Env = append(environment(), more...)
	s.cmd.Stderr = s.stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.stdout = bufio.NewReader(out)
	from := time.Now()
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("start the server: %v", err)
	}
	line, err := s.stdout.ReadBytes('\n')
	s.took = time.Since(from)
	if err != nil {
		_ = s.cmd.Process.Kill() // it ended by itself, or says nothing: the log tells why
		t.Fatalf("the server said nothing (%v, %v):\n%s", err, s.cmd.Wait(), s.stderr)
	}
	if err := json.Unmarshal(line, &s.ready); err != nil {
		t.Fatalf("the server's line is not JSON: %v", err)
	}
}

// concrete returns an address with a free port instead of port 0: the issuer has
// to be known before the server starts.
func concrete(t testing.TB, address string) string {
	t.Helper()
	if !strings.HasSuffix(address, ":0") {
		return address
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// environment is ours without what configures a server.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "FASTBIND_") })
}

// again starts a server on the same data and at the same address.
func (s *server) again() *server {
	s.t.Helper()
	o := s.options
	if s.database == "" { // the issuer is where it listens
		u, err := url.Parse(s.Issuer)
		if err != nil {
			s.t.Fatal(err)
		}
		o.listen = u.Host
	}
	return launch(s.t, o)
}

// node starts another server on the same database, under the same issuer.
func (s *server) node() *server {
	s.t.Helper()
	o := s.options
	o.listen, o.issuer = "", s.Issuer
	return launch(s.t, o)
}

// in returns the server for a subtest.
func (s *server) in(t testing.TB) *server {
	sub := *s
	sub.t = t
	return &sub
}

// kill ends the server without a warning.
func (s *server) kill() {
	s.t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		s.t.Fatalf("kill: %v", err)
	}
	s.bury()
}

// bury waits for a server that was killed.
func (s *server) bury() {
	s.t.Helper()
	s.ended = true
	_ = s.cmd.Wait() // it reports the signal
	s.checkLog()
}

// patience is how long a server may take to stop.
const patience = 15 * time.Second

// stop ends the server as an operator does.
func (s *server) stop() {
	s.t.Helper()
	if s.ended {
		return
	}
	s.ended = true
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Errorf("stop the server: %v\n%s", err, s.stderr)
		return
	}
	late := time.AfterFunc(patience, func() {
		s.t.Errorf("the server does not stop within %s", patience)
		_ = s.cmd.Process.Kill() // it may have stopped just now
	})
	rest, err := s.stdout.ReadString(0)
	if rest != "" || err == nil {
		s.t.Errorf("the server printed more than one line")
	}
	err = s.cmd.Wait()
	late.Stop()
	if err != nil {
		s.t.Errorf("the server ended with %v, want exit code 0\n%s", err, s.stderr)
	}
	s.checkLog()
}

// secretForms are the forms of what must never be in a log: handles, JWTs,
// private keys, and hashes of passwords.
var secretForms = regexp.MustCompile(`fb[a-z]_[0-9A-Za-z]{20,}|eyJ[0-9A-Za-z_-]{10,}\.[0-9A-Za-z_-]{10,}|PRIVATE KEY|\$argon2`)

// A purse holds the secrets that a test has met.
type purse struct {
	mu  sync.Mutex
	all map[string]bool
}

// secret says that v must not be in the log of the server, nor in that of
// another one on the same data.
func (s *server) secret(v string) {
	if v == "" {
		return
	}
	s.met.mu.Lock()
	defer s.met.mu.Unlock()
	s.met.all[v] = true
}

func (s *server) checkLog() {
	s.t.Helper()
	log := s.stderr.String()
	if m := secretForms.FindString(log); m != "" {
		s.t.Errorf("a secret is in the log: %.14s…", m)
	}
	if strings.Contains(log, "panic") || strings.Contains(log, "DATA RACE") {
		s.t.Errorf("the log tells of a panic:\n%s", log)
	}
	s.met.mu.Lock()
	defer s.met.mu.Unlock()
	for v := range s.met.all {
		if strings.Contains(log, v) {
			s.t.Errorf("a secret that the test met is in the log: %.6s…", v)
		}
	}
}

func (s *server) secrets() []string {
	var out []string
	for _, u := range s.Users {
		out = append(out, u.Password)
	}
	for _, c := range s.Clients {
		out = append(out, c.Secret)
	}
	return out
}

// client returns a client of the ready line.
func (r ready) client(t testing.TB, id string) registration {
	t.Helper()
	for _, c := range r.Clients {
		if c.ID == id {
			return c
		}
	}
	t.Fatalf("the server has no client %s", id)
	return registration{}
}

// password returns the password of a user of the ready line.
func (r ready) password(t testing.TB, username string) string {
	t.Helper()
	for _, u := range r.Users {
		if u.Username == username {
			return u.Password
		}
	}
	t.Fatalf("the server has no user %s", username)
	return ""
}

// command runs a command of the binary on the data of the server, while it runs.
func (s *server) command(input string, args ...string) []byte {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), binary, args...)
	cmd.Env = append(environment(), "FASTBIND_DATA="+s.data)
	if s.database != "" {
		cmd.Env = append(cmd.Env, "FASTBIND_DATABASE_URL="+s.database)
	}
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.Output()
	if err != nil {
		e, _ := errors.AsType[*exec.ExitError](err)
		s.t.Fatalf("fastbind %s: %v\n%s", strings.Join(args, " "), err, e.Stderr)
	}
	return out
}

// A buffer may be written and read at the same time.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// databases runs a test on SQLite, and on PostgreSQL where tests run on it.
func databases(t *testing.T, test func(*testing.T, options)) {
	t.Run("SQLite", func(t *testing.T) { test(t, options{}) })
	if pgtest.Enabled() {
		t.Run("PostgreSQL", func(t *testing.T) { test(t, options{database: pgtest.Empty(t)}) })
	}
}

func TestReadyWithinASecond(t *testing.T) {
	const limit = time.Second
	for _, fresh := range []bool{true, false} {
		best, o := time.Hour, options{data: t.TempDir()}
		for range 3 {
			if fresh {
				o.data = t.TempDir()
			}
			s := launch(t, o)
			best = min(best, s.took)
			s.stop()
		}
		t.Logf("best of three, fresh data %v: %s", fresh, best.Round(time.Millisecond))
		if best >= limit {
			t.Errorf("ready after %s, want less than %s", best, limit)
		}
	}
}
