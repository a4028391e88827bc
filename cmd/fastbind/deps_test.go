package main_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// maxModules is how many modules the server may link, itself included.
const maxModules = 80

// TestDeps holds the modules that the server links to deps.txt: a new one is a
// decision, and is seen as such.
func TestDeps(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}} {{.Version}}{{end}}", ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		if m := strings.TrimSpace(line); m != "" {
			got = append(got, m)
		}
	}
	slices.Sort(got)
	got = slices.Compact(got)
	if len(got) > maxModules {
		t.Errorf("%d modules are linked, at most %d", len(got), maxModules)
	}
	if *update {
		if err := os.WriteFile("deps.txt", []byte(strings.Join(got, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile("deps.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(strings.TrimSpace(string(want)), "\n"), got); diff != "" {
		t.Errorf("the linked modules differ from deps.txt (-want +got); \"make deps\" writes it anew:\n%s", diff)
	}
}
