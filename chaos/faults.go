package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/fastbind/fastbind/chaos/internal/fault"
)

// errUnfound says that a fault was not found.
var errUnfound = errors.New("a fault was not found")

// found is what a run prints of the first thing that is wrong.
var found = regexp.MustCompile(`(?m)^  BROKEN after (\d+) refreshes, ([^:]+):`)

// faults puts each fault whose name contains the word into the code, runs the
// harness, and prints as a table what found it.
func (o options) faults(ctx context.Context, out io.Writer, word string) error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "seed=%d refreshes=%d\n\n| fault | on | found after | by |\n| --- | --- | --- | --- |\n", o.seed, o.refreshes)
	missed := 0
	for _, f := range fault.Table() {
		if !strings.Contains(f.Name, word) {
			continue
		}
		after, by, err := o.try(ctx, root, f)
		if err != nil {
			return err
		}
		if by == "" {
			missed++
			by = "**not found**"
		}
		fmt.Fprintf(out, "| %s | %s | %s | %s |\n", f.Name, f.Engine, after, by)
	}
	if missed > 0 {
		return errUnfound
	}
	return nil
}

// try runs the harness with a fault, and returns after how many refreshes it was
// found, and by which check; empty: it was not.
func (o options) try(ctx context.Context, root string, f fault.Fault) (after, by string, err error) {
	dir, err := os.MkdirTemp("", "fastbind-fault-")
	if err != nil {
		return "", "", err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what is left over is harmless
	program, err := f.Build(ctx, root, dir)
	if err != nil {
		return "", "", err
	}
	ctx, cancel := context.WithTimeout(ctx, faultTime)
	defer cancel()
	run := exec.CommandContext(ctx, program,
		"-seed", strconv.FormatUint(o.seed, 10), "-refreshes", strconv.FormatInt(o.refreshes, 10), "-engine", string(f.Engine))
	run.Cancel = func() error { return run.Process.Signal(os.Interrupt) } // it ends what it has started
	run.WaitDelay = time.Minute
	said, err := run.CombinedOutput()
	m := found.FindSubmatch(said)
	exit := (*exec.ExitError)(nil)
	switch {
	case err == nil:
		return lastLine(said), "", nil
	case m == nil || !errors.As(err, &exit) || exit.ExitCode() != 1:
		return "", "", fmt.Errorf("%s: %w\n%s", f.Name, err, said)
	}
	return string(m[1]), string(m[2]), nil
}

// faultTime bounds a run with a fault.
const faultTime = 10 * time.Minute

func lastLine(said []byte) string {
	lines := strings.Split(strings.TrimSpace(string(said)), "\n")
	return lines[len(lines)-1]
}
