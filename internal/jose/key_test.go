package jose_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	gojose "github.com/go-jose/go-jose/v4"

	"github.com/fastbind/fastbind/internal/jose"
)

// The keys of RFC 7638, section 3.1, RFC 8037, appendix A.2, and RFC 7517,
// appendix A.1.
const (
	rfcRSA = `{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`
	rfcOKP = `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	rfcEC  = `{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"enc","kid":"1"}`
)

func TestThumbprint(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ jwk, want string }{
		{rfcRSA, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"}, // RFC 7638, section 3.1.
		{rfcOKP, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"}, // RFC 8037, appendix A.3.
		{strings.Replace(rfcEC, "enc", "sig", 1), "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s"},
	} {
		k, err := jose.ParseKey([]byte(test.jwk))
		if err != nil {
			t.Fatal(err)
		}
		if got := k.Thumbprint(); got != test.want {
			t.Errorf("thumbprint of %.40s: %s, want %s", test.jwk, got, test.want)
		}
	}
}

func TestKeyRoundTrip(t *testing.T) {
	t.Parallel()
	for _, alg := range []jose.Algorithm{jose.ES256, jose.EdDSA, jose.Ed25519, jose.RS256} {
		for _, kid := range []string{"", "a", `"\< ` + "\u2028\x00é", strings.Repeat("k", 256)} {
			s, err := jose.Generate(kid, alg)
			if err != nil {
				t.Fatal(err)
			}
			b := s.Key().JSON()
			k, err := jose.ParseKey(b)
			if err != nil {
				t.Fatalf("%s: %v", b, err)
			}
			if string(k.JSON()) != string(b) || k.Thumbprint() != s.Key().Thumbprint() || k.ID != s.Key().ID {
				t.Errorf("%s became %s", b, k.JSON())
			}
			if kid == "" && k.ID != k.Thumbprint() || kid != "" && k.ID != kid {
				t.Errorf("kid %q", k.ID)
			}
			token := sign(t, s, "JWT", claims)
			accept(t, token, k, claims)
			var members map[string]string
			if err := json.Unmarshal(b, &members); err != nil {
				t.Fatal(err)
			}
			want := string(alg)
			if alg == jose.EdDSA || alg == jose.Ed25519 {
				want = ""
			}
			if members["alg"] != want || members["use"] != "sig" {
				t.Errorf("alg %q and use %q", members["alg"], members["use"])
			}
			// The private key makes its way too.
			der, err := s.PKCS8()
			if err != nil {
				t.Fatal(err)
			}
			again, err := jose.ParseSigner(kid, alg, der)
			if err != nil {
				t.Fatal(err)
			}
			accept(t, sign(t, again, "JWT", claims), k, claims)
		}
	}
}

func TestTwoNamesOfEd25519(t *testing.T) {
	t.Parallel()
	for _, signer := range []jose.Algorithm{jose.EdDSA, jose.Ed25519} {
		s := newSigner(t, signer)
		for _, verifier := range []jose.Algorithm{jose.EdDSA, jose.Ed25519} {
			k := &jose.Key{ID: s.Key().ID, Algorithm: verifier, Public: s.Key().Public}
			accept(t, sign(t, s, "JWT", claims), k, claims)
			if found := jose.NewKeySet(k).Find(k.ID, signer); len(found) != 1 {
				t.Errorf("a key for %s is not found by %s", verifier, signer)
			}
		}
	}
}

