package jose_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"

	gojose "github.com/go-jose/go-jose/v4"

	"github.com/fastbind/fastbind/internal/jose"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// forge signs any header with the private key of s, under the algorithm of s.
func forge(tb testing.TB, s *jose.Signer, header, payload string) string {
	tb.Helper()
	signed := b64([]byte(header)) + "." + b64([]byte(payload))
	_, sig, _ := strings.Cut(signRaw(tb, s, signed), signed+".")
	return signed + "." + sig
}

// signRaw signs a text that is already encoded.
func signRaw(tb testing.TB, s *jose.Signer, signed string) string {
	tb.Helper()
	der, err := s.PKCS8()
	if err != nil {
		tb.Fatal(err)
	}
	v, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		tb.Fatal(err)
	}
	var sig []byte
	switch key := v.(type) {
	case *ecdsa.PrivateKey:
		sum := sha256.Sum256([]byte(signed))
		r, ss, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			tb.Fatal(err)
		}
		sig = make([]byte, 64)
		r.FillBytes(sig[:32])
		ss.FillBytes(sig[32:])
	case *rsa.PrivateKey:
		sum := sha256.Sum256([]byte(signed))
		sig, err = rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	case crypto.Signer:
		sig, err = key.Sign(nil, []byte(signed), crypto.Hash(0))
	}
	if err != nil {
		tb.Fatal(err)
	}
	return signed + "." + b64(sig)
}

// open is what an honest verifier does: parse, choose the key, verify.
func open(token string, k *jose.Key) ([]byte, error) {
	m, err := jose.Parse(token)
	if err != nil {
		return nil, err
	}
	return m.Verify(k)
}

func refuse(t *testing.T, token string, k *jose.Key, want error) {
	t.Helper()
	payload, err := open(token, k)
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
	if payload != nil {
		t.Errorf("payload %q next to an error", payload)
	}
}

func accept(t *testing.T, token string, k *jose.Key, want string) {
	t.Helper()
	payload, err := open(token, k)
	if err != nil || string(payload) != want {
		t.Errorf("payload %q, error %v, want %q", payload, err, want)
	}
}

func TestSignAndVerify(t *testing.T) {
	t.Parallel()
	for _, alg := range []jose.Algorithm{jose.ES256, jose.EdDSA, jose.Ed25519, jose.RS256} {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()
			s := newSigner(t, alg)
			for _, typ := range []string{"at+jwt", "JWT", "", "a\"b\u00e4"} {
				token := sign(t, s, typ, claims)
				m, err := jose.Parse(token)
				if err != nil {
					t.Fatal(err)
				}
				if h := m.Header(); h.Algorithm != alg || h.KeyID != s.Key().ID || h.Type != typ || h.JWK != nil {
					t.Errorf("header %+v", h)
				}
				if sign(t, s, typ, claims) != token { // RFC 8725, section 3.2
					t.Error("the signature is not a function of what is signed")
				}
				accept(t, token, s.Key(), claims)
				refuse(t, token, newSigner(t, alg).Key(), jose.ErrSignature)
				if alg != jose.Ed25519 { // go-jose does not know the name
					theirs, err := gojose.ParseSignedCompact(token, []gojose.SignatureAlgorithm{gojose.SignatureAlgorithm(alg)})
					if err != nil {
						t.Fatal(err)
					}
					if got, err := theirs.Verify(s.Key().Public); err != nil || string(got) != claims {
						t.Errorf("go-jose: payload %q, error %v", got, err)
					}
				}
			}
		})
	}
}

func TestSignEmptyAndLong(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jose.EdDSA)
	accept(t, sign(t, s, "JWT", ""), s.Key(), "")
	long := strings.Repeat("x", 11000)
	accept(t, sign(t, s, "JWT", long), s.Key(), long)
	refuse(t, sign(t, s, "JWT", strings.Repeat("x", 13000)), s.Key(), jose.ErrMalformed)
}

// hardware is a private key that only signs.
type hardware struct{ crypto.Signer }

