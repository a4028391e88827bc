package jose_test

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	gojose "github.com/go-jose/go-jose/v4"

	"github.com/fastbind/fastbind/internal/jose"
)

// theirAlgorithms are those that go-jose knows: it has no Ed25519 under its own
// name.
var theirAlgorithms = []gojose.SignatureAlgorithm{gojose.ES256, gojose.EdDSA, gojose.RS256}

// FuzzToken reads arbitrary text. What we read as a token go-jose has to read as
// the same token, and it has no second form.
func FuzzToken(f *testing.F) {
	for _, alg := range algorithms {
		token := sign(f, newSigner(f, alg), "at+jwt", claims)
		f.Add(token)
		f.Add(token[:len(token)-1])
		f.Add(strings.Replace(token, ".", "..", 1))
		f.Add(token + "\n")
	}
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("eyJhbGciOiJFUzI1NiJ9.e30.AA")
	f.Add(b64([]byte(`{"alg":"EdDSA","jwk":`+rfcOKP+`}`)) + ".e30.AA")
	f.Fuzz(func(t *testing.T, token string) {
		m, err := jose.Parse(token)
		if err != nil {
			return
		}
		parts := strings.Split(token, ".")
		if len(parts) != 3 {
			t.Fatalf("a token of %d parts", len(parts))
		}
		var raw [3][]byte
		for i, part := range parts {
			if raw[i], err = base64.RawURLEncoding.DecodeString(part); err != nil || b64(raw[i]) != part {
				t.Fatalf("part %d is not canonical: %q", i, part)
			}
		}
		compareHeader(t, m.Header(), raw[0])
		if readsOtherwise(t, m.Header(), raw[0]) {
			return
		}
		theirs, err := gojose.ParseSignedCompact(token, theirAlgorithms)
		if err != nil {
			t.Fatalf("header %s: go-jose refuses: %v", raw[0], err)
		}
		if !bytes.Equal(theirs.UnsafePayloadWithoutVerification(), raw[1]) {
			t.Fatal("go-jose reads another payload")
		}
	})
}

// FuzzSigned signs arbitrary headers and payloads. What we verify go-jose has to
// verify too, with the same payload.
func FuzzSigned(f *testing.F) {
	for _, header := range []string{
		`{"alg":"ES256"}`, `{"alg":"EdDSA","kid":"a","typ":"at+jwt"}`, `{"alg":"RS256","jku":"https://a.example"}`, `{"alg":"none"}`, `{"alg":"HS256"}`,
		`{"alg":"ES256","ALG":"none"}`, `{"alg":"ES256","crit":["b64"],"b64":false}`, `{"alg":"E\u0053256","kid":"\ud83d\ude00"}`, ` {"alg" : "EdDSA" } `,
	} {
		f.Add(header, []byte(claims))
		f.Add(header, []byte{0xff})
	}
	var signers []*jose.Signer
	for _, alg := range []jose.Algorithm{jose.ES256, jose.EdDSA} { // RS256 is too slow for many rounds
		signers = append(signers, newSigner(f, alg))
	}
	f.Fuzz(func(t *testing.T, header string, payload []byte) {
		for _, s := range signers {
			token := forge(t, s, header, string(payload))
			got, err := open(token, s.Key())
			if err != nil {
				continue
			}
			if !bytes.Equal(got, payload) {
				t.Fatalf("payload %q, want %q", got, payload)
			}
			m, err := jose.Parse(token)
			if err != nil {
				t.Fatal(err)
			}
			compareHeader(t, m.Header(), []byte(header))
			if readsOtherwise(t, m.Header(), []byte(header)) {
				continue
			}
			theirs, err := gojose.ParseSignedCompact(token, []gojose.SignatureAlgorithm{gojose.SignatureAlgorithm(s.Key().Algorithm)})
			if err != nil {
				t.Fatalf("header %s: go-jose refuses: %v", header, err)
			}
			got, err = theirs.Verify(s.Key().Public)
			if err != nil || !bytes.Equal(got, payload) {
				t.Fatalf("header %s: go-jose: payload %q, error %v", header, got, err)
			}
		}
	})
}

// compareHeader checks h against the standard library's reading of the header.
func compareHeader(t *testing.T, h jose.Header, raw []byte) {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal(raw, &members); err != nil {
		t.Fatalf("header %s: %v", raw, err)
	}
	text := func(name string) string { s, _ := members[name].(string); return s }
	if string(h.Algorithm) != text("alg") || h.KeyID != text("kid") || h.Type != text("typ") {
		t.Fatalf("header %s is read as %+v", raw, h)
	}
	if _, ok := members["jwk"].(map[string]any); ok != (h.JWK != nil) {
		t.Fatalf("header %s: embedded key %q", raw, h.JWK)
	}
}

