// Package session owns sign-on sessions: a person's presence in one browser or
// device, from sign-in until it ends.
//
// Sessions begin at one place only, [Gate], whatever way somebody signed in.
// Their end is the business of package revoke, which ends what belongs to them
// in the same transaction. The invariant: a session identifier that a client
// held before an authentication is worth nothing after it.
package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/opaque"
)

// A Session is a person's sign-on in one browser or on one device.
type Session struct {
	ID      string // the sid claim; stays when the person proves again who they are
	Version int64
	Handle  opaque.Digest // of the cookie; another after every authentication
	Subject string

	AuthTime time.Time // of the last authentication
	ACR      string
	AMR      []string
	Remember bool // chosen at sign-in: outlives the browser's own session

	Begun       time.Time
	LastSeen    time.Time
	IdleEnd     time.Time
	AbsoluteEnd time.Time
	Network     string // client address at the last authentication
	Agent       string

	Ended  time.Time // zero while the session lives
	Reason audit.Reason
}

// Live reports whether the session can be used at now.
func (s *Session) Live(now time.Time) bool {
	return s.Ended.IsZero() && now.Before(s.IdleEnd) && now.Before(s.AbsoluteEnd)
}

// What a Store may refuse with.
var (
	// ErrNone says that there is no such session.
	ErrNone = errors.New("no such session")
	// ErrBarred says that the person may not sign in: disabled or deleted.
	ErrBarred = errors.New("the account may not sign in")
	// ErrStale says that the session has changed since it was loaded, or has
	// ended.
	ErrStale = errors.New("session has changed")
)

// Store is the memory of the package.
type Store interface {
	// Begin stores a new session, in one transaction with its event. It is
	// [ErrBarred] if the account of the subject is disabled or gone at that
	// moment, ordered against the transaction that disables it, so that no
	// session slips past.
	Begin(ctx context.Context, s Session, e audit.Event) error

	// ByHandle returns the session whose cookie has the digest, live or ended,
	// or [ErrNone].
	ByHandle(ctx context.Context, d opaque.Digest) (Session, error)

	// Sessions returns the sessions of a subject that are not ended, newest
	// first; of all subjects if subject is empty, at most 1,000.
	Sessions(ctx context.Context, subject string) ([]Session, error)

	// Renew replaces what an authentication changes (Handle,
	// AuthTime, ACR, AMR, Remember, LastSeen, IdleEnd, Network, Agent) of a
	// session that is still at the version and has not ended, and raises the
	// version; else it is [ErrStale]. Events travel in the same transaction.
	// Like Begin it is [ErrBarred] for somebody who may not sign in.
	Renew(ctx context.Context, s Session, events ...audit.Event) error

	// Seen notes a visit and reports whether the handle is still that of a
	// session that has not ended. It moves LastSeen and IdleEnd forward only,
	// leaves the version as it is, and need not look at the account: disabling
	// one ends its sessions. When it returns that is durable.
	Seen(ctx context.Context, v Visit) (bool, error)
}

// A Visit says that the holder of a cookie was here.
type Visit struct {
	Handle  opaque.Digest // of the cookie
	At      time.Time
	IdleEnd time.Time // until when the session lives if there is no other visit
}

// Life is for how long a session lives.
type Life struct {
	Idle, Absolute time.Duration
}

// An Entry is what somebody has proven: the only thing for which the gate opens.
type Entry struct {
	Subject  string
	ACR      string
	AMR      []string // RFC 8176
	Remember bool
	Network  string
	Agent    string
}

// A Gate issues sessions. Nothing else does.
type Gate struct {
	Store Store
	Life  Life
	// Now returns the time; nil means time.Now.
	Now func() time.Time
}

// touchEvery throttles the writing of last-seen times.
const touchEvery = time.Minute

