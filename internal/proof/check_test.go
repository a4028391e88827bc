package proof_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fastbind/fastbind/dpop"
	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/apptest"
)

// asks are the requests that each check is made with: the token endpoint, pushed
// requests, and UserInfo with the token of a key.
type ask struct {
	name   string
	call   apptest.Call
	good   int // status of a good one
	status int // status of one whose proof is refused
}

// asks returns a request to each endpoint that takes proofs, for the key of a
// prover.
func (w *world) asks(t *testing.T, p *apptest.Prover) []ask {
	t.Helper()
	v, _ := w.web.Request()
	holder := w.spa
	holder.Prover = p
	return []ask{
		{"Token", call(w.service, form(w.service, "grant_type", "client_credentials")), 200, 400},
		{"Push", apptest.Call{Method: http.MethodPost, Path: "/par", Form: v, Header: w.web.Header()}, 201, 400},
		{"UserInfo", userinfo(w.Browser().Tokens(holder, "ada").Access), 200, 401},
	}
}

// forged returns the claims of a good proof of a call, changed. Nonce is the
// newest.
func (w *world) forged(p *apptest.Prover, c apptest.Call, change map[string]any) map[string]any {
	claims := map[string]any{"htm": c.Method, "htu": w.Issuer + c.Path, "nonce": p.Nonce()}
	if c.Access != "" {
		sum := sha256.Sum256([]byte(c.Access))
		claims["ath"] = b64(sum[:])
	}
	maps.Copy(claims, change)
	return claims
}

// forgery returns a forger, and a prover of the same key.
func forgery(t *testing.T) (forger, *apptest.Prover) {
	t.Helper()
	f := newForger(t)
	k, err := dpop.KeyFrom(f.key)
	if err != nil {
		t.Fatal(err)
	}
	return f, &apptest.Prover{Key: k}
}

// TestD01ProofChecks: each check of RFC 9449, section 4.3, at each endpoint, with
// its own description.
func TestD01ProofChecks(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	f, p := forgery(t)
	w.hear(p)
	private := f.jwk(t)
	d, err := f.key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	private["d"] = b64(d)
	for _, a := range w.asks(t, p) {
		for _, tt := range []struct {
			name           string
			header, claims map[string]any
			words          string
		}{
			{"Type", map[string]any{"typ": "JWT"}, nil, "typ"},
			{"NoType", map[string]any{"typ": nil}, nil, "typ"},
			{"NoneAlg", map[string]any{"alg": "none"}, nil, "alg"},
			{"RSA", map[string]any{"alg": "RS256"}, nil, ""},
			{"Critical", map[string]any{"crit": []string{"x"}, "x": 1}, nil, ""},
			{"NoKey", map[string]any{"jwk": nil}, nil, "jwk"},
			{"OtherKey", map[string]any{"jwk": newForger(t).jwk(t)}, nil, "signature"},
			{"N65PrivateKey", map[string]any{"jwk": private}, nil, "jwk"},
			{"N65SymmetricKey", map[string]any{"jwk": map[string]any{"kty": "oct", "k": "AAAA"}}, nil, "jwk"},
			{"NoID", nil, map[string]any{"jti": nil}, "jti"},
			{"EmptyID", nil, map[string]any{"jti": ""}, "jti"},
			{"LongID", nil, map[string]any{"jti": strings.Repeat("a", 129)}, "jti"},
			{"N61OtherMethod", nil, map[string]any{"htm": "PUT"}, "htm"},
			{"N61LowerCaseMethod", nil, map[string]any{"htm": strings.ToLower(a.call.Method)}, "htm"},
			{"N61OtherHost", nil, map[string]any{"htu": "http://example.com" + a.call.Path}, "htu"},
			{"N61OtherScheme", nil, map[string]any{"htu": "https" + strings.TrimPrefix(w.Issuer, "http") + a.call.Path}, "htu"},
			{"N61OtherPath", nil, map[string]any{"htu": w.Issuer + "/other"}, "htu"},
			{"N61EncodedPath", nil, map[string]any{"htu": w.Issuer + "/%2F" + a.call.Path[1:]}, "htu"},
			{"N61DotSegments", nil, map[string]any{"htu": w.Issuer + "/x/.." + a.call.Path}, "htu"},
			{"N61NoURL", nil, map[string]any{"htu": nil}, "htu"},
			{"N63NoTime", nil, map[string]any{"iat": nil}, "iat"},
			{"N63TextTime", nil, map[string]any{"iat": "1770000000"}, "iat"},
			{"N63NegativeTime", nil, map[string]any{"iat": -1}, "iat"},
			{"N63HourAgo", nil, map[string]any{"iat": time.Now().Add(-time.Hour).Unix()}, "iat"},
			{"N63HourAhead", nil, map[string]any{"iat": time.Now().Add(time.Hour).Unix()}, "iat"},
		} {
			proof := f.sign(t, tt.header, w.forged(p, a.call, tt.claims))
			wantWords(t, a.name+tt.name, w.Send(proof, a.call), a.status, tt.words)
		}
		for name, claims := range map[string]map[string]any{
			"Good":               nil,
			"N61Query":           {"htu": w.Issuer + a.call.Path + "?x=1#y"},
			"N61HostCase":        {"htu": strings.ToUpper(w.Issuer) + a.call.Path},
			"N61NeedlessEncoded": {"htu": w.Issuer + "/%" + hex(a.call.Path[1]) + a.call.Path[2:]},
			"N63TenSecondsAgo":   {"iat": time.Now().Add(-10 * time.Second).Unix()},
			"N63TenSecondsAhead": {"iat": time.Now().Add(10 * time.Second).Unix()},
			"D09MoreClaims":      {"nbf": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(), "more": []int{1}},
		} {
			proof := f.sign(t, nil, w.forged(p, a.call, claims))
			want(t, a.name+name, w.Send(proof, a.call), a.good, "")
		}
	}
}

