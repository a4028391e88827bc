package fanout_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/fastbind/fastbind/internal/pgtest"
)

// binary is the server as it is shipped.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "fastbind-fanout-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "fanout:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "fastbind")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "../../cmd/fastbind")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "fanout: build the server: %v\n%s", err, out)
		return 1
	}
	return pgtest.Main(m)
}

// A node is a server process.
type node struct {
	t                testing.TB
	address, operate string // where it listens
	env              []string

	cmd *exec.Cmd
	log bytes.Buffer
}

// free returns an address that nobody listens on.
func free(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// start starts the process and waits until it is ready.
func (n *node) start() error {
	n.cmd = exec.Command(binary, "serve", "--json", "--listen", n.address, "--metrics-listen", n.operate)
	n.cmd.Env = n.env
	n.cmd.Stderr = &n.log
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := n.cmd.Start(); err != nil {
		return err
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		_ = n.cmd.Process.Kill() // its log says why
		err = n.cmd.Wait()
		n.cmd = nil
		return fmt.Errorf("node did not start: %w\n%s", err, n.log.String())
	}
	return nil
}

// stop ends the process as an operator does; kill does it without a warning.
func (n *node) stop() { n.end(syscall.SIGTERM) }
func (n *node) kill() { n.end(syscall.SIGKILL) }

func (n *node) end(s syscall.Signal) {
	if n.cmd == nil {
		return
	}
	if err := n.cmd.Process.Signal(s); err != nil {
		n.t.Errorf("%v: %v", s, err)
	}
	if err := n.cmd.Wait(); err != nil && s == syscall.SIGTERM {
		n.t.Errorf("node ended with %v\n%s", err, n.log.String())
	}
	n.cmd = nil
}

// metric returns the sum of the samples of a metric whose names begin so.
func (n *node) metric(name string) (sum float64) {
	resp, err := http.Get("http://" + n.operate + "/metrics")
	if err != nil {
		n.t.Error(err)
		return 0
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Error(err)
	}
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, name) {
			continue
		}
		if v, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndex(line, " ")+1:]), 64); err == nil {
			sum += v
		}
	}
	return sum
}

// nodes starts so many nodes on one database, and the balancer before them.
func nodes(t testing.TB, count int, database string) (*balancer, []*node) {
	t.Helper()
	addresses := make([]string, count)
	for i := range addresses {
		addresses[i] = free(t)
	}
	b := newBalancer(t, addresses)
	data := t.TempDir()
	env := []string{"FASTBIND_ISSUER=" + b.url(), "FASTBIND_DATA=" + data, "FASTBIND_DATABASE_URL=" + database, "FASTBIND_LOG_LEVEL=warn"}
	all := make([]*node, count)
	for i := range all {
		all[i] = &node{t: t, address: addresses[i], operate: free(t), env: env}
		if err := all[i].start(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		var work sync.WaitGroup
		for _, n := range all {
			work.Go(n.stop)
		}
		work.Wait()
	})
	return b, all
}

// command runs a command of the binary on the data of a node.
func (n *node) command(input string, args ...string) []byte {
	n.t.Helper()
	c := exec.CommandContext(n.t.Context(), binary, args...)
	c.Env = n.env
	c.Stdin = strings.NewReader(input)
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		n.t.Fatalf("fastbind %s: %v\n%s", strings.Join(args, " "), err, said.String())
	}
	return out
}
