package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fastbind/fastbind/chaos/internal/node"
)

// TestMain is a server where the harness starts one.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == node.Argument {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestShort is a very short run on SQLite, as it is started from the command
// line.
func TestShort(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	args := strings.Fields("-seed 3 -refreshes 400 -clients 30 -scenes 10 -engine sqlite")
	if err := run(t.Context(), args, strings.NewReader(""), &out, os.Stderr); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	last := regexp.MustCompile(`^refreshes=\d{3,} honest_logouts=0 thefts=([1-9]\d*) noticed=(\d+) refused_p99_ms=-?\d+\.\d$`).FindStringSubmatch(lines[len(lines)-1])
	if last == nil || last[1] != last[2] {
		t.Errorf("last line %q", lines[len(lines)-1])
	}
	if !strings.HasPrefix(lines[0], "seed=3 ") {
		t.Errorf("first line %q", lines[0])
	}
}

// TestWrongFlags: what cannot be run is an error, not a verdict.
func TestWrongFlags(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"-engine oracle", "-seed x"} {
		var out strings.Builder
		if err := run(t.Context(), strings.Fields(args), strings.NewReader(""), &out, &out); err == nil || fmt.Sprint(err) == errBroken.Error() {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// TestProcess: a server process begins, goes by the clock that it is told, is
// killed and begins again; one that ended by itself is an error.
func TestProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := &node.Process{Name: "node", Log: filepath.Join(dir, "log")}
	setup := node.Setup{Issuer: "http://127.0.0.1:9", Data: dir, Database: "sqlite://" + filepath.Join(dir, "fastbind.db")}
	if err := p.Start(t.Context(), setup); err != nil {
		t.Fatal(err)
	}
	healthy := func() {
		t.Helper()
		client, address := p.Client()
		res, err := client.Get("http://" + address + "/healthz")
		if err != nil || res.StatusCode != http.StatusNoContent {
			t.Fatalf("%v %v", res, err)
		}
		res.Body.Close()
		if err := p.Set(time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	healthy()
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if client, _ := p.Client(); client != nil {
		t.Error("a server that was killed can be asked")
	}
	if err := p.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	healthy()
	if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for p.Set(2*time.Hour) == nil { // until the signal has arrived
		runtime.Gosched()
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
}
