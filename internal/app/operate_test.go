package app_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/apptest"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/reach"
)

// operator asks the listener for operators.
func operator(t *testing.T, s *apptest.Server, path, accept string) string {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	r.Header.Set("Accept", accept)
	rec := httptest.NewRecorder()
	s.App.Operator().ServeHTTP(rec, r)
	if rec.Code != http.StatusOK {
		t.Fatalf("GET %s: %d", path, rec.Code)
	}
	return rec.Body.String()
}

// TestOperator: what an operator sees of a theft, a guard and requests; no
// secret is in it, and the public sees none of it.
func TestOperator(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	s := apptest.Start(t, apptest.Options{Config: func(c *app.Config) { c.AuditLog = file }})
	ada := s.Person("ada")
	secret := s.Register("orders", true, client.Meta{ResourceServer: true, Audiences: []string{"https://orders.example"}})
	s.Register("app", false, client.Meta{
		RedirectURIs: []string{"http://127.0.0.1/callback"}, GrantTypes: []string{"authorization_code", "refresh_token"},
		Scopes: []string{"openid"}, Trusted: true, SendsAttempts: true,
	})
	follow(t, s, secret)
	c := apptest.App{ID: "app", Redirect: apptest.Redirect, Scope: "openid"}
	tokens := s.Browser().Tokens(c, "ada")
	s.Renew(tokens)
	if a := s.Refresh(c, tokens.Refresh, ""); a.Code() != "invalid_grant" {
		t.Fatalf("replay: %d %s", a.Status, a.Body)
	}
	if a := s.Post("/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {"app"}, "refresh_token": {tokens.Refresh}}, http.Header{"DPoP": {"x.y.z"}}); a.Code() != "invalid_dpop_proof" {
		t.Fatalf("a malformed proof: %d %s", a.Status, a.Body)
	}
	await(t, "the revocation reached the guard", func() bool {
		return strings.Contains(operator(t, s, "/metrics", ""), "fastbind_revocation_propagation_seconds_count 2\n")
	})
	text := operator(t, s, "/metrics", "")
	for _, want := range []string{
		`fastbind_refreshes_total{verdict="rotated"} 1`,
		`fastbind_refreshes_total{verdict="refused"} 1`,
		`fastbind_refresh_refusals_total{cause="token_theft"} 1`,
		`fastbind_alarms_total{kind="theft"} 1`,
		`fastbind_logouts_total{reason="token_theft",what="session"} 1`,
		`fastbind_logouts_total{reason="token_theft",what="family"} 1`,
		`fastbind_guards_connected 1`,
		`fastbind_refresh_batch_size_count 2`,
		`fastbind_http_requests_total{class="4xx",route="/token"} 2`,
		`fastbind_store_faults_total 0`,
		`fastbind_dpop_refusals_total{cause="malformed"} 1`,
		`fastbind_signing_key_age_seconds{alg="ES256"} `,
		`fastbind_revocation_feed_age_seconds `,
		`fastbind_cleanup_lag_seconds `,
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("missing: %s", want)
		}
	}
	s.HoldsNoSecret("metrics", text)
	for _, name := range []string{ada, "ada"} {
		if strings.Contains(text, `"`+name+`"`) {
			t.Errorf("%q is a label", name)
		}
	}

	var v reach.View
	page := operator(t, s, "/connected", "application/json")
	if err := json.Unmarshal([]byte(page), &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Readers) != 1 || v.Readers[0].Client != "orders" || v.Readers[0].Network != "127.0.0.1" || v.Readers[0].Lacks != 0 || v.Newest != 2 {
		t.Errorf("connected: %s", page)
	}
	if page := operator(t, s, "/connected", "text/html"); !strings.Contains(page, "orders") {
		t.Errorf("connected: %s", page)
	}
	for _, path := range []string{"/metrics", "/connected"} {
		if a := s.Do(http.MethodGet, path, nil, nil); a.Status != http.StatusNotFound {
			t.Errorf("GET %s on the public listener: %d", path, a.Status)
		}
	}

	s.Stop()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s.HoldsNoSecret("audit log", string(b))
	kinds := map[string]int{}
	for l := bufio.NewScanner(strings.NewReader(string(b))); l.Scan(); {
		var e struct{ Kind string }
		if err := json.Unmarshal(l.Bytes(), &e); err != nil {
			t.Fatalf("%v: %s", err, l.Text())
		}
		kinds[e.Kind]++
	}
	if kinds["theft"] != 1 || kinds["session_ended"] != 1 || kinds["session_begun"] != 1 || kinds["family_begun"] != 1 || kinds["client_changed"] != 2 {
		t.Errorf("in the audit log: %v", kinds)
	}
}

// follow reads the revocation feed until the test ends.
func follow(t *testing.T, s *apptest.Server, secret string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/revocations", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = apptest.Basic("orders", secret)
	r.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() && lines.Text() != "event: complete" {
	}
	go func() {
		for lines.Scan() { // the connection is closed when the test ends
		}
	}()
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !done(); {
		if time.Now().After(end) {
			t.Fatalf("not within 5 s: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}
