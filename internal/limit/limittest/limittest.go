// Package limittest is the contract of limit.Store as a suite: every
// implementation passes it, the ones for tests too.
package limittest

import (
	"context"
	"crypto/sha256"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/limit"
	"github.com/fastbind/fastbind/internal/opaque"
)

// start is when the tests begin; times are exact to the microsecond.
var start = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// Run runs the suite. Open returns a store that holds none of the keys of the
// suite; stores of several calls may share their memory.
func Run(t *testing.T, open func(t *testing.T) limit.Store) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, limit.Store){
		"BurstThenWait": burstThenWait, "RefusedIsNotCounted": refusedIsNotCounted, "RestsUpToTheBurst": restsUpToTheBurst,
		"KeysApart": keysApart, "ClockGoesBack": clockGoesBack, "Forget": forget, "RateOfNothing": rateOfNothing,
		"LongRates": longRates, "ConcurrentTakes": concurrentTakes,
		"Once": once, "ConcurrentOnce": concurrentOnce, "OnceOfManyKeys": onceOfManyKeys, "EndedContext": endedContext,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func key(t *testing.T, name string) opaque.Digest {
	return sha256.Sum256([]byte(t.Name() + "/" + name))
}

func take(t *testing.T, s limit.Store, key opaque.Digest, r limit.Rate, after, want time.Duration) {
	t.Helper()
	got, err := s.Take(t.Context(), key, r, start.Add(after))
	if err != nil {
		t.Fatalf("take after %v: %v", after, err)
	}
	if got != want {
		t.Errorf("take after %v: wait %v, want %v", after, got, want)
	}
}

var three = limit.Rate{Burst: 3, Every: 10 * time.Second}

func burstThenWait(t *testing.T, s limit.Store) {
	k := key(t, "a")
	for range 3 {
		take(t, s, k, three, 0, 0)
	}
	take(t, s, k, three, 0, 10*time.Second)
	take(t, s, k, three, 4*time.Second, 6*time.Second)
	take(t, s, k, three, 10*time.Second-time.Microsecond, time.Microsecond)
	take(t, s, k, three, 10*time.Second, 0)
	take(t, s, k, three, 10*time.Second, 10*time.Second)
}

func refusedIsNotCounted(t *testing.T, s limit.Store) {
	k := key(t, "a")
	for range 3 {
		take(t, s, k, three, 0, 0)
	}
	for range 20 {
		take(t, s, k, three, time.Second, 9*time.Second)
	}
	take(t, s, k, three, 10*time.Second, 0)
}

func restsUpToTheBurst(t *testing.T, s limit.Store) {
	k := key(t, "a")
	take(t, s, k, three, 0, 0)
	for range 3 {
		take(t, s, k, three, time.Hour, 0)
	}
	take(t, s, k, three, time.Hour, 10*time.Second)
}

func keysApart(t *testing.T, s limit.Store) {
	one := limit.Rate{Burst: 1, Every: time.Hour}
	take(t, s, key(t, "a"), one, 0, 0)
	take(t, s, key(t, "b"), one, 0, 0)
	take(t, s, key(t, "a"), one, 0, time.Hour)
	first, err := s.Once(t.Context(), key(t, "a"), start, start.Add(time.Hour))
	if err != nil || !first {
		t.Errorf("once with a key that was taken from: %v, %v, want true", first, err)
	}
}

// clockGoesBack: a node whose clock is behind gains nothing.
func clockGoesBack(t *testing.T, s limit.Store) {
	k := key(t, "a")
	for range 3 {
		take(t, s, k, three, time.Minute, 0)
	}
	take(t, s, k, three, 0, 70*time.Second)
}

func forget(t *testing.T, s limit.Store) {
	k := key(t, "a")
	if err := s.Forget(t.Context(), k); err != nil {
		t.Errorf("forget what is not there: %v", err)
	}
	one := limit.Rate{Burst: 1, Every: time.Hour}
	take(t, s, k, one, 0, 0)
	take(t, s, key(t, "b"), one, 0, 0)
	if err := s.Forget(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	take(t, s, k, one, 0, 0)
	take(t, s, key(t, "b"), one, 0, time.Hour)
}

func rateOfNothing(t *testing.T, s limit.Store) {
	for _, r := range []limit.Rate{{}, {Burst: 1}, {Every: time.Second}, {Burst: -1, Every: time.Second}} {
		if _, err := s.Take(t.Context(), key(t, "a"), r, start); err == nil {
			t.Errorf("take with %+v: no error", r)
		}
	}
}

// longRates: what takes a year to come back does not overflow.
func longRates(t *testing.T, s limit.Store) {
	const year = 365 * 24 * time.Hour
	k, r := key(t, "a"), limit.Rate{Burst: 100, Every: year}
	for range 100 {
		take(t, s, k, r, 0, 0)
	}
	take(t, s, k, r, time.Hour, year-time.Hour)
	take(t, s, k, r, year, 0)
}

func concurrentTakes(t *testing.T, s limit.Store) {
	var through, faults atomic.Int64
	k := key(t, "a")
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			wait, err := s.Take(t.Context(), k, limit.Rate{Burst: 7, Every: time.Hour}, start)
			switch {
			case err != nil:
				faults.Add(1)
			case wait == 0:
				through.Add(1)
			}
		})
	}
	wg.Wait()
	if through.Load() != 7 || faults.Load() != 0 {
		t.Errorf("of 40 calls at once %d went through and %d failed, want 7 and 0", through.Load(), faults.Load())
	}
}

