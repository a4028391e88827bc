// Package revoketest holds the contract of revoke.Store as tests that every
// implementation has to pass, together with what the stores beside it promise
// about ends. The invariant: what it asks for is in the comments of the
// interfaces, and no implementation is spared a part.
package revoketest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fastbind/fastbind/internal/account"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/authorize"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/revoke"
	"github.com/fastbind/fastbind/internal/session"
)

// Stores are an implementation of revoke.Store and what it ends things in.
type Stores struct {
	Revocations revoke.Store
	Families    refresh.Store
	Sessions    session.Store
	Accounts    account.Store
	Clients     client.Store
	Requests    authorize.Store
	// Begin stores a family with its client, account and session, where they
	// are missing.
	Begin func(t *testing.T, f refresh.Family)
	// Events returns all events that were written, oldest first.
	Events func(t *testing.T) []audit.Event
}

// Run tests the stores that open returns, each of them empty.
func Run(t *testing.T, open func(t *testing.T) Stores) {
	for name, test := range map[string]func(*testing.T, Stores){
		"Session":                    endSession,
		"SessionOffline":             endSessionOffline,
		"Family":                     endFamily,
		"Subject":                    endSubject,
		"SubjectExceptOneSession":    endSubjectExcept,
		"SubjectWithoutAnything":     endSubjectWithoutAnything,
		"SubjectDisabled":            disableSubject,
		"SubjectDeleted":             deleteSubject,
		"ConsentWithdrawn":           withdrawConsent,
		"Client":                     endClient,
		"Epoch":                      endEverything,
		"TokenKey":                   feedOnly,
		"Device":                     endDevice,
		"UnknownOrEndedIsNothing":    unknownOrEnded,
		"UnknownKindIsAnError":       unknownKind,
		"FirstReasonStays":           firstReasonStays,
		"TheftTellsVerifiers":        theftTellsVerifiers,
		"TheftEndsTheSession":        theftEndsTheSession,
		"TheftAtAnOldVersion":        theftAtAnOldVersion,
		"EndAndRotationAtOnce":       endAndRotationAtOnce,
		"ExpiredSessionsAndFamilies": expired,
		"ExpiredInPortions":          expiredInPortions,
		"UseKeepsAnIdleSession":      useKeepsAnIdleSession,
		"ExpiredOnAllNodesAtOnce":    expiredAtOnce,
		"SincePages":                 sincePages,
		"SinceForgets":               sinceForgets,
		"NumbersHaveNoGaps":          numbersHaveNoGaps,
		"Counts":                     counts,
		"CountsNamed":                countsNamed,
		"CountsTogether":             countsTogether,
		"Wake":                       wake,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

var (
	epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at    = epoch.Add(time.Minute + 250*time.Millisecond)
	until = epoch.Add(time.Hour)
)

// begin stores a family that expires an hour after epoch, its session too.
func begin(t *testing.T, s Stores, client, subject, session string, offline bool) refresh.FamilyID {
	t.Helper()
	return beginGrant(t, s, refresh.Grant{Client: client, Subject: subject, Session: session, Offline: offline})
}

// beginBound begins a family that is bound to a key.
func beginBound(t *testing.T, s Stores, session, key string) refresh.FamilyID {
	t.Helper()
	return beginGrant(t, s, refresh.Grant{Client: "c", Subject: "1", Session: session, Key: key})
}

func beginGrant(t *testing.T, s Stores, g refresh.Grant) refresh.FamilyID {
	t.Helper()
	g.Begun, g.AbsoluteEnd = epoch, epoch.Add(24*time.Hour)
	f := refresh.Family{
		ID: refresh.NewFamilyID(), Grant: g,
		State: refresh.State{Generation: 1, IdleEnd: epoch.Add(time.Hour)},
	}
	s.Begin(t, f)
	return f.ID
}

func end(t *testing.T, s Stores, o revoke.Order) revoke.Ended {
	t.Helper()
	if o.At.IsZero() {
		o.At, o.Until = at, until
	}
	if o.Reason == "" {
		o.Reason = audit.RevokedByAdmin
	}
	done, err := s.Revocations.End(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func load(t *testing.T, s Stores, id refresh.FamilyID) refresh.Family {
	t.Helper()
	found, err := s.Families.Load(t.Context(), []refresh.FamilyID{id})
	if err != nil || len(found) != 1 {
		t.Fatalf("load family: %d, %v", len(found), err)
	}
	return found[0]
}

// wantLive checks which of the families live; those that do not must have
// ended for reason.
func wantLive(t *testing.T, s Stores, reason audit.Reason, families map[refresh.FamilyID]bool) {
	t.Helper()
	for id, live := range families {
		f := load(t, s, id)
		if f.Ended.IsZero() != live {
			t.Errorf("family of %s at %s in %s, offline %v: ended %v", f.Subject, f.Client, f.Session, f.Offline, f.Ended)
		}
		if !live && (f.Reason != reason || f.Version < 2) {
			t.Errorf("family of %s at %s: ended for %q in version %d, want %q", f.Subject, f.Client, f.Reason, f.Version, reason)
		}
	}
}

// wantSessions checks which sessions of a subject have not ended.
func wantSessions(t *testing.T, s Stores, subject string, want ...string) {
	t.Helper()
	found, err := s.Sessions.Sessions(t.Context(), subject)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range found {
		got = append(got, n.ID)
	}
	if diff := cmp.Diff(want, got, cmpopts.SortSlices(func(a, b string) bool { return a < b })); diff != "" {
		t.Errorf("live sessions: %s", diff)
	}
}

func feed(t *testing.T, s Stores) []revoke.Entry {
	t.Helper()
	entries, newest, err := s.Revocations.Since(t.Context(), 0, epoch, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if newest != int64(len(entries)) {
		t.Errorf("the newest number is %d after %d entries", newest, len(entries))
	}
	return entries
}

type line struct {
	kind   revoke.Kind
	value  string
	before int64
}

// wantFeed checks what the feed holds, of one order: its parts in any order but
// for the last.
func wantFeed(t *testing.T, s Stores, reason audit.Reason, want ...line) {
	t.Helper()
	var got []line
	for i, e := range feed(t, s) {
		if e.Number != int64(i)+1 || e.Reason != reason || e.At != at.UnixMilli() || e.Until != until.Unix() {
			t.Errorf("entry %d: %+v", i+1, e)
		}
		got = append(got, line{e.Kind, e.Value, e.Before})
	}
	if len(got) > 0 && len(want) > 0 && got[len(got)-1] != want[len(want)-1] {
		t.Errorf("the last entry is %v, want %v", got[len(got)-1], want[len(want)-1])
	}
	less := func(a, b line) bool { return a.kind < b.kind || a.kind == b.kind && a.value < b.value }
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(line{}), cmpopts.SortSlices(less), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("feed: %s", diff)
	}
}

// kinds counts the events of each kind but those of beginnings.
func kinds(t *testing.T, s Stores) map[audit.Kind]int {
	t.Helper()
	n := map[audit.Kind]int{}
	for _, e := range s.Events(t) {
		if e.Kind == "" || e.Kind == audit.FamilyBegun || e.Kind == audit.SessionBegun {
			continue
		}
		n[e.Kind]++
		if e.Reason == "" || e.Time.IsZero() {
			t.Errorf("event without reason or time: %+v", e)
		}
	}
	return n
}

func wantEvents(t *testing.T, s Stores, want map[audit.Kind]int) {
	t.Helper()
	if diff := cmp.Diff(want, kinds(t, s), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("events: %s", diff)
	}
}

func endSession(t *testing.T, s Stores) {
	a, b := begin(t, s, "c", "1", "s", false), begin(t, s, "d", "1", "s", false)
	offline, elsewhere := begin(t, s, "c", "1", "s", true), begin(t, s, "c", "1", "s2", false)
	got := end(t, s, revoke.Order{Kind: revoke.Session, Value: "s", Reason: audit.Logout, Note: "signed out"})
	if diff := cmp.Diff(revoke.Ended{Sessions: 1, Families: 2, Number: 1}, got); diff != "" {
		t.Error(diff)
	}
	wantLive(t, s, audit.Logout, map[refresh.FamilyID]bool{a: false, b: false, offline: true, elsewhere: true})
	wantSessions(t, s, "1", "s2")
	wantFeed(t, s, audit.Logout, line{revoke.Session, "s", 0})
	wantEvents(t, s, map[audit.Kind]int{audit.SessionEnded: 1, audit.FamilyEnded: 2})
	for _, e := range s.Events(t) {
		if e.Kind == audit.SessionEnded && (e.Subject != "1" || e.Session != "s" || e.Reason != audit.Logout || e.Note != "signed out" || !e.Time.Equal(at)) {
			t.Errorf("event %+v", e)
		}
	}
}

func endSessionOffline(t *testing.T, s Stores) {
	dependent, offline := begin(t, s, "c", "1", "s", false), begin(t, s, "c", "1", "s", true)
	got := end(t, s, revoke.Order{Kind: revoke.Session, Value: "s", Offline: true})
	if got.Sessions != 1 || got.Families != 2 {
		t.Errorf("ended %+v", got)
	}
	wantLive(t, s, audit.RevokedByAdmin, map[refresh.FamilyID]bool{dependent: false, offline: false})
	wantFeed(t, s, audit.RevokedByAdmin, line{revoke.Session, "s", 0}, line{revoke.Family, string(offline), 0})
}

func endFamily(t *testing.T, s Stores) {
	a, b := begin(t, s, "c", "1", "s", false), begin(t, s, "c", "1", "s", false)
	got := end(t, s, revoke.Order{Kind: revoke.Family, Value: string(a), Reason: audit.RevokedByClient})
	if diff := cmp.Diff(revoke.Ended{Families: 1, Number: 1}, got); diff != "" {
		t.Error(diff)
	}
	wantLive(t, s, audit.RevokedByClient, map[refresh.FamilyID]bool{a: false, b: true})
	if f := load(t, s, a); !f.Ended.Equal(at.Truncate(time.Second)) {
		t.Errorf("ended %v, want %v", f.Ended, at)
	}
	wantSessions(t, s, "1", "s")
	wantFeed(t, s, audit.RevokedByClient, line{revoke.Family, string(a), 0})
	wantEvents(t, s, map[audit.Kind]int{audit.FamilyEnded: 1})
}

func endSubject(t *testing.T, s Stores) {
	a, b := begin(t, s, "c", "1", "s", false), begin(t, s, "c", "1", "s2", true)
	other := begin(t, s, "c", "2", "t", false)
	got := end(t, s, revoke.Order{Kind: revoke.Subject, Value: "1", Reason: audit.PasswordChanged})
	if diff := cmp.Diff(revoke.Ended{Sessions: 2, Families: 2, Number: 5}, got); diff != "" {
		t.Error(diff)
	}
	wantLive(t, s, audit.PasswordChanged, map[refresh.FamilyID]bool{a: false, b: false, other: true})
	wantSessions(t, s, "1")
	wantSessions(t, s, "2", "t")
	wantFeed(t, s, audit.PasswordChanged, line{revoke.Session, "s", 0}, line{revoke.Session, "s2", 0},
		line{revoke.Family, string(a), 0}, line{revoke.Family, string(b), 0}, line{revoke.Subject, "1", at.Unix() - 1})
	wantEvents(t, s, map[audit.Kind]int{audit.SessionEnded: 2, audit.FamilyEnded: 2})
}

func endSubjectExcept(t *testing.T, s Stores) {
	a, b := begin(t, s, "c", "1", "s", false), begin(t, s, "c", "1", "kept", false)
	got := end(t, s, revoke.Order{Kind: revoke.Subject, Value: "1", Except: "kept"})
	if got.Sessions != 1 || got.Families != 1 {
		t.Errorf("ended %+v", got)
	}
	wantLive(t, s, audit.RevokedByAdmin, map[refresh.FamilyID]bool{a: false, b: true})
	wantSessions(t, s, "1", "kept")
	// An entry for the person would name the tokens of the spared session.
	wantFeed(t, s, audit.RevokedByAdmin, line{revoke.Session, "s", 0}, line{revoke.Family, string(a), 0})
}

func endSubjectWithoutAnything(t *testing.T, s Stores) {
	got := end(t, s, revoke.Order{Kind: revoke.Subject, Value: "nobody"})
	if diff := cmp.Diff(revoke.Ended{Number: 1}, got); diff != "" {
		t.Error(diff)
	}
	wantFeed(t, s, audit.RevokedByAdmin, line{revoke.Subject, "nobody", at.Unix() - 1})
}

func disableSubject(t *testing.T, s Stores) {
	begin(t, s, "c", "1", "s", false)
	for range 2 {
		end(t, s, revoke.Order{Kind: revoke.Subject, Value: "1", Reason: audit.UserDisabled, Disable: true})
	}
	a, err := s.Accounts.BySubject(t.Context(), "1")
	if err != nil {
		t.Fatal(err)
	}
	if !a.Disabled.Equal(at.Truncate(time.Second)) || a.Version != 2 {
		t.Errorf("disabled %v in version %d", a.Disabled, a.Version)
	}
	wantSessions(t, s, "1")
	wantEvents(t, s, map[audit.Kind]int{audit.SessionEnded: 1, audit.FamilyEnded: 1, audit.AccountChanged: 1})
}

func allow(t *testing.T, s Stores, subject, client string) {
	t.Helper()
	if err := s.Requests.Allow(t.Context(), authorize.Consent{
		Subject: subject, Client: client, Scope: []string{"a"}, Given: epoch,
	}, audit.Event{}); err != nil {
		t.Fatal(err)
	}
}

func wantConsent(t *testing.T, s Stores, subject, client string, want bool) {
	t.Helper()
	if _, err := s.Requests.Consent(t.Context(), subject, client); (err == nil) != want {
		t.Errorf("consent of %s to %s: %v, want it there: %v", subject, client, err, want)
	}
}

func deleteSubject(t *testing.T, s Stores) {
	a := begin(t, s, "c", "1", "s", false)
	allow(t, s, "1", "c")
	allow(t, s, "2", "c")
	end(t, s, revoke.Order{Kind: revoke.Subject, Value: "1", Reason: audit.UserDeleted, Delete: true})
	if _, err := s.Accounts.BySubject(t.Context(), "1"); err == nil {
		t.Error("the account is still there")
	}
	wantConsent(t, s, "1", "c", false)
	wantConsent(t, s, "2", "c", true)
	wantLive(t, s, audit.UserDeleted, map[refresh.FamilyID]bool{a: false})
}

func withdrawConsent(t *testing.T, s Stores) {
	a, offline := begin(t, s, "c", "1", "s", false), begin(t, s, "c", "1", "s", true)
	elsewhere, other := begin(t, s, "d", "1", "s", false), begin(t, s, "c", "2", "t", false)
	allow(t, s, "1", "c")
	allow(t, s, "1", "d")
	got := end(t, s, revoke.Order{Kind: revoke.Subject, Value: "1", Client: "c", Reason: audit.RevokedByUser})
	if diff := cmp.Diff(revoke.Ended{Families: 2, Number: 2}, got); diff != "" {
		t.Error(diff)
	}
	wantLive(t, s, audit.RevokedByUser, map[refresh.FamilyID]bool{a: false, offline: false, elsewhere: true, other: true})
	wantSessions(t, s, "1", "s")
	wantConsent(t, s, "1", "c", false)
	wantConsent(t, s, "1", "d", true)
	wantEvents(t, s, map[audit.Kind]int{audit.FamilyEnded: 2, audit.ConsentEnded: 1})
	for _, e := range feed(t, s) {
		if e.Kind != revoke.Family {
			t.Errorf("entry %+v", e)
		}
	}
}

func endClient(t *testing.T, s Stores) {
	a, b, other := begin(t, s, "c", "1", "s", false), begin(t, s, "c", "2", "t", true), begin(t, s, "d", "1", "s", false)
	got := end(t, s, revoke.Order{Kind: revoke.Client, Value: "c", Reason: audit.ClientDisabled, Disable: true})
	if diff := cmp.Diff(revoke.Ended{Families: 2, Number: 1}, got); diff != "" {
		t.Error(diff)
	}
	wantLive(t, s, audit.ClientDisabled, map[refresh.FamilyID]bool{a: false, b: false, other: true})
	wantSessions(t, s, "1", "s")
	wantFeed(t, s, audit.ClientDisabled, line{revoke.Client, "c", at.Add(revoke.ClientLag).Unix()})
	c, err := s.Clients.Client(t.Context(), "c")
	if err != nil || !c.Disabled.Equal(at.Truncate(time.Second)) || c.Version != 2 {
		t.Errorf("disabled %v in version %d, %v", c.Disabled, c.Version, err)
	}
	wantEvents(t, s, map[audit.Kind]int{audit.FamilyEnded: 1, audit.ClientChanged: 1})
}

func endEverything(t *testing.T, s Stores) {
	a, b := begin(t, s, "c", "1", "s", false), begin(t, s, "d", "2", "t", true)
	got := end(t, s, revoke.Order{Kind: revoke.Epoch, Reason: audit.Epoch})
	if diff := cmp.Diff(revoke.Ended{Sessions: 2, Families: 2, Number: 1}, got); diff != "" {
		t.Error(diff)
	}
	wantLive(t, s, audit.Epoch, map[refresh.FamilyID]bool{a: false, b: false})
	wantSessions(t, s, "")
	wantFeed(t, s, audit.Epoch, line{revoke.Epoch, "", at.Unix()})
}

func feedOnly(t *testing.T, s Stores) {
	a := begin(t, s, "c", "1", "s", false)
	for i, kind := range []revoke.Kind{revoke.Token, revoke.Key} {
		got := end(t, s, revoke.Order{Kind: kind, Value: "v", Reason: audit.KeyRevoked})
		if diff := cmp.Diff(revoke.Ended{Number: int64(i) + 1}, got); diff != "" {
			t.Error(diff)
		}
	}
	wantLive(t, s, "", map[refresh.FamilyID]bool{a: true})
	wantFeed(t, s, audit.KeyRevoked, line{revoke.Token, "v", 0}, line{revoke.Key, "v", 0})
	wantEvents(t, s, map[audit.Kind]int{audit.TokenRevoked: 1, audit.KeyRevokedKind: 1})
}

func endDevice(t *testing.T, s Stores) {
	a, b := beginBound(t, s, "s", "k"), beginBound(t, s, "s", "l")
	plain := begin(t, s, "c", "1", "s", false)
	got := end(t, s, revoke.Order{Kind: revoke.Device, Value: "k", Reason: audit.KeyRevoked})
	if diff := cmp.Diff(revoke.Ended{Families: 1, Number: 2}, got); diff != "" {
		t.Error(diff)
	}
	wantFeed(t, s, audit.KeyRevoked, line{revoke.Family, string(a), 0}, line{revoke.Device, "k", 0})
	wantEvents(t, s, map[audit.Kind]int{audit.TokenRevoked: 1, audit.FamilyEnded: 1})
	end(t, s, revoke.Order{Kind: revoke.Device, Reason: audit.KeyRevoked}) // no key is not the key of what is unbound
	wantLive(t, s, audit.KeyRevoked, map[refresh.FamilyID]bool{a: false, b: true, plain: true})
}

func unknownOrEnded(t *testing.T, s Stores) {
	a := begin(t, s, "c", "1", "s", false)
	end(t, s, revoke.Order{Kind: revoke.Family, Value: string(a)})
	end(t, s, revoke.Order{Kind: revoke.Session, Value: "s"})
	for _, o := range []revoke.Order{
		{Kind: revoke.Family, Value: string(a)},
		{Kind: revoke.Family, Value: string(refresh.NewFamilyID())},
		{Kind: revoke.Family, Value: "not an id"},
		{Kind: revoke.Session, Value: "s"},
		{Kind: revoke.Session, Value: "nothing"},
	} {
		if got := end(t, s, o); got != (revoke.Ended{}) {
			t.Errorf("%+v ended %+v", o, got)
		}
	}
	if n := len(feed(t, s)); n != 2 {
		t.Errorf("the feed has %d entries, want 2", n)
	}
	wantEvents(t, s, map[audit.Kind]int{audit.FamilyEnded: 1, audit.SessionEnded: 1})
}

func unknownKind(t *testing.T, s Stores) {
	if got, err := s.Revocations.End(t.Context(), revoke.Order{Kind: "moon", Value: "v", At: at}); err == nil || got != (revoke.Ended{}) {
		t.Errorf("got %+v, %v, want an error", got, err)
	}
}

func firstReasonStays(t *testing.T, s Stores) {
	a, b := begin(t, s, "c", "1", "s", false), begin(t, s, "c", "1", "s", false)
	end(t, s, revoke.Order{Kind: revoke.Family, Value: string(a), Reason: audit.RevokedByUser})
	want := load(t, s, a)
	end(t, s, revoke.Order{Kind: revoke.Session, Value: "s", Reason: audit.Logout, At: at.Add(time.Hour), Until: until})
	end(t, s, revoke.Order{Kind: revoke.Subject, Value: "1", Reason: audit.UserDisabled, At: at.Add(2 * time.Hour), Until: until})
	if diff := cmp.Diff(want, load(t, s, a)); diff != "" {
		t.Error(diff)
	}
	wantLive(t, s, audit.Logout, map[refresh.FamilyID]bool{b: false})
}
