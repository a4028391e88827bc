package jose

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// Algorithm is the name of a signature algorithm as it stands in a header.
type Algorithm string

// The algorithms. EdDSA and Ed25519 are two names of one algorithm (RFC 9864,
// section 2.2): a key for one verifies the other.
const (
	ES256   Algorithm = "ES256"
	EdDSA   Algorithm = "EdDSA"
	Ed25519 Algorithm = "Ed25519"
	RS256   Algorithm = "RS256"
)

var (
	// ErrMalformed says that the input is not in the one form that is read.
	ErrMalformed = errors.New("malformed")
	// ErrSignature says that a signature is not that of the key.
	ErrSignature = errors.New("wrong signature")
	// ErrUnsupported says that the input asks for an algorithm, a kind of key
	// or an extension that is not offered, or that a key is for something
	// else.
	ErrUnsupported = errors.New("unsupported")
)

const (
	minRSABits = 2048 // RFC 7518, section 3.3.
	maxRSABits = 8192 // a larger one only costs time
)

// canonical returns the name under which a is looked up and compared, and
// reports whether a is an algorithm of this package.
func (a Algorithm) canonical() (Algorithm, bool) {
	switch a {
	case ES256, RS256, EdDSA:
		return a, true
	case Ed25519:
		return EdDSA, true
	}
	return "", false
}

// same reports whether a and b name one algorithm of this package.
func (a Algorithm) same(b Algorithm) bool {
	x, ok := a.canonical()
	y, _ := b.canonical()
	return ok && x == y
}

// A Key is a public key with the one algorithm that it verifies. The functions
// of this package only make keys that [ParseKey] would accept. A Key is not to
// be changed once it is in use.
type Key struct {
	ID        string // kid; may be empty
	Algorithm Algorithm
	Public    crypto.PublicKey // *ecdsa.PublicKey, ed25519.PublicKey or *rsa.PublicKey
}

// check returns what is wrong with k, or nil.
func (k *Key) check() error {
	switch pub := k.Public.(type) {
	case *ecdsa.PublicKey:
		if k.Algorithm != ES256 || pub.Curve != elliptic.P256() {
			return fmt.Errorf("%w: EC key that is not for ES256", ErrUnsupported)
		}
		if _, err := pub.Bytes(); err != nil {
			return fmt.Errorf("%w: point not on the curve", ErrMalformed)
		}
	case ed25519.PublicKey:
		if !k.Algorithm.same(EdDSA) {
			return fmt.Errorf("%w: OKP key that is not for Ed25519", ErrUnsupported)
		}
		if len(pub) != ed25519.PublicKeySize || smallOrder(pub) {
			return fmt.Errorf("%w: Ed25519 key of wrong length or small order", ErrMalformed)
		}
	case *rsa.PublicKey:
		if k.Algorithm != RS256 {
			return fmt.Errorf("%w: RSA key that is not for RS256", ErrUnsupported)
		}
		if n := pub.N.BitLen(); n < minRSABits || n > maxRSABits {
			return fmt.Errorf("%w: RSA modulus of %d bits", ErrMalformed, n)
		}
		if pub.E < 3 || pub.E%2 == 0 || pub.N.Bit(0) == 0 {
			return fmt.Errorf("%w: weak RSA key", ErrMalformed)
		}
	default:
		return fmt.Errorf("%w: kind of key", ErrUnsupported)
	}
	return nil
}

// smallOrder reports whether pub is one of the points, in any encoding, for
// which one signature fits many messages.
func smallOrder(pub ed25519.PublicKey) bool {
	p := [ed25519.PublicKeySize]byte(pub)
	p[31] &= 0x7f // the sign of x
	return slices.Contains(smallOrderPoints, hex.EncodeToString(p[:]))
}

var smallOrderPoints = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

// jwk holds the members of a JSON Web Key that are read.
type jwk struct {
	kty, crv, alg, use, kid string
	x, y, n, e              []byte
	ops                     []string
	hasOps                  bool
}

// ParseKey reads one public JSON Web Key. It refuses, with [ErrMalformed],
// private and symmetric members, points off the curve, RSA keys under 2048 bits
// or with an even exponent or one below 3; and with [ErrUnsupported] keys of
// another kind, curve, use or algorithm. Certificates and addresses in it are
// not looked at. Where alg is missing, the kind of the key decides.
func ParseKey(b []byte) (*Key, error) {
	var j jwk
	if err := Scan(b, j.member); err != nil {
		return nil, err
	}
	if j.kty == "" {
		return nil, fmt.Errorf("%w: key without kty", ErrMalformed)
	}
	if j.use != "" && j.use != "sig" || j.hasOps && !slices.Contains(j.ops, "verify") {
		return nil, fmt.Errorf("%w: key is not for signatures", ErrUnsupported)
	}
	k := &Key{ID: j.kid, Algorithm: Algorithm(j.alg)}
	var err error
	switch j.kty {
	case "EC":
		k.Public, err = j.ec()
		k.Algorithm = cmp.Or(k.Algorithm, ES256)
	case "OKP":
		k.Public, err = j.okp()
		k.Algorithm = cmp.Or(k.Algorithm, EdDSA)
	case "RSA":
		k.Public, err = j.rsa()
		k.Algorithm = cmp.Or(k.Algorithm, RS256)
	default:
		err = fmt.Errorf("%w: kind of key", ErrUnsupported)
	}
	if err != nil {
		return nil, err
	}
	if err := k.check(); err != nil {
		return nil, err
	}
	return k, nil
}

