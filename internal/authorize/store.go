package authorize

import (
	"context"
	"errors"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/opaque"
)

// Pushed is a pushed authorization request (RFC 9126).
type Pushed struct {
	Digest  opaque.Digest
	Client  string
	Query   string // the parameters, URL-encoded
	Expires time.Time
	Used    time.Time // when the flow that it began was completed; zero: not yet
}

// A Consent is what a person has allowed a client.
type Consent struct {
	Subject string
	Client  string
	Scope   []string
	Given   time.Time
}

// Errors of a Store.
var (
	// ErrNone says that there is no such request or consent.
	ErrNone = errors.New("no such request or consent")
	// ErrFull says that the client has too many requests pending.
	ErrFull = errors.New("too many pushed requests are pending")
)

// Store is the memory of the package.
type Store interface {
	// Push stores a request, or is [ErrFull] where the client has at least
	// limit that have neither expired nor been used at now.
	Push(ctx context.Context, p Pushed, now time.Time, limit int) error
	// Pushed returns the request with the digest, used or not, or [ErrNone].
	Pushed(ctx context.Context, d opaque.Digest) (Pushed, error)
	// Use marks the request as used and reports whether it was not before. Of
	// any number of concurrent calls one is told true.
	Use(ctx context.Context, d opaque.Digest, now time.Time) (bool, error)
	// Consent returns what the person has allowed the client, or [ErrNone].
	Consent(ctx context.Context, subject, client string) (Consent, error)
	// Allow adds to what the person has allowed the client: scopes once given
	// stay. The event travels in the same transaction. Package revoke takes
	// consents away.
	Allow(ctx context.Context, c Consent, e audit.Event) error
}
