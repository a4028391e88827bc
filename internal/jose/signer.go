package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"unicode/utf8"
)

// maxTypes is for how many typ values a signer remembers the header.
const maxTypes = 32

// A Signer signs compact JWS with one private key under one algorithm. It is
// safe for concurrent use and never prints the key. The zero value is none.
type Signer struct {
	key     *Key
	private crypto.Signer
	jwk     []byte                            // in the header in place of the kid; nil: the kid
	headers atomic.Pointer[map[string]string] // typ to encoded header with its dot; never changed, only replaced
}

// Generate returns a signer with a new key; an RSA key has 2048 bits. An empty
// kid means the thumbprint of the key.
func Generate(kid string, alg Algorithm) (*Signer, error) {
	var key crypto.Signer
	var err error
	switch alg {
	case ES256:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case EdDSA, Ed25519:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case RS256:
		key, err = rsa.GenerateKey(rand.Reader, minRSABits)
	default:
		return nil, fmt.Errorf("%w: algorithm", ErrUnsupported)
	}
	if err != nil {
		return nil, fmt.Errorf("generate key: %w", err)
	}
	return NewSigner(kid, alg, key)
}

// NewSigner returns a signer with the given key, which may be one that never
// leaves its hardware. The key has to fit the algorithm as [ParseKey] asks. An
// empty kid means the thumbprint of the key.
func NewSigner(kid string, alg Algorithm, key crypto.Signer) (*Signer, error) {
	k := &Key{ID: kid, Algorithm: alg, Public: key.Public()}
	if err := k.check(); err != nil {
		return nil, err
	}
	if len(kid) > maxKeyID || !utf8.ValidString(kid) {
		return nil, fmt.Errorf("%w: kid", ErrMalformed)
	}
	if kid == "" {
		k.ID = k.Thumbprint()
	}
	s := &Signer{key: k, private: key}
	s.headers.Store(&map[string]string{})
	return s, nil
}

// Embed returns a signer with the same key, whose headers hold the public key
// itself (RFC 7515, section 4.1.3) in place of its kid.
func (s *Signer) Embed() *Signer {
	e := &Signer{key: s.key, private: s.private, jwk: s.key.required(nil)}
	e.headers.Store(&map[string]string{})
	return e
}

// ParseSigner returns a signer with a private key in PKCS #8. An empty kid
// means the thumbprint of the key. Errors say nothing about the key.
func ParseSigner(kid string, alg Algorithm, pkcs8 []byte) (*Signer, error) {
	v, err := x509.ParsePKCS8PrivateKey(pkcs8)
	key, ok := v.(crypto.Signer)
	if err != nil || !ok {
		return nil, fmt.Errorf("%w: not a private key in PKCS #8", ErrMalformed)
	}
	return NewSigner(kid, alg, key)
}

// PKCS8 returns the private key in PKCS #8, and an error if it does not leave
// its hardware.
func (s *Signer) PKCS8() ([]byte, error) {
	b, err := x509.MarshalPKCS8PrivateKey(s.private)
	if err != nil {
		return nil, errors.New("the private key cannot be written in PKCS #8")
	}
	return b, nil
}

// Key returns the public key.
func (s *Signer) Key() *Key { return s.key }

// String names the public key.
func (s *Signer) String() string { return "signer " + s.key.ID }

// GoString is [Signer.String].
func (s *Signer) GoString() string { return s.String() }

// Sign returns payload as a compact JWS whose header holds alg, kid and typ (see
// also [Signer.Embed]); an empty typ is left out. Signatures by keys in memory
// hold nothing random (RFC 8725, section 3.2): ES256 is RFC 6979.
func (s *Signer) Sign(typ string, payload []byte) (string, error) {
	header, err := s.header(typ)
	if err != nil {
		return "", err
	}
	var space [2048]byte // enough for most tokens, so that only the result is allocated
	b := append(space[:0], header...)
	b = base64.RawURLEncoding.AppendEncode(b, payload)
	var sig [maxRSABits / 8]byte
	n, err := s.sign(sig[:], b)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	b = append(b, '.')
	b = base64.RawURLEncoding.AppendEncode(b, sig[:n])
	return string(b), nil
}

// sign puts the signature over msg into sig and returns its length.
func (s *Signer) sign(sig, msg []byte) (int, error) {
	if key, ok := s.private.(ed25519.PrivateKey); ok {
		return copy(sig, ed25519.Sign(key, msg)), nil
	}
	sum := sha256.Sum256(msg)
	switch key := s.private.(type) {
	case *ecdsa.PrivateKey:
		der, err := key.Sign(nil, sum[:], crypto.SHA256) // RFC 6979, as RFC 8725, section 3.2, wants it
		if err != nil {
			return 0, err
		}
		return copyRaw(sig, der)
	case *rsa.PrivateKey:
		b, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
		return copy(sig, b), err
	}
	input, opts := slices.Clone(sum[:]), crypto.SHA256
	if s.key.Algorithm.same(EdDSA) {
		input, opts = slices.Clone(msg), crypto.Hash(0)
	}
	b, err := s.private.Sign(rand.Reader, input, opts)
	if err != nil {
		return 0, err
	}
	if s.key.Algorithm == ES256 {
		return copyRaw(sig, b)
	}
	return copy(sig, b), nil
}

func copyRaw(sig, der []byte) (int, error) {
	var raw [rawLen]byte
	if !fromDER(&raw, der) {
		return 0, errors.New("the signature is not in DER")
	}
	return copy(sig, raw[:]), nil
}

// header returns the encoded header for typ, with the dot that follows it.
func (s *Signer) header(typ string) (string, error) {
	known := s.headers.Load()
	if h, ok := (*known)[typ]; ok {
		return h, nil
	}
	if len(typ) > maxKeyID || !utf8.ValidString(typ) {
		return "", fmt.Errorf("%w: typ", ErrMalformed)
	}
	h := struct {
		Algorithm Algorithm       `json:"alg"`
		KeyID     string          `json:"kid,omitempty"`
		Type      string          `json:"typ,omitempty"`
		JWK       json.RawMessage `json:"jwk,omitempty"`
	}{s.key.Algorithm, s.key.ID, typ, s.jwk}
	if s.jwk != nil {
		h.KeyID = ""
	}
	b, err := json.Marshal(h)
	if err != nil {
		return "", fmt.Errorf("write header: %w", err)
	}
	encoded := base64.RawURLEncoding.EncodeToString(b) + "."
	if len(*known) < maxTypes {
		more := maps.Clone(*known)
		more[typ] = encoded
		s.headers.CompareAndSwap(known, &more) // whoever loses the race does it again next time
	}
	return encoded, nil
}