func hex(c byte) string { return string([]byte{"0123456789abcdef"[c>>4], "0123456789abcdef"[c&15]}) }

// TestN65Proofs: what is no single proof of a public key of an accepted algorithm
// is refused.
func TestN65Proofs(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	f, p := forgery(t)
	w.hear(p)
	for _, a := range w.asks(t, p) {
		good := func() string { return f.sign(t, nil, w.forged(p, a.call, nil)) }
		two := a.call
		two.Header = a.call.Header.Clone()
		if two.Header == nil {
			two.Header = http.Header{}
		}
		two.Header["Dpop"] = []string{good(), good()}
		wantWords(t, a.name+" two headers", w.Send("", two), a.status, "more than one")
		wantWords(t, a.name+" joined by a comma", w.Send(good()+", "+good(), a.call), a.status, "more than one")
		wantWords(t, a.name+" empty", w.Send(" ", a.call), a.status, "malformed")
		huge := f.sign(t, map[string]any{"jwk": map[string]any{"kty": "EC", "x": strings.Repeat("A", 60<<10)}}, w.forged(p, a.call, nil))
		wantWords(t, a.name+" key of 80 KB", w.Send(huge, a.call), a.status, "malformed")
		wantWords(t, a.name+" HS256", w.Send(symmetric(t, f, w.forged(p, a.call, map[string]any{"jti": "1", "iat": time.Now().Unix()})), a.call), a.status, "alg")
		want(t, a.name+" good", w.Send(good(), a.call), a.good, "")
	}
}

// symmetric returns a proof that is signed with the public key of f as a secret.
func symmetric(t *testing.T, f forger, claims map[string]any) string {
	t.Helper()
	var text []string
	for _, m := range []map[string]any{{"typ": "dpop+jwt", "alg": "HS256", "jwk": f.jwk(t)}, claims} {
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, b64(b))
	}
	h := hmac.New(sha256.New, []byte(text[0]))
	h.Write([]byte(strings.Join(text, ".")))
	return strings.Join(append(text, b64(h.Sum(nil))), ".")
}

