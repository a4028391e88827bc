package keys

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"github.com/fastbind/fastbind/internal/jose"
)

// A view is a key set as a node holds it in memory. It never changes.
type view struct {
	set     Set
	keys    map[string]opened // by kid
	signing map[jose.Algorithm]string
	signers map[jose.Algorithm]*jose.Signer
	public  jose.KeySet
	body    []byte // public as JSON
	etag    string
}

// opened is a key whose seal was opened.
type opened struct {
	record Record
	public *jose.Key
	signer *jose.Signer // nil once the key is retired
}

// sealContext is what a private key is sealed for: it opens as no other key.
func sealContext(kid, alg string) []byte { return []byte(kid + "\x00" + alg) }

// newRecord returns a new key, sealed, with neither state nor times.
func (r *Ring) newRecord(alg jose.Algorithm) (Record, error) {
	s, err := jose.Generate("", alg)
	if err != nil {
		return Record{}, err
	}
	b, err := s.PKCS8()
	if err != nil {
		return Record{}, err
	}
	defer clear(b)
	k := s.Key()
	return Record{
		ID: k.ID, Algorithm: string(alg), Public: k.JSON(),
		Sealed: r.Seal.Seal(b, sealContext(k.ID, string(alg))),
	}, nil
}

// open opens the seal of a key. The public key is taken from the private one,
// so that whoever can only write to the store cannot publish a key of their own.
func (r *Ring) open(k Record) (opened, error) {
	b, err := r.Seal.Open(k.Sealed, sealContext(k.ID, k.Algorithm))
	if err != nil {
		return opened{}, fmt.Errorf("signing key %s (%s): %w", k.ID, k.Algorithm, ErrSealed)
	}
	defer clear(b)
	s, err := jose.ParseSigner(k.ID, jose.Algorithm(k.Algorithm), b)
	if err != nil {
		return opened{}, fmt.Errorf("signing key %s (%s): %w", k.ID, k.Algorithm, err)
	}
	stored, err := jose.ParseKey(k.Public)
	if err != nil || stored.Thumbprint() != s.Key().Thumbprint() {
		return opened{}, fmt.Errorf("signing key %s (%s): the stored public key is not its own", k.ID, k.Algorithm)
	}
	return opened{record: k, public: s.Key(), signer: s}, nil
}

// look makes the view of s. Keys that old holds unchanged are not opened again.
func (r *Ring) look(s Set, old *view) (*view, error) {
	if len(s.Keys) == 0 {
		return nil, errNoKeys
	}
	v := &view{
		set:     s,
		keys:    make(map[string]opened),
		signing: make(map[jose.Algorithm]string),
		signers: make(map[jose.Algorithm]*jose.Signer),
	}
	records := slices.SortedFunc(slices.Values(s.Keys), func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Algorithm, b.Algorithm), a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	var public []*jose.Key
	for _, k := range records {
		var o opened
		if old != nil {
			o = old.keys[k.ID]
		}
		if !o.record.same(k) || o.signer == nil && k.State != Retired {
			var err error
			if o, err = r.open(k); err != nil {
				return nil, err
			}
		}
		if alg := jose.Algorithm(k.Algorithm); k.State == Signing {
			v.signing[alg], v.signers[alg] = k.ID, o.signer
		}
		if k.State == Retired {
			o.signer = nil
		}
		v.keys[k.ID] = o
		public = append(public, o.public)
	}
	if err := v.alias(old); err != nil {
		return nil, err
	}
	v.public = jose.NewKeySet(public...)
	v.body = v.public.JSON()
	sum := sha256.Sum256(v.body)
	v.etag = `"` + base64.RawURLEncoding.EncodeToString(sum[:18]) + `"`
	return v, nil
}

// shows reports whether v is the view of s. The version alone does not say so
// where a database was restored from a backup.
func (v *view) shows(s Set) bool {
	return v.set.Version == s.Version && slices.EqualFunc(v.set.Keys, s.Keys, func(a, b Record) bool {
		return a.same(b) && a.State == b.State
	})
}

// same reports whether k and o are one key under one seal.
func (k Record) same(o Record) bool {
	return k.ID == o.ID && k.Algorithm == o.Algorithm && bytes.Equal(k.Public, o.Public) && bytes.Equal(k.Sealed, o.Sealed)
}

// alias adds the signer that writes Ed25519, the other name of EdDSA.
func (v *view) alias(old *view) error {
	s, ok := v.signers[jose.EdDSA]
	if !ok {
		return nil
	}
	if old != nil && old.signers[jose.EdDSA] == s {
		v.signers[jose.Ed25519] = old.signers[jose.Ed25519]
		return nil
	}
	b, err := s.PKCS8()
	if err != nil {
		return err
	}
	defer clear(b)
	v.signers[jose.Ed25519], err = jose.ParseSigner(s.Key().ID, jose.Ed25519, b)
	return err
}

// Fresh returns new keys, which sign at once, for every algorithm that the store
// has a key of and for those that each installation has. It stores nothing, and
// opens no key of the store.
func (r *Ring) Fresh(ctx context.Context) ([]Record, error) {
	s, err := r.Store.Keys(ctx)
	if err != nil {
		return nil, fmt.Errorf("load keys: %w", err)
	}
	algs := slices.Clone(started)
	for _, k := range s.Keys {
		if alg := jose.Algorithm(k.Algorithm); !slices.Contains(algs, alg) {
			algs = append(algs, alg)
		}
	}
	now := r.now().UTC().Truncate(time.Second)
	var fresh []Record
	for _, alg := range algs {
		k, err := r.newRecord(alg)
		if err != nil {
			return nil, fmt.Errorf("make a key for %s: %w", alg, err)
		}
		k.State, k.Created, k.Since = Signing, now, now
		fresh = append(fresh, k)
	}
	return fresh, nil
}
