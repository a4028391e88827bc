package archtest_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// mayImport lists, for every package of this module, the packages of this
// module it may import. To add an edge is a design decision: it belongs in a
// commit of its own.
var mayImport = map[string][]string{
	// Words: the standard library only.
	"oauth":           {},
	"internal/opaque": {},
	"internal/jose":   {},
	"internal/policy": {},
	"internal/audit":  {},

	// Mechanisms.
	"dpop":               {"internal/jose"},
	"guard":              {"oauth", "dpop", "internal/jose"},
	"guard/guardtest":    {"oauth", "dpop", "guard", "internal/jose"},
	"internal/limit":     {"internal/opaque"},
	"internal/job":       {"internal/opaque"},
	"internal/web":       {"oauth", "internal/opaque", "internal/limit"},
	"internal/page":      {"internal/page/part"},
	"internal/page/part": {},

	// Domain: who and with what.
	"internal/keys":    {"internal/audit", "internal/jose", "internal/opaque"},
	"internal/client":  {"oauth", "internal/audit", "internal/limit", "internal/opaque"},
	"internal/account": {"internal/audit", "internal/opaque"},
	"internal/session": {"internal/audit", "internal/opaque"},

	// Domain: credentials.
	"internal/refresh": {"internal/audit", "internal/opaque", "internal/policy"},
	"internal/code":    {"internal/audit", "internal/opaque", "internal/refresh"},
	"internal/token":   {"oauth", "internal/jose", "internal/keys", "internal/opaque", "internal/web"},
	"internal/revoke": {
		"oauth", "internal/audit", "internal/client", "internal/opaque",
		"internal/refresh", "internal/session", "internal/token", "internal/web",
	},

	// Endpoints: never each other.
	"internal/login": {
		"oauth", "internal/account", "internal/audit", "internal/limit", "internal/opaque",
		"internal/page", "internal/session", "internal/web",
	},
	"internal/authorize": {
		"oauth", "internal/audit", "internal/client", "internal/code", "internal/limit", "internal/opaque",
		"internal/page", "internal/policy", "internal/refresh", "internal/session", "internal/token", "internal/web",
	},
	"internal/grant": {
		"oauth", "dpop", "internal/audit", "internal/client", "internal/code", "internal/jose", "internal/limit",
		"internal/opaque", "internal/policy", "internal/refresh", "internal/revoke", "internal/session",
		"internal/token", "internal/web",
	},

	// Adapters: nobody but app imports them.
	"internal/sqlstore": {
		"internal/account", "internal/audit", "internal/authorize", "internal/client", "internal/code", "internal/job",
		"internal/keys", "internal/limit", "internal/opaque", "internal/refresh", "internal/revoke", "internal/session",
	},

	// Wiring.
	"internal/app": {
		"oauth", "dpop", "guard",
		"internal/account", "internal/audit", "internal/authorize", "internal/client", "internal/code",
		"internal/grant", "internal/jose", "internal/job", "internal/keys", "internal/limit", "internal/login",
		"internal/opaque", "internal/page", "internal/policy", "internal/refresh", "internal/revoke",
		"internal/session", "internal/sqlstore", "internal/token", "internal/web",
	},
	"internal/demo": {
		"oauth", "guard", "internal/account", "internal/audit", "internal/client", "internal/demo/theft",
		"internal/opaque", "internal/web",
	},
	"internal/demo/theft": {
		"oauth", "internal/audit", "internal/demo/party", "internal/opaque", "internal/page", "internal/web",
	},
	"internal/demo/party": {},
	"internal/config":  {"internal/app", "internal/opaque"},
	"internal/listen":  {},
	"internal/doctor":  {"internal/app", "internal/config", "internal/keys", "internal/limit", "internal/opaque"},
	"internal/listing": {"internal/account", "internal/audit", "internal/authorize", "internal/client", "internal/keys", "internal/refresh", "internal/session"},
	"cmd/fastbind": {
		"internal/account", "internal/app", "internal/audit", "internal/client", "internal/config", "internal/demo",
		"internal/doctor", "internal/jose", "internal/keys", "internal/listen", "internal/listing", "internal/opaque",
		"internal/policy", "internal/revoke", "internal/session",
	},

	// Test support.
	"internal/refresh/refreshtest": {"internal/audit", "internal/opaque", "internal/policy", "internal/refresh"},
	"internal/apptest":             {"internal/app"},
	"internal/archtest":            {},
	"internal/pgtest":              {},
}

// wiring may import adapters.
var wiring = []string{"internal/app"}

var adapters = []string{"internal/sqlstore"}

var endpoints = []string{"internal/login", "internal/authorize", "internal/grant"}

func TestImportDirection(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		allowed, known := mayImport[p.path()]
		if !known {
			t.Errorf("%s is not in the table of packages", p.path())
			continue
		}
		for _, i := range p.Imports {
			to, ours := strings.CutPrefix(i, module+"/")
			if ours && !slices.Contains(allowed, to) {
				t.Errorf("%s must not import %s", p.path(), to)
			}
		}
	}
}