// TestN65TokenSchemes: a bound token is no bearer token, and a bearer token is not
// made more by a proof.
func TestN65TokenSchemes(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	bound := w.Browser().Tokens(w.spa, "ada")
	plain := w.Browser().Tokens(bearer(w.spa), "ada")
	a := w.Do(http.MethodGet, "/userinfo", nil, apptest.Bearer(bound.Access))
	want(t, "bound token as Bearer", a, 401, "invalid_token")
	if got := a.Header.Get("WWW-Authenticate"); !strings.Contains(got, `error="invalid_token"`) || !strings.Contains(got, `DPoP algs="ES256 Ed25519 EdDSA"`) {
		t.Errorf("WWW-Authenticate is %q, want that DPoP is asked for", got)
	}
	h := apptest.Bearer(bound.Access)
	h.Set("DPoP", w.Proof(w.spa.Prover, userinfo(bound.Access)))
	want(t, "bound token as Bearer with a proof", w.Do(http.MethodGet, "/userinfo", nil, h), 401, "invalid_token")
	want(t, "unbound token as DPoP", w.Prove(w.spa.Prover, userinfo(plain.Access)), 401, "invalid_token")
	want(t, "bound token without a proof", w.Do(http.MethodGet, "/userinfo", nil, http.Header{"Authorization": {"DPoP " + bound.Access}}), 401, "invalid_dpop_proof")
	want(t, "unbound token as Bearer", w.Do(http.MethodGet, "/userinfo", nil, apptest.Bearer(plain.Access)), 200, "")
	want(t, "both at once", w.Do(http.MethodGet, "/userinfo", nil, http.Header{"Authorization": {"DPoP " + bound.Access, "Bearer " + plain.Access}}), 400, "invalid_request")

	c := userinfo(bound.Access)
	c.Header = http.Header{"Authorization": {"dpop " + bound.Access}, "Dpop": {w.Proof(w.spa.Prover, c)}}
	want(t, "the scheme in small letters", w.Do(http.MethodGet, c.Path, nil, c.Header), 200, "")
}

// TestD05Challenges: what a resource server says when it refuses.
func TestD05Challenges(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	const algs = `DPoP algs="ES256 Ed25519 EdDSA"`
	for what, tt := range map[string]struct {
		header http.Header
		want   string
	}{
		"nothing":     {nil, `Bearer realm="fastbind", ` + algs},
		"bad bearer":  {apptest.Bearer("x"), `Bearer realm="fastbind", error="invalid_token"`},
		"bad bound":   {http.Header{"Authorization": {"DPoP x"}}, algs + `, error="invalid_token"`},
		"basic":       {apptest.Basic("a", "b"), `Bearer realm="fastbind", error="invalid_request"`},
		"two proofs?": {http.Header{"Authorization": {"DPoP x"}, "Dpop": {"a", "b"}}, algs + `, error="invalid_token"`},
	} {
		a := w.Do(http.MethodGet, "/userinfo", nil, tt.header)
		if got := a.Header.Get("WWW-Authenticate"); got != tt.want {
			t.Errorf("%s: WWW-Authenticate is %q, want %q", what, got, tt.want)
		}
	}
	h := w.Browser().Tokens(w.spa, "ada")
	a := w.Send(w.Proof(apptest.NewProver(t), userinfo(h.Access)), userinfo(h.Access))
	if got, need := a.Header.Get("WWW-Authenticate"), algs+`, error="use_dpop_nonce"`; got != need {
		t.Errorf("without a nonce: WWW-Authenticate is %q, want %q", got, need)
	}
}

// TestN62AccessTokenHash: a proof for an API is for one access token.
func TestN62AccessTokenHash(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	f, p := forgery(t)
	w.spa.Prover = p
	first := w.Browser().Tokens(w.spa, "ada")
	second := w.Browser().Tokens(w.spa, "ada")
	of := w.forged(p, userinfo(second.Access), nil)["ath"]
	for name, ath := range map[string]any{"Missing": nil, "Empty": "", "OfAnotherToken": of, "Number": 1} {
		proof := f.sign(t, nil, w.forged(p, userinfo(first.Access), map[string]any{"ath": ath}))
		wantWords(t, name, w.Send(proof, userinfo(first.Access)), 401, "ath")
	}
}

