package guard_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fastbind/fastbind/guard"
	"github.com/fastbind/fastbind/guard/guardtest"
	"github.com/fastbind/fastbind/oauth"
)

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// parts returns the parts of a good token, decoded but for the signature.
func parts(t *testing.T, token string) (header, payload, signature string) {
	t.Helper()
	list := strings.Split(token, ".")
	h, err := base64.RawURLEncoding.DecodeString(list[0])
	if err != nil {
		t.Fatal(err)
	}
	p, err := base64.RawURLEncoding.DecodeString(list[1])
	if err != nil {
		t.Fatal(err)
	}
	return string(h), string(p), list[2]
}

// refused checks that each token is refused as invalid, and that a good one is
// not.
func refused(t *testing.T, issuer *guardtest.Issuer, tokens map[string]string) {
	t.Helper()
	g := issuer.Guard(t)
	if _, err := g.Check(get(issuer.Mint(guardtest.Claims{}))); err != nil {
		t.Fatalf("a good token is refused: %v", err)
	}
	for name, token := range tokens {
		t.Run(name, func(t *testing.T) {
			_, err := g.Check(get(token))
			wantRefusal(t, err, oauth.InvalidToken, guard.ErrInvalid)
			if resp := serve(g, guard.Rule{}, get(token)); resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("status %d", resp.StatusCode)
			}
		})
	}
}

func TestN01AlgorithmNone(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	header, payload, signature := parts(t, issuer.Mint(guardtest.Claims{}))
	tokens := map[string]string{}
	for _, alg := range []string{`"none"`, `"None"`, `"nOnE"`, `"NONE"`, `""`, `null`} {
		h := strings.Replace(header, `"ES256"`, alg, 1)
		tokens["Unsigned"+alg] = b64(h) + "." + b64(payload) + "."
		tokens["Signed"+alg] = b64(h) + "." + b64(payload) + "." + signature
	}
	tokens["NoAlg"] = b64(strings.Replace(header, `"alg"`, `"x"`, 1)) + "." + b64(payload) + "." + signature
	tokens["EmptySignature"] = b64(header) + "." + b64(payload) + "."
	refused(t, issuer, tokens)
}

func TestN02KeyConfusion(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	resp, err := http.Get(issuer.URL + "/keys")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var set struct{ Keys []json.RawMessage }
	if err := json.NewDecoder(resp.Body).Decode(&set); err != nil || len(set.Keys) != 1 {
		t.Fatal(err, len(set.Keys))
	}
	header, payload, _ := parts(t, issuer.Mint(guardtest.Claims{}))
	signed := b64(strings.Replace(header, "ES256", "HS256", 1)) + "." + b64(payload)
	mac := hmac.New(sha256.New, set.Keys[0])
	mac.Write([]byte(signed))
	refused(t, issuer, map[string]string{"HS256": signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))})
}

func TestN03AlgorithmAndKey(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	header, payload, signature := parts(t, issuer.Mint(guardtest.Claims{}))
	tokens := map[string]string{
		"ZeroSignature":  b64(header) + "." + b64(payload) + "." + b64(strings.Repeat("\x00", 64)),
		"ShortSignature": b64(header) + "." + b64(payload) + "." + signature[:80],
		"OtherPayload":   b64(header) + "." + b64(strings.Replace(payload, `"ada"`, `"bob"`, 1)) + "." + signature,
	}
	for _, alg := range []string{"RS256", "EdDSA", "Ed25519", "ES384", "PS256"} {
		tokens[alg] = b64(strings.Replace(header, "ES256", alg, 1)) + "." + b64(payload) + "." + signature
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(b64(header) + "." + b64(payload)))
	der, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	tokens["DER"] = b64(header) + "." + b64(payload) + "." + b64(string(der))
	refused(t, issuer, tokens)
}

func TestN04KeyID(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	_, payload, signature := parts(t, issuer.Mint(guardtest.Claims{}))
	tokens := map[string]string{}
	for name, kid := range map[string]string{
		"Path": `"../../etc/passwd"`, "SQL": `"' OR 1=1 --"`, "Null": `"a\u0000b"`, "Number": `1`, "Array": `["a"]`, "Object": `{}`,
		"Long": `"` + strings.Repeat("a", 1<<20) + `"`, "Unknown": `"nobody"`,
	} {
		tokens[name] = b64(`{"alg":"ES256","typ":"at+jwt","kid":`+kid+`}`) + "." + b64(payload) + "." + signature
	}
	refused(t, issuer, tokens)
	if n := issuer.Requests(guardtest.Keys); n > 2 {
		t.Errorf("keys were fetched %d times", n)
	}
}

