package dpop_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fastbind/fastbind/dpop"
)

const (
	address = "https://api.example.com/orders"
	token   = "a.token.of-the~usual+kind"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func newKey(tb testing.TB) *dpop.Key {
	tb.Helper()
	k, err := dpop.NewKey()
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func newNonces(tb testing.TB) *dpop.Nonces {
	tb.Helper()
	secret := make([]byte, 32)
	rand.Read(secret)
	n, err := dpop.NewNonces(secret)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// prove returns a proof for a GET of the address at noon with the changes.
func prove(tb testing.TB, k *dpop.Key, changes ...func(*dpop.Params)) string {
	tb.Helper()
	p := dpop.Params{Method: http.MethodGet, URL: address, AccessToken: token, Now: noon}
	for _, change := range changes {
		change(&p)
	}
	proof, err := k.Proof(p)
	if err != nil {
		tb.Fatal(err)
	}
	return proof
}

// expect is what prove proves.
func expect(changes ...func(*dpop.Expect)) dpop.Expect {
	e := dpop.Expect{Method: http.MethodGet, URLs: []string{address}, AccessToken: token, Now: noon}
	for _, change := range changes {
		change(&e)
	}
	return e
}

// A signer signs any header and claims, as no honest client does.
type signer struct {
	alg  string
	jwk  map[string]any
	sign func(signed []byte) []byte
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func es256(tb testing.TB) signer {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		tb.Fatal(err)
	}
	return signer{
		"ES256",
		map[string]any{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])},
		func(signed []byte) []byte {
			sum := sha256.Sum256(signed)
			r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
			if err != nil {
				tb.Fatal(err)
			}
			raw := make([]byte, 64)
			r.FillBytes(raw[:32])
			s.FillBytes(raw[32:])
			return raw
		},
	}
}

func ed(tb testing.TB, alg string) signer {
	tb.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return signer{
		alg,
		map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64(public)},
		func(signed []byte) []byte { return ed25519.Sign(private, signed) },
	}
}

func rs256(tb testing.TB) signer {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	return signer{
		"RS256",
		map[string]any{"kty": "RSA", "n": b64(key.N.Bytes()), "e": "AQAB"},
		func(signed []byte) []byte {
			sum := sha256.Sum256(signed)
			b, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
			if err != nil {
				tb.Fatal(err)
			}
			return b
		},
	}
}

// proof returns a good proof with the changes; nil leaves out a member.
func (s signer) proof(header, claims map[string]any) string {
	sum := sha256.Sum256([]byte(token))
	h := map[string]any{"typ": "dpop+jwt", "alg": s.alg, "jwk": s.jwk}
	c := map[string]any{"jti": rand.Text(), "htm": "GET", "htu": address, "iat": noon.Unix(), "ath": b64(sum[:])}
	maps.Copy(h, header)
	maps.Copy(c, claims)
	return s.raw(text(h), text(c))
}

func (s signer) raw(header, claims string) string {
	signed := b64([]byte(header)) + "." + b64([]byte(claims))
	return signed + "." + b64(s.sign([]byte(signed)))
}

func text(members map[string]any) string {
	maps.DeleteFunc(members, func(_ string, v any) bool { return v == nil })
	b, err := json.Marshal(members)
	if err != nil {
		panic(err)
	}
	return string(b)
}

type members = map[string]any

// with returns a copy of m with more members.
func with(m, more members) members {
	m = maps.Clone(m)
	maps.Copy(m, more)
	return m
}

func wantError(t *testing.T, proof string, e dpop.Expect, want error) {
	t.Helper()
	p, err := dpop.Check(proof, e)
	if !errors.Is(err, want) || (err == nil) != (want == nil) {
		t.Errorf("got error %v, want %v", err, want)
	}
	if err != nil && (p.Thumbprint != "" || dpop.Describe(err) == "") {
		t.Errorf("error %v with the proof %+v", err, p)
	}
}

