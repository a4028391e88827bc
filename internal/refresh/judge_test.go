package refresh_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/policy"
	"github.com/fastbind/fastbind/internal/refresh"
)

const (
	overlap = 30 * time.Second
	lost    = 24 * time.Hour
	idle    = 12 * time.Hour
	day     = 24 * time.Hour
	tick    = time.Nanosecond

	home  = "192.0.2.7"
	away  = "198.51.100.9"
	fox   = "Firefox"
	curl  = "curl"
	right = "thumbprint-of-the-right-key"
	wrong = "thumbprint-of-another-key"
)

// start is when the current generation of the family of a test was made.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func attempt(n int) opaque.Digest {
	if n == 0 {
		return opaque.Digest{}
	}
	return opaque.Encode(opaque.Code, fmt.Appendf(nil, "%08d", n)).Digest()
}

func rules(change ...func(*refresh.Rules)) refresh.Rules {
	r := refresh.Rules{Policy: policy.Policy{
		Name: "test", AccessLife: 5 * time.Minute, Idle: idle, Absolute: 30 * day,
		Refresh: policy.Rotate, Overlap: overlap, LostResponse: lost, MaxRetries: 5,
	}}
	for _, c := range change {
		c(&r)
	}
	return r
}

// unbound returns a family in generation 5, of which nothing has been seen in
// use.
func unbound() refresh.Family {
	return refresh.Family{
		ID: refresh.NewFamilyID(), Version: 9,
		Grant: granted(),
		State: refresh.State{
			Generation: 5, Confirmed: 4, IdleEnd: start.Add(idle),
			Rotated: start, Attempt: attempt(4), Network: home, Agent: fox,
		},
	}
}

func granted() refresh.Grant {
	return refresh.Grant{
		Client: "app", Subject: "ada", Session: "sid-1",
		Scope: []string{"openid", "orders"}, Audience: []string{"https://a.example", "https://b.example"},
		Begun: start.Add(-time.Hour), AbsoluteEnd: start.Add(30*day - time.Hour),
	}
}

// A judged is one row of the table: what is presented, and what must come of it.
type judged struct {
	name  string
	setup func(r *refresh.Rules, f *refresh.Family, s *refresh.Shown)
	after time.Duration // since the rotation

	answer refresh.Answer
	why    refresh.Why
	state  func(*refresh.State) // what changes; nil: nothing is written
	event  audit.Kind           // of the only event; empty: none
	ends   bool                 // the session too
}

type (
	rul = *refresh.Rules
	fam = *refresh.Family
	shn = *refresh.Shown
)

func bind(f fam, s shn) { f.Key, s.Key = right, right }

// repeated is what an answer with the same successor changes.
func repeated(after time.Duration, more ...func(*refresh.State)) func(*refresh.State) {
	return func(n *refresh.State) {
		n.Replays++
		n.IdleEnd = start.Add(after + idle)
		for _, m := range more {
			m(n)
		}
	}
}

func stolen(after time.Duration) func(*refresh.State) {
	return func(n *refresh.State) { n.Ended, n.Reason = start.Add(after), audit.TokenTheft }
}

func retried(n *refresh.State) { n.Retries++ }
func alarmed(n *refresh.State) { n.Alarms++ }

func rotatedState(after time.Duration, more ...func(*refresh.State)) func(*refresh.State) {
	return func(n *refresh.State) {
		n.Confirmed, n.Generation = 5, 6
		n.IdleEnd, n.Rotated = start.Add(after+idle), start.Add(after)
		n.Attempt, n.Network, n.Agent = attempt(5), away, curl
		n.Replays, n.Retries, n.Alarms, n.Shadows = 0, 0, 0, 0
		for _, m := range more {
			m(n)
		}
	}
}

func elsewhere(s shn) { s.Network, s.Agent = away, curl }

// fresh is a request of its own: another attempt key, from elsewhere.
func fresh(_ rul, _ fam, s shn) { s.Attempt = attempt(5); elsewhere(s) }