func TestN05KeyInHeader(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, payload, _ := parts(t, issuer.Mint(guardtest.Claims{}))
	jwk := `{"kty":"OKP","crv":"Ed25519","x":"` + base64.RawURLEncoding.EncodeToString(public) + `"}`
	tokens := map[string]string{}
	for name, member := range map[string]string{
		"JWK": `"jwk":` + jwk, "JKU": `"jku":"` + issuer.URL + `/other"`, "X5U": `"x5u":"` + issuer.URL + `/other"`, "X5C": `"x5c":["AAAA"]`,
	} {
		signed := b64(`{"alg":"EdDSA","typ":"at+jwt",`+member+`}`) + "." + b64(payload)
		tokens[name] = signed + "." + b64(string(ed25519.Sign(private, []byte(signed))))
	}
	refused(t, issuer, tokens)
}

func TestN06Critical(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	header, payload, signature := parts(t, issuer.Mint(guardtest.Claims{}))
	tokens := map[string]string{}
	for _, member := range []string{`"crit":["exp"]`, `"crit":[]`, `"crit":["alg"]`, `"b64":false`, `"zip":"DEF"`} {
		tokens[member] = b64(strings.Replace(header, "{", "{"+member+",", 1)) + "." + b64(payload) + "." + signature
	}
	refused(t, issuer, tokens)
}

func TestN07Duplicates(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	header, payload, signature := parts(t, issuer.Mint(guardtest.Claims{}))
	tokens := map[string]string{
		"HeaderTwice": b64(strings.Replace(header, "{", `{"alg":"ES256",`, 1)) + "." + b64(payload) + "." + signature,
		"HeaderCase":  b64(strings.Replace(header, "{", `{"ALG":"none",`, 1)) + "." + b64(payload) + "." + signature,
	}
	for name, extra := range map[string]string{
		"ClaimTwice": `"aud":"https://other.test",`, "ClaimCase": `"AUD":"https://other.test",`, "SubjectCase": `"Sub":"root",`,
		"Escaped": `"\u0061ud":"https://other.test",`,
	} {
		tokens[name] = issuer.Sign("at+jwt", []byte(strings.Replace(payload, "{", "{"+extra, 1)))
	}
	refused(t, issuer, tokens)
}

func TestN08Serialization(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	good := issuer.Mint(guardtest.Claims{})
	g := issuer.Guard(t)
	for name, token := range map[string]string{
		"FourParts": good + ".AAAA", "TwoParts": good[:strings.LastIndexByte(good, '.')], "LeadingDot": "." + good, "Padding": good + "==",
		"TrailingBits": good[:len(good)-1] + "_", "LineBreak": good[:20] + "\r\n" + good[20:], "Space": good[:20] + " " + good[20:],
		"JSON": `{"payload":"e30","signatures":[]}`, "Empty": "",
	} {
		t.Run(name, func(t *testing.T) {
			r := get("x")
			r.Header.Set("Authorization", "Bearer "+token)
			if _, err := g.Check(r); err == nil {
				t.Error("taken")
			}
		})
	}
}

func TestN10OtherKindsOfToken(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	_, payload, _ := parts(t, issuer.Mint(guardtest.Claims{}))
	tokens := map[string]string{}
	for _, typ := range []string{"JWT", "", "id+jwt", "logout+jwt", "dpop+jwt", "oauth-authz-req+jwt", "secevent+jwt", "token-introspection+jwt", "client-authentication+jwt", "at+jwt+", "x/at+jwt"} {
		tokens["Type:"+typ] = issuer.Sign(typ, []byte(payload))
	}
	// An ID token says whom it is for by the client, and has no scope.
	tokens["IDToken"] = issuer.Sign("JWT", fmt.Appendf(nil, `{"iss":%q,"sub":"ada","aud":"app","exp":%d,"iat":%d,"nonce":"n"}`,
		issuer.URL, time.Now().Add(time.Hour).Unix(), time.Now().Unix()))
	refused(t, issuer, tokens)
	g := issuer.Guard(t)
	for _, typ := range []string{"at+jwt", "application/at+jwt", "AT+JWT"} {
		if _, err := g.Check(get(issuer.Sign(typ, []byte(payload)))); err != nil {
			t.Errorf("%s: %v", typ, err)
		}
	}
}

