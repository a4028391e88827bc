// Package fault puts faults into the code of the server, to show that a chaos
// run finds each of them.
//
// A fault is a few words of the source that are replaced for one build. The
// invariant: a fault whose words are not in the source any more, exactly once,
// is an error, never one that was not found.
package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// An Engine is the database on which a fault shows.
type Engine string

// The engines.
const (
	Postgres Engine = "postgres"
	SQLite   Engine = "sqlite"
)

// A Fault is one that somebody could make.
type Fault struct {
	Name   string
	Engine Engine
	Edits  []Edit
}

// An Edit replaces words of a source file.
type Edit struct {
	File     string // from the root of the repository
	Old, New string
}

// Sources returns, by file, what the sources below root are with the fault.
func (f Fault) Sources(root string) (map[string]string, error) {
	changed := make(map[string]string)
	for _, e := range f.Edits {
		text, ok := changed[e.File]
		if !ok {
			b, err := os.ReadFile(filepath.Join(root, e.File))
			if err != nil {
				return nil, err
			}
			text = string(b)
		}
		if n := strings.Count(text, e.Old); n != 1 {
			return nil, fmt.Errorf("%s: the words of the fault are %d times in %s: %q", f.Name, n, e.File, e.Old)
		}
		changed[e.File] = strings.Replace(text, e.Old, e.New, 1)
	}
	return changed, nil
}

// Build builds the harness with the fault into a file in dir, and returns its
// name.
func (f Fault) Build(ctx context.Context, root, dir string) (string, error) {
	sources, err := f.Sources(root)
	if err != nil {
		return "", err
	}
	var overlay struct{ Replace map[string]string }
	overlay.Replace = make(map[string]string)
	for file, text := range sources {
		to := filepath.Join(dir, strconv.Itoa(len(overlay.Replace))+".go")
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			return "", err
		}
		overlay.Replace[filepath.Join(root, file)] = to
	}
	b, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	list, program := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "chaos")
	if err := os.WriteFile(list, b, 0o600); err != nil {
		return "", err
	}
	build := exec.CommandContext(ctx, "go", "build", "-overlay", list, "-o", program, "./chaos")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: build: %w\n%s", f.Name, err, out)
	}
	return program, nil
}