func TestSignerRefuses(t *testing.T) {
	t.Parallel()
	for _, alg := range []jose.Algorithm{"", "none", "HS256", "ES384", "RS512", "PS256", "es256"} {
		if _, err := jose.Generate("", alg); !errors.Is(err, jose.ErrUnsupported) {
			t.Errorf("generate for %q: %v", alg, err)
		}
	}
	der, err := newSigner(t, jose.ES256).PKCS8()
	if err != nil {
		t.Fatal(err)
	}
	for _, alg := range []jose.Algorithm{"", "none", jose.EdDSA, jose.RS256} {
		if _, err := jose.ParseSigner("", alg, der); !errors.Is(err, jose.ErrUnsupported) {
			t.Errorf("key on P-256 for %q: %v", alg, err)
		}
	}
	for _, b := range [][]byte{nil, {}, der[1:], der[:len(der)-1], []byte("-----BEGIN PRIVATE KEY-----")} {
		if _, err := jose.ParseSigner("", jose.ES256, b); !errors.Is(err, jose.ErrMalformed) {
			t.Errorf("%d bytes as a private key: %v", len(b), err)
		}
	}
	for _, kid := range []string{strings.Repeat("k", 257), "\xff"} {
		if _, err := jose.Generate(kid, jose.ES256); !errors.Is(err, jose.ErrMalformed) {
			t.Errorf("kid %.10q: %v", kid, err)
		}
		if _, err := newSigner(t, jose.ES256).Sign(kid, nil); !errors.Is(err, jose.ErrMalformed) {
			t.Errorf("typ %.10q: %v", kid, err)
		}
	}
	// More kinds of token than headers are remembered.
	s := newSigner(t, jose.EdDSA)
	for i := range 100 {
		m, err := jose.Parse(sign(t, s, fmt.Sprint("t", i), ""))
		if err != nil || m.Header().Type != fmt.Sprint("t", i) {
			t.Fatalf("typ %q, error %v", m.Header().Type, err)
		}
	}
}