func TestJudgeWhatIsOver(t *testing.T) {
	t.Parallel()
	check(t, []judged{
		{name: "OtherClient", setup: func(_ rul, _ fam, s shn) { s.Client = "other" }, why: refresh.WrongClient},
		{name: "OtherClientAheadOfCurrent", setup: func(_ rul, _ fam, s shn) { s.Client, s.Generation = "other", 9 }, why: refresh.WrongClient},
		{name: "OtherClientShowsAncestor", setup: func(_ rul, _ fam, s shn) { s.Client, s.Generation = "other", 1 }, why: refresh.WrongClient},
		{name: "EndedCurrent", setup: func(_ rul, f fam, _ shn) { f.Ended, f.Reason = start, audit.PasswordChanged }, why: refresh.Why(audit.PasswordChanged)},
		{name: "EndedAncestor", setup: func(_ rul, f fam, s shn) { f.Ended, f.Reason, s.Generation = start, audit.Logout, 1 }, why: refresh.Why(audit.Logout)},
		{name: "EndedAhead", setup: func(_ rul, f fam, s shn) { f.Ended, f.Reason, s.Generation = start, audit.Logout, 9 }, why: refresh.Why(audit.Logout)},
		{name: "EndedBoundOtherKey", setup: func(_ rul, f fam, s shn) { bind(f, s); s.Key = wrong; f.Ended, f.Reason = start, audit.Logout }, why: refresh.Why(audit.Logout)},
		{name: "EndedInTheFuture", setup: func(_ rul, f fam, _ shn) { f.Ended, f.Reason = start.Add(day), audit.Logout }, why: refresh.Why(audit.Logout)},
		{name: "AtIdleEnd", after: idle, why: refresh.Why(audit.IdleTimeout)},
		{name: "BeforeIdleEnd", after: idle - tick, answer: refresh.Rotated, state: rotatedState(idle - tick)},
		{name: "ParentAtIdleEnd", after: idle, setup: func(_ rul, _ fam, s shn) { s.Generation = 4 }, why: refresh.Why(audit.IdleTimeout)},
		{
			name: "AtAbsoluteEnd", after: time.Hour, setup: func(_ rul, f fam, _ shn) { f.AbsoluteEnd = start.Add(time.Hour) },
			why: refresh.Why(audit.AbsoluteTimeout),
		},
		{
			name: "BeforeAbsoluteEnd", after: time.Hour - tick, setup: func(_ rul, f fam, _ shn) { f.AbsoluteEnd = start.Add(time.Hour); f.IdleEnd = f.AbsoluteEnd },
			answer: refresh.Rotated, state: rotatedState(time.Hour-tick, func(n *refresh.State) { n.IdleEnd = start.Add(time.Hour) }),
		},
		{
			name: "AbsoluteEndIsNamedBeforeIdleEnd", after: time.Hour, setup: func(_ rul, f fam, _ shn) { f.AbsoluteEnd = start.Add(time.Hour); f.IdleEnd = f.AbsoluteEnd },
			why: refresh.Why(audit.AbsoluteTimeout),
		},
	}, fresh)
}

