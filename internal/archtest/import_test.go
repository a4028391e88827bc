package archtest_test

import (
	"maps"
	"path"
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
	"dpop": {"internal/jose"},
	"guard": {
		"oauth", "dpop", "guard/internal/credentials", "guard/internal/issuer", "guard/internal/proof", "guard/internal/revoked",
		"internal/jose",
	},
	"guard/internal/credentials": {},
	"guard/internal/issuer":      {"oauth", "guard/internal/revoked", "internal/jose"},
	"guard/internal/proof":       {"dpop"},
	"guard/internal/revoked":     {},
	"internal/limit":             {"internal/opaque"},
	"internal/reach":             {},
	"internal/proof":             {"oauth", "dpop", "internal/audit", "internal/limit", "internal/opaque"},
	"internal/trail":             {"internal/audit"},
	"internal/web":               {"oauth", "internal/opaque"},
	"internal/page":              {"internal/page/part"},
	"internal/page/part":         {},
	"internal/pace":              {},
	"internal/page/preview":      {"internal/page"},

	// Domain: who and with what.
	"internal/keys":    {"internal/audit", "internal/jose", "internal/opaque"},
	"internal/client":  {"oauth", "internal/audit", "internal/limit", "internal/opaque"},
	"internal/account": {"internal/audit", "internal/opaque"},
	"internal/session": {"internal/audit", "internal/opaque"},

	"internal/history": {},

	// Domain: credentials.
	"internal/refresh": {"internal/audit", "internal/opaque", "internal/policy"},
	"internal/code":    {"internal/opaque", "internal/refresh"},
	"internal/metric":  {"dpop", "internal/audit", "internal/refresh"},
	"internal/token":   {"oauth", "internal/jose", "internal/opaque", "internal/proof", "internal/web"},
	"internal/revoke": {
		"oauth", "internal/audit", "internal/client", "internal/pace", "internal/policy", "internal/reach", "internal/refresh",
		"internal/token", "internal/web",
	},

	// What must be true of all that is stored.
	"internal/fsck": {
		"internal/audit", "internal/code", "internal/jose", "internal/keys", "internal/policy", "internal/refresh",
		"internal/revoke", "internal/session",
	},

	// Endpoints: never each other.
	"internal/login": {
		"oauth", "internal/account", "internal/audit", "internal/client", "internal/limit", "internal/opaque",
		"internal/page", "internal/revoke", "internal/session", "internal/token", "internal/web",
	},
	"internal/authorize": {
		"oauth", "internal/audit", "internal/client", "internal/code", "internal/limit", "internal/opaque",
		"internal/page", "internal/policy", "internal/proof", "internal/refresh", "internal/session", "internal/token",
		"internal/web",
	},
	"internal/grant": {
		"oauth", "internal/audit", "internal/client", "internal/code", "internal/jose", "internal/opaque",
		"internal/policy", "internal/proof", "internal/refresh", "internal/revoke", "internal/token", "internal/web",
	},

	// Adapters: nobody but app imports them.
	"internal/sqlstore": {
		"internal/account", "internal/audit", "internal/authorize", "internal/client", "internal/code", "internal/fsck",
		"internal/history", "internal/keys", "internal/limit", "internal/opaque", "internal/pace", "internal/refresh", "internal/revoke", "internal/session",
		"internal/sqlstore/engine", "internal/sqlstore/life",
	},
	"internal/sqlstore/engine": {"internal/audit", "internal/opaque"},
	"internal/sqlstore/life": {
		"internal/audit", "internal/fsck", "internal/opaque", "internal/policy", "internal/refresh", "internal/revoke",
		"internal/sqlstore/engine",
	},

	// Wiring.
	"internal/app": {
		"oauth", "dpop", "internal/account", "internal/audit", "internal/authorize", "internal/client", "internal/grant",
		"internal/history", "internal/jose", "internal/keys", "internal/limit", "internal/login", "internal/metric", "internal/opaque",
		"internal/page", "internal/policy", "internal/proof", "internal/reach", "internal/refresh", "internal/revoke",
		"internal/session", "internal/sqlstore", "internal/token", "internal/trail", "internal/web",
	},
	"": {"internal/app"}, // package fastbind

	// Commands.
	"internal/config": {"internal/app", "internal/opaque"},
	"internal/listen": {},
	"internal/rescue": {
		"internal/app", "internal/fsck", "internal/history", "internal/keys", "internal/opaque",
	},
	"internal/doctor": {"internal/app", "internal/config", "internal/history", "internal/keys", "internal/limit", "internal/opaque"},
	"internal/listing": {
		"internal/account", "internal/audit", "internal/authorize", "internal/client", "internal/keys",
		"internal/refresh", "internal/session",
	},
	"internal/demo": {
		"oauth", "guard", "internal/account", "internal/audit", "internal/client", "internal/demo/theft",
		"internal/opaque", "internal/web",
	},
	"internal/demo/party": {},
	"internal/demo/theft": {"oauth", "internal/audit", "internal/demo/party", "internal/opaque", "internal/page", "internal/web"},
	"cmd/fastbind": {
		"internal/account", "internal/app", "internal/audit", "internal/client", "internal/config", "internal/demo",
		"internal/doctor", "internal/jose", "internal/keys", "internal/listen", "internal/listing", "internal/opaque",
		"internal/policy", "internal/rescue", "internal/revoke", "internal/session",
	},

	// Test support and measuring: contract suites import what they are about.
	"guard/guardtest":                  {"oauth", "dpop", "guard", "internal/jose"},
	"internal/account/accounttest":     {"internal/account", "internal/audit"},
	"internal/authorize/authorizetest": {"internal/audit", "internal/authorize", "internal/opaque"},
	"internal/client/clienttest":       {"internal/audit", "internal/client", "internal/opaque"},
	"internal/code/codetest": {
		"internal/account", "internal/audit", "internal/client", "internal/code", "internal/opaque",
		"internal/refresh", "internal/revoke", "internal/session",
	},
	"internal/keys/keystest":       {"internal/audit", "internal/keys"},
	"internal/limit/limittest":     {"internal/limit", "internal/opaque"},
	"internal/refresh/refreshtest": {"internal/audit", "internal/opaque", "internal/refresh"},
	"internal/revoke/revoketest": {
		"internal/account", "internal/audit", "internal/authorize", "internal/client", "internal/policy",
		"internal/refresh", "internal/revoke", "internal/session",
	},
	"internal/session/sessiontest": {"internal/account", "internal/audit", "internal/opaque", "internal/revoke", "internal/session"},
	"internal/apptest": {
		"oauth", "dpop", "internal/account", "internal/app", "internal/audit", "internal/client", "internal/opaque",
	},
	"internal/archtest": {},
	"internal/postgres": {},
	"internal/pgtest":   {"internal/postgres", "internal/sqlstore"},
	"bench":             {},
	"bench/fanout":      {},
	"bench/fill":        {},
	"bench/report":      {},

	// The chaos harness: real servers, held to the contract while things break.
	"chaos": {
		"chaos/internal/cast", "chaos/internal/clock", "chaos/internal/fault", "chaos/internal/node", "chaos/internal/site",
		"chaos/internal/watch",
	},
	"chaos/internal/cast":  {"chaos/internal/site", "chaos/internal/watch"},
	"chaos/internal/clock": {},
	"chaos/internal/fault": {},
	"chaos/internal/node":  {"internal/app", "internal/listen"},
	"chaos/internal/site": {
		"chaos/internal/clock", "chaos/internal/node", "chaos/internal/watch", "chaos/internal/wire", "dpop", "guard", "oauth",
		"internal/account", "internal/app", "internal/audit", "internal/client", "internal/code", "internal/opaque",
		"internal/postgres", "internal/refresh", "internal/session",
	},
	"chaos/internal/watch": {"internal/audit", "internal/refresh"},
	"chaos/internal/wire":  {"chaos/internal/clock"},
}

