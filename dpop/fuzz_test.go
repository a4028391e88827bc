package dpop_test

import (
	"crypto/ed25519"
	"net/url"
	"strings"
	"testing"

	"github.com/fastbind/fastbind/dpop"
)

// No text is a proof but one that the key has signed for this request.
func FuzzProof(f *testing.F) {
	// The same in every process that takes part.
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	s := signer{
		"EdDSA",
		members{"kty": "OKP", "crv": "Ed25519", "x": b64(private[ed25519.SeedSize:])},
		func(signed []byte) []byte { return ed25519.Sign(private, signed) },
	}
	k, err := dpop.KeyFrom(private)
	if err != nil {
		f.Fatal(err)
	}
	good := s.proof(nil, members{"jti": "1"})
	f.Add(good)
	f.Add(good + "=")
	f.Add(good[:len(good)-1])
	f.Add(s.proof(members{"typ": "JWT"}, nil))
	f.Add(s.proof(nil, members{"ath": nil}))
	known, err := dpop.Check(good, expect())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, proof string) {
		for _, sender := range []*dpop.Sender{nil, known.Sender} {
			p, err := dpop.Check(proof, expect(func(e *dpop.Expect) { e.Sender = sender }))
			if (err == nil) != (proof == good) {
				t.Errorf("error %v", err)
			}
			if err != nil && dpop.Describe(err) == "" || err == nil && p.Thumbprint != k.Thumbprint() {
				t.Errorf("%+v, error %v", p, err)
			}
		}
	})
}

// Whatever claims a key signs, they are a proof only for what they say.
func FuzzClaims(f *testing.F) {
	s := es256(f)
	header := text(members{"typ": "dpop+jwt", "alg": "ES256", "jwk": s.jwk})
	f.Add(`{"jti":"1","htm":"GET","htu":"https://api.example.com/orders","iat":1795867200}`)
	f.Add(`{"jti":"1","htm":"GET","htu":"https:\/\/api.example.com/orders","iat":1795867200.9}`)
	f.Add(`{"jti":"1","htm":"GET","htu":"HTTPS://API.EXAMPLE.COM:443/%6frders?#","iat":1.7958672e9}`)
	f.Add(`{"jti":"","htm":"GET","htu":"","iat":-1}`)
	f.Fuzz(func(t *testing.T, claims string) {
		p, err := dpop.Check(s.raw(header, claims), expect(func(e *dpop.Expect) { e.AccessToken = "" }))
		if err != nil {
			if dpop.Describe(err) == "" {
				t.Errorf("error %v", err)
			}
			return
		}
		if off := noon.Sub(p.Issued).Abs(); p.ID == "" || len(p.ID) > 128 || off > dpop.Window || p.Until.Before(noon) {
			t.Errorf("%s is read as %+v", claims, p)
		}
	})
}

// An address is that of a request only if another reader takes it so, too.
func FuzzURL(f *testing.F) {
	s := es256(f)
	for _, htu := range []string{address, "https://api.example.com/%6Frders?a#b", "HTTPS://api.example.com:443/orders", "https://api.example.com:/orders#", "https://a@api.example.com/orders"} {
		f.Add(htu)
	}
	f.Fuzz(func(t *testing.T, htu string) {
		if _, err := dpop.Check(s.proof(nil, members{"htu": htu}), expect()); err != nil {
			return
		}
		htu, _, _ = strings.Cut(htu, "#")
		htu, _, _ = strings.Cut(htu, "?")
		u, err := url.Parse(htu)
		if err != nil {
			t.Fatalf("%q: %v", htu, err)
		}
		if !strings.EqualFold(u.Hostname(), "api.example.com") || u.Scheme != "https" || u.Path != "/orders" || u.User != nil ||
			u.Port() != "" && u.Port() != "443" || strings.Contains(u.RawPath, "%2") {
			t.Errorf("%q is taken for %s", htu, address)
		}
	})
}
