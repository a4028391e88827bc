package account_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/account"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/revoke"
	"github.com/fastbind/fastbind/internal/sqlstore"
)

const password = "a phrase that nobody else would think of"

// cheap is a hasher that is fast enough for tests.
func cheap() *account.Hasher { return &account.Hasher{MemoryKiB: 64, Passes: 1} }

func newDirectory(t *testing.T) (*account.Directory, *sqlstore.DB) {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "account.db"), sqlstore.Options{})
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
	return &account.Directory{Store: db.Accounts(), Hasher: cheap()}, db
}

func create(t *testing.T, d *account.Directory, username, password string) account.Account {
	t.Helper()
	a, err := d.Create(t.Context(), account.Person{Username: username, Password: password, Claims: map[string]any{"name": username}})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestN102Collisions: two accounts never share a name, and a name in any of its
// forms leads to the one account.
func TestN102Collisions(t *testing.T) {
	t.Parallel()
	d, _ := newDirectory(t)
	jose := create(t, d, "José", password)
	for _, form := range []string{"josé", "JOSE\u0301", " José ", "ｊosé"} {
		if _, err := d.Create(t.Context(), account.Person{Username: form, Password: password}); !errors.Is(err, account.ErrTaken) {
			t.Errorf("a second account %+q: %v, want ErrTaken", form, err)
		}
		if got, err := d.Check(t.Context(), form, password); err != nil || got.Subject != jose.Subject {
			t.Errorf("sign-in as %+q: %v, %v", form, got.Subject, err)
		}
	}
	if _, err := d.Create(t.Context(), account.Person{Username: "jоse", Password: password}); !errors.Is(err, account.ErrName) {
		t.Errorf("an account that looks like another: %v, want ErrName", err)
	}
	if _, err := d.Create(t.Context(), account.Person{Username: "x", Claims: map[string]any{"sub": "1"}}); err == nil {
		t.Error("a claim sub was taken")
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	d, db := newDirectory(t)
	ada := create(t, d, "Ada", password)
	none := create(t, d, "none", "")
	off := create(t, d, "off", password)
	broken := account.Account{Subject: "broken", Username: "broken", Display: "broken", Password: "$argon2id$v=19$m=999999999,t=1,p=1$c29tZXNhbHQ$a2V5", Created: time.Now()}
	if err := db.Accounts().Put(t.Context(), broken); err != nil {
		t.Fatal(err)
	}
	disable(t, db, off.Subject)
	for name, c := range map[string]struct {
		username, password, subject string
		want                        error
	}{
		"Right":       {"ADA", password, ada.Subject, nil},
		"Wrong":       {"ada", password + "!", ada.Subject, account.ErrWrong},
		"Prefix":      {"ada", password[:20], ada.Subject, account.ErrWrong},
		"OtherCase":   {"ada", strings.ToUpper(password), ada.Subject, account.ErrWrong},
		"Empty":       {"ada", "", ada.Subject, account.ErrWrong},
		"Unknown":     {"eve", password, "", account.ErrUnknown},
		"Impossible":  {"e\u200bve", password, "", account.ErrUnknown},
		"NoPassword":  {"none", password, none.Subject, account.ErrWrong},
		"NoPassword2": {"none", "no password of anybody", none.Subject, account.ErrWrong},
		"Dummy":       {"eve", "no password of anybody", "", account.ErrUnknown},
		"Disabled":    {"off", password, off.Subject, account.ErrDisabled},
		"OffAndWrong": {"off", "wrong", off.Subject, account.ErrWrong},
		"BrokenHash":  {"broken", password, "broken", account.ErrWrong},
	} {
		before := d.Hasher.Done()
		a, err := d.Check(t.Context(), c.username, c.password)
		if !errors.Is(err, c.want) || a.Subject != c.subject || (c.want != nil && !errors.Is(err, account.ErrRefused)) {
			t.Errorf("%s: %q, %v, want %q, %v", name, a.Subject, err, c.subject, c.want)
		}
		if n := d.Hasher.Done() - before; n != 1 { // N100: the same work for all
			t.Errorf("%s: %d hashes, want 1", name, n)
		}
	}
}

func disable(t *testing.T, db *sqlstore.DB, subject string) {
	t.Helper()
	now := time.Now()
	_, err := db.Revocations().End(t.Context(), revoke.Order{
		Kind: revoke.Subject, Value: subject, Reason: audit.UserDisabled, At: now, Until: now.Add(time.Hour), Disable: true,
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestN103Normalisation: one password in two normal forms is one password, of
// which all counts.
func TestN103Normalisation(t *testing.T) {
	t.Parallel()
	d, _ := newDirectory(t)
	create(t, d, "ada", "Crème brûlée à la carte, ﬁn")
	for _, same := range []string{
		"Cre\u0300me bru\u0302le\u0301e a\u0300 la carte, ﬁn",
		"Crème\u00a0brûlée\u2003à la carte, ﬁn",
	} {
		if _, err := d.Check(t.Context(), "ada", same); err != nil {
			t.Errorf("%+q: %v, want it to be the same password", same, err)
		}
	}
	if _, err := d.Check(t.Context(), "ada", "Crème brûlée à la carte, fin"); !errors.Is(err, account.ErrWrong) {
		t.Errorf("a ligature and its letters: %v, want two passwords", err)
	}
	var hundred strings.Builder
	for i := range 100 {
		hundred.WriteRune(rune(0x4e00 + i*7))
	}
	create(t, d, "bob", hundred.String())
	if _, err := d.Check(t.Context(), "bob", hundred.String()); err != nil {
		t.Errorf("100 different characters: %v", err)
	}
	long := strings.Repeat("all of it counts ", 61)[:account.MaxPassword-1]
	create(t, d, "carol", "9"+long[1:]+"x")
	for _, bad := range []string{"9" + long[1:], "9" + long[1:] + "y", "9" + long[1:] + "x\x00", "9" + long[1:] + "xx"} {
		if _, err := d.Check(t.Context(), "carol", bad); !errors.Is(err, account.ErrWrong) {
			t.Errorf("a longer, shorter or other password: %v, want ErrWrong", err)
		}
	}
}

func TestWeakPasswords(t *testing.T) {
	t.Parallel()
	d, _ := newDirectory(t)
	for password, want := range map[string]error{
		"fourteen chars": account.TooShort,
		"日本語の十四文字しかない暗号":                              account.TooShort,
		strings.Repeat("xyzzy plugh ", 90):            account.TooLong,
		"nothing typed\x00 has NUL":                   account.BadCharacters,
		"no \u202eoverride, no \x1b escape":           account.BadCharacters,
		"not UTF-8 \xff at all, really":               account.BadCharacters,
		"ada.lovelace1843":                            account.HasUsername,
		"aaaaaaaaaaaaaaaaaaaa":                        account.Repetitive,
		"abcxyabcxyabcxyabcxy":                        account.Repetitive,
		"passwordpassword123":                         account.WellKnown,
		"Password123456789!":                          account.WellKnown,
		"abcdefghijklmnopqrst":                        account.WellKnown,
		"qwertyuiop1234567890":                        account.WellKnown,
		"P@ssw0rdWelcome2026!":                        account.WellKnown,
		"correcthorsebatterystaple":                   account.WellKnown,
		"123456789012345678":                          account.WellKnown,
		"my dog eats blue socks":                      nil,
		"日本語の十五文字もある暗号ですよ":                            nil,
		"Ada.Lovelace wrote the first program of all": nil,
		"4821 5903 7716 0042 grün":                    nil,
	} {
		_, err := d.Create(t.Context(), account.Person{Username: "ada.lovelace", Password: password})
		switch {
		case want == nil && (err == nil || errors.Is(err, account.ErrTaken)):
		case errors.Is(err, want) && want != nil:
		default:
			t.Errorf("%+.30q: %v, want %v", password, err, want)
		}
	}
}

func TestSetPassword(t *testing.T) {
	t.Parallel()
	d, db := newDirectory(t)
	ada := create(t, d, "ada", password)
	const next = "another phrase of no well known words"
	if err := d.SetPassword(t.Context(), ada.Subject, "short"); !errors.Is(err, account.TooShort) {
		t.Errorf("a weak password: %v, want TooShort", err)
	}
	if err := d.SetPassword(t.Context(), "nobody", next); !errors.Is(err, account.ErrNone) {
		t.Errorf("of nobody: %v, want ErrNone", err)
	}
	if err := d.SetPassword(t.Context(), ada.Subject, next); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Check(t.Context(), "ada", password); !errors.Is(err, account.ErrWrong) {
		t.Errorf("the old password: %v, want ErrWrong", err)
	}
	if _, err := d.Check(t.Context(), "ada", next); err != nil {
		t.Errorf("the new password: %v", err)
	}
	list, err := db.Events(t.Context(), sqlstore.EventQuery{Subject: ada.Subject, Kind: audit.AccountChanged})
	if err != nil || len(list) != 2 {
		t.Errorf("events %+v, %v, want of creation and change", list, err)
	}
}

// TestConcurrentSetPassword: however they interleave, one of the new passwords
// is the password in the end, and no other is.
func TestConcurrentSetPassword(t *testing.T) {
	t.Parallel()
	d, _ := newDirectory(t)
	ada := create(t, d, "ada", password)
	var wg sync.WaitGroup
	var mu sync.Mutex
	set := 0
	for i := range 4 {
		wg.Go(func() {
			err := d.SetPassword(t.Context(), ada.Subject, fmt.Sprintf("new phrase for thread %d only", i))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				set++
			} else if !errors.Is(err, account.ErrConflict) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	right := 0
	for i := range 4 {
		if _, err := d.Check(t.Context(), "ada", fmt.Sprintf("new phrase for thread %d only", i)); err == nil {
			right++
		}
	}
	if _, err := d.Check(t.Context(), "ada", password); right != 1 || set == 0 || err == nil {
		t.Errorf("%d passwords were set, %d are right, the old one: %v", set, right, err)
	}
}

// staleStore changes the account between loading and storing.
type staleStore struct {
	account.Store
	meanwhile func(ctx context.Context) error
}

func (s *staleStore) ByUsername(ctx context.Context, username string) (account.Account, error) {
	a, err := s.Store.ByUsername(ctx, username)
	if s.meanwhile != nil && err == nil {
		err = s.meanwhile(ctx)
		s.meanwhile = nil
	}
	return a, err
}

// TestUpgrade: a sign-in replaces an old hash, and never a password that was set
// meanwhile.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	d, db := newDirectory(t)
	const imported = "$2b$06$abcdefghijklmnopqrstuu50eFBEC8vQwBnuFXMHE45jBnqvQ8xz."
	for _, name := range []string{"ada", "bob"} {
		a := account.Account{Subject: name, Username: name, Display: name, Password: imported, Created: time.Now()}
		if err := db.Accounts().Put(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	const old, next = "correct horse battery", "another phrase of no well known words"
	if _, err := d.Check(t.Context(), "ada", old+"!"); !errors.Is(err, account.ErrWrong) {
		t.Fatal(err)
	}
	if a, err := d.ByName(t.Context(), "ada"); err != nil || a.Password != imported {
		t.Fatalf("a wrong password changed the hash: %v", err)
	}
	got, err := d.Check(t.Context(), "ada", old)
	if err != nil || !strings.HasPrefix(got.Password, "$argon2id$") {
		t.Fatalf("%q, %v, want a new hash", got.Password, err)
	}
	if a, err := d.ByName(t.Context(), "ada"); err != nil || a.Password != got.Password || a.Version != got.Version {
		t.Errorf("stored %q at %d (%v), want what was returned: %q at %d", a.Password, a.Version, err, got.Password, got.Version)
	}
	if _, err := d.Check(t.Context(), "ada", old); err != nil {
		t.Errorf("with the new hash: %v", err)
	}

	inner := *d
	d.Store = &staleStore{Store: db.Accounts(), meanwhile: func(ctx context.Context) error { return inner.SetPassword(ctx, "bob", next) }}
	if _, err := d.Check(t.Context(), "bob", old); err != nil {
		t.Errorf("a sign-in that began before the change: %v", err)
	}
	if _, err := d.Check(t.Context(), "bob", next); err != nil {
		t.Errorf("the upgrade undid a change of the password: %v", err)
	}
}

// TestCreateWithHash: a person comes with the hash of another system, signs in
// with the password behind it, and has a hash of ours from then on.
func TestCreateWithHash(t *testing.T) {
	t.Parallel()
	d, _ := newDirectory(t)
	const bcrypt = "$2b$06$abcdefghijklmnopqrstuu50eFBEC8vQwBnuFXMHE45jBnqvQ8xz."
	a, err := d.Create(t.Context(), account.Person{Username: "dora", Hash: bcrypt})
	if err != nil || a.Password != bcrypt {
		t.Fatalf("create: %v", err)
	}
	if a, err = d.Check(t.Context(), "dora", "correct horse battery"); err != nil || !strings.HasPrefix(a.Password, "$argon2id$") {
		t.Errorf("after the first sign-in: %.10s, %v", a.Password, err)
	}
	for _, p := range []account.Person{
		{Username: "emil", Hash: "plain"}, {Username: "emil", Hash: bcrypt, Password: "tangled otter umbrella seven"},
	} {
		if _, err := d.Create(t.Context(), p); err == nil {
			t.Errorf("created with hash %q and password %q", p.Hash, p.Password)
		}
	}
}
