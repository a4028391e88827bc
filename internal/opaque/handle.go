package opaque

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"strings"
)

// Kind is the prefix of a handle. It says what the handle is for, and takes
// part in its checksum, so that one kind is never mistaken for another.
type Kind string

// The kinds of handles.
const (
	Code         Kind = "fbc_" // authorization code
	Session      Kind = "fbs_" // value of the sign-on session cookie
	Refresh      Kind = "fbr_" // refresh token
	ClientSecret Kind = "fbk_" // client secret
	Request      Kind = "fbq_" // pushed authorization request
	Device       Kind = "fbd_" // browser in which somebody has signed in before
)

// ErrMalformed says that a string is not a handle of the wanted kind: wrong
// prefix, wrong length, wrong checksum, or not in its one canonical form.
var ErrMalformed = errors.New("malformed handle")

// A Handle is a bearer secret in the clear. It prints and logs as its kind
// only; use [Handle.Reveal] where it really has to be written. It must not
// stand in an unexported field of a struct that is printed, since package fmt
// passes over the methods of such fields. The zero value is no handle.
type Handle struct{ s string }

// Reveal returns the secret itself.
func (h Handle) Reveal() string { return h.s }

// IsZero reports whether h is no handle.
func (h Handle) IsZero() bool { return h.s == "" }

// Kind returns the kind of h.
func (h Handle) Kind() Kind {
	if i := strings.IndexByte(h.s, '_'); i >= 0 {
		return Kind(h.s[:i+1])
	}
	return ""
}

// String returns the kind of h, never the secret.
func (h Handle) String() string { return string(h.Kind()) + "…" }

// Format prints the kind of h, never the secret, whatever the verb.
func (h Handle) Format(f fmt.State, _ rune) { io.WriteString(f, h.String()) }

// LogValue returns the kind of h, never the secret.
func (h Handle) LogValue() slog.Value { return slog.StringValue(h.String()) }

// MarshalText returns the kind of h, never the secret.
func (h Handle) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// Digest returns what the server stores of h.
func (h Handle) Digest() Digest { return Digest(sha256.Sum256([]byte(h.s))) }

// A Digest is the SHA-256 of a handle. Since a handle holds at least 128 random
// or authenticated bits, the digest gives nothing away.
type Digest [sha256.Size]byte

// New returns a handle of kind k with 256 random bits.
func New(k Kind) Handle {
	var b [32]byte
	rand.Read(b[:]) // never fails since Go 1.24
	return Encode(k, b[:])
}

// Parse returns the handle of kind k that s spells, or [ErrMalformed]. It needs
// no look-up.
func Parse(k Kind, s string) (Handle, error) {
	if _, err := Decode(k, s); err != nil {
		return Handle{}, err
	}
	return Handle{s}, nil
}

// NewID returns 128 random bits as 22 characters: a name that cannot be
// guessed, not a secret.
func NewID() string {
	var b [16]byte
	rand.Read(b[:])
	return EncodeID(b)
}

// EncodeID returns the 22 characters that stand for b.
func EncodeID(b [16]byte) string {
	return string(appendBase62(make([]byte, 0, 22), b[:]))
}

// DecodeID returns the bytes that s, written by [EncodeID], stands for.
func DecodeID(s string) ([16]byte, error) {
	var b [16]byte
	if len(s) != 22 || !decodeBase62(b[:], s) {
		return b, ErrMalformed
	}
	return b, nil
}

// Encode returns the handle of kind k whose body is b. The length of b must be
// a multiple of 8.
func Encode(k Kind, b []byte) Handle {
	out := make([]byte, 0, len(k)+len(b)/8*11+checksumLen)
	out = append(out, k...)
	out = appendBase62(out, b)
	out = appendChecksum(out)
	return Handle{string(out)}
}

// Decode returns the body of s, which must be a handle of kind k in the form
// that [Encode] writes, and [ErrMalformed] for anything else.
func Decode(k Kind, s string) ([]byte, error) {
	const maxLen = 256
	body, ok := strings.CutPrefix(s, string(k))
	if !ok || len(s) > maxLen || len(body) < 11+checksumLen || (len(body)-checksumLen)%11 != 0 {
		return nil, ErrMalformed
	}
	cut := len(s) - checksumLen
	var sum [checksumLen]byte
	if string(putChecksum(sum[:], s[:cut])) != s[cut:] {
		return nil, ErrMalformed
	}
	body = body[:len(body)-checksumLen]
	b := make([]byte, len(body)/11*8)
	if !decodeBase62(b, body) {
		return nil, ErrMalformed
	}
	return b, nil
}

const (
	base62      = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	checksumLen = 6 // 62^6 > 2^32
)

// appendBase62 writes each eight bytes of b, big endian, as eleven digits.
func appendBase62(out, b []byte) []byte {
	for ; len(b) >= 8; b = b[8:] {
		v := binary.BigEndian.Uint64(b)
		var d [11]byte
		for i := len(d) - 1; i >= 0; i-- {
			d[i] = base62[v%62]
			v /= 62
		}
		out = append(out, d[:]...)
	}
	return out
}

// decodeBase62 is the inverse of appendBase62; it refuses any text that
// appendBase62 would not write.
func decodeBase62(b []byte, s string) bool {
	for ; len(b) >= 8; b, s = b[8:], s[11:] {
		var v uint64
		for i := range 11 {
			d := digit(s[i])
			if d < 0 || v > (^uint64(0)-uint64(d))/62 {
				return false
			}
			v = v*62 + uint64(d)
		}
		binary.BigEndian.PutUint64(b, v)
	}
	return len(s) == 0
}

func digit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'A' <= c && c <= 'Z':
		return int(c-'A') + 10
	case 'a' <= c && c <= 'z':
		return int(c-'a') + 36
	}
	return -1
}

func appendChecksum(b []byte) []byte {
	var sum [checksumLen]byte
	return append(b, putChecksum(sum[:], string(b))...)
}

func putChecksum(dst []byte, s string) []byte {
	v := crc32.ChecksumIEEE([]byte(s))
	for i := checksumLen - 1; i >= 0; i-- {
		dst[i] = base62[v%62]
		v /= 62
	}
	return dst
}

// KeyDigest returns the digest of several parts, none of which can be taken for
// another: the name of a limit or a lock.
func KeyDigest(parts ...string) Digest {
	h := sha256.New()
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	var d Digest
	h.Sum(d[:0])
	return d
}