func TestJudgeKeys(t *testing.T) {
	t.Parallel()
	check(t, []judged{
		{name: "OtherKey", setup: func(_ rul, f fam, s shn) { bind(f, s); s.Key = wrong }, why: refresh.WrongKey, state: alarmed, event: audit.ForeignKey},
		{name: "NoKey", setup: func(_ rul, f fam, s shn) { bind(f, s); s.Key = "" }, why: refresh.MissingProof, state: alarmed, event: audit.ForeignKey},
		{
			name: "OtherKeyShowsParentWithAttempt", setup: func(_ rul, f fam, s shn) { bind(f, s); s.Key, s.Generation, s.Attempt = wrong, 4, attempt(4) },
			why: refresh.WrongKey, state: alarmed, event: audit.ForeignKey,
		},
		{name: "OtherKeyShowsAncestor", setup: func(_ rul, f fam, s shn) { bind(f, s); s.Key, s.Generation = wrong, 1 }, why: refresh.WrongKey, state: alarmed, event: audit.ForeignKey},
		{name: "OtherKeyShowsAhead", setup: func(_ rul, f fam, s shn) { bind(f, s); s.Key, s.Generation = wrong, 9 }, why: refresh.WrongKey, state: alarmed, event: audit.ForeignKey},
		{
			name: "OtherKeyUnderAllRules", setup: func(r rul, f fam, s shn) {
				bind(f, s)
				s.Key, s.Scope = wrong, []string{"admin"}
				r.NotifyOnly, r.EndOnSameKeyReplay, r.KeepsTokens, r.APIsReport = true, true, true, true
			},
			why: refresh.WrongKey, state: alarmed, event: audit.ForeignKey,
		},
		{name: "SecondAlarm", setup: func(_ rul, f fam, s shn) { bind(f, s); s.Key = wrong; f.Alarms = 1 }, why: refresh.WrongKey, state: alarmed, event: audit.ForeignKey},
		{name: "ThirdAlarmIsNotTold", setup: func(_ rul, f fam, s shn) { bind(f, s); s.Key = wrong; f.Alarms = 2 }, why: refresh.WrongKey, state: alarmed},
		{name: "FourthAlarm", setup: func(_ rul, f fam, s shn) { bind(f, s); s.Key = wrong; f.Alarms = 3 }, why: refresh.WrongKey, state: alarmed, event: audit.ForeignKey},
		{name: "UnboundTakesNoNoticeOfKeys", setup: func(_ rul, _ fam, s shn) { s.Key = wrong }, answer: refresh.Rotated, state: rotatedState(time.Minute), after: time.Minute},
		{
			name: "AnyKeyWillDo", after: time.Minute, setup: func(r rul, f fam, s shn) { bind(f, s); s.Key, r.AnyKey = wrong, true },
			answer: refresh.Rotated, state: rotatedState(time.Minute),
		},
		{
			name: "AnyKeyButNotNone", setup: func(r rul, f fam, s shn) { bind(f, s); s.Key, r.AnyKey = "", true },
			why: refresh.MissingProof, state: alarmed, event: audit.ForeignKey,
		},
		{
			name: "AnyKeyShowsAncestor", setup: func(r rul, f fam, s shn) { bind(f, s); s.Key, s.Generation, r.AnyKey = wrong, 3, true },
			why: refresh.Why(audit.TokenTheft), state: stolen(0), event: audit.Theft, ends: true,
		},
		{
			name: "OwnKeyOfAnyShowsAncestor", setup: func(r rul, f fam, s shn) {
				bind(f, s)
				s.Generation, r.AnyKey, f.Confirmed, f.Shadows, f.ShadowedIn = 3, true, 5, 2, 4
			},
			answer: refresh.Repeated, state: repeated(0, func(n *refresh.State) { n.Shadows, n.ShadowedIn = 0, 5 }), event: audit.Replay,
		},
		{name: "BoundOnly", after: time.Minute, setup: func(r rul, f fam, s shn) { bind(f, s); r.BoundOnly = true }, answer: refresh.Rotated, state: rotatedState(time.Minute)},
		{name: "BoundOnlyUnbound", setup: func(r rul, _ fam, s shn) { s.Key, r.BoundOnly = right, true }, why: refresh.Unbound},
		{name: "BoundOnlyUnboundShowsAncestor", setup: func(r rul, _ fam, s shn) { s.Generation, r.BoundOnly = 3, true }, why: refresh.Unbound},
		{
			name: "Ahead", after: time.Hour, setup: func(_ rul, _ fam, s shn) { s.Generation = 6 }, why: refresh.Why(audit.Epoch),
			state: func(n *refresh.State) { n.Ended, n.Reason = start.Add(time.Hour), audit.Epoch }, event: audit.FamilyEnded,
		},
		{
			name: "AheadBoundUnderAllRules", setup: func(r rul, f fam, s shn) {
				bind(f, s)
				s.Generation, s.Scope = 6, []string{"admin"}
				r.NotifyOnly, r.KeepsTokens = true, true
			},
			why: refresh.Why(audit.Epoch), state: func(n *refresh.State) { n.Ended, n.Reason = start, audit.Epoch }, event: audit.FamilyEnded,
		},
	}, fresh)
}

