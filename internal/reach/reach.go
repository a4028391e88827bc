// Package reach knows who reads the revocation feed at this node: since when,
// how far each has got, and how long an entry took until the last of them had
// it.
//
// It owns neither the feed nor the connections; it is told. The invariant: an
// entry counts as having reached all only when everybody who was connected when
// it appeared has got it or has gone.
package reach

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Readers are all that read at this node. The zero value is ready; nil is for
// when nobody wants to know. Set the exported fields before use; it is safe for
// concurrent use.
type Readers struct {
	// Reached is called with the time from when an entry was decided, by the
	// clock of the node that did, until it was written to the last of those who
	// were connected when it appeared here. It must not block. May be nil.
	Reached func(time.Duration)
	// Now returns the time; nil means time.Now.
	Now func() time.Time

	mu      sync.Mutex
	all     map[*Reader]struct{}
	newest  int64
	waves   []wave // by number
	dropped int64
}

// A wave is an entry that some have not got yet.
type wave struct {
	number  int64
	decided time.Time
	left    int // how many have not got it
	got     int // how many have
}

// maxWaves bounds what is remembered of entries that some have not got. Who
// reads so slowly is dropped soon.
const maxWaves = 4096

// A Reader is one who reads.
type Reader struct {
	of              *Readers
	client, network string
	since           time.Time
	joined          int64 // number of the newest entry then: the later ones wait for it
	told            int64 // number of the last entry that it has got; Readers.mu
	gone            bool
}

func (r *Readers) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

// Appeared notes that the next entry is on its way to all who are connected.
func (r *Readers) Appeared(number int64, decided time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if number <= r.newest { // history was lost: the numbers mean something else
		r.waves = nil
		for reader := range r.all {
			reader.joined, reader.told = 0, 0
		}
	}
	r.newest = number
	if len(r.all) == 0 {
		return
	}
	if len(r.waves) >= maxWaves {
		r.waves = slices.Delete(r.waves, 0, maxWaves/2)
	}
	r.waves = append(r.waves, wave{number: number, decided: decided, left: len(r.all)})
}

// Join notes that a client reads from now on, after the entry with a number. The
// caller calls [Reader.Leave] when it does no more.
func (r *Readers) Join(client, network string, after int64) *Reader {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	reader := &Reader{of: r, client: client, network: network, since: r.now(), joined: r.newest, told: min(after, r.newest)}
	if r.all == nil {
		r.all = make(map[*Reader]struct{})
	}
	r.all[reader] = struct{}{}
	return reader
}

// Told notes that the entries up to a number were written to the reader.
func (r *Reader) Told(number int64) {
	if r == nil {
		return
	}
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	if number <= r.told {
		return
	}
	r.of.settle(max(r.told, r.joined), number, 1)
	r.told = number
	r.of.newest = max(r.of.newest, number) // those before may be of no use any more
}

// Leave notes that the reader is gone.
func (r *Reader) Leave() {
	if r == nil {
		return
	}
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	if r.gone {
		return
	}
	r.gone = true
	delete(r.of.all, r)
	r.of.settle(max(r.told, r.joined), r.of.newest, 0)
}

// Drop notes that the reader is gone because it read too slowly.
func (r *Reader) Drop() {
	if r == nil {
		return
	}
	r.Leave()
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	r.of.dropped++
}

// settle notes that a reader lacks the entries after one number and up to
// another no more: got is 1 if it has got them. Mu is held.
func (r *Readers) settle(after, upTo int64, got int) {
	i, _ := slices.BinarySearchFunc(r.waves, after+1, func(w wave, n int64) int { return cmp.Compare(w.number, n) })
	for ; i < len(r.waves) && r.waves[i].number <= upTo; i++ {
		r.waves[i].left--
		r.waves[i].got += got
	}
	done := 0
	for done < len(r.waves) && r.waves[done].left == 0 {
		if w := r.waves[done]; w.got > 0 && r.Reached != nil {
			r.Reached(max(0, r.now().Sub(w.decided)))
		}
		done++
	}
	r.waves = slices.Delete(r.waves, 0, done)
}

// Connected is a reader as an operator sees it.
type Connected struct {
	Client  string    `json:"client"`
	Network string    `json:"network"`
	Since   time.Time `json:"since"`
	Number  int64     `json:"number"` // of the last entry that it has got
	Lacks   int64     `json:"lacks"`  // how many entries it has not got yet
	// Behind is for how many seconds the oldest of these has been on its way.
	Behind float64 `json:"behind_seconds"`
}

// A View is all of it at one time.
type View struct {
	Newest  int64       `json:"newest"`  // number of the newest entry
	Dropped int64       `json:"dropped"` // how many readers were too slow, since the start
	Readers []Connected `json:"readers"` // in the order of their arrival
}

// View returns who is connected.
func (r *Readers) View() View {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	v := View{Newest: r.newest, Dropped: r.dropped, Readers: make([]Connected, 0, len(r.all))}
	for reader := range r.all {
		c := Connected{Client: reader.client, Network: reader.network, Since: reader.since, Number: reader.told}
		c.Lacks = max(0, r.newest-reader.told)
		lacks := max(reader.told, reader.joined) + 1
		i, _ := slices.BinarySearchFunc(r.waves, lacks, func(w wave, n int64) int { return cmp.Compare(w.number, n) })
		if i < len(r.waves) {
			c.Behind = max(0, now.Sub(r.waves[i].decided).Seconds())
		}
		v.Readers = append(v.Readers, c)
	}
	slices.SortFunc(v.Readers, func(a, b Connected) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Client, b.Client), cmp.Compare(a.Network, b.Network))
	})
	return v
}

// Count returns how many are connected, and how many were dropped since the
// start.
func (r *Readers) Count() (connected int, dropped int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.all), r.dropped
}
