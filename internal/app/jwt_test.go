package app_test

import (
	"encoding/base64"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/apptest"
	"github.com/fastbind/fastbind/internal/client"
)

// entries are the places at which a JWT enters the server. Each reports whether
// the token was taken.
func (w *world) entries(t *testing.T, rs apptest.App) map[string]func(token string) bool {
	t.Helper()
	return map[string]func(string) bool{
		"UserInfo": func(s string) bool { return w.Do("GET", "/userinfo", nil, apptest.Bearer(s)).Status == 200 },
		"Introspect": func(s string) bool {
			return w.Post("/introspect", url.Values{"token": {s}}, rs.Header()).JSON(t)["active"] == true
		},
		"Hint": func(s string) bool {
			v, _ := w.spa.Request()
			v.Set("id_token_hint", s)
			a := w.Browser().Open(w.Path(v))
			return a.Status == 200 // the sign-in page; a bad hint is answered at the client
		},
		"Logout": func(s string) bool {
			v := url.Values{"id_token_hint": {s}, "post_logout_redirect_uri": {"http://127.0.0.1:9/bye"}}
			return w.Do("GET", "/logout?"+v.Encode(), nil, nil).Header.Get("Location") != ""
		},
	}
}

func (w *world) resourceServer() apptest.App {
	return apptest.App{ID: "rs", Secret: w.Register("rs", true, client.Meta{ResourceServer: true, Audiences: []string{"orders"}})}
}

// part returns JSON as a part of a JWT.
func part(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func TestN09EncryptedTokens(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	entries := w.entries(t, w.resourceServer())
	for name, header := range map[string]string{
		"PBES2":  `{"alg":"PBES2-HS512+A256KW","enc":"A256GCM","p2c":2147483647,"p2s":"YWJjZGVmZ2g"}`,
		"RSA1_5": `{"alg":"RSA1_5","enc":"A128CBC-HS256"}`,
		"Bomb":   `{"alg":"dir","enc":"A256GCM","zip":"DEF"}`,
		"ECDH":   `{"alg":"ECDH-ES","enc":"A256GCM","epk":{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}}`,
		"Nested": `{"alg":"dir","enc":"A256GCM","cty":"JWT"}`,
	} {
		token := strings.Join([]string{part(header), "", part("0123456789ab"), part(strings.Repeat("x", 2000)), part("0123456789abcdef")}, ".")
		for where, taken := range entries {
			began := time.Now()
			if taken(token) {
				t.Errorf("%s: %s was taken", where, name)
			}
			if d := time.Since(began); d > 2*time.Second {
				t.Errorf("%s: refusing %s took %s", where, name, d)
			}
		}
	}
}

func TestN01UnsignedAtEveryEntry(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	h := w.Browser().Tokens(w.spa, "ada")
	entries := w.entries(t, w.resourceServer())
	for _, good := range []string{h.Access, h.ID} {
		p := strings.Split(good, ".")
		for _, alg := range []string{`"alg":"none"`, `"alg":"None"`, `"alg":"nOnE"`, `"typ":"JWT"`, `"alg":""`, `"alg":null`} {
			for _, signature := range []string{"", p[2]} {
				for where, taken := range entries {
					if taken(part("{"+alg+"}") + "." + p[1] + "." + signature) {
						t.Errorf("%s: a token with {%s} was taken", where, alg)
					}
				}
			}
		}
		for where, taken := range entries {
			if taken(p[0] + "." + p[1] + ".") {
				t.Errorf("%s: a token without its signature was taken", where)
			}
		}
	}
}

// TestN05ForeignKeys: a key in the token, or an address of keys, is never used,
// and no connection is made to it.
func TestN05ForeignKeys(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	h := w.Browser().Tokens(w.spa, "ada")
	trap, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	caught := make(chan struct{}, 1)
	go func() {
		if c, err := trap.Accept(); err == nil {
			c.Close() //nolint:errcheck // it should not have come
			caught <- struct{}{}
		}
	}()
	entries := w.entries(t, w.resourceServer())
	p := strings.Split(h.Access, ".")
	address := `"http://` + trap.Addr().String() + `/jwks"`
	for _, extra := range []string{`"jku":` + address, `"x5u":` + address, `"x5c":["AA"]`, `"jwk":{"kty":"oct","k":"AA"}`} {
		for where, taken := range entries {
			if taken(part(`{"alg":"ES256","kid":"x",`+extra+`}`) + "." + p[1] + "." + p[2]) {
				t.Errorf("%s: a token with %s was taken", where, extra)
			}
		}
	}
	trap.Close() //nolint:errcheck // the test is over
	select {
	case <-caught:
		t.Error("the server fetched keys that a token named")
	default:
	}
}

func TestN10TokensOfOtherKinds(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	h := w.Browser().Tokens(w.spa, "ada")
	entries := w.entries(t, w.resourceServer())
	for where, want := range map[string]struct{ access, id bool }{
		"UserInfo": {access: true}, "Introspect": {access: true}, "Hint": {id: true}, "Logout": {id: true},
	} {
		if got := entries[where](h.Access); got != want.access {
			t.Errorf("%s: access token taken: %v, want %v", where, got, want.access)
		}
		if got := entries[where](h.ID); got != want.id {
			t.Errorf("%s: ID token taken: %v, want %v", where, got, want.id)
		}
		if entries[where](h.Refresh) {
			t.Errorf("%s: a refresh token was taken", where)
		}
	}
}