// wiring may import adapters, and so may what starts databases for tests.
var wiring = []string{"internal/app", "internal/pgtest", "internal/sqlstore", "internal/sqlstore/life"}

var adapters = []string{"internal/sqlstore", "internal/sqlstore/engine", "internal/sqlstore/life"}

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
	allowed := []string{
		"oauth", "dpop", "guard", "guard/internal/credentials", "guard/internal/issuer", "guard/internal/proof", "guard/internal/revoked",
		"internal/jose",
	}
	found := false
	for _, p := range packages(t) {
		if p.path() != "guard" {
			continue
		}
		found = true
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
	if !found {
		t.Error("there is no package guard")
	}
}

// forbidden packages are imported by no production code, but where it says.
var forbidden = []struct {
	path    string
	except  []string
	instead string
}{
	{"math/rand", nil, "crypto/rand for secrets, math/rand/v2 for jitter"},
	{"net/smtp", nil, "frozen"},
	{"html/template", nil, "pages are templ components"},
	{"text/template", nil, "pages are templ components"},
	{"log", nil, "log/slog"},
	{"unsafe", []string{"internal/jose"}, "only where text and bytes share memory on the hot path"},
	{"net/http/pprof", nil, "it registers itself with http.DefaultServeMux"},
	{"expvar", nil, "it registers itself with http.DefaultServeMux"},
	{"github.com/pkg/errors", nil, "fmt.Errorf with %w"},
	{"github.com/google/uuid", nil, "opaque.NewID"},
	{"github.com/stretchr/testify/assert", nil, "testing and go-cmp"},
	{"github.com/stretchr/testify/require", nil, "testing and go-cmp"},
	{"gopkg.in/yaml.v3", nil, "TOML"},
	{"github.com/BurntSushi/toml", nil, "github.com/pelletier/go-toml/v2"},
	{"github.com/mattn/go-sqlite3", nil, "it needs cgo"},
	{"github.com/go-jose/go-jose/v4", nil, "internal/jose; go-jose is what tests compare it with"},
	{"github.com/golang-jwt/jwt/v5", nil, "internal/jose"},
	{"go.opentelemetry.io/otel/baggage", nil, "it is text from outside"},
	{"golang.org/x/exp/slices", nil, "slices"},
	{"golang.org/x/exp/maps", nil, "maps"},
	{"golang.org/x/exp/rand", nil, "crypto/rand for secrets, math/rand/v2 for jitter"},
}

func TestForbiddenImports(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.test || s.under("interop", "tools") {
			continue
		}
		for _, f := range forbidden {
			if s.imports(f.path) != "" && !s.under(f.except...) {
				t.Errorf("%s imports %s: %s", s.path, f.path, f.instead)
			}
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
	commented := map[string]bool{}
	for _, s := range sources(t) {
		if s.test || s.made {
			continue
		}
		dir, name := path.Dir(s.path), s.file.Name.Name
		want := "Package " + name + " "
		if name == "main" {
			want = "Command " + path.Base(dir) + " "
		}
		commented[dir] = commented[dir] || strings.HasPrefix(s.file.Doc.Text(), want)
	}
	for _, dir := range slices.Sorted(maps.Keys(commented)) {
		if !commented[dir] {
			t.Errorf("%s needs a package comment that begins with \"Package\" or \"Command\" and its name", dir)
		}
	}
}
