// Package codetest holds the contract of code.Store as tests that every
// implementation has to pass. The invariant: what it asks for is in the
// comments of the interface, and no implementation is spared a part.
package codetest

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fastbind/fastbind/internal/account"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/code"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/revoke"
	"github.com/fastbind/fastbind/internal/session"
)

// Stores are an implementation of code.Store and what it stands beside.
type Stores struct {
	Codes       code.Store
	Families    refresh.Store
	Sessions    session.Store
	Accounts    account.Store
	Clients     client.Store
	Revocations revoke.Store
	// Events returns all events that were written, oldest first.
	Events func(t *testing.T) []audit.Event
}

// Run tests the stores that open returns, each of them empty.
func Run(t *testing.T, open func(t *testing.T) Stores) {
	for name, test := range map[string]func(*testing.T, Stores){
		"KeepsEverything":   keepsEverything,
		"Unknown":           unknown,
		"BeginsTheFamily":   beginsTheFamily,
		"TestN43CodeReplay": replay,
		"OneWinnerToRedeem": oneWinnerToRedeem,
		"SessionEnded":      func(t *testing.T, s Stores) { ended(t, s, revoke.Order{Kind: revoke.Session, Value: "s"}) },
		"EverythingEnded":   func(t *testing.T, s Stores) { ended(t, s, revoke.Order{Kind: revoke.Epoch}) },
		"PersonDisabled": func(t *testing.T, s Stores) {
			ended(t, s, revoke.Order{Kind: revoke.Subject, Value: "1", Except: "s", Disable: true})
		},
		"PersonDeleted": func(t *testing.T, s Stores) {
			ended(t, s, revoke.Order{Kind: revoke.Subject, Value: "1", Except: "s", Delete: true})
		},
		"WithdrawnConsent":     withdrawnConsent,
		"DeletedWithItsClient": deletedWithItsClient,
		"NoneSlipsPastAnEnd":   noneSlipsPastAnEnd,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Family returns a live family of client c, person 1 and session s.
func Family() refresh.Family {
	return refresh.Family{
		ID: refresh.NewFamilyID(), Version: 1,
		Grant: refresh.Grant{
			Client: "c", Subject: "1", Session: "s", Scope: []string{"openid", "orders:read"},
			Audience: []string{"https://api.example"}, Claims: `{"userinfo":{"email":null}}`, Nonce: "n", ACR: "2",
			AMR: []string{"pwd"}, AuthTime: epoch.Add(-time.Minute), Key: "thumbprint", Begun: epoch,
			AbsoluteEnd: epoch.Add(24 * time.Hour),
		},
		State: refresh.State{
			Generation: 1, IdleEnd: epoch.Add(time.Hour), Rotated: epoch.Add(123 * time.Millisecond),
			Network: "192.0.2.1", Agent: "Browser/1",
		},
	}
}

// Begin stores f as the redeeming of a code does, with the client, the account
// and the session that it needs, where they are missing.
func Begin(t *testing.T, s Stores, f refresh.Family) {
	t.Helper()
	around(t, s, f)
	d := opaque.New(opaque.Code).Digest()
	if err := s.Codes.Put(t.Context(), code.Code{Digest: d, Issued: epoch, Expires: epoch, Family: f.ID, Grant: f.Grant}); err != nil {
		t.Fatal(err)
	}
	if err := s.Codes.Redeem(t.Context(), d, f.Begun, f); err != nil {
		t.Fatal(err)
	}
}

// around stores what f needs, where it is missing.
func around(t *testing.T, s Stores, f refresh.Family) {
	t.Helper()
	ctx := t.Context()
	if err := s.Clients.Put(ctx, client.Client{ID: f.Client, Created: epoch}, audit.Event{}); err != nil && !errors.Is(err, client.ErrConflict) {
		t.Fatal(err)
	}
	if err := s.Accounts.Put(ctx, account.Account{Subject: f.Subject, Username: f.Subject, Created: epoch}); err != nil && !errors.Is(err, account.ErrConflict) {
		t.Fatal(err)
	}
	found, err := s.Sessions.Sessions(ctx, f.Subject)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range found {
		if n.ID == f.Session {
			return
		}
	}
	if err := s.Sessions.Begin(ctx, session.Session{
		ID: f.Session, Handle: opaque.New(opaque.Session).Digest(), Subject: f.Subject, AuthTime: epoch, Begun: epoch,
		LastSeen: epoch, IdleEnd: epoch.Add(time.Hour), AbsoluteEnd: epoch.Add(24 * time.Hour),
	}, audit.Event{}); err != nil {
		t.Fatal(err)
	}
}

// issued stores a code for f and returns it.
func issued(t *testing.T, s Stores, f refresh.Family) code.Code {
	t.Helper()
	around(t, s, f)
	g := f.Grant
	g.Begun = time.Time{}
	c := code.Code{
		Digest: opaque.New(opaque.Code).Digest(), RedirectURI: "http://127.0.0.1/callback?a=b", Challenge: "challenge",
		Issued: epoch, Expires: epoch.Add(code.Life), Family: f.ID, Grant: g,
	}
	if err := s.Codes.Put(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return c
}

func families(t *testing.T, s Stores, ids ...refresh.FamilyID) []refresh.Family {
	t.Helper()
	found, err := s.Families.Load(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func keepsEverything(t *testing.T, s Stores) {
	full := Family()
	full.Offline = true
	bare := refresh.Family{ID: refresh.NewFamilyID(), Grant: refresh.Grant{
		Client: "c", Subject: "1", Session: "s", AbsoluteEnd: epoch,
	}}
	for _, f := range []refresh.Family{full, bare} {
		want := issued(t, s, f)
		got, err := s.Codes.Load(t.Context(), want.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if err := s.Codes.Put(t.Context(), want); err == nil {
			t.Error("one code was stored twice")
		}
	}
}

func unknown(t *testing.T, s Stores) {
	if _, err := s.Codes.Load(t.Context(), opaque.Digest{1}); !errors.Is(err, code.ErrNone) {
		t.Errorf("load: %v, want %v", err, code.ErrNone)
	}
	f := Family()
	around(t, s, f)
	if err := s.Codes.Redeem(t.Context(), opaque.Digest{1}, epoch, f); !errors.Is(err, code.ErrNone) {
		t.Errorf("redeem: %v, want %v", err, code.ErrNone)
	}
}

func beginsTheFamily(t *testing.T, s Stores) {
	f := Family()
	c := issued(t, s, f)
	before := len(s.Events(t))
	if err := s.Codes.Redeem(t.Context(), c.Digest, epoch.Add(5*time.Second), f); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]refresh.Family{f}, families(t, s, f.ID)); diff != "" {
		t.Error(diff)
	}
	c.Redeemed = epoch.Add(5 * time.Second)
	got, err := s.Codes.Load(t.Context(), c.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, got); diff != "" {
		t.Error(diff)
	}
	events := s.Events(t)[before:]
	if len(events) != 1 || events[0].Kind != audit.FamilyBegun || events[0].Family != string(f.ID) || events[0].Subject != "1" {
		t.Errorf("events: %+v, want one that the family has begun", events)
	}
}

func replay(t *testing.T, s Stores) {
	f := Family()
	c := issued(t, s, f)
	if err := s.Codes.Redeem(t.Context(), c.Digest, epoch, f); err != nil {
		t.Fatal(err)
	}
	before := len(s.Events(t))
	other := f
	other.ID = refresh.NewFamilyID()
	if err := s.Codes.Redeem(t.Context(), c.Digest, epoch.Add(time.Second), other); !errors.Is(err, code.ErrRedeemed) {
		t.Errorf("second try: %v, want %v", err, code.ErrRedeemed)
	}
	end(t, s, revoke.Order{Kind: revoke.Session, Value: "s"})
	if err := s.Codes.Redeem(t.Context(), c.Digest, epoch.Add(time.Second), other); !errors.Is(err, code.ErrRedeemed) {
		t.Errorf("third try, after the end of the session: %v, want %v", err, code.ErrRedeemed)
	}
	if got := families(t, s, other.ID); len(got) != 0 {
		t.Error("the replay has begun a family")
	}
	for _, e := range s.Events(t)[before:] {
		if e.Kind == audit.FamilyBegun {
			t.Error("an event says that the replay has begun a family")
		}
	}
}

func oneWinnerToRedeem(t *testing.T, s Stores) {
	f := Family()
	c := issued(t, s, f)
	var ids [32]refresh.FamilyID
	won := together(func(i int) bool {
		mine := f
		mine.ID = refresh.NewFamilyID()
		ids[i] = mine.ID
		err := s.Codes.Redeem(t.Context(), c.Digest, epoch, mine)
		if err != nil && !errors.Is(err, code.ErrRedeemed) {
			t.Error(err)
		}
		return err == nil
	})
	if begun := families(t, s, ids[:]...); won != 1 || len(begun) != 1 {
		t.Errorf("%d of the calls at once succeeded and %d families have begun, want 1 and 1", won, len(begun))
	}
}

func end(t *testing.T, s Stores, o revoke.Order) {
	t.Helper()
	o.At, o.Reason = epoch.Add(time.Minute), audit.RevokedByAdmin
	if _, err := s.Revocations.End(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

func ended(t *testing.T, s Stores, o revoke.Order) {
	f := Family()
	c := issued(t, s, f)
	end(t, s, o)
	if err := s.Codes.Redeem(t.Context(), c.Digest, epoch, f); !errors.Is(err, code.ErrEnded) {
		t.Errorf("got %v, want %v", err, code.ErrEnded)
	}
	if len(families(t, s, f.ID)) != 0 {
		t.Error("a family has begun")
	}
	got, err := s.Codes.Load(t.Context(), c.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Redeemed.IsZero() {
		t.Error("the code counts as redeemed")
	}
}

// withdrawnConsent: a code that was issued under a consent is worth nothing
// once that is withdrawn.
func withdrawnConsent(t *testing.T, s Stores) {
	f, other := Family(), Family()
	other.Client = "d"
	c, kept := issued(t, s, f), issued(t, s, other)
	end(t, s, revoke.Order{Kind: revoke.Subject, Value: "1", Client: "c"})
	if err := s.Codes.Redeem(t.Context(), c.Digest, epoch, f); err == nil {
		t.Error("the code was redeemed after the consent was withdrawn")
	}
	if err := s.Codes.Redeem(t.Context(), kept.Digest, epoch, other); err != nil {
		t.Errorf("a code of another client: %v", err)
	}
}

func deletedWithItsClient(t *testing.T, s Stores) {
	f, other := Family(), Family()
	other.Client = "d"
	c, kept := issued(t, s, f), issued(t, s, other)
	if err := s.Clients.Delete(t.Context(), "c", audit.Event{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Codes.Load(t.Context(), c.Digest); !errors.Is(err, code.ErrNone) {
		t.Errorf("load: %v, want %v", err, code.ErrNone)
	}
	if _, err := s.Codes.Load(t.Context(), kept.Digest); err != nil {
		t.Errorf("load a code of another client: %v", err)
	}
}

// noneSlipsPastAnEnd redeems codes while what they belong to ends: each is
// refused, or its family is there when everything ends.
func noneSlipsPastAnEnd(t *testing.T, s Stores) {
	for name, o := range map[string]revoke.Order{
		"Session": {Kind: revoke.Session, Value: "of Session"},
		"Subject": {Kind: revoke.Subject, Value: "Subject", Disable: true},
		"Consent": {Kind: revoke.Subject, Value: "Consent", Client: "c Consent"},
		"Client":  {Kind: revoke.Client, Value: "c Client", Disable: true},
	} {
		var made [32]refresh.Family
		var codes [32]code.Code
		var ids []refresh.FamilyID
		for i := range made {
			f := Family()
			f.Client, f.Subject, f.Session = "c "+name, name, "of "+name
			made[i], codes[i] = f, issued(t, s, f)
			ids = append(ids, f.ID)
		}
		together(func(i int) bool {
			if i == 16 {
				end(t, s, o)
				return false
			}
			err := s.Codes.Redeem(t.Context(), codes[i].Digest, epoch, made[i])
			if err != nil && !errors.Is(err, code.ErrEnded) && !errors.Is(err, code.ErrNone) {
				t.Error(err)
			}
			return err == nil
		})
		for _, f := range families(t, s, ids...) {
			if f.Ended.IsZero() {
				t.Errorf("%s: a family has slipped past the end", name)
			}
		}
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
