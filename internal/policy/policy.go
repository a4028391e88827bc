// Package policy owns named session policies: for how long anything lives, how
// refresh tokens behave, and what ends a session. Policies are plain values;
// whoever needs one takes it as an argument.
//
// Zero values are the careful choice, never "for ever": see [Policy.Check].
package policy

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Refresh says how refresh tokens behave.
type Refresh string

// The ways in which refresh tokens behave.
const (
	// Rotate: each use gives the next one. That of a confidential client that
	// is bound to a key stays the same.
	Rotate Refresh = "rotate"
	None   Refresh = "none" // none is issued: sign in again
)

// A Policy is one setting of the dial.
type Policy struct {
	Name string

	// AccessLife is how long an access token lives: at most [MaxAccessLife].
	AccessLife time.Duration
	// Idle and Absolute bound a family: it ends when it was not used for Idle,
	// and in any case Absolute after it began.
	Idle, Absolute time.Duration
	// SessionIdle and SessionAbsolute bound the person's sign-on session.
	SessionIdle, SessionAbsolute time.Duration

	// Refresh says how refresh tokens behave; empty means [Rotate].
	Refresh Refresh
	// Overlap is for how long after a rotation the parent still answers with
	// the same successor (racing tabs).
	Overlap time.Duration
	// LostResponse is for how long the parent of an unconfirmed generation
	// still answers with the same successor, where the client's APIs report
	// use.
	LostResponse time.Duration
	// MaxRetries caps the answers given within LostResponse for each
	// generation.
	MaxRetries int
	// EndOnSameKeyReplay treats an ancestor of a bound family as theft even
	// when it is shown with the right key.
	EndOnSameKeyReplay bool
}

// MaxAccessLife is the longest life of any access token, and so the longest
// time for which a revocation has to be remembered by those who verify.
const MaxAccessLife = time.Hour

// The defaults of the rotation contract.
const (
	defaultOverlap      = 30 * time.Second
	defaultLostResponse = 24 * time.Hour
	defaultMaxRetries   = 5
)

// Check returns what is wrong with p, or nil.
func (p Policy) Check() error {
	switch {
	case p.Name == "":
		return errors.New("a policy needs a name")
	case p.AccessLife <= 0 || p.AccessLife > MaxAccessLife:
		return fmt.Errorf("policy %s: the access lifetime must be between 1s and %s", p.Name, MaxAccessLife)
	case p.Idle <= 0 || p.Absolute <= 0:
		return fmt.Errorf("policy %s: both an idle and an absolute end are needed", p.Name)
	case p.SessionIdle <= 0 || p.SessionAbsolute <= 0:
		return fmt.Errorf("policy %s: both an idle and an absolute end of the session are needed", p.Name)
	case !slices.Contains([]Refresh{"", Rotate, None}, p.Refresh):
		return fmt.Errorf("policy %s: unknown refresh mode %q", p.Name, p.Refresh)
	}
	return nil
}

// Named returns the preset with the given name.
func Named(name string) (Policy, bool) {
	for _, p := range Presets() {
		if p.Name == name {
			return p, true
		}
	}
	return Policy{}, false
}

// Presets returns the policies that ship ready.
func Presets() []Policy {
	const day = 24 * time.Hour
	base := Policy{
		AccessLife: 5 * time.Minute,
		Idle:       12 * time.Hour, Absolute: 30 * day,
		SessionIdle: 12 * time.Hour, SessionAbsolute: 30 * day,
		Refresh: Rotate, Overlap: defaultOverlap,
		LostResponse: defaultLostResponse, MaxRetries: defaultMaxRetries,
	}
	with := func(name string, change func(*Policy)) Policy {
		p := base
		p.Name = name
		change(&p)
		return p
	}
	return []Policy{
		with("web", func(*Policy) {}),
		with("spa", func(*Policy) {}),
		with("mobile", func(p *Policy) {
			p.Idle, p.Absolute = 90*day, 365*day
			p.SessionIdle, p.SessionAbsolute = 90*day, 365*day
		}),
		with("bank", func(p *Policy) {
			p.Idle, p.Absolute = 15*time.Minute, 8*time.Hour
			p.SessionIdle, p.SessionAbsolute = 15*time.Minute, 8*time.Hour
			p.EndOnSameKeyReplay = true
		}),
		with("kiosk", func(p *Policy) {
			p.Idle, p.Absolute = 10*time.Minute, 2*time.Hour
			p.SessionIdle, p.SessionAbsolute = 10*time.Minute, 2*time.Hour
		}),
		with("service", func(p *Policy) { p.Refresh = None }),
	}
}
