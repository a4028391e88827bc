package archtest_test

import (
	"go/ast"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// decisions are the packages in which the time is an argument, or comes from a
// field named Now.
var decisions = []string{
	"oauth", "dpop", "guard", "internal/opaque", "internal/jose", "internal/policy", "internal/audit",
	"internal/limit", "internal/keys", "internal/client", "internal/account", "internal/session", "internal/code",
	"internal/refresh", "internal/token", "internal/revoke", "internal/login", "internal/authorize",
	"internal/grant", "internal/sqlstore",
}

// TestClockCanBeSet finds functions that read the clock and cannot be told
// another time. Deadlines of connections are no decisions.
func TestClockCanBeSet(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.test || s.support() || !s.under(decisions...) {
			continue
		}
		for _, name := range []string{"time.Now", "time.Since", "time.Until"} {
			s.uses(name, func(at ast.Node, in *ast.FuncDecl) {
				if in == nil || !settable(in) && !deadline(in, at) {
					t.Errorf("%s: %s in a decision; take the time as an argument or from a field Now", s.line(at), name)
				}
			})
		}
	}
}

// settable reports whether the function looks at a field named Now.
func settable(f *ast.FuncDecl) bool {
	found := false
	ast.Inspect(f.Body, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Now" {
			if x, ok := sel.X.(*ast.Ident); !ok || x.Name != "time" {
				found = true
			}
		}
		return !found
	})
	return found
}

// deadline reports whether at is in the argument of a call that sets the
// deadline of a connection.
func deadline(f *ast.FuncDecl, at ast.Node) bool {
	found := false
	ast.Inspect(f.Body, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if ok && strings.HasSuffix(sel.Sel.Name, "Deadline") && call.Pos() < at.Pos() && at.End() < call.End() {
			found = true
		}
		return !found
	})
	return found
}

// uncalled are names that production code does not mention, and where it may: in
// folders, or in programs (main).
var uncalled = []struct {
	name    string
	except  []string
	instead string
}{
	{"net/http.DefaultServeMux", nil, "build a mux"},
	{"net/http.Handle", nil, "build a mux"},
	{"net/http.HandleFunc", nil, "build a mux"},
	{"net/http.ListenAndServe", nil, "an http.Server with timeouts"},
	{"net/http.DefaultClient", nil, "an http.Client with a timeout"},
	{"net/http.Get", nil, "an http.Client with a timeout"},
	{"net/http.Post", nil, "an http.Client with a timeout"},
	{"log/slog.SetDefault", nil, "hand the logger on"},
	{"log/slog.Default", nil, "the logger that was handed in"},
	{"context.Background", []string{"main", "internal/app", "internal/pgtest"}, "the context of the caller"},
	{"context.TODO", nil, "the context of the caller"},
	{"os.Getenv", []string{"internal/pgtest"}, "only cmd reads the environment, through what main hands it"},
	{"os.LookupEnv", nil, "only cmd reads the environment, through what main hands it"},
	{"os.Exit", []string{"main"}, "return an error"},
	{"log.Fatal", nil, "return an error"},
	{"time.Sleep", nil, "a timer and the context"},
}

func TestUncalled(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.test || s.under("interop") || s.under("tools") {
			continue
		}
		for _, u := range uncalled {
			s.uses(u.name, func(at ast.Node, _ *ast.FuncDecl) {
				if !s.under(u.except...) && !slices.Contains(u.except, s.file.Name.Name) {
					t.Errorf("%s: %s; instead: %s", s.line(at), u.name, u.instead)
				}
			})
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: no init functions", s.line(f))
			}
		}
	}
}

// TestTestsWait refuses tests that sleep in real time (measurements may) or let
// themselves be skipped: a test that passes when its database is absent shows
// nothing.
func TestTestsWait(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if !s.test {
			continue
		}
		if s.imports("testing/synctest") == "" && !s.under("bench") {
			s.uses("time.Sleep", func(at ast.Node, _ *ast.FuncDecl) {
				t.Errorf("%s: wait for what happens, or use testing/synctest", s.line(at))
			})
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && slices.Contains([]string{"t", "tb", "b", "f"}, x.Name) {
				t.Errorf("%s: no test skips itself", s.line(call))
			}
			return true
		})
	}
}

// TestNoUnfinishedWork refuses notes of work that is still to be done. A known
// gap is a BUG paragraph in the package comment.
func TestNoUnfinishedWork(t *testing.T) {
	t.Parallel()
	note := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|HA` + `CK)\b`)
	for _, s := range sources(t) {
		for _, g := range s.file.Comments {
			if m := note.FindString(g.Text()); m != "" {
				t.Errorf("%s: %s", s.line(g), m)
			}
		}
	}
}