// RFC 9449, sections 4.1 and 7.1: the proofs of the examples.
func TestExamplesOfTheStandard(t *testing.T) {
	t.Parallel()
	const header = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMi" +
		"LCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19."
	p, err := dpop.Check(header+"eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ."+
		"2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg",
		dpop.Expect{Method: http.MethodPost, URLs: []string{"https://server.example.com/token"}, Now: time.Unix(1562262616, 0)})
	if err != nil || p.Thumbprint != "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" || p.ID != "-BwC3ESc6acc2lTc" || p.Issued.Unix() != 1562262616 {
		t.Errorf("%+v, error %v", p, err)
	}
	_, err = dpop.Check(header+"eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIs"+
		"ImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9."+
		"2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA",
		dpop.Expect{
			Method: http.MethodGet, URLs: []string{"https://resource.example.org/protectedresource"}, Now: time.Unix(1562262618, 0),
			AccessToken: "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU",
		})
	if err != nil {
		t.Error(err)
	}
}

func TestProof(t *testing.T) {
	t.Parallel()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := dpop.KeyFrom(private)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[[32]byte]bool{}
	for _, k := range []*dpop.Key{newKey(t), other} {
		for _, e := range []dpop.Expect{expect(), expect(func(e *dpop.Expect) { e.AccessToken = "" })} {
			p, err := dpop.Check(prove(t, k, func(p *dpop.Params) { p.URL += "?a=b#c" }), e)
			if err != nil || p.Thumbprint != k.Thumbprint() || p.Issued != noon || p.ID == "" {
				t.Errorf("%+v, error %v", p, err)
			}
			if seen[p.Digest] {
				t.Error("two proofs with one digest")
			}
			seen[p.Digest] = true
		}
		wantError(t, prove(t, k, func(p *dpop.Params) { p.AccessToken = "" }), expect(), dpop.ErrToken)
		if s := fmt.Sprintf("%v %+v %#v %s", k, k, k, k); strings.Contains(s, "{") || !strings.Contains(s, k.Thumbprint()) {
			t.Errorf("a key prints itself as %s", s)
		}
	}
	// Made now unless it is told when.
	p, err := newKey(t).Proof(dpop.Params{Method: http.MethodGet, URL: address})
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, p, expect(func(e *dpop.Expect) { e.AccessToken, e.Now = "", time.Now() }), nil)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dpop.KeyFrom(rsaKey); err == nil {
		t.Error("an RSA key is taken")
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dpop.KeyFrom(p384); err == nil {
		t.Error("a key on P-384 is taken")
	}
}

// Digest stands for key and jti.
func TestDigest(t *testing.T) {
	t.Parallel()
	a, b := es256(t), es256(t)
	digest := func(s signer, jti, htu string) [32]byte {
		p, err := dpop.Check(s.proof(nil, members{"jti": jti, "htu": htu}), expect(func(e *dpop.Expect) { e.URLs = []string{htu} }))
		if err != nil {
			t.Fatal(err)
		}
		return p.Digest
	}
	one := digest(a, "1", address)
	if digest(a, "1", "https://other.example.com/") != one {
		t.Error("a proof for another address is not the same")
	}
	if digest(a, "2", address) == one || digest(b, "1", address) == one {
		t.Error("proofs of other keys or names are the same")
	}
}

