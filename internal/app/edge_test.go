package app_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/apptest"
	"github.com/fastbind/fastbind/internal/client"
)

type world struct {
	*apptest.Server
	subject string
	spa     apptest.App
	service apptest.App
}

func open(t *testing.T, o apptest.Options) *world {
	t.Helper()
	w := &world{Server: apptest.Start(t, o)}
	w.subject = w.Person("ada")
	w.Register("spa", false, client.Meta{
		Name: "Single page", RedirectURIs: []string{"http://127.0.0.1/callback"}, PostLogoutRedirectURIs: []string{"http://127.0.0.1/bye"}, GrantTypes: []string{"authorization_code", "refresh_token"},
		Scopes: []string{"openid", "orders:read"}, Audiences: []string{"orders"}, Trusted: true, Policy: "spa",
	})
	w.spa = apptest.App{ID: "spa", Redirect: apptest.Redirect, Scope: "openid orders:read"}
	w.service = apptest.App{ID: "service", Secret: w.Register("service", true, client.Meta{GrantTypes: []string{"client_credentials"}})}
	return w
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	a := w.Do("GET", "/.well-known/openid-configuration", nil, nil)
	b := w.Do("GET", "/.well-known/oauth-authorization-server", nil, nil)
	if a.Body != b.Body {
		t.Error("the two names serve different metadata")
	}
	m := a.JSON(t)
	if m["issuer"] != w.Issuer || !slices.Contains(m["id_token_signing_alg_values_supported"].([]any), any("RS256")) {
		t.Errorf("metadata: %v", m)
	}
	for name, v := range m {
		s, ok := v.(string)
		if !ok || !strings.HasSuffix(name, "_endpoint") && name != "jwks_uri" {
			continue
		}
		path, ours := strings.CutPrefix(s, w.Issuer)
		if !ours {
			t.Errorf("%s is %q, want it below the issuer", name, s)
		}
		if got := w.Do("GET", path, nil, nil); got.Status == 404 {
			t.Errorf("%s leads nowhere", name)
		}
	}
	head := http.Header{"If-None-Match": {a.Header.Get("ETag")}}
	if got := w.Do("GET", "/.well-known/openid-configuration", nil, head); got.Status != http.StatusNotModified {
		t.Errorf("with the ETag: %d, want 304", got.Status)
	}
}

func TestN94ForgedHosts(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	plain := w.Do("GET", "/.well-known/openid-configuration", nil, nil).Body
	b := w.Browser()
	for name, value := range map[string]string{
		"X-Forwarded-Host": "evil.test", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/evil", "X-Forwarded-Port": "1", "X-Original-Url": "/evil",
		"X_Forwarded_Host": "evil.test", "Forwarded": "host=evil.test;proto=https", "X-Host": "evil.test", "X-Forwarded-For": "9.9.9.9",
		"X-Http-Method-Override": "DELETE",
	} {
		b.Header[name] = []string{value}
	}
	if got := b.Send("GET", "/.well-known/openid-configuration", nil).Body; got != plain {
		t.Error("headers change the metadata")
	}
	v, verifier := w.spa.Request()
	got := b.Code(v, "ada")
	if got.Get("iss") != w.Issuer || w.Redeem(w.spa, got.Get("code"), verifier).Status != 200 {
		t.Errorf("answer %v", got)
	}
	for _, c := range b.Cookies() {
		if strings.Contains(c.Value, "evil") {
			t.Errorf("cookie %s", c.Name)
		}
	}
	if strings.Contains(w.Log(), "network=9.9.9.9") {
		t.Error("an address was taken from a header of a stranger")
	}

	raw := rawRequest(t, w.URL, "GET /.well-known/openid-configuration HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n")
	if strings.Contains(raw, "evil.test") || !strings.Contains(raw, w.Issuer) {
		t.Errorf("another Host changes the metadata: %.200s", raw)
	}
}

func TestN95Caching(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	h := w.Browser().Tokens(w.spa, "ada")
	b := w.Browser()
	v, _ := w.spa.Request()
	for name, a := range map[string]*apptest.Answer{
		"Userinfo": w.Do("GET", "/userinfo", nil, apptest.Bearer(h.Access)), "TokenError": w.Post("/token", url.Values{}, nil),
		"Introspection": w.Post("/introspect", url.Values{}, nil), "SignInPage": b.Open(w.Path(v)), "ErrorPage": b.Open("/authorize"),
		"Callback": b.SignIn(b.Open(w.Path(v)), "ada"), "SignIn": b.Open("/login"), "SignOut": b.Open("/logout"),
	} {
		if got := a.Header.Get("Cache-Control"); !strings.Contains(got, "no-store") || a.Header.Get("ETag") != "" {
			t.Errorf("%s: Cache-Control %q, ETag %q", name, got, a.Header.Get("ETag"))
		}
	}
	for _, path := range []string{"/userinfo/x.css", "/userinfo;x.css", "/userinfo/", "/token/x.js", "/login/x.png"} {
		if a := w.Do("GET", path, nil, apptest.Bearer(h.Access)); a.Status != 404 {
			t.Errorf("%s: %d, want 404", path, a.Status)
		}
	}
	for _, path := range []string{"/.well-known/openid-configuration", "/jwks"} {
		if got := w.Do("GET", path, nil, nil).Header.Get("Cache-Control"); !strings.Contains(got, "max-age") {
			t.Errorf("%s: Cache-Control %q, want it cacheable", path, got)
		}
	}
}