func TestSignWithHardware(t *testing.T) {
	t.Parallel()
	for _, alg := range algorithms {
		der, err := newSigner(t, alg).PKCS8()
		if err != nil {
			t.Fatal(err)
		}
		key, err := x509.ParsePKCS8PrivateKey(der)
		if err != nil {
			t.Fatal(err)
		}
		s, err := jose.NewSigner("hsm", alg, hardware{key.(crypto.Signer)})
		if err != nil {
			t.Fatal(err)
		}
		for range 20 { // r and s of all lengths
			accept(t, sign(t, s, "JWT", claims), s.Key(), claims)
		}
		if b, err := s.PKCS8(); err == nil {
			t.Errorf("%s: the key left its hardware with %d bytes", alg, len(b))
		}
	}
}

func TestN01NoAlgorithm(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jose.ES256)
	for _, alg := range []string{`"none"`, `"None"`, `"NONE"`, `"nOnE"`, `"none "`, `"n\u006fne"`, `"es256"`, `"ES256 "`, `"ES384"`, `"PS256"`, `"ES256K"`, `""`} {
		header := `{"alg":` + alg + `,"typ":"at+jwt"}`
		refuse(t, forge(t, s, header, claims), s.Key(), jose.ErrUnsupported)
		refuse(t, b64([]byte(header))+"."+b64([]byte(claims))+".", s.Key(), jose.ErrMalformed)
		refuse(t, b64([]byte(header))+"."+b64([]byte(claims)), s.Key(), jose.ErrMalformed)
	}
	for _, header := range []string{
		`{}`, `{"typ":"at+jwt"}`, `{"alg":null}`, `{"alg":1}`, `{"alg":["ES256"]}`, `{"alg":{"alg":"ES256"}}`, `{"alg":true}`,
		`["ES256"]`, `"ES256"`, `null`, ``, `{"alg":"ES256"`, `{"alg":"ES256",}`, `{"alg":"ES256"}}`, `{"alg":"ES256"} x`, `{'alg':'ES256'}`,
	} {
		refuse(t, forge(t, s, header, claims), s.Key(), jose.ErrMalformed)
	}
	good := sign(t, s, "at+jwt", claims)
	refuse(t, good[:strings.LastIndexByte(good, '.')+1], s.Key(), jose.ErrMalformed)
	accept(t, forge(t, s, `{"alg":"E\u0053256"}`, claims), s.Key(), claims)
}

func TestN02SymmetricConfusion(t *testing.T) {
	t.Parallel()
	for _, alg := range algorithms {
		s := newSigner(t, alg)
		pkix, err := x509.MarshalPKIXPublicKey(s.Key().Public)
		if err != nil {
			t.Fatal(err)
		}
		block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix})
		for _, secret := range [][]byte{pkix, block, block[:len(block)-1], s.Key().JSON()} {
			for _, name := range []string{"HS256", "hs256", string(alg)} {
				signed := b64(fmt.Appendf(nil, `{"alg":%q}`, name)) + "." + b64([]byte(claims))
				mac := hmac.New(sha256.New, secret)
				mac.Write([]byte(signed))
				want := jose.ErrUnsupported
				if name == string(alg) {
					want = jose.ErrSignature
				}
				refuse(t, signed+"."+b64(mac.Sum(nil)), s.Key(), want)
			}
		}
	}
}

