package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

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
