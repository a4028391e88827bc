package revoked

import (
	"hash/maphash"
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
	ByDevice
	ByEpoch

	named = ByEpoch
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
		return ByDevice, true
	case "epoch":
		return ByEpoch, true
	}
	return 0, false
}

// A name stands for a kind and a value: 128 bits of two hashes under secrets of
// the set, so that two of them are never taken for each other. The zero name
// stands for nothing.
type name struct{ hi, lo uint64 }

func (s *Set) nameOf(k Kind, value string) name {
	if value == "" {
		return name{}
	}
	const spread = 0x9e3779b97f4a7c15 // kinds differ in many bits
	hi := maphash.String(s.seeds[0], value) ^ uint64(k)*spread
	return name{hi | 1, maphash.String(s.seeds[1], value) ^ uint64(k)*spread}
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
	ID, Family, Session, Subject, Client string
	Key                                  string // of the issuer
	Device                               string // thumbprint of the key that the token is bound to
	Issued                               int64  // unix seconds
}

// A Token is a token as revocations see it, in the set that named it: see
// [Set.Name].
type Token struct {
	names  [named]name
	issued int64
	clean  atomic.Uint64 // version of the set, plus 1, in which nothing names the token
}

// Name gives t, which nobody uses yet, its names in the set.
func (s *Set) Name(t *Token, c Claims) {
	t.names = [named]name{
		s.nameOf(ByID, c.ID), s.nameOf(ByFamily, c.Family), s.nameOf(BySession, c.Session),
		s.nameOf(BySubject, c.Subject), s.nameOf(ByClient, c.Client), s.nameOf(ByKey, c.Key),
		s.nameOf(ByDevice, c.Device),
	}
	t.issued = c.Issued
}