func TestJudgeCurrent(t *testing.T) {
	t.Parallel()
	busy := func(f fam) {
		f.Replays, f.Retries, f.Alarms, f.Shadows, f.ShadowedIn = 7, 3, 2, 2, 4
	}
	kept := func(n *refresh.State) { n.Confirmed, n.IdleEnd = 5, start.Add(time.Hour+idle) }
	check(t, []judged{
		{name: "Unbound", after: time.Hour, answer: refresh.Rotated, state: rotatedState(time.Hour)},
		{name: "Bound", after: time.Hour, setup: func(_ rul, f fam, s shn) { bind(f, s) }, answer: refresh.Rotated, state: rotatedState(time.Hour)},
		{name: "AtTheMomentOfTheLastRotation", answer: refresh.Rotated, state: rotatedState(0)},
		{name: "ConfirmedBefore", after: time.Hour, setup: func(_ rul, f fam, _ shn) { f.Confirmed = 5 }, answer: refresh.Rotated, state: rotatedState(time.Hour)},
		{name: "CountersBeginAnew", after: time.Hour, setup: func(_ rul, f fam, _ shn) { busy(f) }, answer: refresh.Rotated, state: rotatedState(time.Hour)},
		{
			name: "RunOfShadowsGoesOn", after: time.Hour, setup: func(_ rul, f fam, _ shn) { busy(f); f.ShadowedIn = 5 },
			answer: refresh.Rotated, state: rotatedState(time.Hour, func(n *refresh.State) { n.Shadows = 2 }),
		},
		{name: "NarrowerScope", after: time.Hour, setup: func(_ rul, _ fam, s shn) { s.Scope = []string{"orders"} }, answer: refresh.Rotated, state: rotatedState(time.Hour)},
		{name: "WiderScope", setup: func(_ rul, _ fam, s shn) { s.Scope = []string{"orders", "admin"} }, why: refresh.WrongScope},
		{name: "OtherTarget", setup: func(_ rul, _ fam, s shn) { s.Audience = []string{"https://a.example", "https://c.example"} }, why: refresh.WrongTarget},
		{
			name: "IdleEndNeverMovesBack", after: time.Hour, setup: func(_ rul, f fam, _ shn) { f.IdleEnd = start.Add(day) },
			answer: refresh.Rotated, state: rotatedState(time.Hour, func(n *refresh.State) { n.IdleEnd = start.Add(day) }),
		},
		{
			name: "IdleEndNeverPassesAbsoluteEnd", after: time.Hour, setup: func(_ rul, f fam, _ shn) { f.AbsoluteEnd = start.Add(2 * time.Hour) },
			answer: refresh.Rotated, state: rotatedState(time.Hour, func(n *refresh.State) { n.IdleEnd = start.Add(2 * time.Hour) }),
		},
		{name: "KeptWhenBound", after: time.Hour, setup: func(r rul, f fam, s shn) { bind(f, s); r.KeepsTokens = true }, answer: refresh.Kept, state: kept},
		{name: "NeverKeptWhenUnbound", after: time.Hour, setup: func(r rul, _ fam, _ shn) { r.KeepsTokens = true }, answer: refresh.Rotated, state: rotatedState(time.Hour)},
	}, fresh)
}

func TestJudgeBoundReplay(t *testing.T) {
	t.Parallel()
	told := func(n *refresh.State) { n.ShadowedIn = 5 }
	check(t, []judged{
		{name: "Parent", after: time.Hour, setup: func(_ rul, _ fam, s shn) { s.Generation = 4 }, answer: refresh.Repeated, state: repeated(time.Hour)},
		{name: "ParentConfirmed", after: time.Hour, setup: func(_ rul, f fam, s shn) { s.Generation, f.Confirmed = 4, 5 }, answer: refresh.Repeated, state: repeated(time.Hour)},
		{name: "ParentElsewhere", after: time.Hour, setup: func(_ rul, _ fam, s shn) { s.Generation = 4; elsewhere(s) }, answer: refresh.Repeated, state: repeated(time.Hour)},
		{
			name: "ParentWhereReplayEnds", after: time.Hour, setup: func(r rul, _ fam, s shn) { s.Generation, r.EndOnSameKeyReplay = 4, true },
			answer: refresh.Repeated, state: repeated(time.Hour),
		},
		{name: "ManyReplays", after: time.Hour, setup: func(_ rul, f fam, s shn) { s.Generation, f.Replays, f.Retries = 4, 1000, 99 }, answer: refresh.Repeated, state: repeated(time.Hour)},
		{name: "Ancestor", after: time.Hour, setup: func(_ rul, _ fam, s shn) { s.Generation = 3 }, answer: refresh.Repeated, state: repeated(time.Hour)},
		{
			name: "AncestorConfirmed", after: time.Hour, setup: func(_ rul, f fam, s shn) { s.Generation, f.Confirmed = 3, 5 },
			answer: refresh.Repeated, state: repeated(time.Hour, told), event: audit.Replay,
		},
		{
			name: "AncestorConfirmedAfterParents", after: time.Hour, setup: func(_ rul, f fam, s shn) { s.Generation, f.Confirmed, f.Replays = 1, 5, 2 },
			answer: refresh.Repeated, state: repeated(time.Hour, told), event: audit.Replay,
		},
		{
			name: "AncestorToldAlready", after: time.Hour, setup: func(_ rul, f fam, s shn) { s.Generation, f.Confirmed, f.ShadowedIn = 3, 5, 5 },
			answer: refresh.Repeated, state: repeated(time.Hour),
		},
		{
			name: "AncestorWhereReplayEnds", after: time.Hour, setup: func(r rul, _ fam, s shn) { s.Generation, r.EndOnSameKeyReplay = 3, true },
			why: refresh.Why(audit.TokenTheft), state: stolen(time.Hour), event: audit.Theft, ends: true,
		},
		{
			name: "AncestorWhereReplayEndsAndIsOnlyTold", after: time.Hour, setup: func(r rul, _ fam, s shn) { s.Generation, r.EndOnSameKeyReplay, r.NotifyOnly = 3, true, true },
			why: refresh.Replayed, state: alarmed, event: audit.Theft,
		},
		{name: "WiderScope", setup: func(_ rul, _ fam, s shn) { s.Generation, s.Scope = 4, []string{"admin"} }, why: refresh.WrongScope},
	}, func(_ rul, f fam, s shn) { bind(f, s) })
}