// TestN62Nonces: a nonce that is missing, old, or of another server is asked for
// anew, with the answer that names the new one.
func TestN62Nonces(t *testing.T) {
	t.Parallel()
	c := apptest.NewClock()
	w := open(t, apptest.Options{Now: c.Now})
	stranger := open(t, apptest.Options{Now: c.Now})
	f, p := forgery(t)
	p.Now = c.Now
	w.hear(p)
	old := p.Nonce()
	asks := w.asks(t, p)
	c.Add(4 * time.Minute)
	w.hear(p)
	foreign := apptest.NewProver(t)
	stranger.hear(foreign)
	for _, a := range asks {
		still := f.sign(t, nil, w.forged(p, a.call, map[string]any{"nonce": old, "iat": c.Now().Unix()}))
		want(t, a.name+" nonce of four minutes ago", w.Send(still, a.call), a.good, "")
		for name, nonce := range map[string]any{"Missing": nil, "Empty": "", "Foreign": foreign.Nonce(), "Changed": p.Nonce()[:20] + "AAAA", "Long": strings.Repeat("A", 4096)} {
			proof := f.sign(t, nil, w.forged(p, a.call, map[string]any{"nonce": nonce, "iat": c.Now().Unix()}))
			want(t, a.name+" "+name, w.Send(proof, a.call), a.status, "use_dpop_nonce")
		}
	}
	c.Add(30 * time.Minute)
	for _, a := range asks[:2] { // the access token of the third has expired
		proof := f.sign(t, nil, w.forged(p, a.call, map[string]any{"nonce": old, "iat": c.Now().Unix()}))
		refused := w.Send(proof, a.call)
		want(t, a.name+" an old one", refused, a.status, "use_dpop_nonce")
		p.Heard(refused)
		proof = f.sign(t, nil, w.forged(p, a.call, map[string]any{"iat": c.Now().Unix()}))
		want(t, a.name+" the one that the refusal names", w.Send(proof, a.call), a.good, "")
	}
}

// TestN63ClockOfTheClient: how far a clock may be wrong, with a nonce and
// without one, as configured.
func TestN63ClockOfTheClient(t *testing.T) {
	t.Parallel()
	f, p := forgery(t)
	for _, tt := range []struct {
		nonce, error string
		held         bool // the proof holds a nonce
		off          time.Duration
		status       int
		code         string
	}{
		{"required", "", true, 9 * time.Minute, 200, ""},
		{"required", "", true, 11 * time.Minute, 400, "invalid_dpop_proof"},
		{"required", "1m", true, 61 * time.Second, 400, "invalid_dpop_proof"},
		{"required", "24h", true, 23 * time.Hour, 200, ""},
		{"required", "24h", true, 25 * time.Hour, 400, "invalid_dpop_proof"},
		{"required", "24h", false, 10 * time.Second, 400, "use_dpop_nonce"},
		{"optional", "", false, 50 * time.Second, 200, ""},
		{"optional", "", false, 70 * time.Second, 400, "use_dpop_nonce"}, // with one it is good
		{"optional", "", false, time.Hour, 400, "invalid_dpop_proof"},
		{"optional", "", true, 9 * time.Minute, 200, ""},
	} {
		w := open(t, apptest.Options{Config: func(c *app.Config) { c.DPoPNonce, c.DPoPClockError = tt.nonce, tt.error }})
		w.hear(p)
		own := call(w.service, form(w.service, "grant_type", "client_credentials"))
		for _, off := range []time.Duration{tt.off, -tt.off} {
			change := map[string]any{"iat": time.Now().Add(off).Unix()}
			if !tt.held {
				change["nonce"] = nil
			}
			want(t, tt.nonce+" "+tt.error+" "+off.String(), w.Send(f.sign(t, nil, w.forged(p, own, change)), own), tt.status, tt.code)
		}
	}
}

// TestD06NonceOnEveryAnswer: an answer of an endpoint that takes proofs names a
// nonce, whatever it is, and scripts may read it.
func TestD06NonceOnEveryAnswer(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	h := w.Browser().Tokens(bearer(w.spa), "ada")
	v, _ := bearer(w.spa).Request()
	for what, a := range map[string]*apptest.Answer{
		"token":              w.Refresh(bearer(w.spa), h.Refresh, ""),
		"token refused":      w.Refresh(bearer(w.spa), "x", ""),
		"token by nobody":    w.Post("/token", form(bearer(w.service)), nil),
		"token by GET":       w.Do(http.MethodGet, "/token", nil, nil),
		"push":               w.Post("/par", v, nil),
		"push refused":       w.Post("/par", nil, nil),
		"userinfo":           w.Do(http.MethodGet, "/userinfo", nil, apptest.Bearer(h.Access)),
		"userinfo refused":   w.Do(http.MethodGet, "/userinfo", nil, apptest.Bearer("x")),
		"userinfo by nobody": w.Do(http.MethodGet, "/userinfo", nil, nil),
	} {
		if a.Header.Get("DPoP-Nonce") == "" || !strings.Contains(a.Header.Get("Access-Control-Expose-Headers"), "DPoP-Nonce") ||
			!strings.Contains(a.Header.Get("Access-Control-Expose-Headers"), "WWW-Authenticate") || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d with %v, want a nonce that scripts may read and nobody keeps", what, a.Status, a.Header)
		}
	}
}

