package authorize_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/fastbind/fastbind/internal/apptest"
)

// TestClaimsNeedConsent: a claim that is asked for by its name is subject to
// consent, and given only to clients that are registered for its scope.
func TestClaimsNeedConsent(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	c := w.foreign // registered for openid and email
	c.Scope = "openid"
	b := w.Browser()
	b.Tokens(c, "ada") // allows openid
	v, verifier := c.Request()
	v.Set("claims", `{"userinfo":{"email":{"essential":true},"name":null,"department":null},"id_token":{"email":null,"name":null,"auth_time":null}}`)
	page := b.Open(w.Path(v))
	if page.Status != 200 || !strings.Contains(page.Body, `name="decision"`) {
		t.Fatalf("a claim beyond what was allowed asks nobody: %d, %s", page.Status, page.Header.Get("Location"))
	}
	silent, _ := c.Request()
	silent.Set("claims", v.Get("claims"))
	silent.Set("prompt", "none")
	if got := b.Open(w.Path(silent)).Location(t).Query(); got.Get("error") != "consent_required" {
		t.Errorf("silently: %v, want consent_required", got)
	}
	got := b.Submit(page, map[string]string{"decision": "allow"}).Location(t).Query()
	m := w.Redeem(c, got.Get("code"), verifier).JSON(t)
	if m["scope"] != "openid" {
		t.Errorf("scope %v: a claim is no scope", m["scope"])
	}
	id, info := payload(t, m["id_token"]), w.Do("GET", "/userinfo", nil, apptest.Bearer(m["access_token"].(string))).JSON(t)
	for where, claims := range map[string]map[string]any{"the ID token": id, "UserInfo": info} {
		if claims["email"] != "ada@example.com" || claims["name"] != nil || claims["department"] != nil {
			t.Errorf("%s has %v, want the email and no name", where, claims)
		}
	}
	again, _ := c.Request()
	again.Set("claims", v.Get("claims"))
	if got := b.Open(w.Path(again)).Location(t).Query(); got.Get("code") == "" {
		t.Errorf("the consent is not remembered: %v", got)
	}
}

// payload returns the claims of a JWT.
func payload(t *testing.T, token any) (claims map[string]any) {
	t.Helper()
	text, _ := token.(string) //nolint:errcheck // absent does not parse
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no token", text)
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(b, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	return claims
}