func TestJudgeUnboundParent(t *testing.T) {
	t.Parallel()
	theft := func(name string, after time.Duration, setup func(rul, fam, shn)) judged {
		return judged{name: name, after: after, setup: setup, why: refresh.Why(audit.TokenTheft), state: stolen(after), event: audit.Theft, ends: true}
	}
	report := func(r rul, _ fam, _ shn) { r.APIsReport = true }
	check(t, []judged{
		{name: "SameAttemptKeyMuchLater", after: idle - tick, setup: func(_ rul, _ fam, s shn) { s.Attempt = attempt(4) }, answer: refresh.Repeated, state: repeated(idle - tick)},
		{
			name: "SameAttemptKeyConfirmedElsewhereOften", after: time.Hour, setup: func(r rul, f fam, s shn) {
				elsewhere(s)
				s.Attempt, r.SendsAttempts = attempt(4), true
				f.Confirmed, f.Retries, f.Replays = 5, 99, 99
			},
			answer: refresh.Repeated, state: repeated(time.Hour),
		},
		theft("OtherAttemptKey", overlap, func(_ rul, _ fam, s shn) { s.Attempt = attempt(3) }),
		theft("NoAttemptKeyAndNoneBefore", overlap, func(_ rul, f fam, _ shn) { f.Attempt = attempt(0) }),
		{name: "AtOnce", answer: refresh.Repeated, state: repeated(0)},
		{name: "InTheOverlap", after: overlap - tick, answer: refresh.Repeated, state: repeated(overlap - tick)},
		{name: "InTheOverlapWithOtherAttemptKey", after: overlap - tick, setup: func(_ rul, _ fam, s shn) { s.Attempt = attempt(3) }, answer: refresh.Repeated, state: repeated(overlap - tick)},
		{name: "InTheOverlapConfirmed", after: overlap - tick, setup: func(_ rul, f fam, _ shn) { f.Confirmed = 5 }, answer: refresh.Repeated, state: repeated(overlap - tick)},
		theft("AtTheEndOfTheOverlap", overlap, nil),
		{name: "OtherNodeIsBehind", after: -overlap + tick, answer: refresh.Repeated, state: func(n *refresh.State) { n.Replays++ }},
		theft("ClockSetBack", -overlap, nil),
		theft("ClientsThatSendAttemptKeysHaveNoOverlap", 0, func(r rul, _ fam, _ shn) { r.SendsAttempts = true }),
		theft("ClientsThatSendAttemptKeysHaveNoOverlapBackwards", -tick, func(r rul, _ fam, s shn) { r.SendsAttempts = true; s.Attempt = attempt(3) }),
		theft("NoOverlap", 0, func(r rul, _ fam, _ shn) { r.Overlap = 0 }),
		{
			name: "LostResponseAtTheEndOfTheOverlap", after: overlap, setup: report,
			answer: refresh.Repeated, state: repeated(overlap, retried),
		},
		{
			name: "LostResponseBeforeTheWindowEnds", after: 2*time.Hour - tick, setup: func(r rul, f fam, s shn) { report(r, f, s); r.LostResponse = 2 * time.Hour },
			answer: refresh.Repeated, state: repeated(2*time.Hour-tick, retried),
		},
		theft("LostResponseOfAClientWithAttemptKeys", overlap, func(r rul, f fam, s shn) { report(r, f, s); r.SendsAttempts = true }),
		{
			name: "LostResponseElsewhere", after: time.Hour, setup: func(r rul, f fam, s shn) { report(r, f, s); elsewhere(s); f.Shadows, f.ShadowedIn = 1, 4 },
			answer: refresh.Repeated, state: repeated(time.Hour, retried, func(n *refresh.State) { n.Shadows, n.ShadowedIn = 2, 5 }), event: audit.Replay,
		},
		theft("LostResponseElsewhereThirdRunning", time.Hour, func(r rul, f fam, s shn) { report(r, f, s); elsewhere(s); f.Shadows, f.ShadowedIn = 2, 4 }),
		theft("LostResponseAtTheEndOfTheWindow", 2*time.Hour, func(r rul, f fam, s shn) { report(r, f, s); r.LostResponse = 2 * time.Hour }),
		theft("LostResponseConfirmed", overlap, func(r rul, f fam, s shn) { report(r, f, s); f.Confirmed = 5 }),
		theft("LostResponseWithoutReports", overlap, nil),
		{
			name: "LastRetry", after: time.Hour, setup: func(r rul, f fam, s shn) { report(r, f, s); f.Retries = 4 },
			answer: refresh.Repeated, state: repeated(time.Hour, retried),
		},
		theft("OneRetryTooMany", time.Hour, func(r rul, f fam, s shn) { report(r, f, s); f.Retries = 5 }),
		theft("RetriesDoNotCountInTheOverlap", overlap, func(r rul, f fam, s shn) { report(r, f, s); r.MaxRetries = 0 }),
		{
			name: "OnlyTold", after: time.Hour, setup: func(r rul, _ fam, _ shn) { r.NotifyOnly = true },
			why: refresh.Replayed, state: alarmed, event: audit.Theft,
		},
		{
			name: "OnlyToldForTheThirdTime", after: time.Hour, setup: func(r rul, f fam, _ shn) { r.NotifyOnly, f.Alarms = true, 2 },
			why: refresh.Replayed, state: alarmed,
		},
		{name: "WiderScope", after: time.Hour, setup: func(_ rul, _ fam, s shn) { s.Scope = []string{"admin"} }, why: refresh.WrongScope},
	}, func(_ rul, _ fam, s shn) { s.Generation = 4 })
}

