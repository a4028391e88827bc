package archtest_test

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var (
	// citation is the one form in which a comment cites a standard.
	citation = regexp.MustCompile(`((?:RFC \d+)|(?:OpenID Connect [A-Z][A-Za-z-]+(?: [A-Z][A-Za-z-]+)*(?: 1\.0)?)|(?:SP 800-63B)|(?:FAPI 2\.0))(?:, section)s? ((?:[A-Z]\.)?\d+(?:\.\d+)*(?:(?:, | and |, and | to )(?:[A-Z]\.)?\d+(?:\.\d+)*)*)`)
	section  = regexp.MustCompile(`(?:[A-Z]\.)?\d+(?:\.\d+)*`)
	space    = regexp.MustCompile(`\s+`)
)

type place struct {
	standard, section string
}

// TestSpecMap holds docs/spec-map.md to the citations in the comments.
func TestSpecMap(t *testing.T) {
	t.Parallel()
	code, tests := map[place][]string{}, map[place][]string{}
	for _, s := range sources(t) {
		if s.made || s.under("internal/archtest") {
			continue
		}
		into := code
		if s.test {
			into = tests
		}
		for _, g := range s.file.Comments {
			text := space.ReplaceAllString(g.Text(), " ")
			for _, m := range citation.FindAllStringSubmatch(text, -1) {
				for _, n := range section.FindAllString(m[2], -1) {
					p := place{strings.TrimSuffix(m[1], " 1.0"), n}
					into[p] = append(into[p], s.holder(g))
				}
			}
		}
	}
	if len(code) == 0 {
		t.Fatal("no citation found")
	}
	got := render(code, tests)
	file := filepath.Join(root, "docs", "spec-map.md")
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/spec-map.md is out of date: run \"make generate\"")
	}
}

// holder names the declaration that a comment belongs to.
func (s source) holder(g *ast.CommentGroup) string {
	at := s.path
	for _, d := range s.file.Decls {
		from, name := d.Pos(), ""
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Doc != nil {
				from = d.Doc.Pos()
			}
			name = d.Name.Name
			if d.Recv != nil && len(d.Recv.List) == 1 {
				name = receiver(d.Recv.List[0].Type) + "." + name
			}
		case *ast.GenDecl:
			if d.Doc != nil {
				from = d.Doc.Pos()
			}
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					name = spec.Name.Name
				case *ast.ValueSpec:
					if name == "" || spec.Pos() <= g.End() {
						name = spec.Names[0].Name
					}
				}
			}
		}
		if name != "" && from <= g.Pos() && g.End() <= d.End() {
			return at + " `" + name + "`"
		}
	}
	return at
}

func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

func render(code, tests map[place][]string) []byte {
	all := map[place]bool{}
	for p := range code {
		all[p] = true
	}
	for p := range tests {
		all[p] = true
	}
	var b bytes.Buffer
	b.WriteString(`# Where each standard is followed

Made from the citations in the comments by the test TestSpecMap; "make generate" writes it anew.
`)
	last := ""
	for _, p := range slices.SortedFunc(maps.Keys(all), compare) {
		if p.standard != last {
			fmt.Fprintf(&b, "\n## %s\n\n| section | code | tests |\n| --- | --- | --- |\n", p.standard)
			last = p.standard
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", p.section, cell(code[p]), cell(tests[p]))
	}
	return b.Bytes()
}

func cell(places []string) string {
	slices.Sort(places)
	return strings.Join(slices.Compact(places), "<br>")
}

// compare orders by standard and section, numbers by their value.
func compare(a, b place) int {
	return cmp.Or(
		numbers(a.standard, b.standard, " "),
		numbers(a.section, b.section, "."),
	)
}

func numbers(a, b, separator string) int {
	return slices.CompareFunc(strings.Split(a, separator), strings.Split(b, separator), func(x, y string) int {
		n, errX := strconv.Atoi(x)
		m, errY := strconv.Atoi(y)
		if errX == nil && errY == nil {
			return cmp.Compare(n, m)
		}
		return cmp.Compare(x, y)
	})
}
