package keys_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	gojose "github.com/go-jose/go-jose/v4"

	"github.com/fastbind/fastbind/internal/jose"
	"github.com/fastbind/fastbind/internal/keys"
	"github.com/fastbind/fastbind/internal/keys/keystest"
	"github.com/fastbind/fastbind/internal/opaque"
)

func ask(t *testing.T, h http.Handler, method string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "/jwks", nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func wantHeader(t *testing.T, w *httptest.ResponseRecorder, name, want string) {
	t.Helper()
	if got := w.Result().Header.Get(name); got != want {
		t.Errorf("%s: %q, want %q", name, got, want)
	}
}

func TestHandler(t *testing.T) {
	t.Parallel()
	r := startRing(t, new(keystest.Memory), opaque.NewSecrets())
	if err := r.Ensure(t.Context(), jose.RS256); err != nil {
		t.Fatal(err)
	}
	if err := r.Rotate(t.Context(), jose.ES256); err != nil {
		t.Fatal(err)
	}
	h := &keys.Handler{Ring: r}
	w := ask(t, h, http.MethodGet)
	if w.Code != http.StatusOK {
		t.Fatalf("status %d", w.Code)
	}
	wantHeader(t, w, "Content-Type", "application/jwk-set+json")
	wantHeader(t, w, "Cache-Control", "public, max-age=300")
	wantHeader(t, w, "Access-Control-Allow-Origin", "*")
	wantHeader(t, ask(t, &keys.Handler{Ring: r, MaxAge: time.Hour}, http.MethodGet), "Cache-Control", "public, max-age=3600")

	body := w.Body.Bytes()
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(body, &set); err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != 4 {
		t.Errorf("%d keys, want 4", len(set.Keys))
	}
	for _, k := range set.Keys {
		for name := range k {
			if !slices.Contains([]string{"kty", "crv", "x", "y", "n", "e", "kid", "use", "alg"}, name) {
				t.Errorf("member %q", name)
			}
		}
		if k["use"] != "sig" || k["kid"] == "" {
			t.Errorf("key %v", k)
		}
	}
	// What others make of it verifies our tokens.
	var theirs gojose.JSONWebKeySet
	if err := json.Unmarshal(body, &theirs); err != nil {
		t.Fatal(err)
	}
	for _, alg := range []jose.Algorithm{jose.ES256, jose.EdDSA, jose.RS256} {
		token, err := gojose.ParseSignedCompact(sign(t, r, alg), []gojose.SignatureAlgorithm{gojose.SignatureAlgorithm(alg)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := token.Verify(theirs); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
	}

	// HEAD says the same without a body.
	head := ask(t, h, http.MethodHead)
	if head.Code != http.StatusOK || head.Body.Len() > 0 {
		t.Errorf("HEAD: status %d, %d bytes", head.Code, head.Body.Len())
	}
	for _, name := range []string{"Content-Type", "Content-Length", "ETag", "Cache-Control"} {
		wantHeader(t, head, name, w.Result().Header.Get(name))
	}
	if again := ask(t, h, http.MethodGet); again.Body.String() != w.Body.String() {
		t.Error("the order of the keys changes")
	}
}

func TestHandlerConditional(t *testing.T) {
	t.Parallel()
	store := new(keystest.Memory)
	secrets := opaque.NewSecrets()
	r := startRing(t, store, secrets)
	h := &keys.Handler{Ring: r}
	etag := ask(t, h, http.MethodGet).Result().Header.Get("ETag")
	if len(etag) < 10 || etag[0] != '"' || etag[len(etag)-1] != '"' {
		t.Fatalf("entity tag %q is not a strong one", etag)
	}
	for value, want := range map[string]int{
		etag: http.StatusNotModified, "W/" + etag: http.StatusNotModified, "*": http.StatusNotModified,
		`"other", ` + etag: http.StatusNotModified, `"other"`: http.StatusOK, "": http.StatusOK, etag[1 : len(etag)-1]: http.StatusOK,
	} {
		w := ask(t, h, http.MethodGet, "If-None-Match", value)
		if w.Code != want {
			t.Errorf("If-None-Match %s: status %d, want %d", value, w.Code, want)
		}
		wantHeader(t, w, "ETag", etag)
		wantHeader(t, w, "Cache-Control", "public, max-age=300")
		if want == http.StatusNotModified && w.Body.Len() > 0 {
			t.Error("a body that is not modified was sent")
		}
	}
	// Another node, and one that starts later, give the same tag.
	other := ask(t, &keys.Handler{Ring: startRing(t, store, secrets)}, http.MethodGet)
	wantHeader(t, other, "ETag", etag)
	if err := r.Rotate(t.Context(), jose.ES256); err != nil {
		t.Fatal(err)
	}
	if w := ask(t, h, http.MethodGet, "If-None-Match", etag); w.Code != http.StatusOK {
		t.Errorf("after a rotation: status %d", w.Code)
	}
}

func TestHandlerRefuses(t *testing.T) {
	t.Parallel()
	h := &keys.Handler{Ring: startRing(t, new(keystest.Memory), opaque.NewSecrets())}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodPatch} {
		w := ask(t, h, method)
		if w.Code != http.StatusMethodNotAllowed || w.Body.Len() > 0 {
			t.Errorf("%s: status %d, %d bytes", method, w.Code, w.Body.Len())
		}
		wantHeader(t, w, "Allow", "GET, HEAD")
	}
	w := ask(t, &keys.Handler{Ring: newRing(new(keystest.Memory), opaque.NewSecrets())}, http.MethodGet)
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("before start: status %d", w.Code)
	}
	wantHeader(t, w, "Cache-Control", "no-store")
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		r := newRing(new(keystest.Memory), opaque.NewSecrets())
		if err := r.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSigner(b *testing.B) {
	r := newRing(new(keystest.Memory), opaque.NewSecrets())
	if err := r.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Signer(b.Context(), jose.EdDSA); err != nil {
			b.Fatal(err)
		}
	}
}