func TestN03KeyMismatch(t *testing.T) {
	t.Parallel()
	es, ed, rs := newSigner(t, jose.ES256), newSigner(t, jose.EdDSA), newSigner(t, jose.RS256)
	all := []*jose.Signer{es, ed, rs}
	for _, signer := range all {
		for _, other := range all {
			if signer == other {
				continue
			}
			// A token that says what its signer is, and one that says what the
			// key is that it will be checked with.
			refuse(t, sign(t, signer, "JWT", claims), other.Key(), jose.ErrUnsupported)
			header := fmt.Sprintf(`{"alg":%q}`, other.Key().Algorithm)
			refuse(t, forge(t, signer, header, claims), other.Key(), jose.ErrSignature)
			// A key under the name of an algorithm that is not its own.
			wrong := &jose.Key{Algorithm: signer.Key().Algorithm, Public: other.Key().Public}
			refuse(t, sign(t, signer, "JWT", claims), wrong, jose.ErrUnsupported)
		}
	}
	for _, curve := range []elliptic.Curve{elliptic.P224(), elliptic.P384(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		refuse(t, sign(t, es, "JWT", claims), &jose.Key{Algorithm: jose.ES256, Public: &key.PublicKey}, jose.ErrUnsupported)
		if _, err := jose.NewSigner("", jose.ES256, key); !errors.Is(err, jose.ErrUnsupported) {
			t.Errorf("signer on %s: error %v", curve.Params().Name, err)
		}
	}
	for _, k := range []*jose.Key{
		{}, {Algorithm: jose.ES256}, {Algorithm: jose.ES256, Public: []byte("secret")}, {Algorithm: "none"}, {Public: es.Key().Public},
	} {
		refuse(t, sign(t, es, "JWT", claims), k, jose.ErrUnsupported)
	}
	var zero jose.Message
	if payload, err := zero.Verify(es.Key()); err == nil {
		t.Errorf("the zero Message verifies as %q", payload)
	}
	if payload, err := zero.Verify(&jose.Key{}); err == nil {
		t.Errorf("the zero Message verifies under the zero Key as %q", payload)
	}
}

func TestN03SignatureForms(t *testing.T) {
	t.Parallel()
	for _, alg := range algorithms {
		s := newSigner(t, alg)
		token := sign(t, s, "JWT", claims)
		signed, sig := cutLast(token)
		raw, err := base64.RawURLEncoding.DecodeString(sig)
		if err != nil {
			t.Fatal(err)
		}
		forms := map[string][]byte{
			"Zero":          make([]byte, len(raw)),
			"OneByte":       {0},
			"Cut":           raw[:len(raw)-1],
			"CutAtStart":    raw[1:],
			"Longer":        append(raw[:len(raw):len(raw)], 0),
			"LongerAtStart": append([]byte{0}, raw...),
			"Twice":         append(raw[:len(raw):len(raw)], raw...),
			"Huge":          make([]byte, 4000),
		}
		if alg == jose.ES256 {
			order := elliptic.P256().Params().N.Bytes()
			forms["OrderAndOrder"] = append(append([]byte{}, order...), order...)
			forms["ZeroR"] = append(make([]byte, 32), raw[32:]...)
			forms["ZeroS"] = append(append([]byte{}, raw[:32]...), make([]byte, 32)...)
			forms["Swapped"] = append(append([]byte{}, raw[32:]...), raw[:32]...)
			der, err := s.PKCS8()
			if err != nil {
				t.Fatal(err)
			}
			key, err := x509.ParsePKCS8PrivateKey(der)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256([]byte(signed))
			if forms["DER"], err = ecdsa.SignASN1(rand.Reader, key.(*ecdsa.PrivateKey), sum[:]); err != nil {
				t.Fatal(err)
			}
		}
		for name, form := range forms {
			t.Run(string(alg)+name, func(t *testing.T) {
				refuse(t, signed+"."+b64(form), s.Key(), jose.ErrSignature)
			})
		}
		// Every bit of the signature and of what it is over counts.
		for i := range raw {
			changed := append([]byte{}, raw...)
			changed[i] ^= 1 << (i % 8)
			refuse(t, signed+"."+b64(changed), s.Key(), jose.ErrSignature)
		}
		for i := range len(claims) {
			changed := []byte(claims)
			changed[i] ^= 1
			head, _, _ := strings.Cut(token, ".")
			refuse(t, head+"."+b64(changed)+"."+sig, s.Key(), jose.ErrSignature)
		}
	}
}

func cutLast(token string) (signed, sig string) {
	i := strings.LastIndexByte(token, '.')
	return token[:i], token[i+1:]
}

func TestN04KeyID(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jose.ES256)
	set := jose.NewKeySet(s.Key())
	for _, kid := range []string{
		`../../etc/passwd`, `' OR 1=1 --`, `x\u0000y`, `\ud83d\ude00`, `https://attacker.example/jwks`, strings.Repeat("k", 256), ` ` + s.Key().ID, strings.ToUpper(s.Key().ID), `*`,
	} {
		m, err := jose.Parse(forge(t, s, `{"alg":"ES256","kid":"`+kid+`"}`, claims))
		if err != nil {
			t.Errorf("%.30q: %v", kid, err)
			continue
		}
		if found := set.Find(m.Header().KeyID, m.Header().Algorithm); found != nil {
			t.Errorf("%.30q finds a key", kid)
		}
	}
	for _, kid := range []string{
		`1`, `1.5`, `null`, `true`, `["a"]`, `{"a":1}`, `"` + strings.Repeat("k", 257) + `"`, `"` + strings.Repeat("k", 1<<20) + `"`, `"\ud83d"`, "\"\x00\"", "\"\xff\"",
	} {
		refuse(t, forge(t, s, `{"alg":"ES256","kid":`+kid+`}`, claims), s.Key(), jose.ErrMalformed)
		refuse(t, forge(t, s, `{"alg":"ES256","typ":`+kid+`}`, claims), s.Key(), jose.ErrMalformed)
	}
}

