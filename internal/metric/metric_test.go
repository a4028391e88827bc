package metric_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fastbind/fastbind/dpop"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/metric"
	"github.com/fastbind/fastbind/internal/refresh"
)

func newSet() *metric.Set {
	return metric.New(metric.Sources{
		FeedAge:  func() (time.Duration, bool) { return 1500 * time.Millisecond, true },
		Guards:   func() (int, int64) { return 200, 3 },
		SweepLag: func() time.Duration { return time.Minute },
		KeyAges:  func() map[string]time.Duration { return map[string]time.Duration{"ES256": time.Hour} },
	})
}

func scrape(t *testing.T, m *metric.Set) []string {
	t.Helper()
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if rec.Code != http.StatusOK {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	return strings.Split(rec.Body.String(), "\n")
}

func TestScrape(t *testing.T) {
	t.Parallel()
	m := newSet()
	m.Refreshed(refresh.Verdict{Answer: refresh.Rotated})
	m.Refreshed(refresh.Verdict{Answer: refresh.Refused, Why: refresh.WrongKey})
	m.Refreshed(refresh.Verdict{Answer: refresh.Refused, Why: refresh.Why(audit.TokenTheft)})
	m.Events([]audit.Event{
		{Kind: audit.Theft, Reason: audit.TokenTheft, Family: "f"},
		{Kind: audit.Theft, Family: "g"}, // the family lives on
		{Kind: audit.SessionEnded, Reason: audit.TokenTheft, Session: "s"},
		{Kind: audit.FamilyEnded, Reason: audit.Logout, Family: "h"},
		{Kind: audit.FamilyEnded, Reason: audit.ClientDisabled, Client: "c"}, // of a client, not of a family
		{Kind: audit.Replay, Family: "h"},
		{Kind: "unheard_of", Reason: "unheard_of"},
	})
	m.Propagated(3 * time.Millisecond)
	m.Batch(5)
	m.Commit(3)
	m.Fault()
	m.ProofRefused(fmt.Errorf("of this one: %w", dpop.ErrNonce))
	m.Request("/token", 200, time.Millisecond)
	m.Request("/token", 503, time.Millisecond)
	m.Request("/revocations", 200, 0)
	m.Request("", 0, 0)
	got := scrape(t, m)
	for _, want := range []string{
		`fastbind_refreshes_total{verdict="rotated"} 1`,
		`fastbind_refreshes_total{verdict="refused"} 2`,
		`fastbind_refreshes_total{verdict="repeated"} 0`,
		`fastbind_refresh_refusals_total{cause="wrong_key"} 1`,
		`fastbind_refresh_refusals_total{cause="token_theft"} 1`,
		`fastbind_alarms_total{kind="theft"} 2`,
		`fastbind_alarms_total{kind="replay"} 1`,
		`fastbind_alarms_total{kind="other"} 0`,
		`fastbind_logouts_total{reason="token_theft",what="family"} 1`,
		`fastbind_logouts_total{reason="token_theft",what="session"} 1`,
		`fastbind_logouts_total{reason="logout",what="family"} 1`,
		`fastbind_logouts_total{reason="client_disabled",what="family"} 0`,
		`fastbind_events_total{kind="other"} 1`,
		`fastbind_revocation_propagation_seconds_bucket{le="0.002"} 0`,
		`fastbind_revocation_propagation_seconds_bucket{le="0.005"} 1`,
		`fastbind_refresh_batch_size_sum 5`,
		`fastbind_commit_batch_size_sum 3`,
		`fastbind_store_faults_total 1`,
		`fastbind_dpop_refusals_total{cause="nonce"} 1`,
		`fastbind_http_requests_total{class="2xx",route="/token"} 1`,
		`fastbind_http_requests_total{class="5xx",route="/token"} 1`,
		`fastbind_http_requests_total{class="none",route="other"} 1`,
		`fastbind_http_request_seconds_count{route="/token"} 2`,
		`fastbind_http_request_seconds_count{route="/revocations"} 0`,
		`fastbind_revocation_feed_age_seconds 1.5`,
		`fastbind_guards_connected 200`,
		`fastbind_guards_dropped_total 3`,
		`fastbind_cleanup_lag_seconds 60`,
		`fastbind_signing_key_age_seconds{alg="ES256"} 3600`,
	} {
		if !slices.Contains(got, want) {
			t.Errorf("missing: %s", want)
		}
	}
}

// TestEveryWordIsKnown: no kind, reason or cause of the system is counted as
// "other".
func TestEveryWordIsKnown(t *testing.T) {
	t.Parallel()
	text := strings.Join(scrape(t, newSet()), "\n")
	for file, forms := range map[string][]string{
		"../audit/audit.go":   {`Reason\s+= "([a-z_]+)"`, `Kind\s+= "([a-z_]+)"`},
		"../refresh/judge.go": {`Why\s+= "([a-z_]+)"`},
	} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, label := range map[string][]string{"../audit/audit.go": {"reason", "kind"}, "../refresh/judge.go": {"cause"}}[file] {
			found := regexp.MustCompile(forms[i]).FindAllSubmatch(source, -1)
			if len(found) < 5 {
				t.Errorf("%d words in %s", len(found), file)
			}
			for _, m := range found {
				if !strings.Contains(text, label+`="`+string(m[1])+`"`) {
					t.Errorf("%s %q is not known", label, m[1])
				}
			}
		}
	}
}

// TestEveryFlawIsKnown: no flaw of a proof is counted as "other".
func TestEveryFlawIsKnown(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("../../dpop/check.go")
	if err != nil {
		t.Fatal(err)
	}
	known, err := os.ReadFile("asked.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^\t(Err[A-Z]\w*)\s+= errors\.New`).FindAllSubmatch(source, -1)
	if len(found) < 10 {
		t.Fatalf("%d flaws", len(found))
	}
	for _, m := range found {
		if !strings.Contains(string(known), "dpop."+string(m[1])+",") {
			t.Errorf("%s is not known", m[1])
		}
	}
}

// TestDashboard: the dashboard shows what there is, and all of it.
func TestDashboard(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../docs/grafana/fastbind.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(b, &dashboard); err != nil {
		t.Fatal(err)
	}
	m := newSet()
	m.Request("/token", 200, time.Millisecond)
	there := map[string]bool{}
	for _, l := range scrape(t, m) {
		if name, _, _ := strings.Cut(l, " "); name != "#" {
			name, _, _ = strings.Cut(name, "{")
			there[name] = true
		}
	}
	shown := map[string]bool{}
	name := regexp.MustCompile(`\b(?:fastbind|process|go)_[a-z_]+`)
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			found := name.FindAllString(target.Expr, -1)
			if len(found) == 0 {
				t.Errorf("%s shows nothing: %s", p.Title, target.Expr)
			}
			for _, n := range found {
				shown[family(n)] = true
				if !there[n] {
					t.Errorf("%s: there is no %s", p.Title, n)
				}
			}
		}
	}
	for n := range there {
		if strings.HasPrefix(n, "fastbind_") && !shown[family(n)] {
			t.Errorf("nothing shows %s", n)
		}
	}
}

// family returns the name of a metric without what a histogram adds to it.
func family(name string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		name = strings.TrimSuffix(name, suffix)
	}
	return name
}

func BenchmarkRefreshed(b *testing.B) {
	m := newSet()
	for b.Loop() {
		m.Refreshed(refresh.Verdict{Answer: refresh.Rotated})
		m.Request("/token", 200, time.Millisecond)
	}
}
