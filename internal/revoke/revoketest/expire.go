package revoketest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/revoke"
)

func endExpired(t *testing.T, s Stores, now time.Time, limit int) int {
	t.Helper()
	n, err := s.Revocations.EndExpired(t.Context(), now, limit)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// touch moves the idle end of a family, as its use does.
func touch(t *testing.T, s Stores, id refresh.FamilyID, idleEnd time.Time) {
	t.Helper()
	f := load(t, s, id)
	f.State.IdleEnd = idleEnd
	if !swap(t, s, refresh.Change{ID: id, Version: f.Version, State: f.State}) {
		t.Fatal("the change was not written")
	}
}

func expired(t *testing.T, s Stores) {
	a, offline := begin(t, s, "c", "1", "s", false), begin(t, s, "c", "1", "s", true)
	touch(t, s, offline, epoch.Add(48*time.Hour)) // past its absolute end
	if n := endExpired(t, s, epoch.Add(time.Hour-time.Second), 10); n != 0 {
		t.Errorf("%d ended a second before the idle end", n)
	}
	if n := endExpired(t, s, epoch.Add(time.Hour), 10); n != 2 {
		t.Errorf("%d ended at the idle end, want a session and a family", n)
	}
	wantLive(t, s, audit.IdleTimeout, map[refresh.FamilyID]bool{a: false, offline: true})
	wantSessions(t, s, "1")
	if n := endExpired(t, s, epoch.Add(24*time.Hour-time.Second), 10); n != 0 {
		t.Errorf("%d ended a second before the absolute end", n)
	}
	if n := endExpired(t, s, epoch.Add(24*time.Hour), 10); n != 1 {
		t.Errorf("%d ended at the absolute end, want 1", n)
	}
	wantLive(t, s, audit.AbsoluteTimeout, map[refresh.FamilyID]bool{offline: false})
	wantEvents(t, s, map[audit.Kind]int{audit.SessionEnded: 1, audit.FamilyEnded: 2})
	var got []line
	for _, e := range feed(t, s) {
		got = append(got, line{kind: e.Kind, value: e.Value})
	}
	want := []line{{revoke.Session, "s", 0}, {revoke.Family, string(offline), 0}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(line{})); diff != "" {
		t.Error(diff)
	}
}

func expiredInPortions(t *testing.T, s Stores) {
	for range 7 {
		begin(t, s, "c", "1", "s", true)
	}
	end(t, s, revoke.Order{Kind: revoke.Session, Value: "s"})
	now, total := epoch.Add(2*time.Hour), 0
	for {
		n := endExpired(t, s, now, 3)
		if n > 3 {
			t.Errorf("%d ended, want at most 3", n)
		}
		if n == 0 {
			break
		}
		total += n
	}
	if total != 7 {
		t.Errorf("%d ended, want 7", total)
	}
}

// useKeepsAnIdleSession: nobody who uses an application is signed out of it for
// not visiting the server, but the absolute end holds.
func useKeepsAnIdleSession(t *testing.T, s Stores) {
	a := begin(t, s, "c", "1", "s", false)
	touch(t, s, a, epoch.Add(3*time.Hour))
	if n := endExpired(t, s, epoch.Add(2*time.Hour), 10); n != 0 {
		t.Errorf("%d ended although the family is in use", n)
	}
	if n := endExpired(t, s, epoch.Add(3*time.Hour), 10); n != 2 {
		t.Errorf("%d ended after the last use, want 2", n)
	}
	wantLive(t, s, audit.IdleTimeout, map[refresh.FamilyID]bool{a: false})
	wantSessions(t, s, "1")

	b := begin(t, s, "c", "1", "s2", false)
	touch(t, s, b, epoch.Add(48*time.Hour))
	endExpired(t, s, epoch.Add(24*time.Hour), 10)
	wantLive(t, s, audit.AbsoluteTimeout, map[refresh.FamilyID]bool{b: false})
	wantSessions(t, s, "1")
}

func expiredAtOnce(t *testing.T, s Stores) {
	const families = 20
	for range families {
		begin(t, s, "c", "1", "s", true)
	}
	var total atomic.Int64
	together(func(int) {
		for {
			n, err := s.Revocations.EndExpired(t.Context(), epoch.Add(2*time.Hour), 4)
			if err != nil {
				t.Error(err)
			}
			if n == 0 {
				return
			}
			total.Add(int64(n))
		}
	})
	for total.Load() < families+1 { // rows that another call held were passed over
		n := endExpired(t, s, epoch.Add(2*time.Hour), 100)
		total.Add(int64(n))
		if n == 0 {
			break
		}
	}
	if n := total.Load(); n != families+1 {
		t.Errorf("%d ended, want %d families and a session", n, families)
	}
	if n := len(feed(t, s)); n != families+1 {
		t.Errorf("the feed has %d entries, want %d", n, families+1)
	}
}

func token(t *testing.T, s Stores, value string, until time.Time) {
	t.Helper()
	end(t, s, revoke.Order{Kind: revoke.Token, Value: value, At: at, Until: until})
}

func sincePages(t *testing.T, s Stores) {
	if entries, newest, err := s.Revocations.Since(t.Context(), 0, epoch, 10); err != nil || len(entries) != 0 || newest != 0 {
		t.Errorf("an empty feed: %v up to %d, %v", entries, newest, err)
	}
	for _, v := range []string{"1", "2", "3", "4", "5"} {
		token(t, s, v, until)
	}
	for _, step := range []struct {
		after int64
		limit int
		want  []int64
	}{{0, 2, []int64{1, 2}}, {2, 2, []int64{3, 4}}, {4, 2, []int64{5}}, {5, 2, nil}, {99, 2, nil}, {1, 100, []int64{2, 3, 4, 5}}} {
		entries, newest, err := s.Revocations.Since(t.Context(), step.after, epoch, step.limit)
		if err != nil {
			t.Fatal(err)
		}
		var got []int64
		for _, e := range entries {
			got = append(got, e.Number)
		}
		if diff := cmp.Diff(step.want, got); diff != "" || newest != 5 {
			t.Errorf("after %d, at most %d: newest %d, %s", step.after, step.limit, newest, diff)
		}
	}
}

// sinceForgets: entries live as long as the tokens that they can name; the
// newest number stays.
func sinceForgets(t *testing.T, s Stores) {
	token(t, s, "short", until)
	token(t, s, "long", until.Add(time.Hour))
	for now, want := range map[time.Time]int{until: 2, until.Add(time.Second): 1, until.Add(2 * time.Hour): 0} {
		entries, newest, err := s.Revocations.Since(t.Context(), 0, now, 10)
		if err != nil || len(entries) != want || newest != 2 {
			t.Errorf("at %v: %d entries, newest %d, %v, want %d", now, len(entries), newest, err, want)
		}
	}
}

func counts(t *testing.T, s Stores) {
	a, offline := begin(t, s, "c", "1", "s", false), begin(t, s, "c", "1", "s", true)
	ask := func(name string, q revoke.Question, now time.Time, want bool) {
		t.Helper()
		got, err := s.Revocations.Counts(t.Context(), q, now)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
	}
	both := revoke.Question{Token: "j", Family: string(a), Session: "s", Subject: "1", Client: "c", Key: "k", Issued: epoch}
	offlineToo := revoke.Question{Family: string(offline), Session: "s"}
	ask("live", both, epoch, true)
	ask("nothing asked", revoke.Question{Issued: epoch}, epoch, true)
	ask("unknown family", revoke.Question{Family: string(refresh.NewFamilyID()), Session: "s"}, epoch, false)
	ask("malformed family", revoke.Question{Family: "x"}, epoch, false)
	ask("unknown session", revoke.Question{Session: "x"}, epoch, false)
	ask("idle family", revoke.Question{Family: string(a)}, epoch.Add(time.Hour), false)
	touch(t, s, a, epoch.Add(3*time.Hour))
	ask("family in use, session idle", both, epoch.Add(2*time.Hour), true)
	ask("session idle, no family", revoke.Question{Session: "s"}, epoch.Add(2*time.Hour), false)
	ask("absolute end", both, epoch.Add(24*time.Hour), false)
	end(t, s, revoke.Order{Kind: revoke.Session, Value: "s"})
	ask("ended", both, epoch.Add(time.Minute), false)
	ask("offline, session ended", offlineToo, epoch.Add(2*time.Minute), true)
	ask("session ended, no family", revoke.Question{Session: "s"}, epoch.Add(2*time.Minute), false)
	end(t, s, revoke.Order{Kind: revoke.Session, Value: "s", Offline: true})
	ask("offline, ended after its session", offlineToo, epoch.Add(2*time.Minute), false)
}

// countsTogether: of many questions at once each gets its own answer, from its
// own time.
func countsTogether(t *testing.T, s Stores) {
	token(t, s, "ended", until)
	family := string(begin(t, s, "c", "1", "s", false))
	cases := []struct {
		q    revoke.Question
		now  time.Time
		want bool
	}{
		{revoke.Question{Token: "ended"}, epoch, false},
		{revoke.Question{Token: "ended"}, until.Add(time.Second), true},
		{revoke.Question{Token: "other"}, epoch, true},
		{revoke.Question{Family: family}, epoch, true},
		{revoke.Question{Family: family}, epoch.Add(time.Hour), false},
		{revoke.Question{Family: "x"}, epoch, false},
		{revoke.Question{Session: "s"}, epoch, true},
		{revoke.Question{Session: "s", Token: "ended"}, epoch, false},
	}
	var g sync.WaitGroup
	for range 32 {
		for i, c := range cases {
			g.Go(func() {
				if ok, err := s.Revocations.Counts(t.Context(), c.q, c.now); err != nil || ok != c.want {
					t.Errorf("question %d: %v, %v, want %v", i, ok, err, c.want)
				}
			})
		}
	}
	g.Wait()
}

func countsNamed(t *testing.T, s Stores) {
	for _, c := range []struct {
		name            string
		order           revoke.Order
		named, notNamed revoke.Question
	}{
		{"Token", revoke.Order{Kind: revoke.Token, Value: "j"}, revoke.Question{Token: "j"}, revoke.Question{Token: "i", Key: "j"}},
		{
			"Subject",
			revoke.Order{Kind: revoke.Subject, Value: "1"},
			revoke.Question{Subject: "1", Issued: at.Truncate(time.Second).Add(-time.Second)},
			revoke.Question{Subject: "1", Issued: at.Truncate(time.Second)},
		},
		{
			"Client",
			revoke.Order{Kind: revoke.Client, Value: "c"},
			revoke.Question{Client: "c", Issued: epoch},
			revoke.Question{Client: "d", Issued: epoch},
		},
		{"Device", revoke.Order{Kind: revoke.Device, Value: "k"}, revoke.Question{Device: "k"}, revoke.Question{Device: "l", Key: "k"}},
		{"Key", revoke.Order{Kind: revoke.Key, Value: "kid"}, revoke.Question{Key: "kid"}, revoke.Question{Device: "kid"}},
		{
			"Epoch",
			revoke.Order{Kind: revoke.Epoch},
			revoke.Question{Token: "z", Issued: epoch},
			revoke.Question{Token: "z", Issued: at.Add(time.Second)},
		},
	} {
		for _, q := range []*revoke.Question{&c.named, &c.notNamed} {
			if q.Issued.IsZero() {
				q.Issued = at.Add(time.Minute)
			}
		}
		if ok, err := s.Revocations.Counts(t.Context(), c.named, at); err != nil || !ok {
			t.Errorf("%s: before: %v, %v", c.name, ok, err)
		}
		end(t, s, c.order)
		for now, want := range map[time.Time]bool{at: false, until: false, until.Add(time.Second): true} {
			if ok, err := s.Revocations.Counts(t.Context(), c.named, now); err != nil || ok != want {
				t.Errorf("%s: after, at %v: %v, %v, want %v", c.name, now, ok, err, want)
			}
		}
		if ok, err := s.Revocations.Counts(t.Context(), c.notNamed, at); err != nil || !ok {
			t.Errorf("%s: what it does not name: %v, %v", c.name, ok, err)
		}
	}
}

func wake(t *testing.T, s Stores) {
	ctx, cancel := context.WithCancelCause(t.Context())
	woken := make(chan struct{}, 1)
	returned := make(chan error, 1)
	go func() {
		returned <- s.Revocations.Wake(ctx, func() {
			select {
			case woken <- struct{}{}:
			default:
			}
		})
	}()
	// It is called once it listens: what was appended before may not wake.
	<-woken
	a := begin(t, s, "c", "1", "s", false)
	for name, act := range map[string]func(){
		"End":  func() { token(t, s, "v", until) },
		"Swap": func() { swap(t, s, stolen(load(t, s, a))) },
	} {
		number := func() int64 {
			_, newest, err := s.Revocations.Since(t.Context(), 0, epoch, 1)
			if err != nil {
				t.Fatal(err)
			}
			return newest
		}
		before := number()
		act()
		patience := time.NewTimer(5 * time.Second)
		for seen := before; seen == before; seen = number() {
			select {
			case <-woken:
			case <-patience.C:
				t.Fatalf("%s woke nobody", name)
			}
		}
		patience.Stop()
	}
	ended := errors.New("that is enough")
	cancel(ended)
	if err := <-returned; !errors.Is(err, ended) {
		t.Errorf("Wake returned %v, want the cause of the end", err)
	}
}
