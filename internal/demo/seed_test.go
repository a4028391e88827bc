package demo_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fastbind/fastbind/internal/account"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/demo"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/sqlstore"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func stores(t *testing.T) demo.Stores {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "demo.sqlite"), sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return demo.Stores{Clients: db.Clients(), Accounts: &account.Directory{Store: db.Accounts(), Hasher: &account.Hasher{MemoryKiB: 64, Passes: 1}}}
}

func seed(t *testing.T, s demo.Stores, file string) demo.Facts {
	t.Helper()
	f, err := demo.Seed(t.Context(), s, file, now)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestSeedTwiceKeepsEverything(t *testing.T) {
	t.Parallel()
	s, file := stores(t), filepath.Join(t.TempDir(), "demo-secrets")
	first := seed(t, s, file)
	before, err := s.Clients.Clients(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second := seed(t, s, file)
	if !equal(first, second) {
		t.Error("the second time the facts are others")
	}
	after, err := s.Clients.Clients(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, after); d != "" {
		t.Errorf("the second time changed the clients (-first +second):\n%s", d)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the secrets: %v", info.Mode().Perm())
	}
}

// equal compares facts without ever printing a secret.
func equal(a, b demo.Facts) bool {
	return slices.Equal(a.Users, b.Users) && slices.EqualFunc(a.Clients, b.Clients, func(x, y demo.Client) bool { return cmp.Equal(x, y) })
}

func TestSeedMakesWhatTheFactsSay(t *testing.T) {
	t.Parallel()
	s := stores(t)
	f := seed(t, s, filepath.Join(t.TempDir(), "demo-secrets"))
	for _, u := range f.Users {
		if len(u.Password) < account.MinPassword {
			t.Errorf("%s has a short password", u.Username)
		}
		if _, err := s.Accounts.Check(t.Context(), u.Username, u.Password); err != nil {
			t.Errorf("%s cannot sign in: %v", u.Username, err)
		}
	}
	var ids []string
	for _, c := range f.Clients {
		ids = append(ids, c.ID)
		stored, err := s.Clients.Client(t.Context(), c.ID)
		if err != nil {
			t.Fatalf("%s: %v", c.ID, err)
		}
		if stored.Public() != (c.Secret == "") {
			t.Errorf("%s: public %v, but the facts say otherwise", c.ID, stored.Public())
		}
		if c.Secret != "" {
			h, err := opaque.Parse(opaque.ClientSecret, c.Secret)
			if err != nil || !slices.Contains(stored.Secrets, h.Digest()) {
				t.Errorf("the secret of %s is not its secret", c.ID)
			}
		}
		if c.RedirectURIs == nil || c.PostLogoutRedirectURIs == nil {
			t.Errorf("%s: a list would be null in JSON", c.ID)
		}
	}
	if d := cmp.Diff([]string{"demo-spa", "demo-web", "demo-service", "demo-api"}, ids); d != "" {
		t.Errorf("clients (-want +got):\n%s", d)
	}
	spa, err := s.Clients.Client(t.Context(), "demo-spa")
	if err != nil {
		t.Fatal(err)
	}
	if !spa.MayRedirect("http://127.0.0.1:49152/callback") || spa.MayRedirect("http://localhost:49152/callback") {
		t.Error("demo-spa: redirects to 127.0.0.1 on any port, and nowhere else")
	}
	if spa.SendsAttempts || !spa.APIsReport {
		t.Error("demo-spa sends no attempt keys, and its API reports use")
	}
}

func TestAdaHasAllStandardClaims(t *testing.T) {
	t.Parallel()
	s := stores(t)
	seed(t, s, filepath.Join(t.TempDir(), "demo-secrets"))
	ada, err := s.Accounts.ByName(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	// OpenID Connect Core, section 5.1, but for sub.
	for name := range strings.FieldsSeq(`name given_name family_name middle_name nickname preferred_username profile picture
		website email email_verified gender birthdate zoneinfo locale phone_number phone_number_verified address updated_at`) {
		if ada.Claims[name] == nil {
			t.Errorf("claim %s is missing", name)
		}
	}
}

func TestSeedGivesALostSecretAnew(t *testing.T) {
	t.Parallel()
	s, file := stores(t), filepath.Join(t.TempDir(), "demo-secrets")
	first := seed(t, s, file)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	second := seed(t, s, file)
	for i, c := range second.Clients {
		if c.Secret == "" {
			continue
		}
		if c.Secret == first.Clients[i].Secret {
			t.Errorf("%s has a secret that was lost", c.ID)
		}
		h, err := opaque.Parse(opaque.ClientSecret, c.Secret)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := s.Clients.Client(t.Context(), c.ID)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]opaque.Digest{h.Digest()}, stored.Secrets); d != "" {
			t.Errorf("%s does not have the new secret alone", c.ID)
		}
	}
}

func TestSeedLeavesChangesAlone(t *testing.T) {
	t.Parallel()
	s, file := stores(t), filepath.Join(t.TempDir(), "demo-secrets")
	seed(t, s, file)
	spa, err := s.Clients.Client(t.Context(), "demo-spa")
	if err != nil {
		t.Fatal(err)
	}
	spa.Policy = "kiosk"
	if err := s.Clients.Put(t.Context(), spa, event); err != nil {
		t.Fatal(err)
	}
	seed(t, s, file)
	spa, err = s.Clients.Client(t.Context(), "demo-spa")
	if err != nil || spa.Policy != "kiosk" {
		t.Errorf("policy %q, %v, want kiosk: somebody chose it", spa.Policy, err)
	}
}

func TestSeedSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	t.Run("Garbage", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "demo-secrets")
		const garbage = "fbk_this is not JSON"
		if err := os.WriteFile(file, []byte(garbage), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := demo.Seed(t.Context(), stores(t), file, now)
		if err == nil || strings.Contains(err.Error(), "fbk_") {
			t.Errorf("error %v, want one that does not quote the file", err)
		}
		if b, err := os.ReadFile(file); err != nil || string(b) != garbage {
			t.Errorf("the file was overwritten")
		}
	})
	t.Run("NoFolder", func(t *testing.T) {
		t.Parallel()
		_, err := demo.Seed(t.Context(), stores(t), filepath.Join(t.TempDir(), "none", "demo-secrets"), now)
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("error %v, want %v", err, os.ErrNotExist)
		}
	})
	t.Run("Broken", func(t *testing.T) {
		t.Parallel()
		s, want := stores(t), errors.New("broken")
		s.Clients = client.Store(brokenClients{s.Clients, want})
		if _, err := demo.Seed(t.Context(), s, filepath.Join(t.TempDir(), "demo-secrets"), now); !errors.Is(err, want) {
			t.Errorf("error %v, want %v", err, want)
		}
	})
}
