package dpop

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// NonceLife is for how long a nonce is accepted.
	NonceLife = 6 * time.Minute
	// ClockDifference is how far apart the clocks of two servers may be that
	// accept each other's nonces.
	ClockDifference = 2 * time.Minute

	nonceAge  = time.Second // so long the same one is given out
	minSecret = 16

	stampSize = 6 // of unix milliseconds
	macSize   = 12
	nonceSize = stampSize + macSize
	nonceText = nonceSize / 3 * 4
)

// Nonces are the nonces of a server, or of all servers that have the same
// secret. Nothing is stored: a nonce holds the time at which it was issued,
// under a MAC, and anybody may use it as often as he likes while it lives. What
// it shows is that a proof is not older than itself (RFC 9449, section 8). It is
// made by [NewNonces] and safe for concurrent use.
type Nonces struct {
	macs    []*sync.Pool // of *mac, one for each secret, the one that issues first
	newest  atomic.Pointer[issued]
	retired atomic.Int64 // nonces up to this stamp are not accepted
}

type issued struct {
	stamp int64 // unix milliseconds
	text  string
}

// mac computes MACs, one at a time.
type mac struct {
	hash.Hash
	in  [nonceSize]byte
	sum [sha256.Size]byte
}

// NewNonces returns the nonces under a secret of at least 16 bytes. Those under an
// older secret are accepted as well, so that the secret can be changed while
// servers with the one and the other are at work.
func NewNonces(secret []byte, older ...[]byte) (*Nonces, error) {
	n := &Nonces{}
	for _, s := range append([][]byte{secret}, older...) {
		if len(s) < minSecret {
			return nil, errors.New("dpop: a secret of nonces is too short")
		}
		key := hmac.New(sha256.New, s)
		key.Write([]byte("dpop nonce")) // it is for nothing else
		derived := key.Sum(nil)
		n.macs = append(n.macs, &sync.Pool{New: func() any { return &mac{Hash: hmac.New(sha256.New, derived)} }})
	}
	return n, nil
}

// Issue returns the nonce of now, to be sent in the header DPoP-Nonce. For a
// second it is the same.
func (n *Nonces) Issue(now time.Time) string {
	retired := n.retired.Load()
	stamp := max(now.UnixMilli(), retired+1)
	if last := n.newest.Load(); last != nil && last.stamp > retired &&
		stamp >= last.stamp && stamp-last.stamp < nonceAge.Milliseconds() {
		return last.text
	}
	m := n.macs[0].Get().(*mac)
	defer n.macs[0].Put(m)
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(stamp))
	copy(m.in[:], b[8-stampSize:])
	copy(m.in[stampSize:], m.compute())
	next := &issued{stamp, base64.RawURLEncoding.EncodeToString(m.in[:])}
	n.newest.Store(next)
	return next.text
}

// compute returns the MAC of the stamp in m.in.
func (m *mac) compute() []byte {
	m.Reset()
	m.Write(m.in[:stampSize])
	return m.Sum(m.sum[:0])[:macSize]
}

// read returns the stamp of a nonce, and whether the MAC is the right one.
func (m *mac) read(nonce string) (int64, bool) {
	if got, err := base64.RawURLEncoding.Decode(m.in[:], []byte(nonce)); err != nil || got != nonceSize {
		return 0, false
	}
	if subtle.ConstantTimeCompare(m.compute(), m.in[stampSize:]) != 1 {
		return 0, false
	}
	var b [8]byte
	copy(b[8-stampSize:], m.in[:])
	return int64(binary.BigEndian.Uint64(b[:])), true
}

// Valid reports whether nonce is accepted at now.
func (n *Nonces) Valid(nonce string, now time.Time) bool {
	_, ok := n.issued(nonce, now)
	return ok
}

// issued returns when a nonce was issued, and whether it is accepted at now.
func (n *Nonces) issued(nonce string, now time.Time) (time.Time, bool) {
	if len(nonce) != nonceText {
		return time.Time{}, false
	}
	stamp, ok := int64(0), false
	for i := 0; i < len(n.macs) && !ok; i++ {
		m := n.macs[i].Get().(*mac)
		stamp, ok = m.read(nonce)
		n.macs[i].Put(m)
	}
	if !ok {
		return time.Time{}, false
	}
	at := time.UnixMilli(stamp).UTC()
	return at, stamp > n.retired.Load() && !now.After(at.Add(NonceLife)) && !at.After(now.Add(ClockDifference))
}

// Retire ends the life of all nonces that were issued up to a moment: who comes
// with one of them is asked for a new one. It is for a server that no longer
// knows which proofs it has seen.
func (n *Nonces) Retire(until time.Time) {
	stamp := until.UnixMilli()
	for {
		old := n.retired.Load()
		if old >= stamp || n.retired.CompareAndSwap(old, stamp) {
			return
		}
	}
}
