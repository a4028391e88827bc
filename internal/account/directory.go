package account

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/opaque"
)

// Why somebody is not let in. All three are [ErrRefused]; nobody outside may
// learn which.
var (
	ErrRefused  = errors.New("sign-in refused")
	ErrUnknown  = fmt.Errorf("%w: no such account", ErrRefused)
	ErrWrong    = fmt.Errorf("%w: wrong password", ErrRefused)
	ErrDisabled = fmt.Errorf("%w: account is disabled", ErrRefused)
)

// A Directory creates accounts and checks passwords. Set the fields before use.
type Directory struct {
	Store  Store
	Hasher *Hasher
	// Now returns the time; nil means time.Now.
	Now func() time.Time
}

// A Person is somebody to create an account for.
type Person struct {
	Username string // as it was typed
	Password string // empty: none
	// Hash is the hash of a password in the form of another system, see
	// [Hasher.Verify]; it is replaced at the first sign-in. Empty: none.
	Hash string
	// Claims are the standard claims of the person but for sub; nil: none.
	Claims map[string]any
}

// Create stores a new account and returns it. It is [ErrName], a [Weakness] or
// [ErrTaken] if the person cannot have it.
func (d *Directory) Create(ctx context.Context, p Person) (Account, error) {
	name, err := Canonical(p.Username)
	if err != nil {
		return Account{}, err
	}
	if _, ok := p.Claims["sub"]; ok {
		return Account{}, errors.New("claim sub cannot be chosen")
	}
	a := Account{
		Subject: opaque.NewID(), Username: name, Display: strings.TrimSpace(p.Username),
		Claims: maps.Clone(p.Claims), Created: d.now(),
	}
	switch {
	case p.Password != "" && p.Hash != "":
		return Account{}, errors.New("a password and a hash exclude each other")
	case p.Password != "":
		a.Password, err = d.newHash(ctx, p.Password, name)
	case p.Hash != "":
		a.Password, err = p.Hash, d.Hasher.Accepts(p.Hash)
	}
	if err != nil {
		return Account{}, err
	}
	if err := d.Store.Put(ctx, a, d.changed(a, "created")); err != nil {
		return Account{}, fmt.Errorf("create account: %w", err)
	}
	a.Version = 1
	return a, nil
}

// SetPassword gives the account of the subject another password. Ending what
// was begun with the old one is up to the caller.
func (d *Directory) SetPassword(ctx context.Context, subject, password string) error {
	const attempts = 5
	for n := 1; ; n++ {
		a, err := d.Store.BySubject(ctx, subject)
		if err != nil {
			return fmt.Errorf("load account: %w", err)
		}
		if a.Password, err = d.newHash(ctx, password, a.Username); err != nil {
			return err
		}
		err = d.Store.Put(ctx, a, d.changed(a, "password set"))
		if err == nil {
			return nil
		}
		if n == attempts || !errors.Is(err, ErrConflict) {
			return fmt.Errorf("set password: %w", err)
		}
	}
}

// Check returns the account whose username and password these are. If it is
// [ErrRefused] the account that was meant is returned as well, as far as there
// is one, for the record. Unknown, disabled and existing accounts take the same
// work. A weak hash is replaced on the way.
func (d *Directory) Check(ctx context.Context, username, password string) (Account, error) {
	a, err := d.find(ctx, username)
	if err != nil {
		return Account{}, err
	}
	prepared, bad := preparePassword(password)
	ok, upgrade, err := d.Hasher.Verify(ctx, prepared, a.Password)
	if errors.Is(err, ErrHash) { // nothing can match it: as if there were none
		a.Password = ""
		ok, upgrade, err = d.Hasher.Verify(ctx, prepared, "")
	}
	switch {
	case err != nil:
		return Account{}, fmt.Errorf("verify password: %w", err)
	case a.Subject == "":
		return Account{}, ErrUnknown
	case !ok || bad != nil || prepared == "":
		return a, ErrWrong
	case !a.Disabled.IsZero():
		return a, ErrDisabled
	case upgrade:
		return d.upgrade(ctx, a, prepared), nil
	}
	return a, nil
}

// find returns the account with the name, and none if there is none or the name
// cannot be one.
func (d *Directory) find(ctx context.Context, username string) (Account, error) {
	name, err := Canonical(username)
	if errors.Is(err, ErrName) {
		return Account{}, nil //nolint:nilerr // a name that nobody can have is that of nobody
	}
	a, err := d.Store.ByUsername(ctx, name)
	if err != nil && !errors.Is(err, ErrNone) {
		return Account{}, fmt.Errorf("load account: %w", err)
	}
	return a, nil
}

// upgrade stores a new hash of a password that was right. The person is let in
// whether or not that works out: another sign-in can do it.
func (d *Directory) upgrade(ctx context.Context, a Account, prepared string) Account {
	better := a
	hash, err := d.Hasher.Hash(ctx, prepared)
	if err == nil {
		better.Password = hash
		err = d.Store.Put(ctx, better, d.changed(a, "password hash renewed"))
	}
	if err != nil {
		return a
	}
	better.Version++
	return better
}

// ByName returns the account with the username in any of its forms, or
// [ErrNone].
func (d *Directory) ByName(ctx context.Context, username string) (Account, error) {
	name, err := Canonical(username)
	if err != nil {
		return Account{}, ErrNone
	}
	return d.Store.ByUsername(ctx, name)
}

// List returns at most limit accounts whose username is after the given one, in
// order.
func (d *Directory) List(ctx context.Context, after string, limit int) ([]Account, error) {
	return d.Store.Accounts(ctx, after, limit)
}

func (d *Directory) newHash(ctx context.Context, password, username string) (string, error) {
	prepared, err := preparePassword(password)
	if err != nil {
		if utf8.RuneCountInString(password) < MinPassword {
			return "", TooShort
		}
		return "", err
	}
	if err := judgePassword(prepared, username); err != nil {
		return "", err
	}
	return d.Hasher.Hash(ctx, prepared)
}

func (d *Directory) changed(a Account, note string) audit.Event {
	return audit.Event{Time: d.now(), Kind: audit.AccountChanged, Subject: a.Subject, Note: note}
}

func (d *Directory) now() time.Time {
	if d.Now != nil {
		return d.Now()
	}
	return time.Now()
}