// RFC 9449, section 4.3: what a proof has to be, check by check.
func TestD01ChecksOfAProof(t *testing.T) {
	t.Parallel()
	s := es256(t)
	good := s.proof(nil, nil)
	wantError(t, good, expect(), nil)
	_, alone, _ := strings.Cut(good, ".")
	for name, c := range map[string]struct {
		proof string
		want  error
	}{
		"Ed25519":         {ed(t, "Ed25519").proof(nil, nil), nil},
		"EdDSA":           {ed(t, "EdDSA").proof(nil, nil), nil},
		"UnknownHeader":   {s.proof(members{"kid": "a", "x5u": "https://a.example", "nice": true}, nil), nil},
		"UnknownClaims":   {s.proof(nil, members{"iss": "a", "nbf": 1, "exp": 1, "nice": []int{1}}), nil},
		"KeyWithUse":      {s.proof(members{"jwk": with(s.jwk, members{"use": "sig", "alg": "ES256", "key_ops": []string{"verify"}, "ext": true})}, nil), nil},
		"LongestID":       {s.proof(nil, members{"jti": strings.Repeat("a", 128)}), nil},
		"Empty":           {"", dpop.ErrMalformed},
		"NoJWT":           {"abc", dpop.ErrMalformed},
		"TwoParts":        {alone, dpop.ErrMalformed},
		"Padding":         {good + "=", dpop.ErrMalformed},
		"Newline":         {good + "\n", dpop.ErrMalformed},
		"ClaimsAreArray":  {s.raw(text(members{"typ": "dpop+jwt", "alg": "ES256", "jwk": s.jwk}), "[]"), dpop.ErrMalformed},
		"ClaimTwice":      {s.raw(text(members{"typ": "dpop+jwt", "alg": "ES256", "jwk": s.jwk}), `{"jti":"a","jti":"a"}`), dpop.ErrMalformed},
		"ClaimInCase":     {s.raw(text(members{"typ": "dpop+jwt", "alg": "ES256", "jwk": s.jwk}), `{"htm":"GET","HTM":"POST"}`), dpop.ErrMalformed},
		"TooLong":         {s.proof(nil, members{"more": strings.Repeat("a", 8<<10)}), dpop.ErrMalformed},
		"NoType":          {s.proof(members{"typ": nil}, nil), dpop.ErrType},
		"TypeJWT":         {s.proof(members{"typ": "JWT"}, nil), dpop.ErrType},
		"TypeAccessToken": {s.proof(members{"typ": "at+jwt"}, nil), dpop.ErrType},
		"NoAlgorithm":     {s.proof(members{"alg": nil}, nil), dpop.ErrMalformed},
		"None":            {s.proof(members{"alg": "none"}, nil), dpop.ErrAlgorithm},
		"RS256":           {rs256(t).proof(nil, nil), dpop.ErrAlgorithm},
		"ES384":           {s.proof(members{"alg": "ES384"}, nil), dpop.ErrAlgorithm},
		"Critical":        {s.proof(members{"crit": []string{"nice"}, "nice": true}, nil), dpop.ErrAlgorithm},
		"NoKey":           {s.proof(members{"jwk": nil}, nil), dpop.ErrKey},
		"KeyIsText":       {s.proof(members{"jwk": "a"}, nil), dpop.ErrMalformed},
		"KeyOfOtherKind":  {s.proof(members{"jwk": ed(t, "EdDSA").jwk}, nil), dpop.ErrKey},
		"KeyForOtherUse":  {s.proof(members{"jwk": with(s.jwk, members{"use": "enc"})}, nil), dpop.ErrKey},
		"KeyForOtherAlg":  {s.proof(members{"jwk": with(s.jwk, members{"alg": "ES384"})}, nil), dpop.ErrKey},
		"KeyOffCurve":     {s.proof(members{"jwk": with(s.jwk, members{"y": s.jwk["x"]})}, nil), dpop.ErrKey},
		"OtherKey":        {s.proof(members{"jwk": es256(t).jwk}, nil), dpop.ErrSignature},
		"NoID":            {s.proof(nil, members{"jti": nil}), dpop.ErrID},
		"EmptyID":         {s.proof(nil, members{"jti": ""}), dpop.ErrID},
		"NumberAsID":      {s.proof(nil, members{"jti": 1}), dpop.ErrID},
		"TooLongID":       {s.proof(nil, members{"jti": strings.Repeat("a", 129)}), dpop.ErrID},
		"NoMethod":        {s.proof(nil, members{"htm": nil}), dpop.ErrMethod},
		"NoURL":           {s.proof(nil, members{"htu": nil}), dpop.ErrURL},
		"URLIsArray":      {s.proof(nil, members{"htu": []string{address}}), dpop.ErrURL},
		"NonceIsNumber":   {s.proof(nil, members{"nonce": 1}), dpop.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantError(t, c.proof, expect(), c.want)
		})
	}
	if _, err := dpop.Check(good, expect(func(e *dpop.Expect) { e.URLs = nil })); !errors.Is(err, dpop.ErrURL) {
		t.Errorf("a proof for nowhere: %v", err)
	}
	if _, err := dpop.Check(s.proof(nil, members{"htm": ""}), expect(func(e *dpop.Expect) { e.Method = "" })); !errors.Is(err, dpop.ErrMethod) {
		t.Errorf("a proof for nothing: %v", err)
	}
}