// TestAskD5AddressIsConfigured: what a proof is for is compared with the issuer,
// and with nothing that the request says.
func TestAskD5AddressIsConfigured(t *testing.T) {
	t.Parallel()
	const issuer = "https://auth.example.com"
	w := open(t, apptest.Options{Issuer: issuer})
	f, p := forgery(t)
	w.hear(p)
	own := call(w.service, form(w.service, "grant_type", "client_credentials"))
	own.Header.Set("X-Forwarded-Host", "evil.example")
	own.Header.Set("X-Forwarded-Proto", "http")
	own.Header.Set("Forwarded", "host=evil.example;proto=http")
	for htu, status := range map[string]int{
		issuer + "/token": 200, issuer + ":443/token": 200, "HTTPS://Auth.Example.COM:443/token": 200,
		w.URL + "/token": 400, issuer + ":8443/token": 400, "http://auth.example.com/token": 400,
		"http://evil.example/token": 400, "https://evil.example/token": 400, issuer + "/token/": 400, issuer + "/token;x": 400,
		"https://user@auth.example.com/token": 400, "/token": 400, issuer + ".evil.example/token": 400,
	} {
		a := w.Send(f.sign(t, nil, w.forged(p, own, map[string]any{"htu": htu})), own)
		if a.Status != status {
			t.Errorf("%s: %d %s, want %d", htu, a.Status, a.Body, status)
		}
	}
}

// TestD02Algorithms: metadata and checks name the same algorithms; Ed25519 has
// two names.
func TestD02Algorithms(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	meta := w.Do(http.MethodGet, "/.well-known/oauth-authorization-server", nil, nil).JSON(t)
	got, err := json.Marshal(meta["dpop_signing_alg_values_supported"])
	if err != nil || string(got) != `["ES256","Ed25519","EdDSA"]` {
		t.Errorf("dpop_signing_alg_values_supported is %s (%v)", got, err)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := dpop.KeyFrom(key)
	if err != nil {
		t.Fatal(err)
	}
	w.spa.Prover = &apptest.Prover{Key: k}
	h := w.Browser().Tokens(w.spa, "ada")
	want(t, "userinfo with Ed25519", w.Prove(w.spa.Prover, userinfo(h.Access)), 200, "")
	want(t, "refresh with Ed25519", w.Refresh(w.spa, h.Refresh, ""), 200, "")
}

// TestD09TimeWindow: ten seconds either way are good and an hour is not, with
// every setting; where clocks may be a minute off, more than that is refused too
// (FAPI 2.0, section 5.3.2.1).
func TestD09TimeWindow(t *testing.T) {
	t.Parallel()
	f, p := forgery(t)
	for setting, strict := range map[string]bool{"": false, "1m": true} {
		w := open(t, apptest.Options{Config: func(c *app.Config) { c.DPoPClockError = setting }})
		w.hear(p)
		for _, a := range w.asks(t, p) {
			for off, good := range map[time.Duration]bool{
				10 * time.Second: true, -10 * time.Second: true, 65 * time.Second: !strict, -65 * time.Second: !strict,
				time.Hour: false, -time.Hour: false,
			} {
				at := time.Now().Add(off).Unix()
				got := w.Send(f.sign(t, nil, w.forged(p, a.call, map[string]any{"iat": at, "nbf": at})), a.call)
				if good {
					want(t, setting+" "+a.name+" "+off.String(), got, a.good, "")
				} else {
					wantWords(t, setting+" "+a.name+" "+off.String(), got, a.status, "iat")
				}
			}
		}
	}
}
