package bench_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/apptest"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/pgtest"
)

// TestLoad refreshes with 64 requests under way at once, as often as LOAD
// says (3,000 if it says nothing; `make load` says 100,000), on PostgreSQL with a
// pool of one connection and with one of 60. Now and then a token is used at
// UserInfo and introspected, so that first uses are written beside. No request
// fails, no family ends, and one row is left for each family.
func TestLoad(t *testing.T) {
	total := 3000
	if n := os.Getenv("LOAD"); n != "" {
		var err error
		if total, err = strconv.Atoi(n); err != nil {
			t.Fatal(err)
		}
	}
	for _, conns := range []int{1, 60} {
		if !pgtest.Enabled() {
			continue // make test and make load do
		}
		t.Run(fmt.Sprintf("Connections%d", conns), func(t *testing.T) { loaded(t, conns, total) })
	}
}

// inFlight is how many requests are under way at once.
const inFlight = 64

func loaded(t *testing.T, conns, total int) {
	dbURL := pgtest.New(t).URL(t) // commits as in earnest
	s := apptest.Start(t, apptest.Options{
		DatabaseURL: dbURL, Log: io.Discard, Config: func(c *app.Config) { c.DatabaseConns = conns },
	})
	s.Person("ada")
	s.Register("spa", false, client.Meta{
		RedirectURIs: []string{"http://127.0.0.1/callback"}, GrantTypes: []string{"authorization_code", "refresh_token"},
		Scopes: []string{"openid", "orders:read"}, Audiences: []string{"orders"}, Trusted: true, Policy: "spa",
	})
	secret := s.Register("orders", true, client.Meta{ResourceServer: true, Audiences: []string{"orders"}})
	w := &workload{base: s.URL, secret: secret, c: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: inFlight}, Timeout: 30 * time.Second,
	}}
	browser := s.Browser()
	var left atomic.Int64
	left.Store(int64(total))
	var workers sync.WaitGroup
	began := time.Now()
	for range inFlight {
		held := browser.Tokens(apptest.App{ID: "spa", Redirect: apptest.Redirect, Scope: "openid orders:read"}, "ada").Refresh
		workers.Go(func() {
			for n := 0; left.Add(-1) >= 0; n++ {
				next, err := w.step(t, held, n%20 == 0)
				if err != nil {
					t.Error(err)
					return
				}
				held = next
			}
		})
	}
	workers.Wait()
	elapsed := time.Since(began)
	db, err := sql.Open("pgx", dbURL)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // the test is over
	var families, dead, revoked int
	if err := db.QueryRowContext(t.Context(), `select count(*), count(*) filter (where ended <> 0), (select count(*) from feed)
		from family`).Scan(&families, &dead, &revoked); err != nil {
		t.Fatal(err)
	}
	if families != inFlight || dead != 0 || revoked != 0 {
		t.Errorf("%d families, %d of them dead, and %d revocations; want %d, 0 and 0", families, dead, revoked, inFlight)
	}
	t.Logf("refreshes=%d connections=%d seconds=%.1f", total, conns, elapsed.Seconds())
}

// A workload is what clients and APIs do.
type workload struct {
	base, secret string
	c            *http.Client
}

// step refreshes once and returns the next refresh token; with use it also uses
// the access token at UserInfo and has it introspected.
func (w *workload) step(t *testing.T, held string, use bool) (string, error) {
	var got struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
		Active  bool   `json:"active"`
	}
	err := w.post(t, "/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {"spa"}, "refresh_token": {held}}, &got)
	if err == nil && (got.Refresh == "" || got.Refresh == held) {
		err = fmt.Errorf("no other refresh token was issued")
	}
	if err != nil || !use {
		return got.Refresh, err
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.base+"/userinfo", nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+got.Access)
	if err := w.do(r, &got); err != nil {
		return "", err
	}
	err = w.post(t, "/introspect", url.Values{"client_id": {"orders"}, "client_secret": {w.secret}, "token": {got.Access}}, &got)
	if err == nil && !got.Active {
		err = fmt.Errorf("a token of a live family does not count")
	}
	return got.Refresh, err
}

func (w *workload) post(t *testing.T, path string, form url.Values, into any) error {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return w.do(r, into)
}

func (w *workload) do(r *http.Request, into any) error {
	res, err := w.c.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // it is read to the end
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s %s %w", r.URL.Path, res.Status, body, err)
	}
	return json.Unmarshal(body, into)
}
