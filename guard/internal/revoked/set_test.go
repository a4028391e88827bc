package revoked_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/fastbind/fastbind/guard/internal/revoked"
)

func token(s *revoked.Set, c revoked.Claims) *revoked.Token {
	t := new(revoked.Token)
	s.Name(t, c)
	return t
}

// What a set says is what a list that is searched from end to end says,
// whatever is added in whatever order, while entries expire.
func TestAgainstModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		now := time.Unix(1_800_000_000, 0)
		s := revoked.New(0)
		var model []revoked.Ending
		kinds := []revoked.Kind{revoked.ByID, revoked.ByFamily, revoked.BySession, revoked.BySubject, revoked.ByClient, revoked.ByKey}
		values := func() string { return strconv.Itoa(rnd.IntN(2000)) }
		for range 1500 {
			e := revoked.Ending{Kind: kinds[rnd.IntN(len(kinds))], Value: values(), Before: revoked.Always, Until: now.Unix() + rnd.Int64N(100)}
			if rnd.IntN(2) == 0 {
				e.Before = uint32(now.Unix() - rnd.Int64N(1000))
			}
			if rnd.IntN(1000) == 0 {
				e.Kind, e.Before = revoked.ByEpoch, uint32(now.Unix()-900)
			}
			if !s.Add(e, now) {
				t.Fatal("no room")
			}
			model = append(model, e)
			now = now.Add(time.Duration(rnd.IntN(200)) * time.Millisecond)
			if rnd.IntN(50) == 0 {
				s.Drop(now)
			}
			c := revoked.Claims{
				ID: values(), Family: values(), Session: values(), Subject: values(), Client: values(), Key: values(),
				Issued: now.Unix() - rnd.Int64N(1000),
			}
			must, may := false, false // of expired endings nothing is promised
			named := map[revoked.Kind]string{
				revoked.ByID: c.ID, revoked.ByFamily: c.Family, revoked.BySession: c.Session,
				revoked.BySubject: c.Subject, revoked.ByClient: c.Client, revoked.ByKey: c.Key,
			}
			for _, e := range model {
				if (e.Kind == revoked.ByEpoch || named[e.Kind] == e.Value) && (e.Before == revoked.Always || c.Issued <= int64(e.Before)) {
					may = true
					must = must || e.Until > now.Unix() || e.Kind == revoked.ByEpoch
				}
			}
			if got := s.Ended(token(s, c)); got && !may || !got && must {
				t.Fatalf("seed %d: ended %v, must %v, may %v", seed, got, must, may)
			}
		}
	}
}

// Readers and a writer at the same time: what was added before the question is
// found, and what was never added is not.
func TestConcurrently(t *testing.T) {
	t.Parallel()
	s := revoked.New(time.Minute)
	now := time.Unix(1_800_000_000, 0)
	const total = 20_000
	var mu sync.RWMutex
	added := 0
	var all sync.WaitGroup
	all.Go(func() {
		for i := range total {
			s.Add(revoked.Ending{Kind: revoked.BySession, Value: strconv.Itoa(i), Before: revoked.Always, Until: now.Unix() + 60}, now)
			mu.Lock()
			added = i + 1
			mu.Unlock()
			if i%5000 == 0 {
				s.Drop(now)
			}
		}
	})
	for range 3 {
		all.Go(func() {
			never := token(s, revoked.Claims{Session: "never", ID: "never"})
			for done := false; !done; {
				mu.RLock()
				n := added
				mu.RUnlock()
				done = n == total
				if n > 0 && !s.Ended(token(s, revoked.Claims{Session: strconv.Itoa(rand.IntN(n))})) {
					t.Error("an ending that was added is not found")
					return
				}
				if s.Ended(never) {
					t.Error("found what was never added")
					return
				}
			}
		})
	}
	all.Wait()
	if n := s.Entries(); n != total {
		t.Errorf("%d entries, want %d", n, total)
	}
}

