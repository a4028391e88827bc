package fastbind_test

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/fastbind/fastbind"
)

func TestNewMakesItsFolder(t *testing.T) {
	t.Parallel()
	s, err := fastbind.New(t.Context(), fastbind.Config{
		Issuer: "https://auth.example.com", Data: filepath.Join(t.TempDir(), "a", "b"),
	})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/.well-known/openid-configuration", http.NoBody))
	if w.Code != http.StatusOK {
		t.Errorf("discovery: %d %s", w.Code, w.Body)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