func TestN05KeyInHeader(t *testing.T) {
	t.Parallel()
	thief, ours := newSigner(t, jose.ES256), newSigner(t, jose.ES256)
	jwk := string(thief.Key().JSON())
	for _, member := range []string{
		`"jwk":` + jwk, `"jku":"https://attacker.example/jwks"`, `"x5u":"https://attacker.example/cert"`, `"x5c":["MIIB"]`, `"x5t":"AAAA"`, `"keys":[` + jwk + `]`,
	} {
		header := `{"alg":"ES256","kid":"` + ours.Key().ID + `",` + member + `}`
		refuse(t, forge(t, thief, header, claims), ours.Key(), jose.ErrSignature)
		accept(t, forge(t, ours, header, claims), ours.Key(), claims)
	}
	m, err := jose.Parse(forge(t, thief, `{"alg":"ES256","jwk":`+jwk+`}`, claims))
	if err != nil || string(m.Header().JWK) != jwk {
		t.Errorf("embedded key %q, error %v", m.Header().JWK, err)
	}
	for _, jwk := range []string{`"x"`, `null`, `[]`, `1`} {
		refuse(t, forge(t, ours, `{"alg":"ES256","jwk":`+jwk+`}`, claims), ours.Key(), jose.ErrMalformed)
	}
}

func TestN06Extensions(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jose.ES256)
	for _, member := range []string{
		`"crit":["exp"]`, `"crit":[]`, `"crit":["alg"]`, `"crit":null`, `"crit":"b64"`, `"crit":["b64"],"b64":false`, `"b64":false`, `"b64":true`, `"zip":"DEF"`,
	} {
		refuse(t, forge(t, s, `{"alg":"ES256",`+member+`}`, claims), s.Key(), jose.ErrUnsupported)
	}
	for _, member := range []string{`"Crit":["exp"]`, `"B64":false`, `"ZIP":"DEF"`, `"Kid":"x"`, `"TYP":"JWT"`, `"\u212aid":"x"`} {
		refuse(t, forge(t, s, `{"alg":"ES256",`+member+`}`, claims), s.Key(), jose.ErrMalformed)
	}
}

func TestN07Duplicates(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jose.ES256)
	var many strings.Builder // so many names that they are held differently
	for i := range 80 {
		fmt.Fprintf(&many, `"m%d":0,`, i)
	}
	for _, members := range []string{
		`"%s":"a","%s":"a"`, `"%s":"a","other":1,"%s":"b"`, many.String() + `"%s":"a","%s":"b"`, `"%s":"a",` + many.String() + `"%s":"b"`,
	} {
		for _, pair := range [][2]string{
			{"kid", "kid"},
			{"kid", `k\u0069d`},
			{"aud", "aud"},
			{"aud", "AUD"},
			{"aud", "Aud"},
			{"aud", `\u0061UD`},
			{"sub", "\u017fub"},
			{"jkt", "J\u212aT"},
			{"ä", "Ä"},
			{"", ""},
		} {
			object := `{` + fmt.Sprintf(members, pair[0], pair[1]) + `}`
			if err := jose.Scan([]byte(object), nil); !errors.Is(err, jose.ErrMalformed) {
				t.Errorf("payload with %q: error %v", pair, err)
			}
			for _, outer := range []string{`{"cnf":%s}`, `{"list":[1,%s]}`} {
				if err := jose.Scan(fmt.Appendf(nil, outer, object), nil); !errors.Is(err, jose.ErrMalformed) {
					t.Errorf("nested object with %q: error %v", pair, err)
				}
			}
			refuse(t, forge(t, s, `{"alg":"ES256",`+object[1:], claims), s.Key(), jose.ErrMalformed)
		}
		for _, pair := range [][2]string{{"a", "b"}, {"aud", "aut"}, {"sub", "sub "}, {"A", "@"}, {"i", "\u0131"}, {"", "x"}, {"[", "{"}} {
			object := `{` + fmt.Sprintf(members, pair[0], pair[1]) + `}`
			if err := jose.Scan([]byte(object), nil); err != nil {
				t.Errorf("payload with %q: %v", pair, err)
			}
		}
	}
	refuse(t, forge(t, s, `{"alg":"none","alg":"ES256"}`, claims), s.Key(), jose.ErrUnsupported)
	refuse(t, forge(t, s, `{"alg":"ES256","alg":"ES256"}`, claims), s.Key(), jose.ErrMalformed)
	refuse(t, forge(t, s, `{"alg":"ES256","ALG":"ES256"}`, claims), s.Key(), jose.ErrMalformed)
}