// TestN13WeakKeys gives each weak key alone and in a set with a good one.
func TestN13WeakKeys(t *testing.T) {
	t.Parallel()
	good := newSigner(t, jose.ES256).Key()
	coordinates := func(x, y []byte) string {
		return `{"kty":"EC","crv":"P-256","x":"` + b64(x) + `","y":"` + b64(y) + `"}`
	}
	point, err := good.Public.(*ecdsa.PublicKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	x, y := point[1:33], point[33:]
	off := append([]byte{}, y...)
	off[31] ^= 1
	modulus := func(bits int) []byte {
		b := make([]byte, bits/8)
		rand.Read(b)
		b[0] |= 0x80
		b[len(b)-1] |= 1
		return b
	}
	rsaKey := func(n []byte, e ...byte) string {
		return `{"kty":"RSA","n":"` + b64(n) + `","e":"` + b64(e) + `"}`
	}
	even := modulus(2048)
	even[len(even)-1] &^= 1
	p := elliptic.P256().Params().P
	for name, jwk := range map[string]string{
		"RSA1024":          rsaKey(modulus(1024), 1, 0, 1),
		"RSA2040":          rsaKey(modulus(2040), 1, 0, 1),
		"RSA2048Shortened": rsaKey(append([]byte{0x7f}, modulus(2040)...), 1, 0, 1),
		"RSAHuge":          rsaKey(modulus(16384), 1, 0, 1),
		"RSAEvenModulus":   rsaKey(even, 1, 0, 1),
		"RSALeadingZero":   rsaKey(append([]byte{0}, modulus(2048)...), 1, 0, 1),
		"ExponentMissing":  rsaKey(modulus(2048)),
		"ExponentZero":     rsaKey(modulus(2048), 0),
		"ExponentOne":      rsaKey(modulus(2048), 1),
		"ExponentTwo":      rsaKey(modulus(2048), 2),
		"ExponentEven":     rsaKey(modulus(2048), 1, 0, 0),
		"ExponentHuge":     rsaKey(modulus(2048), 1, 0, 0, 0, 1),
		"ExponentNegative": rsaKey(modulus(2048), 0xff, 0xff, 0xff, 0xff),
		"ExponentZeroed":   rsaKey(modulus(2048), 0, 1, 0, 1),
		"PointOffCurve":    coordinates(x, off),
		"PointZero":        coordinates(make([]byte, 32), make([]byte, 32)),
		"PointEmpty":       coordinates(nil, nil),
		"PointShort":       coordinates(x[1:], y),
		"PointLong":        coordinates(append([]byte{0}, x...), y),
		"PointPastField":   coordinates(new(big.Int).Add(p, big.NewInt(1)).Bytes(), y),
		"PointNoY":         `{"kty":"EC","crv":"P-256","x":"` + b64(x) + `"}`,
		"OKPShort":         `{"kty":"OKP","crv":"Ed25519","x":"` + b64(x[1:]) + `"}`,
		"OKPLong":          `{"kty":"OKP","crv":"Ed25519","x":"` + b64(point) + `"}`,
		"OKPMissing":       `{"kty":"OKP","crv":"Ed25519"}`,
		"Symmetric":        `{"kty":"oct","k":"c2VjcmV0","alg":"HS256"}`,
		"PrivateEC":        strings.Replace(string(good.JSON()), "{", `{"d":"AAAA",`, 1),
		"PrivateOKP":       strings.Replace(rfcOKP, "{", `{"d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",`, 1),
		"PrivateRSA":       strings.Replace(rfcRSA, "{", `{"p":"AAAA",`, 1),
		"PrivateRSAOther":  strings.Replace(rfcRSA, "{", `{"oth":[],`, 1),
		"PrivateNull":      strings.Replace(rfcRSA, "{", `{"qi":null,`, 1),
		"PrivateUnknown":   `{"kty":"AKP","alg":"ML-DSA-44","pub":"AAAA","priv":"AAAA"}`,
		"SymmetricMember":  strings.Replace(rfcOKP, "{", `{"k":"AAAA",`, 1),
		"NoKind":           `{"crv":"P-256"}`,
		"KindIsNumber":     `{"kty":1}`,
		"KeyIDIsNumber":    strings.Replace(rfcOKP, "{", `{"kid":1,`, 1),
		"KeyIDTooLong":     strings.Replace(rfcOKP, "{", `{"kid":"`+strings.Repeat("k", 257)+`",`, 1),
		"Twice":            strings.Replace(rfcOKP, "{", `{"kty":"EC",`, 1),
		"TwiceByCase":      strings.Replace(rfcOKP, "{", `{"X":"AAAA",`, 1),
		"Padding":          strings.Replace(rfcOKP, `HURo"`, `HURo="`, 1),
		"TrailingBits":     strings.Replace(rfcOKP, `HURo"`, `HURp"`, 1),
		"StandardBase64":   strings.Replace(rfcOKP, "_", "/", 1),
		"NotAnObject":      `"key"`,
	} {
		t.Run(name, func(t *testing.T) {
			if k, err := jose.ParseKey([]byte(jwk)); !errors.Is(err, jose.ErrMalformed) {
				t.Errorf("key %v, error %v", k, err)
			}
			set := `{"keys":[` + string(good.JSON()) + `,` + jwk + `]}`
			if _, err := jose.ParseKeySet([]byte(set)); !errors.Is(err, jose.ErrMalformed) {
				t.Errorf("set: error %v", err)
			}
		})
	}
}

// TestN13OtherKeys are keys that others may use: a set with them is good, but
// they are not in it.
func TestN13OtherKeys(t *testing.T) {
	t.Parallel()
	good := newSigner(t, jose.ES256).Key()
	for name, jwk := range map[string]string{
		"P192":          `{"kty":"EC","crv":"P-192","x":"AAAA","y":"AAAA"}`,
		"P384":          `{"kty":"EC","crv":"P-384","x":"AAAA","y":"AAAA"}`,
		"Secp256k1":     `{"kty":"EC","crv":"secp256k1","x":"AAAA","y":"AAAA"}`,
		"CurveCase":     `{"kty":"EC","crv":"p-256","x":"AAAA","y":"AAAA"}`,
		"CurveMissing":  `{"kty":"EC","x":"AAAA","y":"AAAA"}`,
		"X25519":        `{"kty":"OKP","crv":"X25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`,
		"KindUnknown":   `{"kty":"AKP","alg":"ML-DSA-44","pub":"AAAA"}`,
		"KindCase":      `{"kty":"ec","crv":"P-256"}`,
		"Encryption":    rfcEC,
		"UseUnknown":    strings.Replace(rfcRSA, "{", `{"use":"tls",`, 1),
		"Operations":    strings.Replace(rfcRSA, "{", `{"key_ops":["encrypt"],`, 1),
		"NoOperations":  strings.Replace(rfcRSA, "{", `{"key_ops":[],`, 1),
		"RS512":         strings.Replace(rfcRSA, "RS256", "RS512", 1),
		"PS256":         strings.Replace(rfcRSA, "RS256", "PS256", 1),
		"RSAForHMAC":    strings.Replace(rfcRSA, "RS256", "HS256", 1),
		"RSAForES256":   strings.Replace(rfcRSA, "RS256", "ES256", 1),
		"RSAForNone":    strings.Replace(rfcRSA, "RS256", "none", 1),
		"ECForEdDSA":    strings.Replace(strings.Replace(rfcEC, "enc", "sig", 1), "{", `{"alg":"EdDSA",`, 1),
		"OKPForES256":   strings.Replace(rfcOKP, "{", `{"alg":"ES256",`, 1),
		"AlgorithmCase": strings.Replace(rfcOKP, "{", `{"alg":"eddsa",`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			if k, err := jose.ParseKey([]byte(jwk)); !errors.Is(err, jose.ErrUnsupported) {
				t.Errorf("key %v, error %v", k, err)
			}
			set, err := jose.ParseKeySet([]byte(`{"keys":[` + jwk + `,` + string(good.JSON()) + `]}`))
			if err != nil || len(set.Keys()) != 1 || set.Keys()[0].ID != good.ID {
				t.Errorf("%d keys, error %v", len(set.Keys()), err)
			}
		})
	}
}

