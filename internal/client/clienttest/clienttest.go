// Package clienttest holds the contract of client.Store as tests that every
// implementation has to pass. The invariant: what it asks for is in the
// comments of the interface, and no implementation is spared a part.
package clienttest

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/opaque"
)

// Run tests the stores that open returns, each of them empty.
func Run(t *testing.T, open func(t *testing.T) client.Store) {
	for name, test := range map[string]func(*testing.T, client.Store){
		"KeepsEverything":     keepsEverything,
		"Unknown":             unknown,
		"ChangesAtItsVersion": changesAtItsVersion,
		"ListsByID":           listsByID,
		"DeletesOnce":         deletesOnce,
		"OneWinnerToCreate":   oneWinnerToCreate,
		"OneWinnerToChange":   oneWinnerToChange,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

var (
	epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	event = audit.Event{Time: epoch, Kind: audit.ClientChanged}
)

func put(t *testing.T, s client.Store, c client.Client) {
	t.Helper()
	if err := s.Put(t.Context(), c, event); err != nil {
		t.Fatal(err)
	}
}

func stored(t *testing.T, s client.Store, id string) client.Client {
	t.Helper()
	c, err := s.Client(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func keepsEverything(t *testing.T, s client.Store) {
	for _, want := range []client.Client{
		{ID: "bare", Created: epoch},
		{
			ID: "full", Created: epoch, Disabled: epoch.Add(time.Hour), Secrets: []opaque.Digest{{1}, {2, 3}},
			Meta: client.Meta{
				Name: "A client with “quotes” and 'quotes'", RedirectURIs: []string{"http://127.0.0.1/callback", "app://x"},
				PostLogoutRedirectURIs: []string{"https://a.example/out"}, GrantTypes: []string{"authorization_code"},
				Scopes: []string{"openid", "orders:read"}, Audiences: []string{"https://api.example"}, Policy: "spa",
				Trusted: true, ResourceServer: true, PKCEOptional: true, RequirePAR: true, IDTokenAlg: "EdDSA",
				AuthMethods: []string{"client_secret_basic"}, SendsAttempts: true, APIsReport: true, NotifyOnly: true,
			},
		},
	} {
		put(t, s, want)
		want.Version = 1
		if diff := cmp.Diff(want, stored(t, s, want.ID)); diff != "" {
			t.Error(diff)
		}
	}
}

func unknown(t *testing.T, s client.Store) {
	if _, err := s.Client(t.Context(), "nobody"); !errors.Is(err, client.ErrNone) {
		t.Errorf("got %v, want %v", err, client.ErrNone)
	}
}

func changesAtItsVersion(t *testing.T, s client.Store) {
	put(t, s, client.Client{ID: "a", Created: epoch, Meta: client.Meta{Name: "first"}})
	if err := s.Put(t.Context(), client.Client{ID: "a", Created: epoch}, event); !errors.Is(err, client.ErrConflict) {
		t.Errorf("create what exists: %v, want %v", err, client.ErrConflict)
	}
	c := stored(t, s, "a")
	c.Name, c.Secrets, c.Disabled = "second", []opaque.Digest{{7}}, epoch
	put(t, s, c)
	if err := s.Put(t.Context(), c, event); !errors.Is(err, client.ErrConflict) {
		t.Errorf("change at an old version: %v, want %v", err, client.ErrConflict)
	}
	if err := s.Put(t.Context(), client.Client{ID: "b", Version: 1}, event); !errors.Is(err, client.ErrConflict) {
		t.Errorf("change what there is not: %v, want %v", err, client.ErrConflict)
	}
	c.Version = 2
	if diff := cmp.Diff(c, stored(t, s, "a")); diff != "" {
		t.Error(diff)
	}
}

func listsByID(t *testing.T, s client.Store) {
	for _, id := range []string{"b", "C", "a"} {
		put(t, s, client.Client{ID: id, Created: epoch})
	}
	all, err := s.Clients(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range all {
		got = append(got, c.ID)
	}
	if diff := cmp.Diff([]string{"C", "a", "b"}, got); diff != "" {
		t.Error(diff)
	}
}

func deletesOnce(t *testing.T, s client.Store) {
	put(t, s, client.Client{ID: "a", Created: epoch})
	put(t, s, client.Client{ID: "b", Created: epoch})
	if err := s.Delete(t.Context(), "a", event); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Client(t.Context(), "a"); !errors.Is(err, client.ErrNone) {
		t.Errorf("load what was deleted: %v, want %v", err, client.ErrNone)
	}
	if err := s.Delete(t.Context(), "a", event); !errors.Is(err, client.ErrNone) {
		t.Errorf("delete what was deleted: %v, want %v", err, client.ErrNone)
	}
	stored(t, s, "b")
}

func oneWinnerToCreate(t *testing.T, s client.Store) {
	oneWinner(t, s, client.Client{ID: "a", Created: epoch})
}

func oneWinnerToChange(t *testing.T, s client.Store) {
	put(t, s, client.Client{ID: "a", Created: epoch})
	oneWinner(t, s, stored(t, s, "a"))
}

func oneWinner(t *testing.T, s client.Store, c client.Client) {
	if won := together(func(int) bool {
		err := s.Put(t.Context(), c, event)
		if err != nil && !errors.Is(err, client.ErrConflict) {
			t.Error(err)
		}
		return err == nil
	}); won != 1 {
		t.Errorf("%d of the changes at once succeeded, want 1", won)
	}
	if got := stored(t, s, c.ID).Version; got != c.Version+1 {
		t.Errorf("version %d, want %d", got, c.Version+1)
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