func TestN11Times(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	now := time.Now().Unix()
	tokens := map[string]string{}
	for name, more := range map[string]map[string]any{
		"ExpMissing": {"exp": nil}, "ExpString": {"exp": fmt.Sprint(now + 300)}, "ExpNegative": {"exp": -1}, "ExpNull": {"exp": json.RawMessage("null")},
		"ExpHuge": {"exp": json.RawMessage("1e400")}, "ExpOverflow": {"exp": json.RawMessage("9223372036854775808")}, "ExpArray": {"exp": []int64{now + 300}},
		"NotBeforeFuture": {"nbf": now + 120}, "NotBeforeString": {"nbf": "0"}, "IssuedFuture": {"iat": now + 120}, "IssuedMissing": {"iat": nil},
		"IssuedTrue": {"iat": true},
	} {
		tokens[name] = issuer.Mint(guardtest.Claims{More: more})
	}
	refused(t, issuer, tokens)
	g := issuer.Guard(t)
	for name, more := range map[string]map[string]any{
		"ExpFar": {"exp": int64(1) << 53}, "Float": {"exp": json.RawMessage(fmt.Sprint(now+300) + ".5")}, "WithinLeeway": {"nbf": now + 50, "iat": now + 50},
	} {
		if _, err := g.Check(get(issuer.Mint(guardtest.Claims{More: more}))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Valid is what expires after now, by the leeway and not a nanosecond more, for
// a token that is new and for one that was seen before.
func TestExpiryAtTheEdge(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	issued := time.Now().Truncate(time.Second)
	for name, c := range map[string]struct{ leeway, want time.Duration }{
		"Default": {0, time.Minute}, "Ten": {10 * time.Second, 10 * time.Second}, "None": {guard.NoLeeway, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var ahead time.Duration
			g := issuer.Guard(t, func(g *guard.Config) {
				g.Leeway, g.WhenStale, g.Now = c.leeway, guard.InsecureAllow, func() time.Time { return issued.Add(ahead) }
			})
			seen := issuer.Mint(guardtest.Claims{Issued: issued})
			end := 5*time.Minute + c.want
			for _, ahead = range []time.Duration{0, end - 1} {
				for _, token := range []string{seen, issuer.Mint(guardtest.Claims{Issued: issued})} {
					if _, err := g.Check(get(token)); err != nil {
						t.Fatalf("after %v: %v", ahead, err)
					}
				}
			}
			ahead = end
			for _, token := range []string{seen, issuer.Mint(guardtest.Claims{Issued: issued})} {
				_, err := g.Check(get(token))
				wantRefusal(t, err, oauth.InvalidToken, guard.ErrExpired)
			}
			ahead = -c.want
			if _, err := g.Check(get(issuer.Mint(guardtest.Claims{Issued: issued}))); err != nil {
				t.Errorf("issued as far ahead as clocks may differ: %v", err)
			}
			ahead = -c.want - time.Second
			_, err := g.Check(get(issuer.Mint(guardtest.Claims{Issued: issued})))
			wantRefusal(t, err, oauth.InvalidToken, guard.ErrInvalid)
		})
	}
}

func TestN12IssuerAndAudience(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	tokens := map[string]string{}
	for name, more := range map[string]map[string]any{
		"IssuerSlash": {"iss": issuer.URL + "/"}, "IssuerCase": {"iss": strings.ToUpper(issuer.URL)}, "IssuerPrefix": {"iss": issuer.URL[:len(issuer.URL)-1]},
		"IssuerMissing": {"iss": nil}, "IssuerArray": {"iss": []string{issuer.URL}}, "IssuerTenant": {"iss": issuer.URL + "/tenant"},
		"AudienceSlash": {"aud": issuer.Audience + "/"}, "AudienceCase": {"aud": strings.ToUpper(issuer.Audience)}, "AudiencePrefix": {"aud": issuer.Audience[:10]},
		"AudienceMissing": {"aud": nil}, "AudienceEmpty": {"aud": []string{}}, "AudienceOthers": {"aud": []string{"a", "b"}}, "AudienceNumber": {"aud": 1},
		"AudienceMixed": {"aud": []any{issuer.Audience, 1}}, "AudienceObject": {"aud": map[string]any{"a": issuer.Audience}},
		"SubjectMissing": {"sub": nil}, "SubjectEmpty": {"sub": json.RawMessage(`""`)}, "SubjectNumber": {"sub": 7}, "ClientMissing": {"client_id": nil},
		"IDMissing": {"jti": nil}, "ScopeArray": {"scope": []string{"a"}}, "SessionNumber": {"sid": 1}, "GenerationString": {"generation": "1"},
	} {
		tokens[name] = issuer.Mint(guardtest.Claims{More: more})
	}
	refused(t, issuer, tokens)
}

func TestN14RetiredKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := guardtest.NewInMemory(t)
		issuer.KeysFor(time.Minute)
		g := issuer.Guard(t)
		old := issuer.Mint(guardtest.Claims{Expires: time.Now().Add(time.Hour)})
		_, payload, _ := parts(t, old)
		kid := keyOf(t, old)
		if _, err := g.Check(get(old)); err != nil {
			t.Fatal(err)
		}
		fresh := issuer.Sign("at+jwt", []byte(strings.Replace(payload, `"ada"`, `"bob"`, 1)))
		issuer.Rotate(t, "EdDSA")
		time.Sleep(5 * time.Minute)
		for _, token := range []string{old, fresh, issuer.Mint(guardtest.Claims{})} {
			if _, err := g.Check(get(token)); err != nil {
				t.Errorf("rotated but published: %v", err)
			}
		}
		issuer.Withdraw(kid)
		time.Sleep(time.Minute + time.Second)
		// old is in the cache.
		for _, token := range []string{old, fresh} {
			_, err := g.Check(get(token))
			wantRefusal(t, err, oauth.InvalidToken, guard.ErrInvalid)
		}
		if _, err := g.Check(get(issuer.Mint(guardtest.Claims{}))); err != nil {
			t.Errorf("new key: %v", err)
		}
	})
}

