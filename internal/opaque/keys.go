package opaque

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// Secrets are the master secrets of an installation, newest first. The zero
// value holds none and can do nothing.
type Secrets struct{ list func() [][]byte } // a function, since that never prints what it holds

// masterLen is the length of a master secret in bytes.
const masterLen = 32

// NewSecrets returns one new random master secret.
func NewSecrets() Secrets {
	b := make([]byte, masterLen)
	rand.Read(b)
	return Secrets{func() [][]byte { return [][]byte{b} }}
}

// ParseSecrets reads master secrets from text: one a line, newest first, each
// 32 bytes as unpadded URL-safe base64; blank lines and lines that begin with
// # are passed over. Errors name the line, never its content.
func ParseSecrets(text string) (Secrets, error) {
	var list [][]byte
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		b, err := base64.RawURLEncoding.Strict().DecodeString(line)
		if err != nil || len(b) != masterLen {
			return Secrets{}, fmt.Errorf("line %d is not a master secret: want %d bytes as unpadded URL-safe base64", n, masterLen)
		}
		if distinct(b) < minDistinct {
			return Secrets{}, fmt.Errorf("line %d is an example and no secret: make a random one", n)
		}
		list = append(list, b)
	}
	if err := lines.Err(); err != nil {
		return Secrets{}, fmt.Errorf("read master secrets: %w", err)
	}
	if len(list) == 0 {
		return Secrets{}, errors.New("no master secret found")
	}
	return Secrets{func() [][]byte { return list }}, nil
}

// minDistinct is how many different bytes a master secret has at least. One that
// was drawn at random has about thirty.
const minDistinct = 12

func distinct(b []byte) int {
	seen := map[byte]struct{}{}
	for _, c := range b {
		seen[c] = struct{}{}
	}
	return len(seen)
}

// Reveal returns s in the form that [ParseSecrets] reads.
func (s Secrets) Reveal() string {
	var b strings.Builder
	for _, k := range s.all() {
		b.WriteString(base64.RawURLEncoding.EncodeToString(k))
		b.WriteByte('\n')
	}
	return b.String()
}

func (s Secrets) all() [][]byte {
	if s.list == nil {
		return nil
	}
	return s.list()
}

// IsZero reports whether s holds no secret.
func (s Secrets) IsZero() bool { return len(s.all()) == 0 }

// String says how many secrets there are.
func (s Secrets) String() string { return fmt.Sprintf("%d master secrets", len(s.all())) }

// Format is [Secrets.String], whatever the verb.
func (s Secrets) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue is [Secrets.String].
func (s Secrets) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Keys returns the keys that the secrets yield for one purpose. Keys of
// different purposes are independent of each other.
func (s Secrets) Keys(purpose string) Keys {
	set := make([]derived, 0, len(s.all()))
	for _, master := range s.all() {
		set = append(set, derive(master, purpose))
	}
	return Keys{func() []derived { return set }}
}

// Keys authenticate and seal values for one purpose (HMAC-SHA-256 and
// AES-256-GCM). The first key of the list signs and seals, every key verifies
// and opens. The zero value panics on use. Keys are safe for concurrent use.
type Keys struct{ set func() []derived } // a function, since that never prints what it holds

type derived struct {
	id   [4]byte // names the key in what it has sealed
	mac  []byte
	aead cipher.AEAD
}

// MACLen is the length in bytes of what [Keys.MAC] returns.
const MACLen = 24

// MAC returns the authenticator of msg under the newest key: 192 bits.
func (k Keys) MAC(msg []byte) [MACLen]byte { return mac(k.set()[0].mac, msg) }

// MACs returns the authenticators of msg under each of the keys, newest first.
func (k Keys) MACs(msg []byte) [][MACLen]byte {
	tags := make([][MACLen]byte, 0, k.len())
	for _, d := range k.set() {
		tags = append(tags, mac(d.mac, msg))
	}
	return tags
}

// VerifyMAC reports whether tag authenticates msg under any of the keys, in
// time that does not depend on where they differ.
func (k Keys) VerifyMAC(msg, tag []byte) bool {
	ok := false
	for _, d := range k.set() {
		want := mac(d.mac, msg)
		ok = hmac.Equal(want[:], tag) || ok
	}
	return ok
}

// Seal encrypts and authenticates plain; whoever opens it must name the same
// context.
func (k Keys) Seal(plain, context []byte) []byte {
	d := k.set()[0]
	out := make([]byte, 0, len(d.id)+len(plain)+d.aead.Overhead())
	out = append(out, d.id[:]...)
	return d.aead.Seal(out, nil, plain, context)
}

// Open returns what [Keys.Seal] sealed for the same context, and
// [ErrMalformed] if it was not sealed by any of the keys.
func (k Keys) Open(sealed, context []byte) ([]byte, error) {
	for _, d := range k.set() {
		if len(sealed) < len(d.id) || string(sealed[:len(d.id)]) != string(d.id[:]) {
			continue
		}
		if plain, err := d.aead.Open(nil, nil, sealed[len(d.id):], context); err == nil {
			return plain, nil
		}
	}
	return nil, ErrMalformed
}

// Newest reports whether sealed names the key that seals now, so that it need
// not be sealed again when a master secret has changed. It does not open it.
func (k Keys) Newest(sealed []byte) bool {
	id := k.set()[0].id
	return len(sealed) >= len(id) && [len(id)]byte(sealed) == id
}

func (k Keys) len() int {
	if k.set == nil {
		return 0
	}
	return len(k.set())
}

// String says how many keys there are.
func (k Keys) String() string { return fmt.Sprintf("%d keys", k.len()) }

// Format is [Keys.String], whatever the verb.
func (k Keys) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }

// LogValue is [Keys.String].
func (k Keys) LogValue() slog.Value { return slog.StringValue(k.String()) }

func derive(master []byte, purpose string) derived {
	out, err := hkdf.Key(sha256.New, master, nil, "fastbind "+purpose, 4+32+32)
	if err != nil {
		panic(err) // the length is a constant within the limits of HKDF
	}
	block, err := aes.NewCipher(out[36:68])
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return derived{id: [4]byte(out[:4]), mac: out[4:36], aead: aead}
}

func mac(key, msg []byte) [MACLen]byte {
	h := hmac.New(sha256.New, key)
	h.Write(msg)
	var sum [sha256.Size]byte
	return [MACLen]byte(h.Sum(sum[:0]))
}
