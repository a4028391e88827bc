// Package authorizetest holds the contract of authorize.Store as tests that
// every implementation has to pass. The invariant: what it asks for is in the
// comments of the interface, and no implementation is spared a part.
package authorizetest

import (
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/authorize"
	"github.com/fastbind/fastbind/internal/opaque"
)

// Run tests the stores that open returns, each of them empty.
func Run(t *testing.T, open func(t *testing.T) authorize.Store) {
	for name, test := range map[string]func(*testing.T, authorize.Store){
		"KeepsARequest":       keepsARequest,
		"UseHasOneWinner":     useHasOneWinner,
		"FullCountsPending":   fullCountsPending,
		"FullIsExact":         fullIsExact,
		"ConsentGrows":        consentGrows,
		"ConsentAddsUpAtOnce": consentAddsUpAtOnce,
		"ConsentsAreApart":    consentsAreApart,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

var (
	epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	event = audit.Event{Time: epoch, Kind: audit.ConsentGiven}
)

func request(client string, n byte) authorize.Pushed {
	return authorize.Pushed{
		Digest: opaque.Digest{n}, Client: client, Query: "scope=openid&state=%20", Expires: epoch.Add(time.Minute),
	}
}

func push(t *testing.T, s authorize.Store, p authorize.Pushed, limit int) {
	t.Helper()
	if err := s.Push(t.Context(), p, epoch, limit); err != nil {
		t.Fatal(err)
	}
}

func keepsARequest(t *testing.T, s authorize.Store) {
	want := request("c", 1)
	push(t, s, want, 10)
	got, err := s.Pushed(t.Context(), want.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := s.Pushed(t.Context(), opaque.Digest{9}); !errors.Is(err, authorize.ErrNone) {
		t.Errorf("unknown request: %v, want %v", err, authorize.ErrNone)
	}
	if first, err := s.Use(t.Context(), want.Digest, epoch.Add(time.Second)); err != nil || !first {
		t.Errorf("use: %v, %v, want true", first, err)
	}
	want.Used = epoch.Add(time.Second)
	if got, err = s.Pushed(t.Context(), want.Digest); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if first, err := s.Use(t.Context(), opaque.Digest{9}, epoch); err != nil || first {
		t.Errorf("use of an unknown request: %v, %v, want false", first, err)
	}
}

func useHasOneWinner(t *testing.T, s authorize.Store) {
	push(t, s, request("c", 1), 10)
	if won := together(func(int) bool {
		first, err := s.Use(t.Context(), opaque.Digest{1}, epoch)
		if err != nil {
			t.Error(err)
		}
		return first
	}); won != 1 {
		t.Errorf("%d of the uses at once were told that they are the first, want 1", won)
	}
}

func fullCountsPending(t *testing.T, s authorize.Store) {
	push(t, s, request("c", 1), 2)
	push(t, s, request("c", 2), 2)
	if err := s.Push(t.Context(), request("c", 3), epoch, 2); !errors.Is(err, authorize.ErrFull) {
		t.Errorf("third request: %v, want %v", err, authorize.ErrFull)
	}
	push(t, s, request("d", 4), 2) // of another client
	if _, err := s.Use(t.Context(), opaque.Digest{1}, epoch); err != nil {
		t.Fatal(err)
	}
	push(t, s, request("c", 3), 2) // one is used
	if err := s.Push(t.Context(), request("c", 5), epoch, 2); !errors.Is(err, authorize.ErrFull) {
		t.Errorf("fourth request: %v, want %v", err, authorize.ErrFull)
	}
	if err := s.Push(t.Context(), request("c", 5), epoch.Add(time.Minute), 2); err != nil {
		t.Errorf("after the others have expired: %v", err)
	}
}

func fullIsExact(t *testing.T, s authorize.Store) {
	const limit = 5
	for round := range byte(10) {
		client := strconv.Itoa(int(round))
		if won := together(func(i int) bool {
			p := request(client, byte(i))
			p.Digest[1] = round
			err := s.Push(t.Context(), p, epoch, limit)
			if err != nil && !errors.Is(err, authorize.ErrFull) {
				t.Error(err)
			}
			return err == nil
		}); won != limit {
			t.Errorf("%d requests at once were stored, want %d", won, limit)
		}
	}
}

func allow(t *testing.T, s authorize.Store, c authorize.Consent) {
	t.Helper()
	if err := s.Allow(t.Context(), c, event); err != nil {
		t.Fatal(err)
	}
}

func consentGrows(t *testing.T, s authorize.Store) {
	if _, err := s.Consent(t.Context(), "1", "c"); !errors.Is(err, authorize.ErrNone) {
		t.Errorf("before any consent: %v, want %v", err, authorize.ErrNone)
	}
	allow(t, s, authorize.Consent{Subject: "1", Client: "c", Scope: []string{"openid", "email"}, Given: epoch})
	allow(t, s, authorize.Consent{Subject: "1", Client: "c", Scope: []string{"email", "phone"}, Given: epoch.Add(time.Hour)})
	got, err := s.Consent(t.Context(), "1", "c")
	if err != nil {
		t.Fatal(err)
	}
	want := authorize.Consent{
		Subject: "1", Client: "c", Scope: []string{"openid", "email", "phone"}, Given: epoch.Add(time.Hour),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func consentAddsUpAtOnce(t *testing.T, s authorize.Store) {
	together(func(i int) bool {
		err := s.Allow(t.Context(), authorize.Consent{
			Subject: "1", Client: "c", Scope: []string{"openid", strconv.Itoa(i)}, Given: epoch,
		}, event)
		if err != nil {
			t.Error(err)
		}
		return true
	})
	got, err := s.Consent(t.Context(), "1", "c")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Scope) != 33 {
		t.Errorf("%d scopes of 33 were kept: %v", len(got.Scope), got.Scope)
	}
}

func consentsAreApart(t *testing.T, s authorize.Store) {
	allow(t, s, authorize.Consent{Subject: "1", Client: "c", Scope: []string{"a"}, Given: epoch})
	for _, other := range []authorize.Consent{{Subject: "1", Client: "d"}, {Subject: "2", Client: "c"}} {
		if _, err := s.Consent(t.Context(), other.Subject, other.Client); !errors.Is(err, authorize.ErrNone) {
			t.Errorf("consent of %+v: %v, want %v", other, err, authorize.ErrNone)
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
