package archtest_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	module = "github.com/fastbind/fastbind"
	root   = "../.."
)

var update = flag.Bool("update", false, "write docs/spec-map.md anew")

// A pkg is a package as go list describes it.
type pkg struct {
	ImportPath string
	Name       string
	Imports    []string
	Deps       []string
}

// path returns the import path below the module.
func (p pkg) path() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

var list = sync.OnceValues(func() ([]pkg, error) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Name,Imports,Deps", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		if e, ok := errors.AsType[*exec.ExitError](err); ok {
			return nil, fmt.Errorf("go list: %w: %s", err, e.Stderr)
		}
		return nil, err
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
})

// packages returns the packages of the main module.
func packages(t *testing.T) []pkg {
	t.Helper()
	all, err := list()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 2 {
		t.Fatalf("go list found %d packages", len(all))
	}
	return all
}

// A source is one parsed Go file of the repository, nested modules included.
type source struct {
	path string // slash-separated, from the root
	fset *token.FileSet
	file *ast.File
	test bool
	made bool // generated
}

func (s source) line(n ast.Node) string {
	return fmt.Sprintf("%s:%d", s.path, s.fset.Position(n.Pos()).Line)
}

// lines returns how many lines the file has.
func (s source) lines() int {
	return s.fset.File(s.file.Pos()).LineCount()
}

var parse = sync.OnceValues(func() ([]source, error) {
	var all []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (d.Name()[0] == '.' || slices.Contains([]string{"node_modules", "testdata", "out"}, d.Name())):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".go":
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		s := source{path: filepath.ToSlash(rel), fset: token.NewFileSet(), test: strings.HasSuffix(path, "_test.go")}
		s.file, err = parser.ParseFile(s.fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		s.made = ast.IsGenerated(s.file)
		all = append(all, s)
		return nil
	})
	return all, err
})

// sources returns all Go files of the repository.
func sources(t *testing.T) []source {
	t.Helper()
	all, err := parse()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("no Go files found")
	}
	return all
}

// under reports whether the file lies in the package or a package below it.
func (s source) under(dirs ...string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool { return strings.HasPrefix(s.path, d+"/") })
}

// support reports whether the file belongs to a package that only tests use.
func (s source) support() bool {
	return strings.HasSuffix(path.Dir(s.path), "test") || s.under("bench")
}

// imports returns the name under which the file imports path, or "".
func (s source) imports(path string) string {
	for _, i := range s.file.Imports {
		if i.Path.Value != `"`+path+`"` {
			continue
		}
		if i.Name != nil {
			return i.Name.Name
		}
		return path[strings.LastIndexByte(path, '/')+1:]
	}
	return ""
}

// uses calls f for every mention of the exported name of a package, written as
// "net/http.DefaultServeMux", with the function that it is in.
func (s source) uses(qualified string, f func(at ast.Node, in *ast.FuncDecl)) {
	dot := strings.LastIndexByte(qualified, '.')
	local := s.imports(qualified[:dot])
	if local == "" {
		return
	}
	for _, d := range s.file.Decls {
		in, _ := d.(*ast.FuncDecl)
		ast.Inspect(d, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != qualified[dot+1:] {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == local {
				f(sel, in)
			}
			return true
		})
	}
}