func once(t *testing.T, s limit.Store) {
	ask := func(name string, after, expires time.Duration, want bool) {
		t.Helper()
		got, err := s.Once(t.Context(), key(t, name), start.Add(after), start.Add(expires))
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("once %q after %v: %v, want %v", name, after, got, want)
		}
	}
	ask("a", 0, time.Minute, true)
	ask("a", 0, time.Minute, false)
	ask("b", 0, time.Minute, true)
	ask("a", time.Minute-time.Microsecond, time.Hour, false)
	ask("a", time.Minute, time.Hour, true)
	ask("a", 59*time.Minute, 2*time.Hour, false)
}

func concurrentOnce(t *testing.T, s limit.Store) {
	var first, faults atomic.Int64
	k := key(t, "a")
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			ok, err := s.Once(t.Context(), k, start, start.Add(time.Minute))
			switch {
			case err != nil:
				faults.Add(1)
			case ok:
				first.Add(1)
			}
		})
	}
	wg.Wait()
	if first.Load() != 1 || faults.Load() != 0 {
		t.Errorf("of 40 calls at once %d were the first and %d failed, want 1 and 0", first.Load(), faults.Load())
	}
}

// onceOfManyKeys: of many calls at once, several for each key and no two with the
// same times, exactly one for each key is the first: where nobody has seen the key
// before, and where what was seen has expired. Where it has not, none is.
func onceOfManyKeys(t *testing.T, s limit.Store) {
	const keys, each = 40, 5
	for round, want := range []int64{1, 0, 1} { // from now on, just before it expires, and after
		after := []time.Duration{0, 50 * time.Second, 2 * time.Minute}[round]
		var first [keys]atomic.Int64
		var wg sync.WaitGroup
		for i := range keys * each {
			wg.Go(func() {
				now := start.Add(after + time.Duration(i)*time.Millisecond)
				ok, err := s.Once(t.Context(), key(t, strconv.Itoa(i%keys)), now, now.Add(time.Minute))
				if err != nil {
					t.Error(err)
				}
				if ok {
					first[i%keys].Add(1)
				}
			})
		}
		wg.Wait()
		for k := range first {
			if got := first[k].Load(); got != want {
				t.Errorf("round %d: of %d calls at once with key %d %d were the first, want %d", round, each, k, got, want)
			}
		}
	}
}

// endedContext: what could not be counted is an error, never an answer.
func endedContext(t *testing.T, s limit.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Take(ctx, key(t, "a"), three, start); err == nil {
		t.Error("take in an ended context: no error")
	}
	if _, err := s.Once(ctx, key(t, "a"), start, start.Add(time.Hour)); err == nil {
		t.Error("once in an ended context: no error")
	}
}
