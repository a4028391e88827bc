package dpop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fastbind/fastbind/internal/jose"
)

// headerType is the typ of a proof (RFC 9449, section 4.2).
const headerType = "dpop+jwt"

// Algorithms returns the signature algorithms of proofs that [Check] accepts, in
// the order in which metadata and challenges name them. Ed25519 and EdDSA are
// two names of one (RFC 9864, section 2.2).
func Algorithms() []string {
	return []string{string(jose.ES256), string(jose.Ed25519), string(jose.EdDSA)}
}

// A Key is the private key of a client. It is made by [NewKey] or [KeyFrom], is
// safe for concurrent use, and never prints the private key.
type Key struct {
	signer     *jose.Signer
	thumbprint string
}

// NewKey returns a new key for ES256.
func NewKey() (*Key, error) {
	s, err := jose.Generate("", jose.ES256)
	if err != nil {
		return nil, fmt.Errorf("dpop: %w", err)
	}
	return newKey(s), nil
}

// KeyFrom returns the key that s holds, on P-256 or for Ed25519; it may be one
// that never leaves its hardware. Proofs of an Ed25519 key say EdDSA, the name
// that servers know longest.
func KeyFrom(s crypto.Signer) (*Key, error) {
	var alg jose.Algorithm
	switch s.Public().(type) {
	case *ecdsa.PublicKey:
		alg = jose.ES256
	case ed25519.PublicKey:
		alg = jose.EdDSA
	default:
		return nil, errors.New("dpop: the key is neither for ES256 nor for Ed25519")
	}
	signer, err := jose.NewSigner("", alg, s)
	if err != nil {
		return nil, fmt.Errorf("dpop: %w", err)
	}
	return newKey(signer), nil
}

func newKey(s *jose.Signer) *Key {
	return &Key{signer: s.Embed(), thumbprint: s.Key().Thumbprint()}
}

// Thumbprint returns the thumbprint of the public key (RFC 7638), which tokens
// that are bound to the key name as cnf.jkt, and authorization requests as
// dpop_jkt.
func (k *Key) Thumbprint() string { return k.thumbprint }

// String names the public key.
func (k *Key) String() string { return "key " + k.thumbprint }

// GoString is [Key.String].
func (k *Key) GoString() string { return k.String() }

// Params say what a proof is for.
type Params struct {
	Method string
	// URL is where the request goes; query and fragment are left out of the
	// proof.
	URL string
	// AccessToken is the one that the request shows; empty if it shows none.
	AccessToken string
	// Nonce is the newest one from the server; empty if there is none yet.
	Nonce string
	// Now is when the proof is made; the zero time means time.Now.
	Now time.Time
}

// Proof returns a new proof, the value of the header DPoP of one request.
func (k *Key) Proof(p Params) (string, error) {
	now := p.Now
	if now.IsZero() {
		now = time.Now()
	}
	if i := strings.IndexAny(p.URL, "?#"); i >= 0 {
		p.URL = p.URL[:i]
	}
	// RFC 9449, section 4.2.
	claims := struct {
		ID     string `json:"jti"`
		Method string `json:"htm"`
		URL    string `json:"htu"`
		Issued int64  `json:"iat"`
		Hash   string `json:"ath,omitempty"`
		Nonce  string `json:"nonce,omitempty"`
	}{rand.Text(), p.Method, p.URL, now.Unix(), "", p.Nonce}
	if p.AccessToken != "" {
		sum := sha256.Sum256([]byte(p.AccessToken))
		claims.Hash = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("dpop: write proof: %w", err)
	}
	proof, err := k.signer.Sign(headerType, payload)
	if err != nil {
		return "", fmt.Errorf("dpop: %w", err)
	}
	return proof, nil
}
