package revoked

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"sync/atomic"
)

// Kind says what a revocation names.
type Kind byte

// The kinds. The first of them are those that a token has names of.
const (
	ByID Kind = iota
	ByFamily
	BySession
	BySubject
	ByClient
	ByKey
	byDevice // tokens that are bound to a key are refused anyway
	ByEpoch

	named = byDevice
)

// KindOf returns the kind with the given word in the feed.
func KindOf(word string) (Kind, bool) {
	switch word {
	case "jti":
		return ByID, true
	case "family":
		return ByFamily, true
	case "sid":
		return BySession, true
	case "sub":
		return BySubject, true
	case "client":
		return ByClient, true
	case "kid":
		return ByKey, true
	case "jkt":
		return byDevice, true
	case "epoch":
		return ByEpoch, true
	}
	return 0, false
}

// A name stands for a kind and a value: half of a SHA-256 over both, so that
// two of them are never taken for each other. The zero name stands for nothing.
type name struct{ hi, lo uint64 }

func nameOf(k Kind, value string) name {
	if value == "" {
		return name{}
	}
	sum := sha256.Sum256(append(append(make([]byte, 0, 128), byte(k)), value...))
	return name{binary.LittleEndian.Uint64(sum[:]) | 1, binary.LittleEndian.Uint64(sum[8:])}
}

// Always is a moment after every token.
const Always = math.MaxUint32

// An Ending is one line of the feed.
type Ending struct {
	Kind  Kind
	Value string // ignored for ByEpoch
	// Before is until when the tokens were issued that are ended, in unix
	// seconds, or Always.
	Before uint32
	// Until is when the last token that is named has expired, in unix seconds;
	// 0 means a day from now.
	Until int64
}

// ends reports whether a token issued at that time is among those that are
// ended.
func ends(before uint32, issued int64) bool { return before == Always || issued <= int64(before) }

// Claims are those of a token that revocations name. Empty ones are of no
// meaning.
type Claims struct {
	ID, Family, Session, Subject, Client, Key string
	Issued                                    int64 // unix seconds
}

// A Token is a token as revocations see it. It is ready after [Token.Name].
type Token struct {
	names  [named]name
	issued int64
	clean  atomic.Uint64 // version of the set, plus 1, in which nothing names the token
}

// Name gives t, which nobody uses yet, its names.
func (t *Token) Name(c Claims) {
	t.names = [named]name{
		nameOf(ByID, c.ID), nameOf(ByFamily, c.Family), nameOf(BySession, c.Session),
		nameOf(BySubject, c.Subject), nameOf(ByClient, c.Client), nameOf(ByKey, c.Key),
	}
	t.issued = c.Issued
}