// readsOtherwise reports whether go-jose looks into members that mean nothing
// to us, or does not know the algorithm.
func readsOtherwise(t *testing.T, h jose.Header, raw []byte) bool {
	t.Helper()
	other := h.Algorithm == jose.Ed25519
	if err := jose.Scan(raw, func(name, _ []byte) error {
		switch string(name) {
		case "jwk", "x5c", "nonce":
			other = true
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return other
}

// FuzzKey reads arbitrary text as a key. What we accept go-jose has to accept as
// the same key, and it stays the same when written and read.
func FuzzKey(f *testing.F) {
	for _, alg := range algorithms {
		f.Add(newSigner(f, alg).Key().JSON())
	}
	for _, jwk := range []string{rfcRSA, rfcOKP, rfcEC, `{"kty":"oct","k":"AAAA"}`} {
		f.Add([]byte(jwk))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := jose.ParseKey(b)
		if err != nil {
			return
		}
		written := k.JSON()
		again, err := jose.ParseKey(written)
		if err != nil {
			t.Fatalf("%s became %s, which is refused: %v", b, written, err)
		}
		if !bytes.Equal(again.JSON(), written) || again.ID != k.ID || again.Thumbprint() != k.Thumbprint() {
			t.Fatalf("%s became %s", written, again.JSON())
		}
		for _, text := range [][]byte{b, written} {
			var theirs gojose.JSONWebKey
			if err := json.Unmarshal(text, &theirs); err != nil {
				if bytes.Contains(text, []byte("x5")) && !bytes.Equal(text, written) {
					continue // it looks into certificates, we do not
				}
				t.Fatalf("%s: go-jose refuses: %v", text, err)
			}
			if !theirs.Valid() || !theirs.IsPublic() || theirs.KeyID != k.ID {
				t.Fatalf("%s: go-jose reads %+v", text, theirs)
			}
			sum, err := theirs.Thumbprint(crypto.SHA256)
			if err != nil || b64(sum) != k.Thumbprint() {
				t.Fatalf("%s: go-jose has another thumbprint, error %v", text, err)
			}
		}
	})
}

// FuzzKeySet reads arbitrary text as a key set.
func FuzzKeySet(f *testing.F) {
	f.Add([]byte(`{"keys":[` + rfcRSA + `,` + rfcOKP + `,` + rfcEC + `]}`))
	f.Add([]byte(`{"keys":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		set, err := jose.ParseKeySet(b)
		if err != nil {
			return
		}
		again, err := jose.ParseKeySet(set.JSON())
		if err != nil || !bytes.Equal(again.JSON(), set.JSON()) {
			t.Fatalf("%s became %s, error %v", set.JSON(), again.JSON(), err)
		}
		for _, k := range set.Keys() {
			if len(set.Find(k.ID, k.Algorithm)) == 0 {
				t.Fatalf("key %q is not found", k.ID)
			}
		}
	})
}

// FuzzScan reads arbitrary text as an object. What we accept the standard
// library accepts, with the same members; what it refuses we refuse.
func FuzzScan(f *testing.F) {
	for _, object := range []string{claims, `{}`, `{"a":[{"b":null},1.5e-7,"\ud83d\ude00"],"\u0061b":false}`, `{"a":1,"A":2}`, `{"a":"\ud83d"}`, `{"a":1,"a":2}`} {
		f.Add([]byte(object))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		members := make(map[string]json.RawMessage)
		err := jose.Scan(b, func(name, value []byte) error {
			members[string(name)] = bytes.Clone(value)
			return nil
		})
		var theirs map[string]json.RawMessage
		if theirErr := json.Unmarshal(b, &theirs); err == nil && theirErr != nil {
			t.Fatalf("%q is refused elsewhere: %v", b, theirErr)
		}
		if err != nil {
			return
		}
		if len(members) != len(theirs) {
			t.Fatalf("%d members, want %d", len(members), len(theirs))
		}
		for name, value := range members {
			if !bytes.Equal(theirs[name], value) {
				t.Fatalf("%q is %s, want %s", name, value, theirs[name])
			}
			compareValue(t, value)
		}
	})
}

// compareValue checks each reader of values against the standard library.
func compareValue(t *testing.T, value []byte) {
	t.Helper()
	var v any
	if err := json.Unmarshal(value, &v); err != nil {
		t.Fatal(err)
	}
	want, isString := v.(string)
	if got, err := jose.String(value); (err == nil) != isString || got != want {
		t.Fatalf("%s as a string: %q, error %v", value, got, err)
	}
	truth, isBool := v.(bool)
	if got, err := jose.Bool(value); (err == nil) != isBool || got != truth {
		t.Fatalf("%s as a boolean: %v, error %v", value, got, err)
	}
	number, isNumber := v.(float64)
	if got, err := jose.Time(value); err == nil && (!isNumber || got < 0 || float64(got) > number || float64(got) < number-1) {
		t.Fatalf("%s as a time: %d", value, got)
	}
	if list, err := jose.Strings(value); err == nil && !isString {
		var theirs []string
		if err := json.Unmarshal(value, &theirs); err != nil || strings.Join(list, "\x00") != strings.Join(theirs, "\x00") {
			t.Fatalf("%s as strings: %q", value, list)
		}
	}
}