// Each cause has a text of its own.
func TestDescribe(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, err := range []error{
		dpop.ErrNone, dpop.ErrSeveral, dpop.ErrMalformed, dpop.ErrType, dpop.ErrAlgorithm, dpop.ErrKey, dpop.ErrSignature, dpop.ErrID,
		dpop.ErrMethod, dpop.ErrURL, dpop.ErrToken, dpop.ErrTime, dpop.ErrNonce, dpop.ErrReplayed,
	} {
		s := dpop.Describe(fmt.Errorf("more: %w", err))
		if s == "" || seen[s] || strings.ContainsAny(s, "\"\\\r\n") {
			t.Errorf("%v is described as %q", err, s)
		}
		seen[s] = true
	}
	if s := dpop.Describe(errors.New("secret")); s != "" {
		t.Errorf("another error is described as %q", s)
	}
}

// What a proof may say about where it goes. RFC 9449, section 4.3, checks 8 and 9.
func TestN61MethodAndAddressOfAProof(t *testing.T) {
	t.Parallel()
	s := es256(t)
	for htm, want := range map[string]error{"GET": nil, "POST": dpop.ErrMethod, "get": dpop.ErrMethod, "GET ": dpop.ErrMethod, "HEAD": dpop.ErrMethod} {
		wantError(t, s.proof(nil, members{"htm": htm}), expect(), want)
	}
	const url = "https://api.example.com/a%20b/~c/%2F/d"
	same := []string{
		url, url + "?a=b", url + "#c", url + "?a=b#c", url + "?",
		"HTTPS://API.Example.COM/a%20b/~c/%2F/d", "https://api.example.com:443/a%20b/~c/%2F/d", "https://api.example.com:/a%20b/~c/%2F/d",
		"https://api.example.com/%61%20b/%7Ec/%2f/d", "https://api.example.com/a%20b/%7ec/%2F/%64",
	}
	other := []string{
		"", "/a%20b/~c/%2F/d", "api.example.com/a%20b/~c/%2F/d", "http://api.example.com/a%20b/~c/%2F/d", "ftp://api.example.com/a%20b/~c/%2F/d",
		"https://api.example.com:80/a%20b/~c/%2F/d", "https://api.example.com:8443/a%20b/~c/%2F/d", "https://api.example.com:443:443/a%20b/~c/%2F/d",
		"https://example.com/a%20b/~c/%2F/d", "https://api.example.com.evil.example/a%20b/~c/%2F/d", "https://api.example.com./a%20b/~c/%2F/d",
		"https://a@api.example.com/a%20b/~c/%2F/d", "https://api.example.com\\/a%20b/~c/%2F/d", "https:/api.example.com/a%20b/~c/%2F/d",
		"https://%61pi.example.com/a%20b/~c/%2F/d", " https://api.example.com/a%20b/~c/%2F/d", "https://api.example.com /a%20b/~c/%2F/d",
		url + "/", url + "e", url[:len(url)-1], url + "%3Fa=b", url + "%", url + "%2", "https://api.example.com/a%20b/~c/%2F/D",
		"https://api.example.com/a%20b/~c///d", "https://api.example.com/a%20b/~c/%252F/d", "https://api.example.com//a%20b/~c/%2F/d",
		"https://api.example.com/a b/~c/%2F/d", "https://api.example.com/a+b/~c/%2F/d", "https://api.example.com/a%20b/./~c/%2F/d",
		"https://api.example.com/x/../a%20b/~c/%2F/d", "https://api.example.com/x/%2e%2e/a%20b/~c/%2F/d", "https://api.example.com",
	}
	at := expect(func(e *dpop.Expect) { e.URLs = []string{"https://elsewhere.example.com", url} })
	for _, htu := range same {
		if _, err := dpop.Check(s.proof(nil, members{"htu": htu}), at); err != nil {
			t.Errorf("%s: %v", htu, err)
		}
	}
	for _, htu := range other {
		if _, err := dpop.Check(s.proof(nil, members{"htu": htu}), at); !errors.Is(err, dpop.ErrURL) {
			t.Errorf("%s: error %v", htu, err)
		}
	}
	for htu, want := range map[string]error{
		"https://elsewhere.example.com": nil, "https://elsewhere.example.com/": nil, "https://elsewhere.example.com?a": nil,
		"https://elsewhere.example.com//": dpop.ErrURL, "https://elsewhere.example.com/%2F": dpop.ErrURL, "https://": dpop.ErrURL, "https:///": dpop.ErrURL,
	} {
		wantError(t, s.proof(nil, members{"htu": htu}), at, want)
	}
	// The configured address may be the odd one.
	odd := expect(func(e *dpop.Expect) { e.URLs = []string{"http://LOCALHOST:80/%7e"} })
	wantError(t, s.proof(nil, members{"htu": "http://localhost/~"}), odd, nil)
	ip := expect(func(e *dpop.Expect) { e.URLs = []string{"http://[::1]:8080/"} })
	wantError(t, s.proof(nil, members{"htu": "http://[::1]:8080"}), ip, nil)
	wantError(t, s.proof(nil, members{"htu": "http://[::1]"}), ip, dpop.ErrURL)
}