func TestN96CORS(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	for _, origin := range []string{"https://evil.test", "null"} {
		head := http.Header{"Origin": {origin}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {"authorization"}}
		for _, path := range []string{"/authorize", "/login", "/consent", "/logout", "/revocations", "/introspect"} {
			for _, method := range []string{"OPTIONS", "GET"} {
				if got := w.Do(method, path, nil, head).Header.Get("Access-Control-Allow-Origin"); got != "" {
					t.Errorf("%s %s: Access-Control-Allow-Origin %q", method, path, got)
				}
			}
		}
		for _, path := range []string{"/token", "/userinfo", "/par", "/revoke", "/jwks", "/.well-known/openid-configuration"} {
			a := w.Do("OPTIONS", path, nil, head)
			if a.Header.Get("Access-Control-Allow-Origin") != "*" || a.Header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s: CORS headers %v", path, a.Header)
			}
		}
	}
}

func TestN97PathConfusion(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	for _, path := range []string{
		"/.well-known/openid-configuration/tenant", "/tenant/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/tenant",
		"/.Well-Known/openid-configuration", "/.well-known/OpenID-Configuration", "/.well-known%2fopenid-configuration", "/JWKS",
	} {
		if a := w.Do("GET", path, nil, nil); a.Status != 404 {
			t.Errorf("%s: %d, want 404", path, a.Status)
		}
	}
	other := open(t, apptest.Options{})
	h := other.Browser().Tokens(other.spa, "ada")
	if a := w.Do("GET", "/userinfo", nil, apptest.Bearer(h.Access)); a.Status != 401 {
		t.Errorf("a token of another issuer: %d, want 401", a.Status)
	}
	if a := w.Refresh(w.spa, h.Refresh, ""); a.Code() != "invalid_grant" {
		t.Errorf("a refresh token of another issuer: %d %s", a.Status, a.Body)
	}
}

func TestN110TooLarge(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	big := strings.Repeat("x", 65<<10)
	for _, path := range []string{"/token", "/par", "/revoke", "/introspect"} {
		if a := w.Post(path, url.Values{"grant_type": {big}}, nil); a.Status != 413 {
			t.Errorf("%s: a body of 65 KiB: %d, want 413", path, a.Status)
		}
	}
	many := strings.Repeat("a=1&", 10_000)
	form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	if a := w.Do("POST", "/token", strings.NewReader(many), form); a.Status != 400 {
		t.Errorf("10,000 parameters: %d, want 400", a.Status)
	}
	v, _ := w.spa.Request()
	v.Set("scope", strings.Repeat("openid ", 5_000)+"x")
	if a := w.Browser().Open(w.Path(v)); a.Location(t).Query().Get("error") != "invalid_scope" {
		t.Errorf("5,000 scopes: %d", a.Status)
	}
	v, _ = w.spa.Request()
	v["resource"] = slices.Repeat([]string{"x"}, 600)
	if a := w.Browser().Open(w.Path(v)); a.Status != 400 {
		t.Errorf("600 resources: %d", a.Status)
	}
	v, _ = w.spa.Request()
	v.Set("claims", strings.Repeat(`{"userinfo":`, 2_000))
	if a := w.Browser().Open(w.Path(v)); a.Location(t).Query().Get("error") != "invalid_request" {
		t.Errorf("deep claims: %d", a.Status)
	}
	v.Set("claims", `{"id_token":{"x":{"value":`+strings.Repeat("9", 3000)+`}}}`)
	if a := w.Browser().Open(w.Path(v)); a.Status != 200 && a.Location(t).Query().Get("error") != "invalid_request" {
		t.Errorf("a long number: %d", a.Status)
	}
	if raw := rawRequest(t, w.URL, "GET / HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("y", 200<<10)+"\r\n\r\n"); !strings.Contains(raw, " 431 ") {
		t.Errorf("headers of 200 KiB: %.60q, want 431", raw)
	}
	if raw := rawRequest(t, w.URL, "GET /"+strings.Repeat("y", 200<<10)+" HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.Contains(raw, " 431 ") && !strings.Contains(raw, " 414 ") {
		t.Errorf("an address of 200 KiB: %.60q, want 414 or 431", raw)
	}
	if a := w.Do("GET", "/userinfo", nil, apptest.Bearer(strings.Repeat("x", 20<<10))); a.Status != 401 {
		t.Errorf("a token of 20 KiB: %d, want 401", a.Status)
	}
}

