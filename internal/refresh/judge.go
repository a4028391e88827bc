package refresh

import (
	"slices"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/policy"
)

// Rules are what a decision depends on besides the family: the session policy,
// and what the client is registered as.
type Rules struct {
	policy.Policy
	// SendsAttempts says that the client sends an attempt key with each
	// refresh and that its tabs take turns: there is neither an overlap nor a
	// lost-response window, for a retry shows the key.
	SendsAttempts bool
	// APIsReport says that the client's APIs report the first use of access
	// tokens. Without it there is no lost-response window.
	APIsReport bool
	// NotifyOnly answers a replay that may be a theft with a refusal and an
	// event, and lets the family live.
	NotifyOnly bool
	// KeepsTokens says that the client is confidential, so that its refresh
	// token stays the same where the family is bound as well (FAPI 2.0 Security
	// Profile, section 5.3.2.1).
	KeepsTokens bool
	// AnyKey says that the client is confidential: its refresh tokens are bound
	// to the way in which it authenticates, so that a bound family asks for a
	// proof, but with whatever key (RFC 9449, section 5). One that is not the
	// key of the family decides nothing.
	AnyKey bool
	// BoundOnly refuses a family that is bound to no key.
	BoundOnly bool
}

// Shown is a refresh token as it was presented, after its MAC, the client and
// the proof were checked.
type Shown struct {
	Generation int64
	Client     string
	Scope      []string      // asked for; empty: all that was granted
	Audience   []string      // asked for; empty: all that was granted
	Key        string        // thumbprint of the key that was proven; empty: none
	Attempt    opaque.Digest // digest of the attempt key; all zero: none was sent
	Network    string
	Agent      string
}

// Answer is what a decision means for the one who asked.
type Answer int

// The answers.
const (
	Refused  Answer = iota // invalid_grant; see Verdict.Why
	Rotated                // the family has a new generation: hand it out
	Repeated               // hand out the current generation again
	Kept                   // the same token stays in use
)

// Why says what a refusal is about. It is for the event and the log; the client
// is told the same whatever it is, but for WrongScope and WrongTarget.
type Why string

// The causes of refusals. A family that has ended is refused with its reason.
const (
	Unknown      Why = "unknown"
	WrongClient  Why = "wrong_client"
	WrongKey     Why = "wrong_key"
	WrongScope   Why = "wrong_scope"
	WrongTarget  Why = "wrong_target"
	Replayed     Why = "replayed" // a replay that ended nothing, as the client's rules want it
	MissingProof Why = "missing_proof"
	Unbound      Why = "unbound" // the client's families must be bound to a key
)

// A Verdict is what a shown token means.
type Verdict struct {
	Answer Answer
	Why    Why // of a refusal
	// State is the state after the decision; equal to the one before it unless
	// Changed.
	State      State
	Changed    bool
	EndSession bool
	Events     []audit.Event
}

// Judge says what a token of f, shown as s says, means at the time now. It is a
// pure function: it may be called any number of times for one request. The
// first row of the table in docs/rotation.md that fits, fits.
func Judge(r Rules, f Family, s Shown, now time.Time) Verdict {
	j := judgement{r: r, f: f, s: s, now: now}
	switch {
	case s.Client != f.Client:
		return j.refuse(WrongClient)
	case !f.Ended.IsZero():
		return j.refuse(Why(f.Reason))
	case !now.Before(f.AbsoluteEnd):
		return j.refuse(Why(audit.AbsoluteTimeout))
	case !now.Before(f.IdleEnd):
		return j.refuse(Why(audit.IdleTimeout))
	case f.Bound() && s.Key != f.Key && (s.Key == "" || !r.AnyKey):
		return j.foreignKey()
	case r.BoundOnly && !f.Bound():
		return j.refuse(Unbound)
	case s.Generation > f.Generation:
		return j.end(audit.Epoch, audit.FamilyEnded, "the database has lost history: if it was restored from a backup, run fastbind restore finish")
	case !subset(s.Scope, f.Scope):
		return j.refuse(WrongScope)
	case !subset(s.Audience, f.Audience):
		return j.refuse(WrongTarget)
	case s.Generation == f.Generation:
		return j.current()
	case f.Bound() && s.Key == f.Key:
		return j.boundReplay()
	case s.Generation == f.Generation-1:
		return j.unboundParent()
	}
	return j.theft()
}

type judgement struct {
	r   Rules
	f   Family
	s   Shown
	now time.Time
}

func (j judgement) refuse(why Why) Verdict {
	return Verdict{Answer: Refused, Why: why, State: j.f.State}
}

func (j judgement) current() Verdict {
	n := j.f.State
	n.Confirmed = max(n.Confirmed, n.Generation)
	n.IdleEnd = j.idleEnd()
	if j.r.KeepsTokens && j.f.Bound() {
		return Verdict{Answer: Kept, State: n, Changed: true}
	}
	n.Generation++
	n.Rotated, n.Attempt, n.Network, n.Agent = j.now, j.s.Attempt, j.s.Network, j.s.Agent
	n.Replays, n.Retries, n.Alarms = 0, 0, 0
	if n.ShadowedIn < j.f.Generation {
		n.Shadows = 0 // the generation that ends here was not shadowed: the run is over
	}
	return Verdict{Answer: Rotated, State: n, Changed: true}
}