func keyOf(t *testing.T, token string) string {
	t.Helper()
	header, _, _ := parts(t, token)
	var h struct{ Kid string }
	if err := json.Unmarshal([]byte(header), &h); err != nil || h.Kid == "" {
		t.Fatal(err, header)
	}
	return h.Kid
}

func TestN15Downgrade(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	g := issuer.Guard(t, func(c *guard.Config) { c.Algorithms = []string{"EdDSA"} })
	_, err := g.Check(get(issuer.Mint(guardtest.Claims{}))) // ES256
	wantRefusal(t, err, oauth.InvalidToken, guard.ErrInvalid)
	issuer.Rotate(t, "Ed25519")
	all := issuer.Guard(t)
	only := issuer.Guard(t, func(c *guard.Config) { c.Algorithms = []string{"EdDSA"} })
	token := issuer.Mint(guardtest.Claims{})
	for _, g := range []*guard.Guard{all, only} {
		if _, err := g.Check(get(token)); err != nil {
			t.Error(err)
		}
	}
}

func TestN65BoundTokenAsBearer(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	tokens := map[string]string{}
	for name, cnf := range map[string]any{
		"DPoP": map[string]string{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}, "TLS": map[string]string{"x5t#S256": "abc"},
		"Unknown": map[string]string{"x": "y"}, "Empty": map[string]string{}, "Null": json.RawMessage("null"),
	} {
		tokens[name] = issuer.Mint(guardtest.Claims{More: map[string]any{"cnf": cnf}})
	}
	refused(t, issuer, tokens)
}

func TestN70WrongKindOfToken(t *testing.T) {
	t.Parallel()
	issuer, other := guardtest.New(t), guardtest.New(t)
	refused(t, issuer, map[string]string{
		"Audience": issuer.Mint(guardtest.Claims{More: map[string]any{"aud": "https://other.test"}}),
		"Issuer":   other.Mint(guardtest.Claims{}),
		"Forged":   other.Mint(guardtest.Claims{More: map[string]any{"iss": issuer.URL}}),
		"Tenant":   issuer.Mint(guardtest.Claims{More: map[string]any{"iss": issuer.URL + "/b"}}),
	})
}