// Enter begins a session for what was proven, or renews old if that is a live
// session of the same person, and returns the new value of its cookie. Either
// way the value that the browser held before is worth nothing afterwards. The
// session of another person is not touched: the caller ends it.
func (g *Gate) Enter(ctx context.Context, e Entry, old *Session) (opaque.Handle, Session, error) {
	now := g.now()
	h := opaque.New(opaque.Session)
	s := Session{
		ID: opaque.NewID(), Subject: e.Subject, Begun: now,
		AbsoluteEnd: now.Add(g.Life.Absolute),
	}
	kind := audit.SessionBegun
	if old != nil && old.Subject == e.Subject && old.Live(now) {
		s, kind = *old, audit.SessionRenewed
	}
	s.Handle = h.Digest()
	s.AuthTime, s.LastSeen = now, now
	s.ACR, s.AMR, s.Remember = e.ACR, e.AMR, e.Remember
	s.Network, s.Agent = e.Network, e.Agent
	s.IdleEnd = g.idleEnd(s, now)
	event := audit.Event{
		Time: now, Kind: kind, Subject: s.Subject, Session: s.ID,
		Parties: []audit.Party{{Time: now, Network: e.Network, Agent: e.Agent}},
	}
	if kind == audit.SessionRenewed {
		err := g.renew(ctx, &s, old.Handle, event)
		if errors.Is(err, ErrNone) { // ended, or renewed by somebody else, meanwhile
			return g.Enter(ctx, e, nil)
		}
		if err != nil {
			return opaque.Handle{}, Session{}, fmt.Errorf("renew session: %w", err)
		}
		return h, s, nil
	}
	if err := g.Store.Begin(ctx, s, event); err != nil {
		return opaque.Handle{}, Session{}, fmt.Errorf("begin session: %w", err)
	}
	s.Version = 1
	return h, s, nil
}

// renewTries is how often something else may change a session while it is
// renewed.
const renewTries = 5

// renew stores s in place of the session that has the handle old. A visit that
// was noted meanwhile changes nothing about that; it is [ErrNone] if there is no
// live session with that handle any more.
func (g *Gate) renew(ctx context.Context, s *Session, old opaque.Digest, e audit.Event) error {
	for range renewTries {
		err := g.Store.Renew(ctx, *s, e)
		if err == nil {
			s.Version++
		}
		if !errors.Is(err, ErrStale) {
			return err
		}
		found, err := g.Store.ByHandle(ctx, old)
		if err != nil {
			return err
		}
		if !found.Live(g.now()) {
			return ErrNone
		}
		s.Version = found.Version
	}
	return ErrStale
}

// Visit returns the live session whose cookie is value, and notes that it was
// seen, at most once a minute. It is [ErrNone] for a value that is not, or no
// longer, that of a live session.
func (g *Gate) Visit(ctx context.Context, value string) (Session, error) {
	h, err := opaque.Parse(opaque.Session, value)
	if err != nil {
		return Session{}, ErrNone
	}
	s, err := g.Store.ByHandle(ctx, h.Digest())
	if err != nil {
		return Session{}, err
	}
	now := g.now()
	if !s.Live(now) {
		return Session{}, ErrNone
	}
	if now.Sub(s.LastSeen) < touchEvery {
		return s, nil
	}
	s.LastSeen, s.IdleEnd = now, g.idleEnd(s, now)
	live, err := g.Store.Seen(ctx, Visit{Handle: s.Handle, At: now, IdleEnd: s.IdleEnd})
	if err == nil && !live { // it was ended, or has got another cookie, meanwhile
		err = ErrNone
	}
	if err != nil {
		return Session{}, err
	}
	return s, nil
}

func (g *Gate) idleEnd(s Session, now time.Time) time.Time {
	end := now.Add(g.Life.Idle)
	if end.After(s.AbsoluteEnd) {
		return s.AbsoluteEnd
	}
	return end
}

func (g *Gate) now() time.Time {
	if g.Now != nil {
		return g.Now()
	}
	return time.Now()
}