// RFC 9449, section 4.3, checks 10 and 12.
func TestN62HashAndNonceOfAProof(t *testing.T) {
	t.Parallel()
	s, nonces, foreign := es256(t), newNonces(t), newNonces(t)
	hash := func(s string) string { sum := sha256.Sum256([]byte(s)); return b64(sum[:]) }
	for name, ath := range map[string]any{
		"None": nil, "Empty": "", "OfAnother": hash("another"), "Token": token, "Padded": hash(token) + "=", "Number": 1,
	} {
		if _, err := dpop.Check(s.proof(nil, members{"ath": ath}), expect()); !errors.Is(err, dpop.ErrToken) {
			t.Errorf("ath %s: error %v", name, err)
		}
	}
	demanded := expect(func(e *dpop.Expect) { e.Nonces = nonces })
	for name, c := range map[string]struct {
		nonce any
		want  error
	}{
		"Good":     {nonces.Issue(noon), nil},
		"None":     {nil, dpop.ErrNonce},
		"Empty":    {"", dpop.ErrNonce},
		"Old":      {nonces.Issue(noon.Add(-dpop.NonceLife - time.Second)), dpop.ErrNonce},
		"Foreign":  {foreign.Issue(noon), dpop.ErrNonce},
		"Garbage":  {strings.Repeat("A", 24), dpop.ErrNonce},
		"Altered":  {nonces.Issue(noon)[:23] + "\n", dpop.ErrNonce},
		"TooShort": {nonces.Issue(noon)[:20], dpop.ErrNonce},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantError(t, s.proof(nil, members{"nonce": c.nonce}), demanded, c.want)
		})
	}
	// Whatever else is wrong comes first: only who has done all else right is
	// asked for a nonce. Time comes after it, since the nonce decides about it.
	for _, c := range []struct {
		claims members
		want   error
	}{
		{members{"htm": "PUT"}, dpop.ErrMethod},
		{members{"htu": "https://a.example"}, dpop.ErrURL},
		{members{"ath": "a"}, dpop.ErrToken},
		{members{"iat": "now"}, dpop.ErrTime},
		{members{"iat": noon.Unix() - 86400}, dpop.ErrNonce},
	} {
		wantError(t, s.proof(nil, c.claims), demanded, c.want)
	}
	// Where nonces are of no meaning one is passed over.
	p, err := dpop.Check(s.proof(nil, members{"nonce": "any"}), expect())
	if err != nil || p.Nonce != "" || !p.NonceIssued.IsZero() {
		t.Errorf("%+v, error %v", p, err)
	}
	// Where one is optional it has to be good.
	optional := expect(func(e *dpop.Expect) { e.Nonces, e.NonceOptional = nonces, true })
	wantError(t, s.proof(nil, nil), optional, nil)
	wantError(t, s.proof(nil, members{"nonce": nonces.Issue(noon)}), optional, nil)
	wantError(t, s.proof(nil, members{"nonce": foreign.Issue(noon)}), optional, dpop.ErrNonce)
}

