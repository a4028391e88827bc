package guard_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fastbind/fastbind/guard"
	"github.com/fastbind/fastbind/guard/guardtest"
	"github.com/fastbind/fastbind/oauth"
)

func get(token string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "https://api.test/orders", nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

// serve sends r through the middleware and returns the answer, which is 204 if
// r got through.
func serve(g *guard.Guard, rule guard.Rule, r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	g.RequireRule(rule)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})).ServeHTTP(w, r)
	return w.Result()
}

// wantRefusal checks that err refuses with the code for the reason.
func wantRefusal(t *testing.T, err error, code oauth.Code, reason error) {
	t.Helper()
	e, ok := errors.AsType[*oauth.Error](err)
	if !ok {
		t.Fatalf("got %v, want a refusal with %s", err, code)
	}
	if e.Code != code || !errors.Is(err, reason) {
		t.Errorf("got %v, want %s because of %v", err, code, reason)
	}
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	good := guard.Config{Issuer: "https://id.example.com", Audience: "https://api.example.com", ClientID: "api", ClientSecret: "hidden"}
	for name, change := range map[string]func(*guard.Config){
		"NoIssuer":            func(c *guard.Config) { c.Issuer = "" },
		"IssuerWithQuery":     func(c *guard.Config) { c.Issuer += "?a=b" },
		"IssuerWithFragment":  func(c *guard.Config) { c.Issuer += "#" },
		"IssuerWithUser":      func(c *guard.Config) { c.Issuer = "https://a@id.example.com" },
		"IssuerWithoutHTTPS":  func(c *guard.Config) { c.Issuer = "http://id.example.com" },
		"NoAudience":          func(c *guard.Config) { c.Audience = "" },
		"IDWithoutSecret":     func(c *guard.Config) { c.ClientSecret = "" },
		"SecretWithoutID":     func(c *guard.Config) { c.ClientID = "" },
		"TooFresh":            func(c *guard.Config) { c.MaxStaleness = time.Second },
		"NegativeStaleness":   func(c *guard.Config) { c.MaxStaleness = -time.Second },
		"LeewayTooLong":       func(c *guard.Config) { c.Leeway = 61 * time.Second },
		"LeewayNegative":      func(c *guard.Config) { c.Leeway = -time.Second },
		"AlgorithmNone":       func(c *guard.Config) { c.Algorithms = []string{"none"} },
		"AlgorithmHS256":      func(c *guard.Config) { c.Algorithms = []string{"ES256", "HS256"} },
		"UnknownPolicy":       func(c *guard.Config) { c.WhenStale = 17 },
		"IntrospectAnonymous": func(c *guard.Config) { c.ClientID, c.ClientSecret, c.WhenStale = "", "", guard.Introspect },
		"RealmWithQuote":      func(c *guard.Config) { c.Realm = `a"b` },
		"MetadataWithNewline": func(c *guard.Config) { c.ResourceMetadata = "https://a\r\nb" },
		"NegativeCache":       func(c *guard.Config) { c.CacheEntries = -1 },
		"UnknownDemand":       func(c *guard.Config) { c.DPoP.Demand = 3 },
		"RequiredNowhere":     func(c *guard.Config) { c.DPoP.Demand = guard.DPoPRequired },
		"PublicURLIsPath":     func(c *guard.Config) { c.DPoP.PublicURLs = []string{"/orders"} },
		"PublicURLWithQuery":  func(c *guard.Config) { c.DPoP.PublicURLs = []string{"https://api.example.com/?"} },
		"PublicURLWithUser":   func(c *guard.Config) { c.DPoP.PublicURLs = []string{"https://a@api.example.com"} },
		"PublicURLOtherKind":  func(c *guard.Config) { c.DPoP.PublicURLs = []string{"wss://api.example.com"} },
		"ShortNonceSecret":    func(c *guard.Config) { c.DPoP.NonceSecret = []byte("hidden") },
		"ClockErrorTooShort":  func(c *guard.Config) { c.DPoP.ClockError = time.Second },
		"ClockErrorTooLong":   func(c *guard.Config) { c.DPoP.ClockError = 25 * time.Hour },
		"NegativeProofs":      func(c *guard.Config) { c.DPoP.MaxProofs = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := good
			change(&c)
			if _, err := guard.New(c); err == nil {
				t.Errorf("no error for %+v", c)
			} else if strings.Contains(err.Error(), good.ClientSecret) {
				t.Errorf("the error has the secret: %v", err)
			}
		})
	}
	for _, issuer := range []string{"https://id.example.com/tenant", "http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost"} {
		c := good
		c.Issuer = issuer
		if _, err := guard.New(c); err != nil {
			t.Errorf("%s: %v", issuer, err)
		}
	}
}

