package proof_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fastbind/fastbind/dpop"
	"github.com/fastbind/fastbind/internal/apptest"
)

// TestTransport: a Go client whose requests go through dpop.Transport needs to
// know nothing of nonces, and may have a clock that is wrong by an hour.
func TestTransport(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	for _, off := range []time.Duration{0, time.Hour, -time.Hour} {
		key, err := dpop.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		access := ""
		c := &http.Client{Transport: &dpop.Transport{
			Key: key, Now: func() time.Time { return time.Now().Add(off) },
			Token: func(*http.Request) (string, error) { return access, nil },
		}}
		send := func(method, path, form string) string {
			t.Helper()
			r, err := http.NewRequestWithContext(t.Context(), method, w.URL+path, strings.NewReader(form))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			res, err := c.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close() //nolint:errcheck // it was read to the end
			b, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != http.StatusOK {
				t.Fatalf("clock off by %s: %s: %d %s %v", off, path, res.StatusCode, b, err)
			}
			return string(b)
		}
		body := send(http.MethodPost, "/token", w.code(t, bearer(w.spa)).Encode())
		held := (&apptest.Answer{Body: body}).JSON(t)
		first, _ := held["refresh_token"].(string) //nolint:errcheck // the status says that it is there
		body = send(http.MethodPost, "/token", refreshing(w.spa, first).Encode())
		access, _ = (&apptest.Answer{Body: body}).JSON(t)["access_token"].(string) //nolint:errcheck // the status says that it is there
		send(http.MethodGet, "/userinfo", "")
	}
}
