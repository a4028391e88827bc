package jose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
)

const (
	maxToken = 16 << 10
	maxKeyID = 256 // also of typ
)

// encoding is base64url without padding that refuses bits that are lost in
// decoding (RFC 7515, section 2). It still skips line breaks: see decodeInto.
var encoding = base64.RawURLEncoding.Strict()

// A Header is what the header of a token says. It is not to be believed before
// the signature is verified, and not even then decides how it is verified.
type Header struct {
	Algorithm Algorithm
	KeyID     string // kid; empty if there is none
	Type      string // typ as it is written; empty if there is none
	JWK       []byte // raw JSON of an embedded key, nil if there is none

	encoded string // all of it, as it stands in the token
}

// Same reports whether h and other are of two tokens with the same bytes.
func (h Header) Same(other Header) bool { return h.encoded == other.encoded }

// Alone returns h without its JWK, to be kept for [ParseLike] after the token is
// gone: it shares no memory with it.
func (h Header) Alone() Header {
	return Header{
		Algorithm: h.Algorithm, KeyID: strings.Clone(h.KeyID), Type: strings.Clone(h.Type), encoded: strings.Clone(h.encoded),
	}
}

// Len returns how long h is as it stands in the token.
func (h Header) Len() int { return len(h.encoded) }

// A Message is a compact JWS whose signature was not checked yet. The zero
// value verifies under no key.
type Message struct {
	header    Header
	signed    []byte // what the signature is over
	payload   []byte
	signature []byte // with ES256 in DER, and empty if it is not of the right length
}

// Parse takes apart a token in the compact serialization (RFC 7515, section
// 7.1). It refuses with [ErrMalformed] more than 16 KiB, anything but three
// parts in the one canonical form of unpadded base64url, and a header that
// [Scan] refuses or that has members of wrong type; with [ErrUnsupported] an
// algorithm outside of the list, and the extensions crit, b64 and zip. Other
// members of the header are passed over: no key is ever taken from them.
func Parse(token string) (Message, error) { return ParseLike(token, Header{}) }

// ParseLike is [Parse] for a token that may have the same header as one that
// was parsed before: if it does, byte for byte, the header is not read again.
func ParseLike(token string, known Header) (Message, error) {
	if len(token) > maxToken {
		return Message{}, fmt.Errorf("%w: token is too long", ErrMalformed)
	}
	head, rest, ok := strings.Cut(token, ".")
	body, signature, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || head == "" || signature == "" || strings.IndexByte(signature, '.') >= 0 {
		return Message{}, fmt.Errorf("%w: token is not of three parts", ErrMalformed)
	}
	// One buffer for the text that is signed, the decoded parts, and what the
	// signature is converted to.
	x := len(head) + 1 + len(body)
	y, seen := x, head == known.encoded
	if !seen {
		y += encoding.DecodedLen(len(head))
	}
	z := y + encoding.DecodedLen(len(body))
	end := z + encoding.DecodedLen(len(signature))
	buf := make([]byte, end, end+maxDER)
	copy(buf, token[:x])
	if !seen && !decodeInto(buf[x:y], head) || !decodeInto(buf[y:z], body) || !decodeInto(buf[z:], signature) {
		return Message{}, fmt.Errorf("%w: base64url", ErrMalformed)
	}
	m := Message{header: known, signed: buf[:x:x], payload: buf[y:z:z], signature: buf[z:]}
	if !seen {
		m.header = Header{encoded: head}
		if err := m.header.parse(buf[x:y:y]); err != nil {
			return Message{}, err
		}
	}
	if m.header.Algorithm == ES256 {
		m.signature = appendDER(buf, m.signature)[end:]
	}
	return m, nil
}