func TestJudgeUnboundAncestor(t *testing.T) {
	t.Parallel()
	var rows []judged
	for _, g := range []int64{3, 1, 0, -1} {
		rows = append(rows, judged{
			name: fmt.Sprintf("Generation%d", g), setup: func(r rul, f fam, s shn) {
				s.Generation, s.Attempt, r.APIsReport = g, f.Attempt, true // nothing of this helps an ancestor
			},
			why: refresh.Why(audit.TokenTheft), state: stolen(0), event: audit.Theft, ends: true,
		})
	}
	rows = append(rows, judged{
		name: "OnlyTold", setup: func(r rul, _ fam, s shn) { s.Generation, r.NotifyOnly = 3, true },
		why: refresh.Replayed, state: alarmed, event: audit.Theft,
	})
	check(t, rows)
}

func TestJudgeShadows(t *testing.T) {
	t.Parallel()
	shadow := func(runs, in int64) func(*refresh.State) {
		return repeated(time.Second, func(n *refresh.State) { n.Shadows, n.ShadowedIn = runs, in })
	}
	before := func(runs, in int64) func(rul, fam, shn) {
		return func(_ rul, f fam, s shn) { elsewhere(s); f.Shadows, f.ShadowedIn = runs, in }
	}
	check(t, []judged{
		{name: "SamePlace", answer: refresh.Repeated, state: repeated(time.Second)},
		{name: "OtherNetwork", setup: func(_ rul, _ fam, s shn) { s.Network = away }, answer: refresh.Repeated, state: shadow(1, 5), event: audit.Replay},
		{name: "OtherAgent", setup: func(_ rul, _ fam, s shn) { s.Agent = curl }, answer: refresh.Repeated, state: shadow(1, 5), event: audit.Replay},
		{name: "First", setup: before(0, 0), answer: refresh.Repeated, state: shadow(1, 5), event: audit.Replay},
		{name: "AgainInTheSameGeneration", setup: before(1, 5), answer: refresh.Repeated, state: shadow(1, 5)},
		{name: "SecondRunning", setup: before(1, 4), answer: refresh.Repeated, state: shadow(2, 5), event: audit.Replay},
		{name: "SecondAgain", setup: before(2, 5), answer: refresh.Repeated, state: shadow(2, 5)},
		{name: "ThirdRunning", setup: before(2, 4), why: refresh.Why(audit.TokenTheft), state: stolen(time.Second), event: audit.Theft, ends: true},
		{name: "ThirdNotRunning", setup: before(2, 3), answer: refresh.Repeated, state: shadow(1, 5), event: audit.Replay},
		{name: "SamePlaceEndsNoRunByItself", setup: func(_ rul, f fam, _ shn) { f.Shadows, f.ShadowedIn = 2, 4 }, answer: refresh.Repeated, state: repeated(time.Second)},
		{
			name: "SameAttemptKeyIsNoShadow", setup: func(_ rul, f fam, s shn) { elsewhere(s); f.Shadows, f.ShadowedIn = 2, 4; s.Attempt = attempt(4) },
			answer: refresh.Repeated, state: repeated(time.Second),
		},
		{
			name: "ThirdRunningIsOnlyTold", setup: func(r rul, f fam, s shn) { before(2, 4)(r, f, s); r.NotifyOnly = true },
			why: refresh.Replayed, state: alarmed, event: audit.Theft,
		},
	}, func(_ rul, _ fam, s shn) { s.Generation = 4 }, after(time.Second))
}