func (j *jwk) member(name, value []byte) error {
	var text *string
	var binary *[]byte
	switch string(name) {
	case "kty":
		text = &j.kty
	case "crv":
		text = &j.crv
	case "alg":
		text = &j.alg
	case "use":
		text = &j.use
	case "kid":
		text = &j.kid
	case "x":
		binary = &j.x
	case "y":
		binary = &j.y
	case "n":
		binary = &j.n
	case "e":
		binary = &j.e
	case "key_ops":
		var err error
		j.ops, err = Strings(value)
		j.hasOps = true
		return err
	case "d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv":
		// RFC 7518, sections 6.2.2, 6.3.2 and 6.4.
		return fmt.Errorf("%w: key with a private member", ErrMalformed)
	default:
		return nil
	}
	s, err := String(value)
	switch {
	case err != nil:
		return err
	case binary != nil:
		*binary, err = decode(s)
		return err
	case text == &j.kid && len(s) > maxKeyID:
		return fmt.Errorf("%w: kid is too long", ErrMalformed)
	}
	*text = s
	return nil
}

// RFC 7518, section 6.2.1.
func (j *jwk) ec() (crypto.PublicKey, error) {
	if j.crv != "P-256" {
		return nil, fmt.Errorf("%w: curve", ErrUnsupported)
	}
	point := make([]byte, 1, 65)
	point[0] = 4
	for _, c := range [][]byte{j.x, j.y} {
		if len(c) != 32 {
			return nil, fmt.Errorf("%w: coordinate", ErrMalformed)
		}
		point = append(point, c...)
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil, fmt.Errorf("%w: point not on the curve", ErrMalformed)
	}
	return pub, nil
}

// RFC 8037, section 2.
func (j *jwk) okp() (crypto.PublicKey, error) {
	if j.crv != "Ed25519" {
		return nil, fmt.Errorf("%w: curve", ErrUnsupported)
	}
	return ed25519.PublicKey(j.x), nil
}

// RFC 7518, section 6.3.1.
func (j *jwk) rsa() (crypto.PublicKey, error) {
	n, e := j.n, j.e
	if len(n) == 0 || len(n) > maxRSABits/8 || n[0] == 0 {
		return nil, fmt.Errorf("%w: modulus", ErrMalformed)
	}
	if len(e) == 0 || len(e) > 4 || e[0] == 0 {
		return nil, fmt.Errorf("%w: exponent", ErrMalformed)
	}
	var b [4]byte
	copy(b[4-len(e):], e)
	exponent := binary.BigEndian.Uint32(b[:])
	if exponent > 1<<31-1 {
		return nil, fmt.Errorf("%w: exponent", ErrMalformed)
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent)}, nil
}

// JSON returns k as a JSON Web Key with its kid, the use sig and its algorithm.
// The algorithm is left out of an Ed25519 key, since it goes by two names. The
// same key always yields the same bytes. It panics on a key that was made by
// hand and is none.
func (k *Key) JSON() []byte {
	b := k.required(make([]byte, 0, 256))
	b = b[:len(b)-1]
	if k.ID != "" {
		kid, err := json.Marshal(k.ID)
		if err != nil {
			panic(err) // strings always marshal
		}
		b = append(append(b, `,"kid":`...), kid...)
	}
	b = append(b, `,"use":"sig"`...)
	if _, ok := k.Public.(ed25519.PublicKey); !ok {
		b = append(append(b, `,"alg":"`...), k.Algorithm...)
		b = append(b, '"')
	}
	return append(b, '}')
}

// Thumbprint returns the SHA-256 thumbprint of k as unpadded URL-safe base64
// (RFC 7638). It does not depend on the kid.
func (k *Key) Thumbprint() string {
	sum := sha256.Sum256(k.required(make([]byte, 0, 256)))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// required appends the members of k that its thumbprint covers, in the order
// that RFC 7638, section 3.2, asks for, which is that of their names.
func (k *Key) required(b []byte) []byte {
	str := func(name string, v []byte) {
		b = append(append(b, name...), '"')
		b = base64.RawURLEncoding.AppendEncode(b, v)
		b = append(b, '"')
	}
	switch pub := k.Public.(type) {
	case *ecdsa.PublicKey:
		point, err := pub.Bytes()
		if err != nil || len(point) != 65 {
			panic("jose: not a key on P-256")
		}
		b = append(b, `{"crv":"P-256","kty":"EC"`...)
		str(`,"x":`, point[1:33])
		str(`,"y":`, point[33:])
	case ed25519.PublicKey:
		b = append(b, `{"crv":"Ed25519","kty":"OKP"`...)
		str(`,"x":`, pub)
	case *rsa.PublicKey:
		var e [4]byte
		binary.BigEndian.PutUint32(e[:], uint32(pub.E))
		i := 0
		for i < 3 && e[i] == 0 {
			i++
		}
		str(`{"e":`, e[i:])
		b = append(b, `,"kty":"RSA"`...)
		str(`,"n":`, pub.N.Bytes())
	default:
		panic(fmt.Sprintf("jose: %T is no public key of this package", pub))
	}
	return append(b, '}')
}