func (h *Header) parse(b []byte) error {
	var err error
	if err := Scan(b, func(name, value []byte) error {
		switch string(name) {
		case "alg":
			h.Algorithm, err = algorithm(value)
		case "kid":
			h.KeyID, err = short(value)
		case "typ":
			h.Type, err = short(value)
		case "jwk":
			if value[0] != '{' {
				err = fmt.Errorf("%w: jwk is no object", ErrMalformed)
			}
			h.JWK = value
		case "crit", "b64", "zip":
			// RFC 7515, section 4.1.11. RFC 7797, section 6.
			err = fmt.Errorf("%w: extension in the header", ErrUnsupported)
		default:
			// Somebody else might read it as the name that it resembles.
			for _, known := range []string{"alg", "kid", "typ", "jwk", "crit", "b64", "zip"} {
				if bytes.EqualFold(name, []byte(known)) {
					err = fmt.Errorf("%w: name in the header in wrong case", ErrMalformed)
				}
			}
		}
		return err
	}); err != nil {
		return err
	}
	if h.Algorithm == "" {
		return fmt.Errorf("%w: header without alg", ErrMalformed)
	}
	return nil
}

// algorithm reads the name of an algorithm.
func algorithm(value []byte) (Algorithm, error) {
	// The usual spellings, without an allocation.
	switch string(value) {
	case `"ES256"`:
		return ES256, nil
	case `"EdDSA"`:
		return EdDSA, nil
	case `"Ed25519"`:
		return Ed25519, nil
	case `"RS256"`:
		return RS256, nil
	}
	s, err := String(value)
	if err != nil {
		return "", err
	}
	// RFC 8725, section 3.1: names are case-sensitive, and none is no algorithm.
	if _, ok := Algorithm(s).canonical(); !ok {
		return "", fmt.Errorf("%w: algorithm", ErrUnsupported)
	}
	return Algorithm(s), nil
}

// short reads a kid or typ.
func short(value []byte) (string, error) {
	switch string(value) {
	case `"at+jwt"`:
		return "at+jwt", nil
	case `"dpop+jwt"`:
		return "dpop+jwt", nil
	case `"JWT"`:
		return "JWT", nil
	}
	s, err := Text(value)
	if err == nil && len(s) > maxKeyID {
		err = fmt.Errorf("%w: kid or typ is too long", ErrMalformed)
	}
	return s, err
}

// Header returns what the header says.
func (m *Message) Header() Header { return m.header }

// Verify returns the payload if it was signed by k. The algorithm is that of k:
// a header that names another one is refused with [ErrUnsupported], as is a key
// that does not fit its algorithm; anything wrong with the signature is
// [ErrSignature].
func (m *Message) Verify(k *Key) ([]byte, error) {
	if !m.header.Algorithm.same(k.Algorithm) {
		return nil, fmt.Errorf("%w: the key is for another algorithm", ErrUnsupported)
	}
	if err := verify(k, m.signed, m.signature); err != nil {
		return nil, err
	}
	return m.payload, nil
}

func verify(k *Key, signed, signature []byte) error {
	ok := false
	switch pub := k.Public.(type) {
	case *ecdsa.PublicKey:
		if k.Algorithm != ES256 || pub.Curve != elliptic.P256() {
			return errKey()
		}
		sum := sha256.Sum256(signed)
		ok = ecdsa.VerifyASN1(pub, sum[:], signature)
	case ed25519.PublicKey:
		if !k.Algorithm.same(EdDSA) || len(pub) != ed25519.PublicKeySize {
			return errKey()
		}
		ok = ed25519.Verify(pub, signed, signature)
	case *rsa.PublicKey:
		if k.Algorithm != RS256 || pub.N.BitLen() < minRSABits {
			return errKey()
		}
		sum := sha256.Sum256(signed)
		ok = rsa.VerifyPKCS1v15(pub, crypto.SHA256, sum[:], signature) == nil
	default:
		return errKey()
	}
	if !ok {
		return ErrSignature
	}
	return nil
}

func errKey() error { return fmt.Errorf("%w: the key does not fit its algorithm", ErrUnsupported) }

// decode returns what s encodes in canonical base64url without padding.
func decode(s string) ([]byte, error) {
	b := make([]byte, encoding.DecodedLen(len(s)))
	if !decodeInto(b, s) {
		return nil, fmt.Errorf("%w: base64url", ErrMalformed)
	}
	return b, nil
}

// decodeInto fills dst, which has to be of the decoded length, with what s
// encodes. A line break, which the standard decoder passes over, makes the
// result shorter than that, unless it is the odd character of a length that no
// encoding has.
func decodeInto(dst []byte, s string) bool {
	if len(s)%4 == 1 {
		return false
	}
	n, err := encoding.Decode(dst, []byte(s))
	return err == nil && n == len(dst)
}
