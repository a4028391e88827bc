// Package sessiontest holds the contract of session.Store as tests that every
// implementation has to pass. The invariant: what it asks for is in the
// comments of the interface, and no implementation is spared a part.
package sessiontest

import (
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fastbind/fastbind/internal/account"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/revoke"
	"github.com/fastbind/fastbind/internal/session"
)

// Stores are an implementation of session.Store and what it stands beside.
type Stores struct {
	Sessions    session.Store
	Accounts    account.Store
	Revocations revoke.Store
	// Events returns all events that were written, oldest first.
	Events func(t *testing.T) []audit.Event
}

// Run tests the stores that open returns, each of them empty.
func Run(t *testing.T, open func(t *testing.T) Stores) {
	for name, test := range map[string]func(*testing.T, Stores){
		"KeepsEverything":           keepsEverything,
		"BarredNeverBegins":         barredNeverBegins,
		"BarredNeverRenews":         barredNeverRenews,
		"RenewReplacesTheHandle":    renewReplacesTheHandle,
		"RenewAtItsVersion":         renewAtItsVersion,
		"RenewNeverRevives":         renewNeverRevives,
		"ListsLiveNewestFirst":      listsLiveNewestFirst,
		"OneWinnerToRenew":          oneWinnerToRenew,
		"SeenMovesForward":          seenMovesForward,
		"SeenByLiveHandleOnly":      seenByLiveHandleOnly,
		"SeenTogether":              seenTogether,
		"NoneSlipsPastADisabling":   noneSlipsPastADisabling,
		"EventsTravelWithTheChange": eventsTravelWithTheChange,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func person(t *testing.T, s Stores, subject string) {
	t.Helper()
	if err := s.Accounts.Put(t.Context(), account.Account{Subject: subject, Username: subject, Created: epoch}); err != nil {
		t.Fatal(err)
	}
}

func sample(id, subject string, handle byte) session.Session {
	return session.Session{
		ID: id, Handle: opaque.Digest{handle, 7}, Subject: subject, AuthTime: epoch, ACR: "2", AMR: []string{"pwd", "otp"},
		Remember: true, Begun: epoch, LastSeen: epoch.Add(time.Minute), IdleEnd: epoch.Add(time.Hour),
		AbsoluteEnd: epoch.Add(24 * time.Hour), Network: "192.0.2.1", Agent: "Browser/1",
	}
}

func event(s session.Session, kind audit.Kind) audit.Event {
	return audit.Event{Time: epoch, Kind: kind, Subject: s.Subject, Session: s.ID, Parties: []audit.Party{
		{Time: epoch, Network: s.Network, Agent: s.Agent},
	}}
}

func begin(t *testing.T, s Stores, n session.Session) {
	t.Helper()
	if err := s.Sessions.Begin(t.Context(), n, event(n, audit.SessionBegun)); err != nil {
		t.Fatal(err)
	}
}

func stored(t *testing.T, s Stores, d opaque.Digest) session.Session {
	t.Helper()
	n, err := s.Sessions.ByHandle(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func end(t *testing.T, s Stores, o revoke.Order) {
	t.Helper()
	if o.At.IsZero() {
		o.At = epoch.Add(time.Minute)
	}
	if _, err := s.Revocations.End(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

func keepsEverything(t *testing.T, s Stores) {
	person(t, s, "1")
	bare := session.Session{
		ID: "bare", Handle: opaque.Digest{9}, Subject: "1", Begun: epoch, IdleEnd: epoch, AbsoluteEnd: epoch.Add(time.Hour),
	}
	for _, want := range []session.Session{sample("a", "1", 1), bare} {
		begin(t, s, want)
		want.Version = 1
		if diff := cmp.Diff(want, stored(t, s, want.Handle)); diff != "" {
			t.Error(diff)
		}
	}
	if _, err := s.Sessions.ByHandle(t.Context(), opaque.Digest{3}); !errors.Is(err, session.ErrNone) {
		t.Errorf("unknown handle: %v, want %v", err, session.ErrNone)
	}
	end(t, s, revoke.Order{Kind: revoke.Session, Value: "a", Reason: audit.Logout})
	got := stored(t, s, sample("a", "1", 1).Handle)
	if !got.Ended.Equal(epoch.Add(time.Minute)) || got.Reason != audit.Logout {
		t.Errorf("after its end: %v for %q", got.Ended, got.Reason)
	}
}

func barredNeverBegins(t *testing.T, s Stores) {
	person(t, s, "disabled")
	person(t, s, "deleted")
	end(t, s, revoke.Order{Kind: revoke.Subject, Value: "disabled", Reason: audit.UserDisabled, Disable: true})
	end(t, s, revoke.Order{Kind: revoke.Subject, Value: "deleted", Reason: audit.UserDeleted, Delete: true})
	for i, subject := range []string{"disabled", "deleted", "never was"} {
		n := sample("a"+subject, subject, byte(i))
		if err := s.Sessions.Begin(t.Context(), n, event(n, audit.SessionBegun)); !errors.Is(err, session.ErrBarred) {
			t.Errorf("%s: %v, want %v", subject, err, session.ErrBarred)
		}
		if _, err := s.Sessions.ByHandle(t.Context(), n.Handle); !errors.Is(err, session.ErrNone) {
			t.Errorf("%s: stored all the same: %v", subject, err)
		}
	}
}

func barredNeverRenews(t *testing.T, s Stores) {
	person(t, s, "1")
	begin(t, s, sample("a", "1", 1))
	n := stored(t, s, sample("a", "1", 1).Handle)
	end(t, s, revoke.Order{Kind: revoke.Subject, Value: "1", Reason: audit.UserDisabled, Disable: true})
	if err := s.Sessions.Renew(t.Context(), n); !errors.Is(err, session.ErrBarred) {
		t.Errorf("got %v, want %v", err, session.ErrBarred)
	}
}

func renewReplacesTheHandle(t *testing.T, s Stores) {
	person(t, s, "1")
	begin(t, s, sample("a", "1", 1))
	old := sample("a", "1", 1).Handle
	want := stored(t, s, old)
	want.Handle = opaque.Digest{2}
	want.AuthTime, want.LastSeen, want.IdleEnd = epoch.Add(time.Hour), epoch.Add(2*time.Hour), epoch.Add(3*time.Hour)
	want.ACR, want.AMR, want.Remember, want.Network, want.Agent = "3", []string{"hwk"}, false, "192.0.2.9", "Browser/2"
	if err := s.Sessions.Renew(t.Context(), want, event(want, audit.SessionRenewed)); err != nil {
		t.Fatal(err)
	}
	want.Version++
	if diff := cmp.Diff(want, stored(t, s, want.Handle)); diff != "" {
		t.Error(diff)
	}
	if _, err := s.Sessions.ByHandle(t.Context(), old); !errors.Is(err, session.ErrNone) {
		t.Errorf("by the handle that it had: %v, want %v", err, session.ErrNone)
	}
	moved := want
	moved.AbsoluteEnd, moved.Begun, moved.ID = epoch.Add(99*time.Hour), epoch.Add(time.Hour), "a"
	if err := s.Sessions.Renew(t.Context(), moved); err != nil {
		t.Fatal(err)
	}
	want.Version++
	if diff := cmp.Diff(want, stored(t, s, want.Handle)); diff != "" {
		t.Errorf("what never moves has moved: %s", diff)
	}
}

func renewAtItsVersion(t *testing.T, s Stores) {
	person(t, s, "1")
	person(t, s, "2")
	begin(t, s, sample("a", "1", 1))
	n := stored(t, s, sample("a", "1", 1).Handle)
	for name, change := range map[string]func(*session.Session){
		"OldVersion":    func(n *session.Session) { n.Version = 0 },
		"FutureVersion": func(n *session.Session) { n.Version = 2 },
		"Unknown":       func(n *session.Session) { n.ID = "b" },
		"OtherSubject":  func(n *session.Session) { n.Subject = "2" },
	} {
		wrong := n
		change(&wrong)
		if err := s.Sessions.Renew(t.Context(), wrong); !errors.Is(err, session.ErrStale) {
			t.Errorf("%s: %v, want %v", name, err, session.ErrStale)
		}
	}
	if diff := cmp.Diff(n, stored(t, s, n.Handle)); diff != "" {
		t.Error(diff)
	}
}

func renewNeverRevives(t *testing.T, s Stores) {
	person(t, s, "1")
	begin(t, s, sample("a", "1", 1))
	handle := sample("a", "1", 1).Handle
	live := stored(t, s, handle)
	end(t, s, revoke.Order{Kind: revoke.Session, Value: "a", Reason: audit.Logout})
	ended := stored(t, s, handle)
	if ended.Version == live.Version {
		t.Error("the end left the version as it was")
	}
	for _, n := range []session.Session{live, ended} {
		n.Ended, n.Reason = time.Time{}, ""
		if err := s.Sessions.Renew(t.Context(), n); !errors.Is(err, session.ErrStale) {
			t.Errorf("got %v, want %v", err, session.ErrStale)
		}
	}
	if diff := cmp.Diff(ended, stored(t, s, handle)); diff != "" {
		t.Error(diff)
	}
}

func listsLiveNewestFirst(t *testing.T, s Stores) {
	person(t, s, "1")
	person(t, s, "2")
	for i, id := range []string{"old", "new", "gone", "other"} {
		n := sample(id, "1", byte(i))
		n.Begun = epoch.Add(time.Duration(i) * time.Minute)
		if id == "other" {
			n.Subject = "2"
		}
		begin(t, s, n)
	}
	end(t, s, revoke.Order{Kind: revoke.Session, Value: "gone", Reason: audit.Logout})
	for subject, want := range map[string][]string{
		"1": {"new", "old"}, "2": {"other"}, "": {"other", "new", "old"}, "nobody": nil,
	} {
		found, err := s.Sessions.Sessions(t.Context(), subject)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, n := range found {
			got = append(got, n.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("sessions of %q: %s", subject, diff)
		}
	}
}

func oneWinnerToRenew(t *testing.T, s Stores) {
	person(t, s, "1")
	begin(t, s, sample("a", "1", 1))
	n := stored(t, s, sample("a", "1", 1).Handle)
	if won := together(func(i int) bool {
		mine := n
		mine.Agent = strconv.Itoa(i)
		err := s.Sessions.Renew(t.Context(), mine)
		if err != nil && !errors.Is(err, session.ErrStale) {
			t.Error(err)
		}
		return err == nil
	}); won != 1 {
		t.Errorf("%d of the renewals at once succeeded, want 1", won)
	}
}

// seenMovesForward notes a later and an earlier visit.
func seenMovesForward(t *testing.T, s Stores) {
	person(t, s, "1")
	begin(t, s, sample("a", "1", 1))
	begin(t, s, sample("b", "1", 2))
	other := stored(t, s, sample("b", "1", 2).Handle)
	want := stored(t, s, sample("a", "1", 1).Handle)
	later := session.Visit{Handle: want.Handle, At: epoch.Add(2 * time.Hour), IdleEnd: epoch.Add(3 * time.Hour)}
	for _, v := range []session.Visit{later, {Handle: want.Handle, At: epoch, IdleEnd: epoch.Add(time.Minute)}} {
		if live, err := s.Sessions.Seen(t.Context(), v); err != nil || !live {
			t.Errorf("a visit to a live session: %v, %v", live, err)
		}
		want.LastSeen, want.IdleEnd = later.At, later.IdleEnd
		if diff := cmp.Diff(want, stored(t, s, want.Handle)); diff != "" {
			t.Error(diff)
		}
	}
	if diff := cmp.Diff(other, stored(t, s, other.Handle)); diff != "" {
		t.Errorf("another session: %s", diff)
	}
}

// seenByLiveHandleOnly: a visit revives nothing, and not with a cookie that was
// replaced.
func seenByLiveHandleOnly(t *testing.T, s Stores) {
	person(t, s, "1")
	for i, id := range []string{"ended", "renewed"} {
		begin(t, s, sample(id, "1", byte(i)))
	}
	end(t, s, revoke.Order{Kind: revoke.Session, Value: "ended", Reason: audit.Logout})
	renewed := stored(t, s, opaque.Digest{1, 7})
	renewed.Handle = opaque.Digest{9}
	if err := s.Sessions.Renew(t.Context(), renewed); err != nil {
		t.Fatal(err)
	}
	ended := stored(t, s, opaque.Digest{0, 7})
	for name, d := range map[string]opaque.Digest{"ended": ended.Handle, "replaced": {1, 7}, "unknown": {5}} {
		live, err := s.Sessions.Seen(t.Context(), session.Visit{Handle: d, At: epoch.Add(time.Hour), IdleEnd: epoch.Add(9 * time.Hour)})
		if err != nil || live {
			t.Errorf("%s: %v, %v, want false", name, live, err)
		}
	}
	if diff := cmp.Diff(ended, stored(t, s, ended.Handle)); diff != "" {
		t.Error(diff)
	}
}

// seenTogether: of visits at once to several sessions each is answered for its
// own, and the latest of each session is noted.
func seenTogether(t *testing.T, s Stores) {
	person(t, s, "1")
	for i, id := range []string{"a", "b", "gone", "c"} {
		begin(t, s, sample(id, "1", byte(i)))
	}
	end(t, s, revoke.Order{Kind: revoke.Session, Value: "gone", Reason: audit.Logout})
	if n := together(func(i int) bool {
		at := epoch.Add(time.Hour + time.Duration(i)*time.Second)
		live, err := s.Sessions.Seen(t.Context(), session.Visit{Handle: opaque.Digest{byte(i % 4), 7}, At: at, IdleEnd: at.Add(time.Hour)})
		if err != nil || live == (i%4 == 2) {
			t.Errorf("session %d: %v, %v", i%4, live, err)
		}
		return live
	}); n != 24 {
		t.Errorf("%d visits were of live sessions, want 24", n)
	}
	for i := range 4 {
		want := epoch.Add(time.Hour + time.Duration(28+i)*time.Second)
		if got := stored(t, s, opaque.Digest{byte(i), 7}); i != 2 && (!got.LastSeen.Equal(want) || !got.IdleEnd.Equal(want.Add(time.Hour))) {
			t.Errorf("session %d: last seen %v, until %v, want %v and an hour more", i, got.LastSeen, got.IdleEnd, want)
		}
	}
}

// noneSlipsPastADisabling begins sessions while the account is disabled: each
// is refused, or is there when the disabling ends them all.
func noneSlipsPastADisabling(t *testing.T, s Stores) {
	person(t, s, "1")
	together(func(i int) bool {
		if i == 16 {
			end(t, s, revoke.Order{Kind: revoke.Subject, Value: "1", Reason: audit.UserDisabled, Disable: true})
			return false
		}
		n := sample(strconv.Itoa(i), "1", byte(i))
		err := s.Sessions.Begin(t.Context(), n, event(n, audit.SessionBegun))
		if err != nil && !errors.Is(err, session.ErrBarred) {
			t.Error(err)
		}
		return err == nil
	})
	live, err := s.Sessions.Sessions(t.Context(), "1")
	if err != nil {
		t.Fatal(err)
	}
	if len(live) != 0 {
		t.Errorf("%d sessions of a disabled account live", len(live))
	}
}

func eventsTravelWithTheChange(t *testing.T, s Stores) {
	person(t, s, "1")
	n := sample("a", "1", 1)
	begin(t, s, n)
	begun := event(n, audit.SessionBegun)
	n.Version = 1
	renewed := event(n, audit.SessionRenewed)
	if err := s.Sessions.Renew(t.Context(), n, renewed); err != nil {
		t.Fatal(err)
	}
	if err := s.Sessions.Renew(t.Context(), n, renewed); !errors.Is(err, session.ErrStale) {
		t.Fatalf("got %v, want %v", err, session.ErrStale)
	}
	if err := s.Sessions.Begin(t.Context(), sample("b", "nobody", 2), begun); !errors.Is(err, session.ErrBarred) {
		t.Fatalf("got %v, want %v", err, session.ErrBarred)
	}
	if diff := cmp.Diff([]audit.Event{begun, renewed}, s.Events(t)); diff != "" {
		t.Error(diff)
	}
}

// together runs fn 32 times at once and returns how often it said true.
func together(fn func(i int) bool) int {
	var won atomic.Int64
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range 32 {
		all.Go(func() {
			<-start
			if fn(i) {
				won.Add(1)
			}
		})
	}
	close(start)
	all.Wait()
	return int(won.Load())
}