// A token that was found clean is looked at again after every addition.
func TestCleanIsNotForever(t *testing.T) {
	t.Parallel()
	s, now := revoked.New(0), time.Unix(1_800_000_000, 0)
	for i := range 200 {
		c := token(s, revoked.Claims{ID: strconv.Itoa(i), Family: "f", Issued: now.Unix()})
		if s.Ended(c) || s.Ended(c) {
			t.Fatal("ended before")
		}
		s.Add(revoked.Ending{Kind: revoked.ByID, Value: strconv.Itoa(i), Before: revoked.Always}, now)
		if !s.Ended(c) || !s.Ended(c) {
			t.Fatal("not ended after")
		}
	}
	c := token(s, revoked.Claims{ID: "other", Issued: now.Unix()})
	if s.Ended(c) {
		t.Fatal("ended before")
	}
	s.Add(revoked.Ending{Kind: revoked.ByEpoch, Before: uint32(now.Unix())}, now)
	if !s.Ended(c) {
		t.Error("not ended with everything")
	}
	if s.Add(revoked.Ending{Kind: revoked.ByEpoch, Before: 1}, now); !s.Ended(c) {
		t.Error("an older end of everything took back a newer one")
	}
	later := token(s, revoked.Claims{ID: "later", Issued: now.Unix() + 1})
	if s.Ended(later) {
		t.Error("issued later")
	}
}

