// Package account owns people and what they prove themselves with: records and
// checks. It begins no session.
//
// The invariant: a username has one canonical form, at creation and at sign-in,
// and two accounts never share one.
package account

import (
	"context"
	"errors"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
)

// An Account is a person.
type Account struct {
	Subject  string // never used again for somebody else
	Version  int64  // changes with every write; 0: not stored yet
	Username string // canonical
	Display  string // as it was typed
	// Password is the hash in PHC or crypt form; empty: none.
	Password string
	// Claims are the OpenID Connect standard claims of the person (Core,
	// section 5.1) but for sub, as JSON values.
	Claims   map[string]any
	Created  time.Time
	Disabled time.Time // zero: enabled
}

// Errors of a Store.
var (
	// ErrNone says that there is no such account.
	ErrNone = errors.New("no such account")
	// ErrTaken says that the username belongs to another account.
	ErrTaken = errors.New("username is taken")
	// ErrConflict says that the account was changed by somebody else.
	ErrConflict = errors.New("account was changed meanwhile")
)

// Store is the memory of the package.
type Store interface {
	// ByUsername returns the account with the canonical username, or [ErrNone].
	ByUsername(ctx context.Context, username string) (Account, error)
	// BySubject returns the account of the subject, or [ErrNone].
	BySubject(ctx context.Context, subject string) (Account, error)
	// Accounts returns at most limit accounts whose username is after the
	// given one, in order.
	Accounts(ctx context.Context, after string, limit int) ([]Account, error)
	// Put stores a if the stored one is at a.Version (0: if there is none),
	// and raises the version; else it is [ErrConflict], or [ErrTaken]. Events
	// travel in the same transaction. It does not change Disabled of an
	// account that exists: that is for package revoke, with what must end.
	Put(ctx context.Context, a Account, events ...audit.Event) error
}
