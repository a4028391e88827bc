package revoke

import (
	"context"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
)

// Kind says what a revocation names.
type Kind string

// The kinds. The words are those of the claims that they are compared with.
const (
	Token   Kind = "jti"    // one access token
	Family  Kind = "family" // everything of one authorization
	Session Kind = "sid"    // everything of one sign-on session
	Subject Kind = "sub"    // every token of a person issued at or before a moment
	Client  Kind = "client" // every token of a client issued at or before a moment
	Key     Kind = "kid"    // every token signed with a key
	Device  Kind = "jkt"    // everything bound to a key
	Epoch   Kind = "epoch"  // every token issued at or before a moment
)

// History is the kind of an order that names nothing: the database has lost
// history, and the numbers of the feed go on where nobody has been. See [Leap].
const History Kind = "history"

// Leap divides the number after which the feed goes on when history was lost:
// that is so many times the second of the restore. So it is past all numbers
// that anybody can have seen.
const Leap = 1 << 21

// An Entry is one line of the revocation feed.
type Entry struct {
	Number int64        `json:"seq"` // without gaps, from 1; but see [Leap]
	Kind   Kind         `json:"kind"`
	Value  string       `json:"value,omitempty"`
	Before int64        `json:"before,omitempty"` // unix seconds; for Subject, Client and Epoch
	Reason audit.Reason `json:"reason"`
	At     int64        `json:"at"`  // unix milliseconds
	Until  int64        `json:"exp"` // unix seconds after which no token that it names can be valid
}

// An Order says what is to end, and why.
type Order struct {
	Kind   Kind
	Value  string
	Reason audit.Reason
	At     time.Time
	// Until is when the last access token that the order can name has expired.
	Until time.Time
	// Client restricts an order of kind Subject to what one client holds: the
	// withdrawal of a consent.
	Client string
	// Offline lets an order of kind Session or Subject also end what was
	// granted offline access. Orders of kind Subject without a Client always do.
	Offline bool
	// Except is a session that an order of kind Subject spares.
	Except string
	// Note goes into the event.
	Note string
	// Disable also disables the account (kind Subject) or client (kind Client)
	// in the same transaction; Delete removes the account.
	Disable, Delete bool
}

// ClientLag is for how long a node may go on taking a client for enabled. The
// revocation that goes with disabling one reaches so far ahead.
const ClientLag = 6 * time.Second

// Ended is what an order ended.
type Ended struct {
	Sessions, Families int
	// Number is that of the newest feed entry that the order wrote; 0 if there
	// was nothing to tell.
	Number int64
}

// A Question asks whether a token that verifies still counts.
type Question struct {
	Token, Family, Session, Subject, Client string

	Key    string // kid of the key that signed it
	Device string // thumbprint of the key that it is bound to
	Issued time.Time
}

// Store is the memory of the package.
type Store interface {
	// End carries out an order in one transaction: it marks sessions and
	// families as ended, with the one reason, leaves what has ended before as
	// it is, appends to the feed what verifiers must know, and writes the
	// events. When it returns nil that is durable. Feed numbers have no gaps
	// and become visible in order.
	//
	//   - Session: the session, and its families without offline access.
	//   - Family: the family.
	//   - Subject: all sessions and families of the person; the feed names each
	//     of them and, last, the person, before the second of At, so that
	//     whoever signs in again within it gets tokens that count; where the
	//     person may not sign in again, that second included.
	//   - Client: all families of the client; the feed names the client, and
	//     with Disable reaches [ClientLag] ahead.
	//   - Device: all families and unused codes that are bound to the key; the
	//     feed names each of the families and, last, the key.
	//   - Token, Key, Epoch: the feed only; Epoch also ends all families and
	//     sessions.
	//   - History: an event, and the next number is past all that there were.
	End(ctx context.Context, o Order) (Ended, error)

	// EndExpired ends at most limit sessions and families that have passed
	// their idle or absolute end, each with that reason and event, and returns
	// how many it ended.
	EndExpired(ctx context.Context, now time.Time, limit int) (int, error)

	// Since returns at most limit entries of the feed that are still of use
	// and come after number, in order, and the newest number there is.
	Since(ctx context.Context, number int64, now time.Time, limit int) (entries []Entry, newest int64, err error)

	// Counts reports whether a token counts at now: its family and session
	// live, and no revocation names it.
	Counts(ctx context.Context, q Question, now time.Time) (bool, error)

	// Wake calls f, which does not block, soon after entries may have been
	// appended by anybody, on this node or another, until ctx ends. It may
	// call f too often. It returns only when ctx has ended or the source is
	// broken; then the caller polls and calls it again.
	Wake(ctx context.Context, f func()) error
}
