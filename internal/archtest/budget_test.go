package archtest_test

import (
	"go/ast"
	"path"
	"testing"
)

// The budgets of production code, in lines and methods.
const (
	maxPackage   = 1500
	maxFile      = 500
	maxFunction  = 80
	maxInterface = 5
	maxFields    = 20
)

// larger lists what may be larger, and how large; each has a reason.
var larger = map[string]int{
	"fields of App in internal/app/app.go":     28, // the wiring
	"fields of Metadata in oauth/words.go":     40, // RFC 8414 names them
	"fields of texts in internal/page/text.go": 80, // one for each sentence of the pages
}

func TestBudgets(t *testing.T) {
	t.Parallel()
	over := func(what string, got, max int) {
		if allowed, ok := larger[what]; ok {
			max = allowed
		}
		if got > max {
			t.Errorf("%s: %d, at most %d", what, got, max)
		}
	}
	packages := map[string]int{}
	for _, s := range sources(t) {
		if s.test || s.made || s.support() {
			continue
		}
		packages[path.Dir(s.path)] += s.lines()
		over("lines of "+s.path, s.lines(), maxFile)
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Body != nil {
					from, to := s.fset.Position(n.Body.Pos()).Line, s.fset.Position(n.Body.End()).Line
					over("lines of "+n.Name.Name+" in "+s.path, to-from-1, maxFunction)
				}
			case *ast.TypeSpec:
				switch x := n.Type.(type) {
				case *ast.InterfaceType:
					over("methods of "+n.Name.Name+" in "+s.path, x.Methods.NumFields(), maxInterface)
				case *ast.StructType:
					over("fields of "+n.Name.Name+" in "+s.path, x.Fields.NumFields(), maxFields)
				}
			}
			return true
		})
	}
	for p, lines := range packages {
		over("lines of "+p, lines, maxPackage)
	}
}