func TestRequirePanicsForImpossibleRules(t *testing.T) {
	t.Parallel()
	g, err := guard.New(guard.Config{Issuer: "https://id.example.com", Audience: "api"})
	if err != nil {
		t.Fatal(err)
	}
	for name, rule := range map[string]guard.Rule{
		"EmptyScope":            {Scopes: []string{""}},
		"TwoScopesInOne":        {Scopes: []string{"a b"}},
		"ScopeWithQuote":        {Scopes: []string{`a"`}},
		"UnknownPolicy":         {WhenStale: -1},
		"IntrospectAnonymously": {WhenStale: guard.Introspect},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			g.RequireRule(rule)
		}()
		if _, err := g.CheckRule(get("x"), rule); err == nil {
			t.Errorf("%s: CheckRule takes it", name)
		}
	}
}

func TestPrincipal(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	g := issuer.Guard(t)
	now := time.Now().Truncate(time.Second).UTC()
	token := issuer.Mint(guardtest.Claims{
		Subject: "ada", ClientID: "app", Scope: "openid orders:read", SessionID: "s1", Family: "f1", Generation: 7, TokenID: "t1",
		Issued: now, More: map[string]any{
			"aud": []string{"https://other.test", issuer.Audience}, "auth_time": now.Add(-time.Hour).Unix(), "acr": "mfa",
			"amr": []string{"pwd", "otp"}, "name": "Ada \"L\"\n", "tenant": map[string]any{"id": 3},
		},
	})
	var p *guard.Principal
	h := g.Require("orders:read")(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		p, _ = guard.PrincipalFrom(r.Context())
	}))
	for range 2 { // verified, and from the cache
		p = nil
		h.ServeHTTP(httptest.NewRecorder(), get(token))
		if p == nil {
			t.Fatal("the handler was not called, or has no principal")
		}
		if p.Subject != "ada" || p.ClientID != "app" || p.Scope != "openid orders:read" || p.SessionID != "s1" ||
			p.Family != "f1" || p.Generation != 7 || p.TokenID != "t1" || p.ACR != "mfa" ||
			!p.Issued.Equal(now) || !p.Expires.Equal(now.Add(5*time.Minute)) || !p.AuthTime.Equal(now.Add(-time.Hour)) {
			t.Errorf("got %+v", p)
		}
		if amr := p.AMR(); len(amr) != 2 || amr[0] != "pwd" || amr[1] != "otp" {
			t.Errorf("amr: %q", amr)
		}
		if v, ok := p.Claim("tenant"); !ok || string(v) != `{"id":3}` {
			t.Errorf("tenant: %s, %v", v, ok)
		}
		if v, ok := p.Claim("absent"); ok {
			t.Errorf("absent: %s", v)
		}
		var scopes []string
		for s := range p.Scopes() {
			scopes = append(scopes, s)
		}
		if len(scopes) != 2 || !p.Has("openid") || p.Has("orders") || p.Has("") {
			t.Errorf("scopes: %q", scopes)
		}
	}
	if s := g.Stats(); s.Hits != 1 || s.Misses != 1 || s.Tokens != 1 || s.Running != 0 {
		t.Errorf("stats: %+v", s)
	}
	if _, ok := guard.PrincipalFrom(t.Context()); ok {
		t.Error("a principal from nowhere")
	}
}