// RFC 9449, section 4.3, check 11. FAPI 2.0, section 5.3.2.1.
func TestN63TimeOfAProof(t *testing.T) {
	t.Parallel()
	s, nonces := es256(t), newNonces(t)
	plain := expect()
	dated := expect(func(e *dpop.Expect) { e.Nonces = nonces })
	strict := expect(func(e *dpop.Expect) { e.Nonces, e.ClockError = nonces, dpop.Window })
	lax := expect(func(e *dpop.Expect) { e.Nonces, e.ClockError = nonces, dpop.MaxClockError })
	optional := expect(func(e *dpop.Expect) { e.Nonces, e.NonceOptional = nonces, true })
	for _, iat := range []any{nil, "1795867200", -1, true, []int{1}, json.RawMessage("1e400"), json.Number("99999999999999999999")} {
		for _, e := range []dpop.Expect{plain, dated, optional} {
			wantError(t, s.proof(nil, members{"iat": iat, "nonce": nonces.Issue(noon)}), e, dpop.ErrTime)
		}
	}
	wantError(t, s.raw(text(members{"typ": "dpop+jwt", "alg": "ES256", "jwk": s.jwk}), `{"jti":"1","htm":"GET","htu":"`+address+`","iat":NaN}`), plain, dpop.ErrMalformed)
	for _, c := range []struct {
		off                                 time.Duration
		plain, dated, strict, lax, optional error
	}{
		{0, nil, nil, nil, nil, nil},
		{10 * time.Second, nil, nil, nil, nil, nil},
		{time.Minute, nil, nil, nil, nil, nil},
		{61 * time.Second, dpop.ErrTime, nil, dpop.ErrTime, nil, dpop.ErrNonce},
		{2 * time.Minute, dpop.ErrTime, nil, dpop.ErrTime, nil, dpop.ErrNonce},
		{10 * time.Minute, dpop.ErrTime, nil, dpop.ErrTime, nil, dpop.ErrNonce},
		{601 * time.Second, dpop.ErrTime, dpop.ErrTime, dpop.ErrTime, nil, dpop.ErrTime},
		{time.Hour, dpop.ErrTime, dpop.ErrTime, dpop.ErrTime, nil, dpop.ErrTime},
		{24 * time.Hour, dpop.ErrTime, dpop.ErrTime, dpop.ErrTime, nil, dpop.ErrTime},
		{24*time.Hour + time.Second, dpop.ErrTime, dpop.ErrTime, dpop.ErrTime, dpop.ErrTime, dpop.ErrTime},
	} {
		for _, off := range []time.Duration{c.off, -c.off} {
			without := s.proof(nil, members{"iat": noon.Add(off).Unix()})
			nonced := s.proof(nil, members{"iat": noon.Add(off).Unix(), "nonce": nonces.Issue(noon)})
			wantError(t, without, plain, c.plain)
			wantError(t, nonced, dated, c.dated)
			wantError(t, nonced, strict, c.strict)
			wantError(t, nonced, lax, c.lax)
			wantError(t, without, optional, c.optional)
		}
	}
}