// TestN13SmallOrder shows for each refused point why: a signature that needs no
// private key fits.
func TestN13SmallOrder(t *testing.T) {
	t.Parallel()
	signature := make([]byte, ed25519.SignatureSize)
	signature[0] = 1 // R is the neutral element, S is zero
	for _, point := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		for _, sign := range []byte{0, 0x80} {
			pub, err := hex.DecodeString(point)
			if err != nil {
				t.Fatal(err)
			}
			pub[31] |= sign
			forged := false
			for i := range uint32(200) {
				forged = forged || ed25519.Verify(pub, binary.BigEndian.AppendUint32(nil, i), signature)
			}
			if !forged && sign == 0 {
				t.Errorf("no forgery under %x: is it of small order?", pub)
			}
			jwk := `{"kty":"OKP","crv":"Ed25519","x":"` + b64(pub) + `"}`
			if _, err := jose.ParseKey([]byte(jwk)); !errors.Is(err, jose.ErrMalformed) {
				t.Errorf("point %x: error %v", pub, err)
			}
		}
	}
}

func TestN13DuplicateKeyID(t *testing.T) {
	t.Parallel()
	var signers []*jose.Signer
	var keys []*jose.Key
	for _, alg := range []jose.Algorithm{jose.ES256, jose.ES256, jose.EdDSA} {
		s, err := jose.Generate("same", alg)
		if err != nil {
			t.Fatal(err)
		}
		signers, keys = append(signers, s), append(keys, s.Key())
	}
	set, err := jose.ParseKeySet(jose.NewKeySet(keys...).JSON())
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{2, 2, 1} {
		token := sign(t, signers[i], "at+jwt", claims)
		if err := check(token, set); err != nil {
			t.Errorf("key %d: %v", i, err)
		}
		if found := set.Find("same", keys[i].Algorithm); len(found) != want {
			t.Errorf("key %d: %d candidates, want %d", i, len(found), want)
		}
	}
	other, err := jose.Generate("same", jose.ES256)
	if err != nil {
		t.Fatal(err)
	}
	if err := check(sign(t, other, "at+jwt", claims), set); !errors.Is(err, jose.ErrSignature) {
		t.Errorf("a third key of the same kid: %v", err)
	}
}

