// Package node owns server processes: how one begins, is told the time, and is
// killed. The processes are the harness itself, started anew as a server.
//
// The invariant: a process ends only when it is killed, or the harness is gone;
// one that ended otherwise cannot be told the time, which is an error.
package node

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Argument is the argument that makes a server of the harness.
const Argument = "node"

// A Process is one place in the cluster: a server process, or none while it is
// down.
type Process struct {
	Name string
	Log  string // file that gets what the server has to say

	mu      sync.Mutex // held while the process begins, ends or is told something
	setup   Setup
	ahead   time.Duration // of the run
	skew    time.Duration // of this node's clock
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	address string
	client  *http.Client
}

// idleConns is how many connections to a node are kept.
const idleConns = 64

// answerTime bounds a request; a database that starts again takes a few seconds.
const answerTime = 30 * time.Second

// Start begins the process and returns when it serves.
func (p *Process) Start(ctx context.Context, s Setup) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.setup = s
	return p.start(ctx)
}

// Restart begins it again, as it was set up, after it was killed.
func (p *Process) Restart(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.start(ctx)
}

func (p *Process) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the process has its own handle
	cmd := exec.CommandContext(ctx, self, Argument)
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt is for the harness, which then ends it
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.setup.Ahead = p.ahead + p.skew
	first, err := json.Marshal(p.setup)
	if err != nil {
		return err
	}
	if _, err = in.Write(append(first, '\n')); err != nil {
		return errors.Join(err, end(cmd))
	}
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	if err != nil {
		return errors.Join(fmt.Errorf("server %s did not become ready: %w", p.Name, err), end(cmd))
	}
	p.cmd, p.in, p.out, p.address = cmd, in, lines, strings.TrimSpace(line)
	p.client = &http.Client{
		Timeout:       answerTime,
		Transport:     &http.Transport{MaxIdleConns: idleConns, MaxIdleConnsPerHost: idleConns, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return nil
}

func end(cmd *exec.Cmd) error {
	err := cmd.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	_ = cmd.Wait() // it was killed
	return err
}

// Kill ends the process without a warning.
func (p *Process) Kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return nil
	}
	client := p.client
	err := end(p.cmd)
	p.cmd, p.in, p.out, p.address, p.client = nil, nil, nil, "", nil
	client.CloseIdleConnections()
	return err
}

// Client returns what asks the node, and its address; nil while it is down.
func (p *Process) Client() (*http.Client, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.client, p.address
}

// Set tells the process by how much the run is ahead of the real time.
func (p *Process) Set(ahead time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ahead = ahead
	return p.tell()
}

// Skew says by how much the clock of the process differs from that of the run.
func (p *Process) Skew(d time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.skew = d
	return p.tell()
}

// tell sets the clock of the process; p.mu is held.
func (p *Process) tell() error {
	if p.cmd == nil {
		return nil // it is told when it begins
	}
	if _, err := io.WriteString(p.in, strconv.FormatInt(int64(p.ahead+p.skew), 10)+"\n"); err != nil {
		return fmt.Errorf("server %s: set the clock: %w", p.Name, err)
	}
	if _, err := p.out.ReadString('\n'); err != nil {
		return fmt.Errorf("server %s: set the clock: %w", p.Name, err)
	}
	return nil
}

// PID returns the number of the process; 0 while it is down.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}