func TestN08Serialization(t *testing.T) {
	t.Parallel()
	for _, alg := range algorithms {
		s := newSigner(t, alg)
		token := sign(t, s, "JWT", claims+"x") // a length whose encoding leaves bits unused
		signed, sig := cutLast(token)
		head, body, _ := strings.Cut(signed, ".")
		for name, token := range map[string]string{
			"Empty":         "",
			"Dots":          "..",
			"OnePart":       head,
			"TwoParts":      head + "." + body,
			"FourParts":     token + ".",
			"FiveParts":     token + "..",
			"DotFirst":      "." + token,
			"EmptyHeader":   "." + body + "." + sig,
			"Flattened":     `{"protected":"` + head + `","payload":"` + body + `","signature":"` + sig + `"}`,
			"General":       `{"payload":"` + body + `","signatures":[{"protected":"` + head + `","signature":"` + sig + `"}]}`,
			"Padding":       token + "=",
			"PaddedHeader":  head + "=." + body + "." + sig,
			"LineBreak":     token + "\n",
			"LineBreaks":    head + "." + body[:4] + "\r\n\r\n" + body[4:] + "." + sig,
			"FourBreaks":    head + "." + body + "\n\n\n\n." + sig,
			"Space":         " " + token,
			"SpaceInside":   head + "." + body + " ." + sig,
			"Tab":           token + "\t",
			"Nul":           token + "\x00",
			"StandardChars": head + "." + body + "." + strings.NewReplacer("-", "+", "_", "/").Replace(sig+"-_"),
			"NotASCII":      head + "." + body + "." + sig + "é",
			"Bearer":        "Bearer " + token,
			"TooLong":       head + "." + strings.Repeat("A", 16<<10) + "." + sig,
		} {
			t.Run(string(alg)+name, func(t *testing.T) { refuse(t, token, s.Key(), jose.ErrMalformed) })
		}
		accept(t, token, s.Key(), claims+"x")
	}
}

// TestN08TrailingBits signs the text itself, so that only the form is wrong.
func TestN08TrailingBits(t *testing.T) {
	t.Parallel()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	s := newSigner(t, jose.ES256)
	for _, header := range []string{`{"alg":"ES256"}`, `{"alg":"ES256"} `, `{"alg":"ES256"}  `} {
		for _, payload := range []string{"{}", "{} ", "{}  "} {
			head, body := b64([]byte(header)), b64([]byte(payload))
			accept(t, signRaw(t, s, head+"."+body), s.Key(), payload)
			for _, c := range alphabet {
				other := body[:len(body)-1] + string(c)
				got, err := open(signRaw(t, s, head+"."+other), s.Key())
				if err == nil && b64(got) != other {
					t.Errorf("%q is read as %q", other, got)
				}
				token := signRaw(t, s, head+"."+body)
				other = token[:len(token)-1] + string(c)
				if _, err := open(other, s.Key()); err == nil && other != token {
					t.Errorf("two forms of one signature")
				}
			}
			for _, lineBreak := range []string{"\n", "\r", "\r\n", "\n\n\n", "\n\n\n\n"} {
				refuse(t, signRaw(t, s, head+"."+lineBreak+body), s.Key(), jose.ErrMalformed)
				refuse(t, signRaw(t, s, head+lineBreak+"."+body), s.Key(), jose.ErrMalformed)
				refuse(t, signRaw(t, s, head+"."+body)+lineBreak, s.Key(), jose.ErrMalformed)
			}
		}
	}
}

