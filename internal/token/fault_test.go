package token_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fastbind/fastbind/dpop"
	"github.com/fastbind/fastbind/internal/jose"
	"github.com/fastbind/fastbind/internal/proof"
	"github.com/fastbind/fastbind/internal/token"
)

// lostKeys are keys that cannot be loaded.
type lostKeys struct{ err error }

func (k lostKeys) Find(context.Context, string, jose.Algorithm) ([]*jose.Key, error) {
	return nil, k.err
}

// unknown is a token whose key is not among those in memory.
const unknown = "eyJhbGciOiJFUzI1NiIsImtpZCI6IngiLCJ0eXAiOiJhdCtqd3QifQ.e30." +
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// TestKeysThatCannotBeLoaded: a fault is no verdict on a token.
func TestKeysThatCannotBeLoaded(t *testing.T) {
	t.Parallel()
	errLost := errors.New("no database")
	r := &token.Reader{Issuer: "https://issuer.test", Keys: lostKeys{errLost}}
	_, access := r.Access(t.Context(), unknown, time.Now())
	_, hint := r.Hint(t.Context(), unknown)
	for name, err := range map[string]error{"Access": access, "Hint": hint} {
		if !errors.Is(err, errLost) || errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: %v, want the fault and not invalid", name, err)
		}
	}
	nonces, err := dpop.NewNonces(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	for err, want := range map[error]int{errLost: http.StatusServiceUnavailable, nil: http.StatusUnauthorized} {
		u := &token.UserInfo{
			Reader: &token.Reader{Keys: lostKeys{err}}, Proofs: &proof.Checker{Nonces: nonces}, Log: slog.New(slog.DiscardHandler),
		}
		w, q := httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/userinfo", nil)
		q.Header.Set("Authorization", "Bearer "+unknown)
		u.ServeHTTP(w, q)
		if w.Code != want || (want == http.StatusServiceUnavailable) != (w.Header().Get("WWW-Authenticate") == "") {
			t.Errorf("keys that end with %v: %d with %q, want %d", err, w.Code, w.Header().Get("WWW-Authenticate"), want)
		}
	}
}

// TestN71TokenInAForm: a token in the header and in a form at once is refused,
// whatever else the type of the form says.
func TestN71TokenInAForm(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=UTF-8", "Application/X-WWW-Form-Urlencoded"} {
		q := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/userinfo", strings.NewReader("access_token=x"))
		q.Header.Set("Content-Type", kind)
		q.Header.Set("Authorization", "Bearer "+unknown)
		if _, err := token.CredentialsOf(httptest.NewRecorder(), q); err == nil {
			t.Errorf("%s: the token is taken", kind)
		}
	}
}