// after is a marker for [check]: all rows happen that long after the rotation.
type after time.Duration

func check(t *testing.T, rows []judged, common ...any) {
	t.Helper()
	for _, tc := range rows {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r, f := rules(), unbound()
			s := refresh.Shown{Generation: 5, Client: "app", Network: home, Agent: fox}
			for _, c := range common {
				switch c := c.(type) {
				case func(rul, fam, shn):
					c(&r, &f, &s)
				case after:
					tc.after = time.Duration(c)
				}
			}
			if tc.setup != nil {
				tc.setup(&r, &f, &s)
			}
			now := start.Add(tc.after)
			got := refresh.Judge(r, f, s, now)
			want := refresh.Verdict{Answer: tc.answer, Why: tc.why, State: f.State, EndSession: tc.ends, Changed: tc.state != nil}
			if tc.state != nil {
				tc.state(&want.State)
			}
			if d := cmp.Diff(want, got, cmpopts.IgnoreFields(refresh.Verdict{}, "Events")); d != "" {
				t.Errorf("verdict (-want +got):\n%s", d)
			}
			checkEvents(t, tc, f, s, now, got.Events)
			if again := refresh.Judge(r, f, s, now); !cmp.Equal(again, got) {
				t.Errorf("a second call says otherwise:\n%s", cmp.Diff(got, again))
			}
		})
	}
}

// checkEvents checks that a verdict tells what the row says, and that it holds
// both parties: when, from where, with what.
func checkEvents(t *testing.T, tc judged, f refresh.Family, s refresh.Shown, now time.Time, got []audit.Event) {
	t.Helper()
	if tc.event == "" {
		if len(got) > 0 {
			t.Errorf("events = %v, want none", got)
		}
		return
	}
	want := audit.Event{
		Time: now, Kind: tc.event, Subject: "ada", Session: "sid-1", Family: string(f.ID), Client: "app",
		Parties: []audit.Party{
			{Time: f.Rotated, Network: home, Agent: fox, Key: f.Key, Generation: 5},
			{Time: now, Network: s.Network, Agent: s.Agent, Key: s.Key, Generation: s.Generation},
		},
	}
	if tc.why == refresh.Why(audit.TokenTheft) || tc.why == refresh.Why(audit.Epoch) {
		want.Reason = audit.Reason(tc.why)
	}
	if d := cmp.Diff([]audit.Event{want}, got, cmpopts.IgnoreFields(audit.Event{}, "Note")); d != "" {
		t.Errorf("events (-want +got):\n%s", d)
	}
	for _, e := range got {
		if e.Note == "" {
			t.Error("an event without a note")
		}
	}
}