// A program reads on the wire what RFC 6750, section 3, says, and nothing else.
func TestAnswers(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	g := issuer.Guard(t, func(c *guard.Config) {
		c.Realm, c.ResourceMetadata = "orders", "https://api.test/.well-known/oauth-protected-resource"
		c.DPoP.Demand = guard.DPoPOff
	})
	const begin, end = `Bearer realm="orders"`, `, resource_metadata="https://api.test/.well-known/oauth-protected-resource"`
	const invalid = begin + `, error="invalid_token", error_description="The access token is not valid"` + end
	revoked := issuer.Mint(guardtest.Claims{SessionID: "gone"})
	p, err := g.Check(get(revoked))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := g.Watch(t.Context(), p)
	defer stop()
	issuer.Revoke("sid", "gone")
	<-ctx.Done()
	for name, c := range map[string]struct {
		r         *http.Request
		status    int
		challenge string
		body      string
	}{
		"None":    {get(""), 401, begin + end, ""},
		"Garbage": {get("garbage"), 401, invalid, "invalid_token"},
		"Revoked": {get(revoked), 401, invalid, "invalid_token"},
		"Expired": {get(issuer.Mint(guardtest.Claims{Issued: time.Now().Add(-time.Hour)})), 401, invalid, "invalid_token"},
		"Scope": {
			get(issuer.Mint(guardtest.Claims{Scope: "orders:read"})), 403,
			begin + `, error="insufficient_scope", error_description="The access token does not allow this", scope="orders:read orders:write"` + end,
			"insufficient_scope",
		},
		"Good": {get(issuer.Mint(guardtest.Claims{Scope: "orders:write orders:read"})), 204, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resp := serve(g, guard.Rule{Scopes: []string{"orders:read", "orders:write"}}, c.r)
			body := make([]byte, 1000)
			n, _ := resp.Body.Read(body)
			if resp.StatusCode != c.status || resp.Header.Get("WWW-Authenticate") != c.challenge ||
				!strings.Contains(string(body[:n]), c.body) || (c.body == "") != (n == 0) {
				t.Errorf("got %d %s %s, want %d %s %s", resp.StatusCode, resp.Header.Get("WWW-Authenticate"), body[:n], c.status, c.challenge, c.body)
			}
		})
	}
}

func TestRunTwice(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	g := issuer.Guard(t)
	if err := g.Run(t.Context()); err == nil {
		t.Error("runs twice")
	}
}

func TestNotRunning(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	g, err := guard.New(issuer.Config())
	if err != nil {
		t.Fatal(err)
	}
	_, err = g.Check(get(issuer.Mint(guardtest.Claims{})))
	wantRefusal(t, err, oauth.TemporarilyUnavailable, guard.ErrUnavailable)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Ready(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("ready: %v", err)
	}
}

// A token that was seen is found again, and one that had to make room is not, also
// if it was asked for last.
func TestCacheForgets(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	g := issuer.Guard(t, func(c *guard.Config) { c.CacheEntries = 1 }) // one in each shard
	kept := get(issuer.Mint(guardtest.Claims{}))
	check := func(r *http.Request) {
		t.Helper()
		if _, err := g.Check(r); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		check(kept)
	}
	if s := g.Stats(); s.Hits != 2 || s.Misses != 1 {
		t.Errorf("after one token: %d hits, %d misses", s.Hits, s.Misses)
	}
	for range 1000 {
		check(get(issuer.Mint(guardtest.Claims{})))
	}
	check(kept)
	if s := g.Stats(); s.Hits != 2 || s.Misses != 1002 {
		t.Errorf("after a thousand others: %d hits, %d misses", s.Hits, s.Misses)
	}
}