func TestKeySet(t *testing.T) {
	t.Parallel()
	es, rs := newSigner(t, jose.ES256).Key(), newSigner(t, jose.RS256).Key()
	anonymous := &jose.Key{Algorithm: jose.ES256, Public: newSigner(t, jose.ES256).Key().Public}
	set := jose.NewKeySet(es, rs, anonymous)
	for _, test := range []struct {
		kid  string
		alg  jose.Algorithm
		want []*jose.Key
	}{
		{es.ID, jose.ES256, []*jose.Key{es}},
		{es.ID, jose.RS256, nil},
		{es.ID, jose.EdDSA, nil},
		{es.ID, "none", nil},
		{es.ID, "", nil},
		{rs.ID, jose.RS256, []*jose.Key{rs}},
		{"", jose.ES256, []*jose.Key{es, anonymous}}, // RFC 7515, section 4.1.4: kid is optional.
		{"", "", nil},
		{"unknown", jose.ES256, nil},
	} {
		got := set.Find(test.kid, test.alg)
		if fmt.Sprint(got) != fmt.Sprint(test.want) {
			t.Errorf("Find(%q, %q): %v, want %v", test.kid, test.alg, got, test.want)
		}
	}
	var zero jose.KeySet
	if zero.Find("", jose.ES256) != nil || len(zero.Keys()) > 0 || string(zero.JSON()) != `{"keys":[]}` {
		t.Error("the zero set is not empty")
	}
	again, err := jose.ParseKeySet(set.JSON())
	if err != nil || string(again.JSON()) != string(set.JSON()) {
		t.Errorf("%s became %s, error %v", set.JSON(), again.JSON(), err)
	}
	var theirs gojose.JSONWebKeySet
	if err := json.Unmarshal(set.JSON(), &theirs); err != nil || len(theirs.Keys) != 3 {
		t.Errorf("go-jose reads %d keys, error %v", len(theirs.Keys), err)
	}
}

func TestParseKeySet(t *testing.T) {
	t.Parallel()
	set := func(n int) string {
		return `{"keys":[` + strings.TrimSuffix(strings.Repeat(rfcOKP+",", n), ",") + `]}`
	}
	for _, text := range []string{set(0), set(1), set(100), `{"more":{},"keys":[]}`, ` { "keys" : [ ] } `} {
		if _, err := jose.ParseKeySet([]byte(text)); err != nil {
			t.Errorf("%.40s: %v", text, err)
		}
	}
	for _, text := range []string{
		set(101), set(10_000), ``, `{}`, `[]`, `null`, rfcOKP, `[` + rfcOKP + `]`, `{"keys":{}}`, `{"keys":null}`, `{"keys":"x"}`, `{"keys":[1]}`,
		`{"keys":[null]}`, `{"keys":[[]]}`, `{"Keys":[]}`, `{"keys":[],"keys":[]}`, `{"keys":[],"KEYS":[]}`, `{"keys":[]}x`, `{"keys":[`,
		`{"keys":[{}]}`, `{"keys":[` + rfcOKP + `,]}`, strings.Repeat(" ", 600<<10) + set(1),
	} {
		if _, err := jose.ParseKeySet([]byte(text)); !errors.Is(err, jose.ErrMalformed) {
			t.Errorf("%.40s: %v", text, err)
		}
	}
}

func TestRSAWeakAtVerify(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jose.RS256)
	weak := &rsa.PublicKey{N: new(big.Int).Rsh(s.Key().Public.(*rsa.PublicKey).N, 1024), E: 65537}
	refuse(t, sign(t, s, "JWT", claims), &jose.Key{Algorithm: jose.RS256, Public: weak}, jose.ErrUnsupported)
}
