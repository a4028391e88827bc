package fault_test

import (
	"go/parser"
	"go/token"
	"testing"

	"github.com/fastbind/fastbind/chaos/internal/fault"
)

// TestTable: the words of every fault are in the source, and what it makes of
// them is Go.
func TestTable(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, f := range fault.Table() {
		if names[f.Name] {
			t.Errorf("two faults are named %q", f.Name)
		}
		names[f.Name] = true
		sources, err := f.Sources("../../..")
		if err != nil {
			t.Error(err)
		}
		for file, text := range sources {
			if _, err := parser.ParseFile(token.NewFileSet(), file, text, parser.SkipObjectResolution); err != nil {
				t.Errorf("%s: %v", f.Name, err)
			}
		}
	}
	if len(names) < 10 {
		t.Errorf("%d faults", len(names))
	}
}

// TestOtherWords: a fault whose words are not there, or twice, is an error.
func TestOtherWords(t *testing.T) {
	t.Parallel()
	for _, old := range []string{"these words are nowhere", "filepath.Join"} {
		f := fault.Fault{Name: "x", Edits: []fault.Edit{{File: "chaos/internal/fault/fault.go", Old: old, New: "y"}}}
		if _, err := f.Sources("../../.."); err == nil {
			t.Errorf("%q was replaced", old)
		}
	}
}