// Two endings of one name end what either of them ends, for as long as either
// of them says.
func TestSameNameTwice(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	for _, swap := range []bool{false, true} {
		s := revoked.New(0)
		list := []revoked.Ending{
			{Kind: revoked.BySubject, Value: "ada", Before: 1_700_000_000, Until: now.Unix() + 1000},
			{Kind: revoked.BySubject, Value: "ada", Before: 1_800_000_000, Until: now.Unix() + 10},
		}
		if swap {
			list[0], list[1] = list[1], list[0]
		}
		for _, e := range list {
			s.Add(e, now)
		}
		s.Drop(now.Add(500 * time.Second))
		if s.Entries() != 1 || !s.Ended(token(s, revoked.Claims{Subject: "ada", Issued: 1_800_000_000})) {
			t.Errorf("swap %v: lost", swap)
		}
		if s.Ended(token(s, revoked.Claims{Subject: "ada", Issued: 1_800_000_001})) || s.Ended(token(s, revoked.Claims{Client: "ada"})) {
			t.Errorf("swap %v: too much", swap)
		}
		s.Drop(now.Add(1062 * time.Second))
		if s.Entries() != 0 {
			t.Errorf("swap %v: kept", swap)
		}
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	s, now := revoked.New(0), time.Unix(1_800_000_000, 0)
	claims := []revoked.Claims{
		{ID: "1", Session: "a", Subject: "ada", Issued: now.Unix()},
		{ID: "2", Session: "a", Subject: "ada", Issued: now.Unix() + 1},
		{ID: "3", Session: "b", Subject: "ada", Issued: now.Unix() + 1},
		{ID: "4", Session: "c", Subject: "bob", Issued: now.Unix() + 2},
	}
	watch := func() (list []context.Context, stop func()) {
		var stops []func()
		for _, c := range claims {
			ctx, _, stop := s.Watch(t.Context(), token(s, c))
			list, stops = append(list, ctx), append(stops, stop)
		}
		return list, func() {
			for _, i := range rand.Perm(len(stops)) {
				stops[i]()
			}
		}
	}
	for name, c := range map[string]struct {
		e    revoked.Ending
		want string
	}{
		"Session": {revoked.Ending{Kind: revoked.BySession, Value: "a", Before: revoked.Always}, "xx.."},
		"Token":   {revoked.Ending{Kind: revoked.ByID, Value: "3", Before: revoked.Always}, "..x."},
		"Subject": {revoked.Ending{Kind: revoked.BySubject, Value: "ada", Before: uint32(now.Unix())}, "x..."},
		"Nobody":  {revoked.Ending{Kind: revoked.ByClient, Value: "a", Before: revoked.Always}, "...."},
		"Epoch":   {revoked.Ending{Kind: revoked.ByEpoch, Before: uint32(now.Unix() + 1)}, "xxx."},
	} {
		s = revoked.New(0)
		list, stop := watch()
		s.Add(c.e, now)
		got := ""
		for _, ctx := range list {
			if errors.Is(context.Cause(ctx), revoked.ErrRevoked) {
				got += "x"
			} else {
				got += "."
			}
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		again, stopAgain := watch() // what was revoked before is cancelled from the start
		got = ""
		for _, ctx := range again {
			if errors.Is(context.Cause(ctx), revoked.ErrRevoked) {
				got += "x"
			} else {
				got += "."
			}
		}
		if got != c.want {
			t.Errorf("%s, again: %s, want %s", name, got, c.want)
		}
		stop()
		stopAgain()
		if n := s.Running(); n != 0 {
			t.Errorf("%s: %d still held", name, n)
		}
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

const million = 1_000_000

func fill(tb testing.TB, s *revoked.Set, n int) {
	tb.Helper()
	now := time.Now()
	kinds := []revoked.Kind{revoked.ByID, revoked.ByFamily, revoked.BySession, revoked.BySubject}
	for i := range n {
		if !s.Add(revoked.Ending{Kind: kinds[i%4], Value: "value-" + strconv.Itoa(i), Before: revoked.Always, Until: now.Unix() + 3600}, now) {
			tb.Fatal("no room")
		}
	}
}

// A million entries take less than 100 MB, at every moment, and what has
// expired nothing. It is not parallel: it looks at the memory of the process.
func TestMemoryOfAMillion(t *testing.T) {
	before := heap()
	s := revoked.New(time.Minute)
	most := int64(0)
	now := time.Now()
	for i := range 16 {
		for j := range many / 16 {
			s.Add(revoked.Ending{Kind: revoked.BySession, Value: fmt.Sprint("value-", i, "-", j), Before: revoked.Always, Until: now.Unix() + 3600}, now)
		}
		most = max(most, heap()-before)
	}
	if n := s.Entries(); n != many {
		t.Fatalf("%d entries", n)
	}
	t.Logf("%d bytes for an entry, %d MB at most", (heap()-before)/many, most>>20)
	if most > 100<<20 {
		t.Errorf("a million entries take %d MB", most>>20)
	}
	s.Drop(now.Add(2 * time.Hour))
	if left := heap() - before; s.Entries() != 0 || left > 1<<20 {
		t.Errorf("%d entries and %d bytes are left", s.Entries(), left)
	}
	runtime.KeepAlive(s)
}

// A set does not grow without bounds, and goes on refusing what it knows.
func TestBounded(t *testing.T) {
	t.Parallel()
	s, now := revoked.New(0), time.Now()
	s.SetMost(10_000)
	full := false
	for i := 0; i < 30_000 && !full; i++ {
		full = !s.Add(revoked.Ending{Kind: revoked.ByID, Value: strconv.Itoa(i), Before: revoked.Always}, now)
	}
	if !full {
		t.Error("takes whatever comes")
	}
	if !s.Ended(token(s, revoked.Claims{ID: "7"})) {
		t.Error("forgot what it knew")
	}
}

func BenchmarkEnded(b *testing.B) {
	s := revoked.New(time.Minute)
	fill(b, s, million)
	tokens := make([]*revoked.Token, 10_000)
	for i := range tokens {
		n := strconv.Itoa(i)
		tokens[i] = token(s, revoked.Claims{ID: "t" + n, Family: "f" + n, Session: "s" + n, Subject: "u" + n, Client: "app", Key: "k1", Issued: 1})
	}
	b.Run("Unchanged", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if s.Ended(tokens[i%len(tokens)]) {
				b.Fatal("ended")
			}
		}
	})
	// The set changes between any two questions about one token.
	b.Run("Changed", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if i%len(tokens) == 0 {
				s.Add(revoked.Ending{Kind: revoked.ByID, Value: "x", Before: revoked.Always}, time.Now())
			}
			if s.Ended(tokens[i%len(tokens)]) {
				b.Fatal("ended")
			}
		}
	})
}

func BenchmarkWatch(b *testing.B) {
	s := revoked.New(time.Minute)
	tok := token(s, revoked.Claims{ID: "t", Family: "f", Session: "s", Subject: "u", Client: "app", Key: "k1", Issued: 1})
	b.ReportAllocs()
	for b.Loop() {
		_, _, stop := s.Watch(b.Context(), tok)
		stop()
	}
}
