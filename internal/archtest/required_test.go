package archtest_test

import (
	"fmt"
	"go/ast"
	"regexp"
	"testing"
)

// required are the ranges of negative tests that must exist, by number. Each
// test is a function whose name begins with TestN and the number.
var required = [][2]int{
	{1, 15},
	{20, 31},
	{33, 38},
	{40, 48},
	{51, 54},
	{60, 65},
	{70, 75},
	{77, 77},
	{80, 81},
	{87, 87},
	{90, 90},
	{94, 97},
	{100, 103},
	{110, 119},
}

func TestRequiredNegativeTests(t *testing.T) {
	t.Parallel()
	name := regexp.MustCompile(`^TestN(\d{2,3})(?:[A-Z]|$)`)
	have := map[string]bool{}
	for _, s := range sources(t) {
		if !s.test {
			continue
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				if m := name.FindStringSubmatch(f.Name.Name); m != nil {
					have[m[1]] = true
				}
			}
		}
	}
	for _, r := range required {
		for n := r[0]; n <= r[1]; n++ {
			if id := fmt.Sprintf("%02d", n); !have[id] {
				t.Errorf("no test is named TestN%s…", id)
			}
		}
	}
}
