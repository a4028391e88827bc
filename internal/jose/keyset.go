package jose

import (
	"errors"
	"fmt"
	"slices"
)

// maxKeys is how many keys a set may hold.
const maxKeys = 100

// A KeySet is a JSON Web Key Set (RFC 7517, section 5). The zero value is
// empty. It never changes, and so is safe for concurrent use.
type KeySet struct {
	keys  []*Key
	index map[lookup][]*Key
}

// lookup is what a token says about its key. An empty kid stands for all keys
// of the algorithm.
type lookup struct {
	kid string
	alg Algorithm
}

// NewKeySet returns the set of the given keys in this order. Two keys may have
// one kid.
func NewKeySet(keys ...*Key) KeySet {
	s := KeySet{keys: slices.Clone(keys), index: make(map[lookup][]*Key, 2*len(keys))}
	for _, k := range s.keys {
		alg, _ := k.Algorithm.canonical()
		s.index[lookup{"", alg}] = append(s.index[lookup{"", alg}], k)
		if k.ID != "" {
			s.index[lookup{k.ID, alg}] = append(s.index[lookup{k.ID, alg}], k)
		}
	}
	return s
}

// ParseKeySet reads a JSON Web Key Set. Keys of a kind, curve, use or algorithm
// that [ParseKey] does not support are passed over, as RFC 7517, section 5,
// asks, so the set may turn out empty. Anything else that is wrong with any key,
// a private member above all, refuses the whole set with [ErrMalformed], and so
// do more than 100 keys.
func ParseKeySet(b []byte) (KeySet, error) {
	var keys []*Key
	found, total := false, 0
	err := Scan(b, func(name, value []byte) error {
		if string(name) != "keys" {
			return nil
		}
		found = true
		return scanArray(value, func(value []byte) error {
			if total++; total > maxKeys {
				return fmt.Errorf("%w: more than %d keys", ErrMalformed, maxKeys)
			}
			k, err := ParseKey(value)
			if errors.Is(err, ErrUnsupported) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("key %d: %w", total, err)
			}
			keys = append(keys, k)
			return nil
		})
	})
	if err != nil {
		return KeySet{}, err
	}
	if !found {
		return KeySet{}, fmt.Errorf("%w: set without keys", ErrMalformed)
	}
	return NewKeySet(keys...), nil
}

// JSON returns s as a JSON Web Key Set. The same set always yields the same
// bytes.
func (s KeySet) JSON() []byte {
	b := []byte(`{"keys":[`)
	for i, k := range s.keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, k.JSON()...)
	}
	return append(b, `]}`...)
}

// Find returns the keys that may have signed a token whose header says kid and
// alg: those of the algorithm that have this very kid or, for an empty kid, all
// of the algorithm. There may be several; the caller tries each. It must not
// change the slice.
func (s KeySet) Find(kid string, alg Algorithm) []*Key {
	c, ok := alg.canonical()
	if !ok {
		return nil
	}
	return s.index[lookup{kid, c}]
}

// Keys returns all keys in their order. The caller must not change the slice.
func (s KeySet) Keys() []*Key { return s.keys }