// RFC 9449, sections 4.3 and 11.6.
func TestN65ShapesOfAProof(t *testing.T) {
	t.Parallel()
	s := es256(t)
	good := s.proof(nil, nil)
	for name, c := range map[string]struct {
		values []string
		want   error
	}{
		"One":         {[]string{good}, nil},
		"None":        {nil, dpop.ErrNone},
		"Two":         {[]string{good, good}, dpop.ErrSeveral},
		"CommaJoined": {[]string{good + "," + good}, dpop.ErrSeveral},
		"Comma":       {[]string{good + ","}, dpop.ErrSeveral},
		"Empty":       {[]string{""}, dpop.ErrMalformed},
		"Spaces":      {[]string{" " + good}, dpop.ErrMalformed},
	} {
		h := http.Header{}
		for _, v := range c.values {
			h.Add("DPoP", v)
		}
		proof, err := dpop.Header(h)
		if err == nil {
			_, err = dpop.Check(proof, expect())
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", name, err, c.want)
		}
	}
	for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		wantError(t, s.proof(members{"jwk": with(s.jwk, members{private: "AQ"})}, nil), expect(), dpop.ErrKey)
	}
	wantError(t, s.proof(members{"jwk": with(s.jwk, members{"kid": strings.Repeat("a", 100<<10)})}, nil), expect(), dpop.ErrMalformed)
	secret := []byte("0123456789abcdef0123456789abcdef")
	hs256 := signer{"HS256", members{"kty": "oct", "k": b64(secret)}, func(signed []byte) []byte {
		m := hmac.New(sha256.New, secret)
		m.Write(signed)
		return m.Sum(nil)
	}}
	wantError(t, hs256.proof(nil, nil), expect(), dpop.ErrAlgorithm)
	// The public key is no secret.
	hs256.jwk = s.jwk
	wantError(t, hs256.proof(nil, nil), expect(), dpop.ErrAlgorithm)
}

// A sender that is known makes the check cheaper and nothing else.
func TestKnownSender(t *testing.T) {
	t.Parallel()
	a, b := es256(t), es256(t)
	first, err := dpop.Check(a.proof(nil, nil), expect())
	if err != nil {
		t.Fatal(err)
	}
	known := expect(func(e *dpop.Expect) { e.Sender = first.Sender })
	again, err := dpop.Check(a.proof(nil, nil), known)
	if err != nil || again.Sender != first.Sender || again.Thumbprint != first.Thumbprint || again.Digest == first.Digest {
		t.Errorf("%+v, error %v", again, err)
	}
	other, err := dpop.Check(b.proof(nil, nil), known)
	if err != nil || other.Sender == first.Sender || other.Thumbprint == first.Thumbprint {
		t.Errorf("%+v, error %v", other, err)
	}
	same, err := dpop.Check(a.proof(members{"kid": "a"}, nil), known)
	if err != nil || same.Thumbprint != first.Thumbprint {
		t.Errorf("%+v, error %v", same, err)
	}
	wantError(t, b.proof(members{"jwk": a.jwk}, nil), known, dpop.ErrSignature)
	wantError(t, a.proof(members{"typ": "JWT"}, nil), known, dpop.ErrType)
	wantError(t, a.proof(nil, members{"htm": "PUT"}), known, dpop.ErrMethod)
}
