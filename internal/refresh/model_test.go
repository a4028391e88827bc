package refresh_test

import (
	"fmt"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/refresh"
)

// judgeFunc is [refresh.Judge], or a broken one.
type judgeFunc func(refresh.Rules, refresh.Family, refresh.Shown, time.Time) refresh.Verdict

// Facts are what the model judges from: not counters, but what happened in each
// generation. The code under test keeps less.
type facts struct {
	newest int64
	made   [maxGeneration + 1]making
	seen   [maxGeneration + 1]bool // something of the generation was seen in use
	again  [maxGeneration + 1]int8 // answers that repeated it
	late   [maxGeneration + 1]int8 // those of them that only the lost-response window allowed
	behind [maxGeneration + 1]bool // its parent was shown from elsewhere and answered
	told   [maxGeneration + 1]bool // it was told that an ancestor was shown
	alarms [maxGeneration + 1]int8
	used   time.Duration // the last answer
	ended  audit.Reason
}

// A making is how a generation was made.
type making struct {
	at  time.Duration
	by  int8
	key int16 // attempt key; 0: none
}

// An opinion is what the model says.
type opinion struct {
	answer   refresh.Answer
	why      refresh.Why
	after    refresh.State
	events   bool
	sessions bool
}

func attemptOf(key int16) opaque.Digest {
	var d opaque.Digest
	d[0], d[1] = byte(key>>8), byte(key)
	return d
}

// judge says what the contract says, from the facts, and adds to them.
func (h *facts) judge(sc *scene, who int8, shown int64, key int16, now time.Duration) opinion {
	var o opinion
	end := min(h.used+sc.rules.Idle, sc.rules.Absolute)
	owns := sc.key(who) == right // the key of the family
	switch newest := h.newest; {
	case h.ended != "":
		o.why = refresh.Why(h.ended)
	case now >= sc.rules.Absolute:
		o.why = refresh.Why(audit.AbsoluteTimeout)
	case now >= end:
		o.why = refresh.Why(audit.IdleTimeout)
	case sc.bound && sc.key(who) == "":
		o.why = refresh.MissingProof
		o.events = h.alarm()
	case shown > newest:
		h.ended, o.why, o.events = audit.Epoch, refresh.Why(audit.Epoch), true
	case shown == newest && sc.bound && sc.rules.KeepsTokens:
		o.answer, h.used, h.seen[newest] = refresh.Kept, now, true
	case shown == newest:
		h.seen[newest] = true
		h.newest++
		h.made[h.newest] = making{at: now, by: who, key: key}
		o.answer, h.used = refresh.Rotated, now
	case owns && shown < newest-1 && sc.rules.EndOnSameKeyReplay:
		h.stolen(sc, &o)
	case owns:
		o.events = shown < newest-1 && h.seen[newest] && !h.told[newest]
		h.told[newest] = h.told[newest] || o.events
		h.repeat(&o, now)
	case shown < newest-1:
		h.stolen(sc, &o)
	default:
		h.parent(sc, &o, who, key, now)
	}
	o.after = h.state(sc)
	return o
}

// parent judges the parent where no key decides.
func (h *facts) parent(sc *scene, o *opinion, who int8, key int16, now time.Duration) {
	g := h.newest
	since := now - h.made[g].at
	inOverlap := since < sc.rules.Overlap && !sc.rules.SendsAttempts
	inWindow := since < sc.rules.LostResponse && sc.rules.APIsReport && !sc.rules.SendsAttempts &&
		!h.seen[g] && int(h.late[g]) < sc.rules.MaxRetries
	elsewhere := network(who) != network(h.made[g].by)
	switch {
	case key != 0 && key == h.made[g].key:
		h.repeat(o, now)
		return
	case !inOverlap && !inWindow,
		elsewhere && !h.behind[g] && g >= 3 && h.behind[g-1] && h.behind[g-2]:
		h.stolen(sc, o)
		return
	case elsewhere:
		o.events = !h.behind[g]
		h.behind[g] = true
	}
	if !inOverlap {
		h.late[g]++
	}
	h.repeat(o, now)
}

func (h *facts) repeat(o *opinion, now time.Duration) {
	h.again[h.newest]++
	h.used = now
	o.answer = refresh.Repeated
}

func (h *facts) stolen(sc *scene, o *opinion) {
	if sc.rules.NotifyOnly {
		o.why, o.events = refresh.Replayed, h.alarm()
		return
	}
	h.ended = audit.TokenTheft
	o.why, o.events, o.sessions = refresh.Why(audit.TokenTheft), true, true
}

// alarm notes an alarm and reports whether it is told: the first, second,
// fourth, eighth and so on.
func (h *facts) alarm() bool {
	h.alarms[h.newest]++
	for n := int8(1); n > 0 && n <= h.alarms[h.newest]; n *= 2 {
		if n == h.alarms[h.newest] {
			return true
		}
	}
	return false
}

// state returns what must be stored, as far as the facts determine it.
func (h *facts) state(sc *scene) refresh.State {
	m := h.made[h.newest]
	s := refresh.State{
		Generation: h.newest,
		IdleEnd:    start.Add(min(h.used+sc.rules.Idle, sc.rules.Absolute)),
		Rotated:    start.Add(m.at), Attempt: attemptOf(m.key), Network: network(m.by), Agent: fox,
		Replays: int64(h.again[h.newest]), Retries: int64(h.late[h.newest]), Alarms: int64(h.alarms[h.newest]),
		Reason: h.ended,
	}
	for g := h.newest; g > 0 && s.Confirmed == 0; g-- {
		if h.seen[g] {
			s.Confirmed = g
		}
	}
	return s
}

// compare says in what a verdict differs from what the model says.
func compare(v refresh.Verdict, o opinion) error {
	got := v.State
	got.Shadows, got.ShadowedIn, got.Ended = 0, 0, time.Time{} // the facts are kept otherwise
	switch {
	case v.Answer != o.answer || v.Why != o.why:
		return fmt.Errorf("answer %d %q, want %d %q", v.Answer, v.Why, o.answer, o.why)
	case got != o.after:
		return fmt.Errorf("state (-want +got):\n%s", cmp.Diff(o.after, got))
	case len(v.Events) > 0 != o.events:
		return fmt.Errorf("%d events, want some: %t", len(v.Events), o.events)
	case v.EndSession != o.sessions:
		return fmt.Errorf("ends the session: %t, want %t", v.EndSession, o.sessions)
	case v.State.Ended.IsZero() != (v.State.Reason == ""):
		return fmt.Errorf("ended %v for %q", v.State.Ended, v.State.Reason)
	}
	return nil
}
