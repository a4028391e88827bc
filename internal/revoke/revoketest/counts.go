package revoketest

import (
	"sync"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/revoke"
)

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
