package proof_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/apptest"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// onEach runs a test with a database of each engine: SQLite, and PostgreSQL where
// the tests may start one.
func onEach(t *testing.T, test func(t *testing.T, o apptest.Options)) {
	t.Run("SQLite", func(t *testing.T) { t.Parallel(); test(t, apptest.Options{Data: t.TempDir()}) })
	if pgtest.Enabled() {
		t.Run("PostgreSQL", func(t *testing.T) {
			t.Parallel()
			test(t, apptest.Options{Data: t.TempDir(), DatabaseURL: pgtest.URL(t)})
		})
	}
}

// world is a server with a person and clients of each kind. Spa and web are
// registered without a word about proofs, and show them.
type world struct {
	*apptest.Server
	o                 apptest.Options // of a further node
	spa, web, service apptest.App
	api               apptest.App
}

func meta(dpop string, grants ...string) client.Meta {
	return client.Meta{
		RedirectURIs: []string{apptest.Redirect}, GrantTypes: grants, Trusted: true, DPoP: dpop,
		Scopes: []string{"openid", "orders:read"}, Audiences: []string{"api"}, Policy: "spa",
	}
}

func open(t *testing.T, o apptest.Options) *world {
	t.Helper()
	w := &world{Server: apptest.Start(t, o), o: o}
	w.o.Data, w.o.Issuer = w.Data, w.Issuer
	w.Person("ada")
	w.spa = w.register(t, "spa", "", false)
	w.web = w.register(t, "web", "", true)
	w.service = apptest.App{ID: "service", Prover: apptest.NewProver(t)}
	w.service.Secret = w.Register("service", true, client.Meta{GrantTypes: []string{"client_credentials"}, Scopes: []string{"orders:read"}, Policy: "service"})
	w.api = apptest.App{ID: "api"}
	w.api.Secret = w.Register("api", true, client.Meta{ResourceServer: true, Audiences: []string{"api"}})
	return w
}

// register registers a client that shows proofs, at a step.
func (w *world) register(t *testing.T, id, dpop string, confidential bool) apptest.App {
	t.Helper()
	return apptest.App{
		ID: id, Redirect: apptest.Redirect, Scope: "openid orders:read", Prover: apptest.NewProver(t),
		Secret: w.Register(id, confidential, meta(dpop, "authorization_code", "refresh_token")),
	}
}

// node starts a further node on the same database.
func (w *world) node(t *testing.T, now func() time.Time) *apptest.Server {
	t.Helper()
	o := w.o
	o.Now = now
	return apptest.Start(t, o)
}

func bearer(c apptest.App) apptest.App { c.Prover = nil; return c }

func want(t *testing.T, what string, a *apptest.Answer, status int, code string) {
	t.Helper()
	if a.Status != status || a.Code() != code {
		t.Errorf("%s: answer %d %s, want %d %q", what, a.Status, a.Body, status, code)
	}
	if strings.HasPrefix(a.URL.Path, "/token") || a.URL.Path == "/par" || a.URL.Path == "/userinfo" {
		if a.Header.Get("DPoP-Nonce") == "" {
			t.Errorf("%s: answer %d without a nonce", what, a.Status)
		}
	}
}

// wantWords is want for a refusal of a proof, by what its description is about.
func wantWords(t *testing.T, what string, a *apptest.Answer, status int, words string) {
	t.Helper()
	want(t, what, a, status, "invalid_dpop_proof")
	if got, _ := a.JSON(t)["error_description"].(string); !strings.Contains(got, words) { //nolint:errcheck // absent is empty
		t.Errorf("%s: described as %q, want %q in it", what, got, words)
	}
}

// code returns a code of a client and the form that redeems it.
func (w *world) code(t *testing.T, c apptest.App, more ...string) url.Values {
	t.Helper()
	v, verifier := c.Request()
	for i := 0; i < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	got := w.Browser().Code(v, "ada")
	if got.Get("code") == "" {
		t.Fatalf("no code: %v", got)
	}
	return form(c, "grant_type", "authorization_code", "code", got.Get("code"), "redirect_uri", c.Redirect, "code_verifier", verifier)
}

func refreshing(c apptest.App, token string) url.Values {
	return form(c, "grant_type", "refresh_token", "refresh_token", token)
}

func form(c apptest.App, kv ...string) url.Values {
	v := url.Values{}
	if c.Secret == "" {
		v.Set("client_id", c.ID)
	}
	for i := 0; i < len(kv); i += 2 {
		v.Set(kv[i], kv[i+1])
	}
	return v
}

// call is a token request.
func call(c apptest.App, form url.Values) apptest.Call {
	return apptest.Call{Method: http.MethodPost, Path: "/token", Form: form, Header: c.Header()}
}

func userinfo(access string) apptest.Call {
	return apptest.Call{Method: http.MethodGet, Path: "/userinfo", Access: access}
}

// hear lets a client hear of a nonce, as every answer of the server names one.
func (w *world) hear(p *apptest.Prover) { p.Heard(w.Do(http.MethodGet, "/userinfo", nil, nil)) }

// A forger makes proofs of any form with a key of its own.
type forger struct{ key *ecdsa.PrivateKey }

func newForger(t *testing.T) forger {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return forger{k}
}

func (f forger) jwk(t *testing.T) map[string]any {
	t.Helper()
	b, err := f.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{"kty": "EC", "crv": "P-256", "x": b64(b[1:33]), "y": b64(b[33:])}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// sign returns a JWT with the header and claims of a good proof, changed.
func (f forger) sign(t *testing.T, header, claims map[string]any) string {
	t.Helper()
	h := map[string]any{"typ": "dpop+jwt", "alg": "ES256", "jwk": f.jwk(t)}
	c := map[string]any{"jti": rand.Text(), "iat": time.Now().Unix()}
	for _, part := range []struct{ of, with map[string]any }{{h, header}, {c, claims}} {
		maps.Copy(part.of, part.with)
		maps.DeleteFunc(part.of, func(_ string, v any) bool { return v == nil })
	}
	text := make([]string, 0, 3)
	for _, m := range []map[string]any{h, c} {
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, b64(b))
	}
	sum := sha256.Sum256([]byte(strings.Join(text, ".")))
	r, s, err := ecdsa.Sign(rand.Reader, f.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return strings.Join(append(text, b64(sig)), ".")
}

// dpopNonce configures whether proofs must hold a nonce.
func dpopNonce(s string) func(*app.Config) { return func(c *app.Config) { c.DPoPNonce = s } }

// claimsOf returns the claims of a JWT, unverified.
func claimsOf(t *testing.T, jwt string) map[string]any {
	t.Helper()
	parts := strings.Split(jwt, ".")
	b, err := base64.RawURLEncoding.DecodeString(parts[len(parts)/2])
	var m map[string]any
	if err != nil || json.Unmarshal(b, &m) != nil {
		t.Fatalf("not a JWT: %v", err)
	}
	return m
}