func TestN71WhereTheTokenIs(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	g := issuer.Guard(t, func(c *guard.Config) { c.DPoP.Demand = guard.DPoPOff })
	token := issuer.Mint(guardtest.Claims{})
	const form = "application/x-www-form-urlencoded"
	make := func(method, target, contentType, body string, headers ...string) *http.Request {
		r, err := http.NewRequestWithContext(t.Context(), method, "https://api.test"+target, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		r.Header["Authorization"] = headers
		if len(headers) == 0 {
			delete(r.Header, "Authorization")
		}
		return r
	}
	for name, c := range map[string]struct {
		r    *http.Request
		want int
	}{
		"Header":            {make("GET", "/", "", "", "Bearer "+token), 204},
		"LowerCase":         {make("GET", "/", "", "", "bearer "+token), 204},
		"UpperCase":         {make("GET", "/", "", "", "BEARER "+token), 204},
		"TwoSpaces":         {make("GET", "/", "", "", "Bearer  "+token), 204},
		"Query":             {make("GET", "/?access_token="+token, "", ""), 400},
		"QueryAndHeader":    {make("GET", "/?access_token="+token, "", "", "Bearer "+token), 400},
		"QueryEscaped":      {make("GET", "/?a=b&access%5Ftoken="+token, "", "", "Bearer "+token), 400},
		"QueryEmpty":        {make("GET", "/?access_token", "", "", "Bearer "+token), 400},
		"QueryMalformed":    {make("GET", "/?%zz&access_token=x", "", "", "Bearer "+token), 400},
		"QueryOther":        {make("GET", "/?my_access_token_=x&b=%41", "", "", "Bearer "+token), 204},
		"HeaderAndForm":     {make("POST", "/", form, "a=b&access_token="+token, "Bearer "+token), 400},
		"HeaderAndFormText": {make("POST", "/", form+"; charset=utf-8", "access_token="+token, "Bearer "+token), 400},
		"FormOnly":          {make("POST", "/", form, "access_token="+token), 401},
		"HeaderAndOther":    {make("POST", "/", form, "a=access_token", "Bearer "+token), 204},
		"HeaderAndJSON":     {make("POST", "/", "application/json", `access_token=1`, "Bearer "+token), 204},
		"TwoHeaders":        {make("GET", "/", "", "", "Bearer "+token, "Bearer "+token), 400},
		"TwoInOne":          {make("GET", "/", "", "", "Bearer "+token+", Bearer "+token), 400},
		"NoToken":           {make("GET", "/", "", "", "Bearer"), 400},
		"Basic":             {make("GET", "/", "", "", "Basic YTpi"), 401},
		"DPoP":              {make("GET", "/", "", "", "DPoP "+token), 401},
		"Empty":             {make("GET", "/", "", "", ""), 401},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resp := serve(g, guard.Rule{}, c.r)
			if resp.StatusCode != c.want {
				t.Errorf("got %d, want %d", resp.StatusCode, c.want)
			}
			if challenge := resp.Header.Get("WWW-Authenticate"); c.want == 401 && challenge != `Bearer realm="https://api.test"` ||
				c.want == 400 && !strings.Contains(challenge, `error="invalid_request"`) {
				t.Errorf("challenge %s", challenge)
			}
		})
	}
}

// The handler reads the whole form, however long, although the guard looked into
// it.
func TestFormStaysReadable(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	g := issuer.Guard(t)
	for _, size := range []int{0, 10, 64 << 10, 300 << 10} {
		want := "a=" + strings.Repeat("x", size)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.test/", strings.NewReader(want))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Authorization", "Bearer "+issuer.Mint(guardtest.Claims{}))
		if _, err := g.Check(r); err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if _, err := got.ReadFrom(r.Body); err != nil || got.String() != want {
			t.Errorf("%d: read %d of %d, %v", size, got.Len(), len(want), err)
		}
	}
}

func TestN72ScopeTricks(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	g := issuer.Guard(t)
	for scope, want := range map[string]bool{
		"read": true, "write read": true, "write  read": true, " read ": true, "readall": false, "rea": false, "READ": false, "Read": false,
		"read\x00": false, "read\x00all": false, "read\tall": false, "write\nread": false, "": false, "re ad": false, "read,write": false,
	} {
		_, err := g.Check(get(issuer.Mint(guardtest.Claims{Scope: scope})), "read")
		if want && err != nil {
			t.Errorf("%q: %v", scope, err)
		} else if !want {
			wantRefusal(t, err, oauth.InsufficientScope, guard.ErrScope)
		}
	}
}

// Refusals are counted by what is behind them.
func TestStatsOfRefusals(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	g := issuer.Guard(t)
	g.Check(get(""))
	g.Check(get("$"))
	g.Check(get("x"))
	g.Check(get(issuer.Mint(guardtest.Claims{Issued: time.Now().Add(-time.Hour)})))
	g.Check(get(issuer.Mint(guardtest.Claims{})), "read")
	want := map[string]int64{"no_credentials": 1, "invalid_request": 1, "invalid_token": 1, "expired": 1, "insufficient_scope": 1, "revoked": 0, "unavailable": 0, "invalid_dpop_proof": 0, "use_dpop_nonce": 0}
	if got := g.Stats().Refused; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
