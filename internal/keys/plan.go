package keys

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/jose"
)

// Lifetimes say for how long a key stays in each state.
type Lifetimes struct {
	// RotateEvery is for how long a key signs; 0 means 90 days.
	RotateEvery time.Duration
	// PublishFor is for how long a key is in the key set before it signs; 0
	// means 24 hours. It has to be longer than anybody caches the set.
	PublishFor time.Duration
	// RetireFor is for how long a key stays in the key set after it last
	// signed; 0 means 25 hours: the longest life of an access token and a day,
	// since an ID token serves as a hint after it has expired.
	RetireFor time.Duration
}

func (l Lifetimes) withDefaults() Lifetimes {
	const day = 24 * time.Hour
	return Lifetimes{
		RotateEvery: cmp.Or(l.RotateEvery, 90*day),
		PublishFor:  cmp.Or(l.PublishFor, day),
		RetireFor:   cmp.Or(l.RetireFor, day+time.Hour),
	}
}

// A wish is what somebody wants of the key set besides what time brings.
type wish struct {
	ensure  []jose.Algorithm          // these need a signing key
	rotate  []jose.Algorithm          // these need a published key
	replace map[jose.Algorithm]string // the key that signs needs a successor at once, if it is still this one
	revoke  string                    // this key has to go; empty: none
}

// A draft is a key set that is being changed.
type draft struct {
	keys    []Record
	fresh   map[jose.Algorithm]Record
	now     time.Time
	events  []audit.Event
	missing []jose.Algorithm
}

// plan returns what the key set should be at the time now, and the events that
// report how it differs from s; no events mean that it does not. If it takes
// new keys that fresh does not hold, it returns their algorithms instead, and
// is to be called again. It changes none of its arguments.
func plan(s Set, w wish, fresh map[jose.Algorithm]Record, life Lifetimes, now time.Time) (Set, []audit.Event, []jose.Algorithm, error) {
	life = life.withDefaults()
	d := draft{keys: slices.Clone(s.Keys), fresh: fresh, now: now.UTC().Truncate(time.Second)}
	if w.revoke != "" {
		if err := d.revoke(w.revoke); err != nil {
			return Set{}, nil, nil, err
		}
	}
	for _, alg := range algorithmsOf(d.keys) {
		d.age(alg, life)
	}
	for _, alg := range w.ensure {
		if d.find(alg, Signing) < 0 {
			d.succeed(alg)
		}
	}
	for _, alg := range w.rotate {
		made := d.find(alg, Signing)
		if made >= 0 && d.keys[made].ID == fresh[alg].ID {
			continue // it had none until now
		}
		if d.find(alg, Published) < 0 {
			d.add(alg, Published)
		}
	}
	for alg, kid := range w.replace {
		if i := d.find(alg, Signing); i < 0 || d.keys[i].ID == kid {
			d.succeed(alg)
		}
	}
	if len(d.missing) > 0 {
		return Set{}, nil, d.missing, nil
	}
	next := Set{Version: s.Version, Keys: d.keys}
	if len(d.events) > 0 {
		if err := check(s, next, w.revoke); err != nil {
			return Set{}, nil, nil, err
		}
	}
	return next, d.events, nil, nil
}

// age does what time brings to the keys of one algorithm.
func (d *draft) age(alg jose.Algorithm, life Lifetimes) {
	for i := len(d.keys) - 1; i >= 0; i-- {
		k := d.keys[i]
		if k.Algorithm == string(alg) && k.State == Retired && !d.now.Before(k.Since.Add(life.RetireFor)) {
			d.note(audit.KeyRotated, k, "removed")
			d.keys = slices.Delete(d.keys, i, i+1)
		}
	}
	next := d.find(alg, Published)
	if next >= 0 && !d.now.Before(d.keys[next].Since.Add(life.PublishFor)) {
		d.succeed(alg)
		return
	}
	if i := d.find(alg, Signing); i >= 0 && next < 0 && !d.now.Before(d.keys[i].Since.Add(life.RotateEvery-life.PublishFor)) {
		d.add(alg, Published)
	}
}