func TestN111CookieBomb(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	b := w.Browser()
	cookies := make([]string, 1_000)
	for i := range cookies {
		cookies[i] = fmt.Sprintf("c%d=%s", i, strings.Repeat("x", 40))
	}
	b.Header["Cookie"] = []string{strings.Join(cookies, "; ")}
	v, _ := w.spa.Request()
	if a := b.Open(w.Path(v)); a.Status != 200 {
		t.Errorf("1,000 cookies: %d, want the sign-in page", a.Status)
	}
}

func TestN112Compressed(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	fmt.Fprint(z, strings.Repeat("grant_type=x&", 1<<20))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	a := w.Do("POST", "/token", &b, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Content-Encoding": {"gzip"}})
	if a.Status != 415 {
		t.Errorf("a compressed body: %d, want 415", a.Status)
	}
}

func TestN113Floods(t *testing.T) {
	t.Parallel()
	at := time.Now() // the clock stands: no allowance grows back however slow the machine is
	w := open(t, apptest.Options{Now: func() time.Time { return at }})
	v, _ := w.spa.Request()
	refused := 0
	for range 600 {
		if a := w.Post("/par", v, nil); a.Status == 429 && a.Header.Get("Retry-After") != "" {
			refused++
		}
	}
	if refused == 0 {
		t.Error("pushed requests of one network are not bounded")
	}
	if got := w.Browser().Code(v, "ada"); got.Get("code") == "" {
		t.Errorf("and somebody else could not sign in: %v", got)
	}
	before := fileSize(t, w.Data)
	for range 300 { // pending sign-ins are not stored anywhere
		w.Browser().Open(w.Path(v))
	}
	if after := fileSize(t, w.Data); after > before {
		t.Errorf("300 pending sign-ins grew the database from %d to %d bytes", before, after)
	}
}

func fileSize(t *testing.T, dir string) int64 {
	t.Helper()
	var n int64
	for _, f := range glob(t, dir) {
		if info, err := os.Stat(f); err == nil {
			n += info.Size()
		}
	}
	return n
}

func glob(t *testing.T, dir string) []string {
	t.Helper()
	fs, err := filepath.Glob(filepath.Join(dir, "fastbind.db*"))
	if err != nil || len(fs) == 0 {
		t.Fatalf("no database in %s: %v", dir, err)
	}
	return fs
}

func TestN114MethodsAndTypes(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	for _, path := range []string{"/token", "/par", "/revoke", "/introspect"} {
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "PATCH"} {
			a := w.Do(method, path, nil, http.Header{"X-Http-Method-Override": {"POST"}})
			if a.Status != 405 || a.Header.Get("Allow") == "" {
				t.Errorf("%s %s: %d, Allow %q, want 405", method, path, a.Status, a.Header.Get("Allow"))
			}
		}
		for _, typ := range []string{"application/json", "text/plain", "multipart/form-data; boundary=x", "", "application/x-www-form-urlencoded; charset=utf-16"} {
			a := w.Do("POST", path, strings.NewReader(`{"grant_type":"client_credentials"}`), http.Header{"Content-Type": {typ}})
			if a.Status != 415 {
				t.Errorf("POST %s as %q: %d, want 415", path, typ, a.Status)
			}
		}
	}
	for path, method := range map[string]string{"/authorize": "DELETE", "/userinfo": "PUT", "/jwks": "POST", "/.well-known/openid-configuration": "POST"} {
		if a := w.Do(method, path, nil, nil); a.Status != 405 {
			t.Errorf("%s %s: %d, want 405", method, path, a.Status)
		}
	}
	if raw := rawRequest(t, w.URL, "TRACE /token HTTP/1.1\r\nHost: x\r\nCookie: secret=1\r\nConnection: close\r\n\r\n"); strings.Contains(raw, "secret=1") {
		t.Error("TRACE echoes the request")
	}
}

func TestN115Smuggling(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	for name, req := range map[string]string{
		"BothLengths":     "POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
		"TwoLengths":      "POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
		"BlankBeforeName": "GET /jwks HTTP/1.1\r\nHost: x\r\n Folded: x\r\n\r\n",
		"BlankAfterName":  "GET /jwks HTTP/1.1\r\nHost : x\r\n\r\n",
		"BadChunk":        "POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
		"NoHost":          "GET /jwks HTTP/1.1\r\n\r\n",
	} {
		raw := rawRequest(t, w.URL, req)
		status, _, _ := strings.Cut(raw, "\r\n")
		if !strings.Contains(status, " 400 ") && !strings.Contains(status, " 501 ") {
			t.Errorf("%s: %q, want 400", name, status)
		}
	}
}

