package proof_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/fastbind/fastbind/dpop"
	"github.com/fastbind/fastbind/guard/internal/proof"
)

// A clock that leaps ahead frees the memory of proofs, also while no request
// comes. When it is set right none of them is taken again.
func TestProofForgottenByAWrongClock(t *testing.T) {
	t.Parallel()
	start := time.Now()
	c, err := proof.New(proof.Config{URLs: []string{"https://api.example"}, Most: 100, Log: slog.New(slog.DiscardHandler)}, start)
	if err != nil {
		t.Fatal(err)
	}
	key, err := dpop.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	const token = "token"
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/orders", nil)
	now := start.Add(time.Second)
	text, err := key.Proof(dpop.Params{
		Method: http.MethodGet, URL: "https://api.example/orders", AccessToken: token, Nonce: c.Nonce(now), Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("DPoP", text)
	show := func(now time.Time) error {
		shown, err := c.Check(r, token, nil, now)
		if err != nil {
			return err
		}
		return c.Use(t.Context(), &shown, now)
	}
	if err := show(now); err != nil {
		t.Fatal(err)
	}
	if err := show(now); !errors.Is(err, dpop.ErrReplayed) {
		t.Errorf("shown twice: %v", err)
	}
	c.Drop(t.Context(), now.Add(time.Hour))
	if n := c.Proofs(); n != 0 {
		t.Errorf("%d proofs are remembered after an hour", n)
	}
	for _, back := range []time.Duration{time.Minute, 2 * time.Minute} {
		if err := show(now.Add(back)); !errors.Is(err, dpop.ErrNonce) {
			t.Errorf("shown again %v later by a clock that was set back: %v, want %v", back, err, dpop.ErrNonce)
		}
	}
}
