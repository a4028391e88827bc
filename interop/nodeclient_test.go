package interop_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const npmFolder = "npm"

// installed installs the JavaScript libraries, exactly those of the lock file.
var installed = sync.OnceValues(func() ([]byte, error) {
	lock, err := os.ReadFile(filepath.Join(npmFolder, "package-lock.json"))
	if err != nil {
		return nil, err
	}
	stamp := filepath.Join(npmFolder, "node_modules", ".installed")
	if have, err := os.ReadFile(stamp); err == nil && bytes.Equal(have, lock) {
		return nil, nil
	}
	cmd := exec.Command("npm", "ci", "--no-fund", "--no-audit", "--ignore-scripts")
	cmd.Dir = npmFolder
	if out, err := cmd.CombinedOutput(); err != nil {
		return out, err
	}
	return nil, os.WriteFile(stamp, lock, 0o644)
})

func TestNodeLibraries(t *testing.T) {
	if out, err := installed(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	s := start(t, options{})
	for _, script := range []string{"openid-client", "oauth4webapi"} {
		for _, client := range []string{"demo-spa", "demo-web"} {
			t.Run(script+"/"+client, func(t *testing.T) { runScript(t, s, script, client) })
			// The server demands a nonce with each proof, and so does the demo API.
			t.Run(script+"/"+client+"/dpop", func(t *testing.T) { runScript(t, s, script, client, "dpop") })
		}
	}
}

// steps are what each script must have reported at least.
var steps = []string{
	"discovery", "pushed authorization request", "sign-in", "code flow", "userinfo", "refresh", "protected resource",
	"introspection", "revocation", "end session", "signed out",
}

func runScript(t *testing.T, s *server, script string, args ...string) {
	in, err := json.Marshal(s.ready)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", append([]string{script + ".mjs"}, args...)...)
	cmd.Dir = npmFolder
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatalf("node: %v", err)
	}
	lines := strings.Split(string(out), "\n")
	done := map[string]bool{}
	for _, l := range lines {
		if name, ok := strings.CutPrefix(l, "ok "); ok {
			done[name] = true
		}
	}
	need := slices.Clone(steps)
	if len(args) > 1 {
		need = append(need, "bound")
	}
	for _, name := range need {
		if !done[name] {
			t.Errorf("the script did not report %q", name)
		}
	}
}
