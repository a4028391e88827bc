package main_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	fastbind "github.com/fastbind/fastbind/cmd/fastbind"
)

var update = flag.Bool("update", false, "write deps.txt anew")

func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){"fastbind": fastbind.Main})
}

// TestScripts runs the scripts in testdata/script. Besides the commands that
// testscript has, they use these:
//
//	exits CODE PROGRAM ARG...       run a program that exits with the code
//	serve NAME ARG...               start fastbind serve; what it says of itself when it is ready goes to NAME.json
//	stop NAME                       end that server as an operator would; what it logged goes to NAME.log
//	call STATUS METHOD URL [FORM]   send a request and compare the status; $AUTH holds ID:SECRET or a token
//	soon STATUS METHOD URL [FORM]   the same, again and again until the status is right
//	field VARIABLE PATH FILE        set a variable from a field of a JSON file, such as clients.1.client_id;
//	                                the step "port" is that of an address
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			"serve": serve,
			"stop":  stop,
			"call":  call,
			"soon":  soon,
			"field": field,
		},
	})
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		got = e.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// A process is a server that a script started.
type process struct {
	cmd *exec.Cmd
	log *os.File
	out *bufio.Reader
}

// running are the servers of all scripts, by script and name.
var running sync.Map

// patience is how long a script waits for a server.
const patience = 60 * time.Second

func serve(ts *testscript.TestScript, _ bool, args []string) {
	name := args[0]
	program := ""
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if _, err := os.Stat(filepath.Join(dir, "fastbind")); err == nil {
			program = filepath.Join(dir, "fastbind")
			break
		}
	}
	p := &process{cmd: exec.Command(program, append([]string{"serve", "--json"}, args[1:]...)...)}
	p.cmd.Dir = ts.MkAbs(".")
	p.cmd.Env = []string{"HOME=" + ts.Getenv("HOME"), "TMPDIR=" + ts.Getenv("TMPDIR"), "PATH=" + ts.Getenv("PATH")}
	var err error
	p.log, err = os.Create(ts.MkAbs(name + ".log"))
	ts.Check(err)
	p.cmd.Stderr = p.log
	out, err := p.cmd.StdoutPipe()
	ts.Check(err)
	p.out = bufio.NewReader(out)
	ts.Check(p.cmd.Start())
	running.Store(ts.Name()+"/"+name, p)
	ts.Defer(func() { p.end(syscall.SIGKILL) }) //nolint:errcheck // where it matters the script has stopped it
	late := time.AfterFunc(patience, func() { p.cmd.Process.Kill() })
	line, err := p.out.ReadString('\n')
	late.Stop()
	if err != nil {
		ts.Fatalf("server %s did not get ready: %v\n%s", name, err, ts.ReadFile(name+".log"))
	}
	ts.Check(os.WriteFile(ts.MkAbs(name+".json"), []byte(line), 0o600))
}

func stop(ts *testscript.TestScript, _ bool, args []string) {
	v, ok := running.Load(ts.Name() + "/" + args[0])
	if !ok {
		ts.Fatalf("there is no server %s", args[0])
	}
	more, err := v.(*process).end(syscall.SIGTERM)
	if err != nil {
		ts.Fatalf("server %s: %v\n%s", args[0], err, ts.ReadFile(args[0]+".log"))
	}
	if more != "" {
		ts.Fatalf("server %s wrote more than one line: %q", args[0], more)
	}
}

// end sends the signal and returns what else the server wrote, when it is gone.
func (p *process) end(sig os.Signal) (string, error) {
	if p.cmd.ProcessState != nil {
		return "", nil
	}
	if err := p.cmd.Process.Signal(sig); err != nil {
		return "", err
	}
	late := time.AfterFunc(patience, func() { p.cmd.Process.Kill() })
	defer late.Stop()
	more, err := io.ReadAll(p.out)
	return string(more), errors.Join(err, p.cmd.Wait(), p.log.Close())
}

func call(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	status, body := send(ts, args[1:])
	fmt.Fprint(ts.Stdout(), body)
	if status != want {
		ts.Fatalf("%s %s: status %d, want %d", args[1], args[2], status, want)
	}
}

func soon(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	late := time.After(patience)
	for {
		status, body := send(ts, args[1:])
		if status == want {
			fmt.Fprint(ts.Stdout(), body)
			return
		}
		select {
		case <-again.C:
		case <-late:
			ts.Fatalf("%s %s: status is still %d, want %d", args[1], args[2], status, want)
		}
	}
}

// send sends a request (METHOD URL [FORM]) and returns the status and the body.
func send(ts *testscript.TestScript, args []string) (int, string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var form io.Reader
	if len(args) > 2 {
		form = strings.NewReader(args[2])
	}
	r, err := http.NewRequestWithContext(ctx, args[0], args[1], form)
	ts.Check(err)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	switch auth := ts.Getenv("AUTH"); {
	case strings.Contains(auth, ":"):
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(auth)))
	case auth != "":
		r.Header.Set("Authorization", "Bearer "+auth)
	}
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := c.Do(r)
	ts.Check(err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	ts.Check(err)
	return res.StatusCode, string(body)
}

func field(ts *testscript.TestScript, _ bool, args []string) {
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[2])), &v))
	for step := range strings.SplitSeq(args[1], ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[step]
		case []any:
			i, err := strconv.Atoi(step)
			ts.Check(err)
			if i >= len(at) {
				ts.Fatalf("%s: there are %d", args[1], len(at))
			}
			v = at[i]
		case string:
			u, err := url.Parse(at)
			ts.Check(err)
			v = u.Port()
		default:
			v = nil
		}
	}
	if v == nil {
		ts.Fatalf("%s: no such field", args[1])
	}
	ts.Setenv(args[0], fmt.Sprint(v))
}