// TestTableOfImports keeps the table itself in order: every package and every
// edge in it exists, and it has no cycle.
func TestTableOfImports(t *testing.T) {
	t.Parallel()
	real := map[string][]string{}
	for _, p := range packages(t) {
		real[p.path()] = p.Imports
	}
	for from, allowed := range mayImport {
		imports, exists := real[from]
		if !exists {
			t.Errorf("%s is in the table but does not exist", from)
			continue
		}
		for _, to := range allowed {
			if !slices.Contains(imports, module+"/"+to) {
				t.Errorf("%s may import %s but does not: remove the edge", from, to)
			}
		}
	}

	done := map[string]bool{}
	var visit func(p string, on []string)
	visit = func(p string, on []string) {
		if slices.Contains(on, p) {
			t.Errorf("cycle: %s", strings.Join(append(on, p), " -> "))
			return
		}
		if done[p] {
			return
		}
		done[p] = true
		for _, to := range mayImport[p] {
			visit(to, append(slices.Clone(on), p))
		}
	}
	for _, p := range slices.Sorted(maps.Keys(mayImport)) {
		visit(p, nil)
	}

	for from, allowed := range mayImport {
		for _, to := range allowed {
			if slices.Contains(adapters, to) && !slices.Contains(wiring, from) {
				t.Errorf("%s must not import the adapter %s", from, to)
			}
			if slices.Contains(endpoints, from) && slices.Contains(endpoints, to) {
				t.Errorf("the endpoint %s must not import the endpoint %s", from, to)
			}
		}
	}
}

// TestGuardStandsAlone shows that a program that imports only guard links
// nothing but the standard library and the packages named here.
func TestGuardStandsAlone(t *testing.T) {
	t.Parallel()
	allowed := []string{"oauth", "dpop", "internal/jose"}
	for _, p := range packages(t) {
		if p.path() != "guard" && p.path() != "dpop" {
			continue
		}
		for _, dep := range p.Deps {
			if to, ours := strings.CutPrefix(dep, module+"/"); ours {
				if !slices.Contains(allowed, to) {
					t.Errorf("%s links %s", p.path(), to)
				}
				continue
			}
			if first, _, _ := strings.Cut(dep, "/"); strings.Contains(first, ".") {
				t.Errorf("%s links %s, which is not in the standard library", p.path(), dep)
			}
		}
	}
}

// forbidden packages are imported by no production code.
var forbidden = map[string]string{
	"math/rand":                           "crypto/rand for secrets, math/rand/v2 for jitter",
	"net/smtp":                            "frozen",
	"html/template":                       "pages are templ components",
	"log":                                 "log/slog",
	"unsafe":                              "nothing here needs it",
	"github.com/pkg/errors":               "fmt.Errorf with %w",
	"github.com/google/uuid":              "opaque.NewID",
	"github.com/stretchr/testify/assert":  "testing and go-cmp",
	"github.com/stretchr/testify/require": "testing and go-cmp",
	"gopkg.in/yaml.v3":                    "TOML",
	"github.com/BurntSushi/toml":          "github.com/pelletier/go-toml/v2",
	"go.opentelemetry.io/otel/baggage":    "text from outside",
	"github.com/go-jose/go-jose/v4":       "internal/jose; go-jose is what tests compare it with",
	"github.com/mattn/go-sqlite3":         "needs cgo",
	"github.com/golang-jwt/jwt/v5":        "internal/jose",
	"golang.org/x/exp/slices":             "slices",
	"golang.org/x/exp/maps":               "maps",
	"golang.org/x/exp/rand":               "crypto/rand for secrets, math/rand/v2 for jitter",
	"golang.org/x/crypto/bcrypt":          "internal/account decodes password hashes",
	"net/http/pprof":                      "registers itself with http.DefaultServeMux",
	"expvar":                              "registers itself with http.DefaultServeMux",
}

func TestForbiddenImports(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.test && !s.under("cmd", "internal", "guard", "dpop", "oauth") || s.under("interop") {
			continue
		}
		for path, instead := range forbidden {
			if s.imports(path) == "" {
				continue
			}
			if s.test && path == "github.com/go-jose/go-jose/v4" {
				continue
			}
			if s.under("internal/account") && path == "golang.org/x/crypto/bcrypt" {
				continue
			}
			t.Errorf("%s imports %s: %s", s.path, path, instead)
		}
	}
}

// TestNoPackageForEverything refuses packages that are named after nothing.
func TestNoPackageForEverything(t *testing.T) {
	t.Parallel()
	vague := []string{
		"util", "utils", "common", "helper", "helpers", "types", "models", "model", "services", "service",
		"handlers", "handler", "core", "pkg", "base", "shared", "misc", "lib", "internal",
	}
	for _, p := range packages(t) {
		if slices.Contains(vague, p.Name) {
			t.Errorf("%s: a package is named after what it owns", p.path())
		}
	}
}

// TestPackageComments holds every package to a comment that says what it owns.
func TestPackageComments(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = "Command "
			if p.path() == "cmd/fastbind" {
				want = "Command fastbind "
			}
		}
		if len(p.GoFiles) > 0 && !strings.HasPrefix(p.Doc, want) {
			t.Errorf("%s needs a package comment that begins with %q", p.path(), want)
		}
	}
}