func TestN15Downgrade(t *testing.T) {
	t.Parallel()
	es, rs := newSigner(t, jose.ES256), newSigner(t, jose.RS256)
	set := jose.NewKeySet(es.Key())
	secret := []byte("the client's secret, long enough to be one")
	mac := hmac.New(sha256.New, secret)
	signed := b64([]byte(`{"alg":"HS256"}`)) + "." + b64([]byte(claims))
	mac.Write([]byte(signed))
	refuse(t, signed+"."+b64(mac.Sum(nil)), es.Key(), jose.ErrUnsupported)
	for _, header := range []string{`{"alg":"RS256","kid":"` + es.Key().ID + `"}`, `{"alg":"RS256"}`} {
		token := forge(t, rs, header, claims)
		m, err := jose.Parse(token)
		if err != nil {
			t.Fatal(err)
		}
		if found := set.Find(m.Header().KeyID, m.Header().Algorithm); len(found) > 0 {
			t.Errorf("%s finds the key %s", header, found[0].ID)
		}
		refuse(t, token, es.Key(), jose.ErrUnsupported)
	}
}

func TestSignersDoNotPrintTheKey(t *testing.T) {
	t.Parallel()
	for _, alg := range algorithms {
		s := newSigner(t, alg)
		want := "signer " + s.Key().ID
		for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
			if got := fmt.Sprintf(format, s); got != want {
				t.Errorf("%s prints %q, want %q", format, got, want)
			}
		}
	}
}

// A header that was read before is not read again, and only if it is the very
// same.
func TestParseLike(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jose.ES256).Embed()
	m, err := jose.Parse(sign(t, s, "dpop+jwt", `{"n":1}`))
	if err != nil {
		t.Fatal(err)
	}
	known := m.Header()
	for name, c := range map[string]struct {
		token string
		want  error
	}{
		"Same":    {sign(t, s, "dpop+jwt", `{"n":2}`), nil},
		"Other":   {sign(t, s, "at+jwt", `{"n":2}`), nil},
		"OneByte": {signRaw(t, s, "A."+b64([]byte(`{"n":2}`))), jose.ErrMalformed},
		"Longer":  {signRaw(t, s, b64([]byte(`{"alg":"ES256"} `))+"A."+b64([]byte(`{}`))), jose.ErrMalformed},
	} {
		again, err := jose.ParseLike(c.token, known)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: error %v, want %v", name, err, c.want)
			continue
		}
		if err != nil {
			continue
		}
		plain, err := jose.Parse(c.token)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := again.Header(), plain.Header(); got.Type != want.Type || got.Algorithm != want.Algorithm || string(got.JWK) != string(want.JWK) {
			t.Errorf("%s: header %+v, want %+v", name, got, want)
		}
		if payload, err := again.Verify(s.Key()); err != nil || string(payload) != `{"n":2}` {
			t.Errorf("%s: payload %q, error %v", name, payload, err)
		}
	}
}

// A header that stands alone is as good for another token of the same header.
func TestHeaderAlone(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jose.ES256).Embed()
	m, err := jose.Parse(sign(t, s, "dpop+jwt", `{"n":1}`))
	if err != nil {
		t.Fatal(err)
	}
	alone := m.Header().Alone()
	if !alone.Same(m.Header()) || alone.Len() != m.Header().Len() || alone.JWK != nil {
		t.Errorf("alone: %+v", alone)
	}
	again, err := jose.ParseLike(sign(t, s, "dpop+jwt", `{"n":2}`), alone)
	if err != nil {
		t.Fatal(err)
	}
	if h := again.Header(); h.Type != "dpop+jwt" || h.Algorithm != jose.ES256 || !h.Same(alone) {
		t.Errorf("header %+v", h)
	}
	if payload, err := again.Verify(s.Key()); err != nil || string(payload) != `{"n":2}` {
		t.Errorf("payload %q, error %v", payload, err)
	}
}

// RFC 7515, section 4.1.3.
func TestEmbed(t *testing.T) {
	t.Parallel()
	for _, alg := range algorithms {
		s := newSigner(t, alg)
		m, err := jose.Parse(sign(t, s.Embed(), "dpop+jwt", claims))
		if err != nil {
			t.Fatal(err)
		}
		if h := m.Header(); h.KeyID != "" || h.Type != "dpop+jwt" || h.Algorithm != alg {
			t.Errorf("%s: header %+v", alg, h)
		}
		key, err := jose.ParseKey(m.Header().JWK)
		if err != nil || key.Thumbprint() != s.Key().Thumbprint() {
			t.Errorf("%s: embedded key %s, error %v", alg, m.Header().JWK, err)
		}
	}
}
