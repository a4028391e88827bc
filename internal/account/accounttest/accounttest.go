// Package accounttest holds the contract of account.Store as tests that every
// implementation has to pass. The invariant: what it asks for is in the
// comments of the interface, and no implementation is spared a part.
package accounttest

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
)

// Run tests the stores that open returns, each of them empty.
func Run(t *testing.T, open func(t *testing.T) account.Store) {
	for name, test := range map[string]func(*testing.T, account.Store){
		"KeepsEverything":       keepsEverything,
		"Unknown":               unknown,
		"ChangesAtItsVersion":   changesAtItsVersion,
		"DoesNotChangeDisabled": doesNotChangeDisabled,
		"UsernameIsTaken":       usernameIsTaken,
		"ListsInPages":          listsInPages,
		"OneWinnerOfAUsername":  oneWinnerOfAUsername,
		"OneWinnerToChange":     oneWinnerToChange,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

var (
	epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	event = audit.Event{Time: epoch, Kind: audit.AccountChanged}
)

func put(t *testing.T, s account.Store, a account.Account) {
	t.Helper()
	if err := s.Put(t.Context(), a, event, event); err != nil {
		t.Fatal(err)
	}
}

func stored(t *testing.T, s account.Store, subject string) account.Account {
	t.Helper()
	a, err := s.BySubject(t.Context(), subject)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func keepsEverything(t *testing.T, s account.Store) {
	for _, want := range []account.Account{
		{Subject: "1", Username: "ada", Created: epoch},
		{
			Subject: "2", Username: "bjørn", Display: "Bjørn", Password: "$argon2id$…", Created: epoch,
			Disabled: epoch.Add(time.Hour),
			Claims: map[string]any{
				"email": "b@example.org", "email_verified": true, "updated_at": 12.0, "address": map[string]any{"locality": "Oslo"},
			},
		},
	} {
		put(t, s, want)
		want.Version = 1
		if diff := cmp.Diff(want, stored(t, s, want.Subject)); diff != "" {
			t.Error(diff)
		}
		byName, err := s.ByUsername(t.Context(), want.Username)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, byName); diff != "" {
			t.Error(diff)
		}
	}
}

func unknown(t *testing.T, s account.Store) {
	if _, err := s.BySubject(t.Context(), "nobody"); !errors.Is(err, account.ErrNone) {
		t.Errorf("by subject: %v, want %v", err, account.ErrNone)
	}
	if _, err := s.ByUsername(t.Context(), "nobody"); !errors.Is(err, account.ErrNone) {
		t.Errorf("by username: %v, want %v", err, account.ErrNone)
	}
}

func changesAtItsVersion(t *testing.T, s account.Store) {
	a := account.Account{Subject: "1", Username: "ada", Created: epoch}
	put(t, s, a)
	if err := s.Put(t.Context(), a); !errors.Is(err, account.ErrConflict) {
		t.Errorf("create what exists: %v, want %v", err, account.ErrConflict)
	}
	a = stored(t, s, "1")
	a.Username, a.Display, a.Password, a.Claims = "ada2", "Ada", "hash", map[string]any{"name": "Ada"}
	put(t, s, a)
	if err := s.Put(t.Context(), a); !errors.Is(err, account.ErrConflict) {
		t.Errorf("change at an old version: %v, want %v", err, account.ErrConflict)
	}
	if err := s.Put(t.Context(), account.Account{Subject: "9", Version: 1, Username: "x"}); !errors.Is(err, account.ErrConflict) {
		t.Errorf("change what there is not: %v, want %v", err, account.ErrConflict)
	}
	a.Version = 2
	if diff := cmp.Diff(a, stored(t, s, "1")); diff != "" {
		t.Error(diff)
	}
	if _, err := s.ByUsername(t.Context(), "ada"); !errors.Is(err, account.ErrNone) {
		t.Errorf("by the username it had: %v, want %v", err, account.ErrNone)
	}
}

func doesNotChangeDisabled(t *testing.T, s account.Store) {
	put(t, s, account.Account{Subject: "1", Username: "ada", Created: epoch, Disabled: epoch})
	put(t, s, account.Account{Subject: "2", Username: "bob", Created: epoch})
	for subject, want := range map[string]time.Time{"1": epoch, "2": {}} {
		a := stored(t, s, subject)
		a.Disabled = epoch.Add(time.Hour)
		if subject == "1" {
			a.Disabled = time.Time{}
		}
		put(t, s, a)
		if got := stored(t, s, subject).Disabled; !got.Equal(want) {
			t.Errorf("disabled %v, want %v", got, want)
		}
	}
}

func usernameIsTaken(t *testing.T, s account.Store) {
	put(t, s, account.Account{Subject: "1", Username: "ada", Created: epoch})
	put(t, s, account.Account{Subject: "2", Username: "bob", Created: epoch})
	if err := s.Put(t.Context(), account.Account{Subject: "3", Username: "ada"}, event); !errors.Is(err, account.ErrTaken) {
		t.Errorf("create: %v, want %v", err, account.ErrTaken)
	}
	b := stored(t, s, "2")
	b.Username = "ada"
	if err := s.Put(t.Context(), b, event); !errors.Is(err, account.ErrTaken) {
		t.Errorf("rename: %v, want %v", err, account.ErrTaken)
	}
	if got := stored(t, s, "2"); got.Username != "bob" || got.Version != 1 {
		t.Errorf("after the refusal: %+v", got)
	}
}

func listsInPages(t *testing.T, s account.Store) {
	for i, name := range []string{"d", "B", "a", "c", "é"} {
		put(t, s, account.Account{Subject: strconv.Itoa(i), Username: name, Created: epoch})
	}
	var got [][]string
	for after := ""; ; {
		page, err := s.Accounts(t.Context(), after, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		var names []string
		for _, a := range page {
			names = append(names, a.Username)
			after = a.Username
		}
		got = append(got, names)
	}
	if diff := cmp.Diff([][]string{{"B", "a"}, {"c", "d"}, {"é"}}, got); diff != "" {
		t.Error(diff)
	}
}

func oneWinnerOfAUsername(t *testing.T, s account.Store) {
	if won := together(func(i int) bool {
		err := s.Put(t.Context(), account.Account{Subject: strconv.Itoa(i), Username: "ada", Created: epoch}, event)
		if err != nil && !errors.Is(err, account.ErrTaken) {
			t.Error(err)
		}
		return err == nil
	}); won != 1 {
		t.Errorf("%d accounts have one username, want 1", won)
	}
}

func oneWinnerToChange(t *testing.T, s account.Store) {
	put(t, s, account.Account{Subject: "1", Username: "ada", Created: epoch})
	a := stored(t, s, "1")
	if won := together(func(int) bool {
		err := s.Put(t.Context(), a, event)
		if err != nil && !errors.Is(err, account.ErrConflict) {
			t.Error(err)
		}
		return err == nil
	}); won != 1 {
		t.Errorf("%d of the changes at once succeeded, want 1", won)
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
