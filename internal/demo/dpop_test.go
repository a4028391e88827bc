package demo_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/fastbind/fastbind/dpop"
	"github.com/fastbind/fastbind/guard/guardtest"
)

// TestAPIWithProofs: the API takes bound tokens with a proof for its own address,
// on every route, and plain bearer tokens as before.
func TestAPIWithProofs(t *testing.T) {
	t.Parallel()
	s, i := guarded(t)
	key, err := dpop.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	bound := i.Mint(guardtest.Claims{Scope: "orders:read", KeyThumbprint: key.Thumbprint()})
	app := &http.Client{Transport: &dpop.Transport{Key: key, Token: func(*http.Request) (string, error) { return bound, nil }}}
	for _, path := range []string{"/me", "/orders", "/stream"} {
		ctx, cancel := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := app.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		first := make([]byte, 6)
		if _, err := io.ReadFull(res.Body, first); err != nil || res.StatusCode != http.StatusOK || path == "/stream" && string(first) != "event:" {
			t.Errorf("%s with a proof: %d %q %v", path, res.StatusCode, first, err)
		}
		cancel()
		res.Body.Close() //nolint:errcheck // it was cut off
		plain := get(t, s.URL+path, bound)
		if plain.StatusCode != http.StatusUnauthorized || !strings.Contains(plain.Header.Get("WWW-Authenticate"), "DPoP") {
			t.Errorf("%s with a bound token and no proof: %d, %q", path, plain.StatusCode, plain.Header.Get("WWW-Authenticate"))
		}
		if plain.Header.Get("DPoP-Nonce") == "" || !strings.Contains(strings.Join(plain.Header.Values("Access-Control-Expose-Headers"), ","), "DPoP-Nonce") {
			t.Errorf("%s: no nonce that scripts may read: %v", path, plain.Header)
		}
	}
	if res := get(t, s.URL+"/me", i.Mint(guardtest.Claims{})); res.StatusCode != http.StatusOK {
		t.Errorf("a plain bearer token: %d", res.StatusCode)
	}
}