func TestN116LogInjection(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	b := w.Browser()
	b.Header["User-Agent"] = []string{"x\tmsg=forged level=ERROR"}
	v, _ := w.spa.Request()
	page := b.Open(w.Path(v))
	b.Submit(page, map[string]string{"username": "ada\nlevel=ERROR msg=forged", "password": "a wrong password 123"})
	w.Secret("a wrong password 123")
	w.Post("/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"fbr_\nlevel=ERROR msg=forged"}, "client_id": {"spa\nlevel=ERROR"}}, nil)
	b.Tokens(w.spa, "ada")
	for line := range strings.Lines(w.Log()) {
		if strings.HasPrefix(line, "level=ERROR") || strings.Contains(line, " msg=forged") && !strings.Contains(line, `"`) {
			t.Errorf("a forged line: %s", line)
		}
	}
	if got := b.Open("/login").Header.Get("Referrer-Policy"); got != "no-referrer" {
		t.Errorf("Referrer-Policy is %q", got)
	}
}

func TestN117StolenDatabase(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	b := w.Browser()
	h := b.Tokens(w.spa, "ada")
	h = w.Renew(h)
	v, verifier := w.spa.Request()
	code := b.Code(v, "ada").Get("code")
	pushed := w.Post("/par", v, nil).JSON(t)["request_uri"].(string)
	w.Stop()
	secrets := []string{h.Access, h.Refresh, h.ID, code, verifier, apptest.Password, w.service.Secret, strings.TrimPrefix(pushed, "urn:ietf:params:oauth:request_uri:")}
	for _, c := range b.Cookies() {
		secrets = append(secrets, c.Value)
	}
	key, err := os.ReadFile(filepath.Join(w.Data, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(key)), "\n")
	secrets = append(secrets, lines[len(lines)-1], "PRIVATE KEY")
	for _, f := range glob(t, w.Data) {
		content, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range secrets {
			if len(s) < 10 || bytes.Contains(content, []byte(s)) {
				t.Errorf("secret %d (%.4s…) is in %s", i, s, filepath.Base(f))
			}
		}
	}
}

func TestN118Restart(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	b := w.Browser()
	h := b.Tokens(w.spa, "ada")
	stolen := b.Tokens(w.spa, "ada")
	next := w.Renew(w.Renew(stolen))
	w.Refresh(w.spa, stolen.Refresh, "") // theft
	v, verifier := w.spa.Request()
	code := w.Browser().Code(v, "ada").Get("code")
	if a := w.Redeem(w.spa, code, verifier); a.Status != 200 {
		t.Fatalf("redeem: %d", a.Status)
	}
	w.Stop()

	again := apptest.Start(t, apptest.Options{Data: w.Data, Issuer: w.Issuer})
	if a := again.Refresh(w.spa, next.Refresh, ""); a.Code() != "invalid_grant" {
		t.Errorf("a stolen family rose again: %d", a.Status)
	}
	if a := again.Do("GET", "/userinfo", nil, apptest.Bearer(next.Access)); a.Status != 401 {
		t.Errorf("a revoked access token rose again: %d", a.Status)
	}
	if a := again.Redeem(w.spa, code, verifier); a.Code() != "invalid_grant" {
		t.Errorf("a code was redeemed twice: %d", a.Status)
	}
	// The theft ended the session of the device, and with it everything of it.
	if a := again.Refresh(w.spa, h.Refresh, ""); a.Code() != "invalid_grant" {
		t.Errorf("the session of a theft rose again: %d", a.Status)
	}
	if a := again.Do("GET", "/userinfo", nil, apptest.Bearer(h.Access)); a.Status != 401 {
		t.Errorf("the access token of an ended session rose again: %d", a.Status)
	}
}

// rawRequest sends bytes and returns what comes back.
func rawRequest(t *testing.T, base, request string) string {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // the test is over
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	go io.WriteString(c, request) //nolint:errcheck // the server may hang up first
	r := bufio.NewReader(c)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		line, _ := r.ReadString('\n') //nolint:errcheck // the rest is as good
		return line
	}
	defer res.Body.Close()          //nolint:errcheck // the test is over
	body, _ := io.ReadAll(res.Body) //nolint:errcheck // a cut body is a body
	var head strings.Builder
	res.Header.Write(&head) //nolint:errcheck // a builder does not fail
	return fmt.Sprintf("%s %s \r\n%s\r\n%s", res.Proto, res.Status, head.String(), body)
}