// succeed gives an algorithm another signing key: the published one if there is
// one, since verifiers may know it, otherwise a new one.
func (d *draft) succeed(alg jose.Algorithm) {
	old, next := d.find(alg, Signing), d.find(alg, Published)
	if next < 0 {
		if !d.add(alg, Signing) {
			return
		}
	} else {
		d.move(next, Signing)
	}
	if old >= 0 {
		d.move(old, Retired)
	}
}

func (d *draft) revoke(kid string) error {
	i := slices.IndexFunc(d.keys, func(k Record) bool { return k.ID == kid })
	if i < 0 {
		return ErrUnknown
	}
	k := d.keys[i]
	d.keys = slices.Delete(d.keys, i, i+1)
	if k.State == Signing {
		d.succeed(jose.Algorithm(k.Algorithm))
	}
	d.note(audit.KeyRevokedKind, k, "revoked")
	return nil
}

// find returns the index of the oldest key of an algorithm in a state, or -1.
func (d *draft) find(alg jose.Algorithm, state State) int {
	oldest := -1
	for i, k := range d.keys {
		if k.Algorithm == string(alg) && k.State == state && (oldest < 0 || k.Since.Before(d.keys[oldest].Since)) {
			oldest = i
		}
	}
	return oldest
}

func (d *draft) move(i int, to State) {
	d.keys[i].State, d.keys[i].Since = to, d.now
	d.note(audit.KeyRotated, d.keys[i], string(to))
}

// add puts in the fresh key of an algorithm and reports whether there is one.
func (d *draft) add(alg jose.Algorithm, state State) bool {
	k, ok := d.fresh[alg]
	if !ok {
		d.missing = append(d.missing, alg)
		return false
	}
	k.State, k.Created, k.Since = state, d.now, d.now
	d.keys = append(d.keys, k)
	d.note(audit.KeyRotated, k, string(state))
	return true
}

func (d *draft) note(kind audit.Kind, k Record, what string) {
	e := audit.Event{Time: d.now, Kind: kind, Note: k.Algorithm + " " + k.ID + " " + what}
	if kind == audit.KeyRevokedKind {
		e.Reason = audit.KeyRevoked
	}
	d.events = append(d.events, e)
}

// check returns why next may not take the place of s, or nil: every algorithm
// that has had a signing key has to have exactly one, no key may occur twice,
// and none that signs or is yet to sign may get lost but the one that is
// revoked.
func check(s, next Set, revoked string) error {
	if len(next.Keys) == 0 {
		return errors.New("refuse to store an empty key set")
	}
	signing := make(map[string]int)
	ids := make(map[string]bool)
	for _, k := range next.Keys {
		if ids[k.ID] {
			return fmt.Errorf("refuse to store a key set that holds the key %s twice", k.ID)
		}
		ids[k.ID] = true
		if k.State == Signing {
			signing[k.Algorithm]++
		}
	}
	for _, k := range slices.Concat(s.Keys, next.Keys) {
		if n := signing[k.Algorithm]; n != 1 {
			return fmt.Errorf("refuse to store a key set with %d signing keys for %s", n, k.Algorithm)
		}
		if !ids[k.ID] && k.ID != revoked && k.State != Retired {
			return fmt.Errorf("refuse to store a key set without the key %s, which is %s", k.ID, k.State)
		}
	}
	return nil
}

// algorithmsOf returns the algorithms that the keys have, sorted.
func algorithmsOf(keys []Record) []jose.Algorithm {
	var all []jose.Algorithm
	for _, k := range keys {
		all = append(all, jose.Algorithm(k.Algorithm))
	}
	slices.Sort(all)
	return slices.Compact(all)
}