// repeat hands out the current generation again. That is a use.
func (j judgement) repeat() Verdict {
	n := j.f.State
	n.Replays++
	n.IdleEnd = j.idleEnd()
	return Verdict{Answer: Repeated, State: n, Changed: true}
}

// boundReplay answers a parent or an ancestor that was shown with the family's
// own key. The key decides, so several processes may share one credential.
func (j judgement) boundReplay() Verdict {
	again := j.repeat()
	switch {
	case j.s.Generation == j.f.Generation-1:
		return again
	case j.r.EndOnSameKeyReplay:
		return j.theft()
	case j.f.Confirmed < j.f.Generation || j.f.ShadowedIn == j.f.Generation:
		return again // not unusual, or told already
	}
	again.State.Shadows, again.State.ShadowedIn = 0, j.f.Generation
	again.Events = []audit.Event{j.event(audit.Replay, "an older refresh token was shown with the right key")}
	return again
}

func (j judgement) unboundParent() Verdict {
	again := j.repeat()
	switch {
	case j.s.Attempt != (opaque.Digest{}) && j.s.Attempt == j.f.Attempt:
		return again // only who began this refresh knows the key
	case j.r.SendsAttempts:
		return j.theft() // a retry would have shown the key, and tabs take turns
	case j.within(j.r.Overlap):
		return j.watched(again)
	case j.r.APIsReport && j.f.Confirmed < j.f.Generation &&
		j.within(j.r.LostResponse) && j.f.Retries < int64(j.r.MaxRetries):
		again.State.Retries++
		return j.watched(again)
	}
	return j.theft()
}

// within reports whether the last rotation is less than d away. Another node
// may have made it by a clock that is ahead of ours; but a clock that was set
// back far opens no long window.
func (j judgement) within(d time.Duration) bool {
	since := j.now.Sub(j.f.Rotated)
	return -d < since && since < d
}

// watched gives the answer to the parent unless that would be one too many.
// Somebody in the same place as who made the generation is a racing tab or a
// retry. Somebody elsewhere is told about, and in three generations running is
// theft: a thief walks one step behind, or one step ahead.
func (j judgement) watched(again Verdict) Verdict {
	if j.s.Network == j.f.Network && j.s.Agent == j.f.Agent {
		return again
	}
	n := &again.State
	if n.ShadowedIn == n.Generation {
		return again // this generation has been counted
	}
	if n.ShadowedIn != n.Generation-1 {
		n.Shadows = 0
	}
	n.Shadows++
	n.ShadowedIn = n.Generation
	if n.Shadows >= maxShadows {
		return j.theft()
	}
	again.Events = []audit.Event{j.event(audit.Replay, "a refresh token was shown again from another network or agent")}
	return again
}

// maxShadows is the number of generations running of which the last is theft,
// if in each the parent was shown from elsewhere.
const maxShadows = 3

func (j judgement) foreignKey() Verdict {
	v := j.refuse(WrongKey)
	if j.s.Key == "" {
		v.Why = MissingProof
	}
	v.Changed = true
	v.State.Alarms++
	if worthTelling(v.State.Alarms) {
		v.Events = []audit.Event{j.event(audit.ForeignKey, "a bound refresh token was shown with another key or none")}
	}
	return v
}

func (j judgement) theft() Verdict {
	if j.r.NotifyOnly {
		v := j.refuse(Replayed)
		v.Changed = true
		v.State.Alarms++
		if worthTelling(v.State.Alarms) {
			v.Events = []audit.Event{j.event(audit.Theft, "an old refresh token was shown; the client's rules let the family live")}
		}
		return v
	}
	return j.end(audit.TokenTheft, audit.Theft, "an old refresh token was shown: two parties hold this family")
}

// end ends the family, and the session with it: they are on the same device.
func (j judgement) end(why audit.Reason, kind audit.Kind, note string) Verdict {
	v := j.refuse(Why(why))
	v.Changed = true
	v.State.Ended, v.State.Reason = j.now, why
	v.EndSession = why == audit.TokenTheft
	e := j.event(kind, note)
	e.Reason = why
	v.Events = []audit.Event{e}
	return v
}

func (j judgement) event(kind audit.Kind, note string) audit.Event {
	return audit.Event{
		Time: j.now, Kind: kind, Note: note,
		Subject: j.f.Subject, Session: j.f.Session, Family: string(j.f.ID), Client: j.f.Client,
		Parties: []audit.Party{
			{Time: j.f.Rotated, Network: j.f.Network, Agent: j.f.Agent, Key: j.f.Key, Generation: j.f.Generation},
			{Time: j.now, Network: j.s.Network, Agent: j.s.Agent, Key: j.s.Key, Generation: j.s.Generation},
		},
	}
}

// idleEnd returns the idle end after a use: never earlier than it was, never
// past the absolute end.
func (j judgement) idleEnd() time.Time {
	end := j.now.Add(j.r.Idle)
	if end.Before(j.f.IdleEnd) {
		end = j.f.IdleEnd
	}
	if end.After(j.f.AbsoluteEnd) {
		end = j.f.AbsoluteEnd
	}
	return end
}

// worthTelling thins out events that somebody can cause at will: the first, and
// then each time their number has doubled.
func worthTelling(n int64) bool { return n&(n-1) == 0 }

func subset(asked, granted []string) bool {
	for _, a := range asked {
		if !slices.Contains(granted, a) {
			return false
		}
	}
	return true
}
