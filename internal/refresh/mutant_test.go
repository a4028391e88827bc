package refresh_test

import (
	"slices"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/refresh"
)

// A mutant is [refresh.Judge] with one fault, and the scene in which the
// explorer must find it.
type mutant struct {
	name  string
	scene string
	judge judgeFunc
}

// before returns a Judge that is given something else than what was presented.
func before(change func(r *refresh.Rules, f *refresh.Family, s *refresh.Shown, now *time.Time)) judgeFunc {
	return func(r refresh.Rules, f refresh.Family, s refresh.Shown, now time.Time) refresh.Verdict {
		change(&r, &f, &s, &now)
		return refresh.Judge(r, f, s, now)
	}
}

// behind returns a Judge whose verdict is changed.
func behind(change func(v *refresh.Verdict, r refresh.Rules, f refresh.Family, s refresh.Shown, now time.Time)) judgeFunc {
	return func(r refresh.Rules, f refresh.Family, s refresh.Shown, now time.Time) refresh.Verdict {
		v := refresh.Judge(r, f, s, now)
		change(&v, r, f, s, now)
		return v
	}
}

// ignoring returns a Judge to which part of the state is hidden by set; what it
// leaves of that part is what was stored.
func ignoring(set func(to *refresh.State, from refresh.State)) judgeFunc {
	return func(r refresh.Rules, f refresh.Family, s refresh.Shown, now time.Time) refresh.Verdict {
		stored := f.State
		set(&f.State, refresh.State{})
		v := refresh.Judge(r, f, s, now)
		if v.State.Generation == stored.Generation {
			set(&v.State, stored)
		}
		return v
	}
}

func again(v *refresh.Verdict, f refresh.Family) {
	v.State.Generation = f.Generation + 1
	v.State.Replays = 0
	v.Answer = refresh.Rotated
}

func timeMutants() []mutant {
	return []mutant{
		{"OverlapANanosecondTooLong", "BearerAlone", before(func(r *refresh.Rules, _ *refresh.Family, _ *refresh.Shown, _ *time.Time) { r.Overlap += tick })},
		{"OverlapANanosecondTooShort", "BearerAlone", before(func(r *refresh.Rules, _ *refresh.Family, _ *refresh.Shown, _ *time.Time) { r.Overlap -= tick })},
		{"OverlapFromTheRotationBefore", "BearerAlone", behind(func(v *refresh.Verdict, _ refresh.Rules, f refresh.Family, _ refresh.Shown, _ time.Time) {
			v.State.Rotated = f.Rotated
		})},
		{"OverlapForClientsWithAttemptKeys", "AttemptsCrowd", before(func(r *refresh.Rules, _ *refresh.Family, _ *refresh.Shown, _ *time.Time) { r.SendsAttempts = false })},
		{"WindowANanosecondTooLong", "ReportsAlone", before(func(r *refresh.Rules, _ *refresh.Family, _ *refresh.Shown, _ *time.Time) { r.LostResponse += tick })},
		{"WindowWithoutReports", "BearerAlone", before(func(r *refresh.Rules, _ *refresh.Family, _ *refresh.Shown, _ *time.Time) { r.APIsReport = true })},
		{"AbsoluteEndMoves", "BearerAlone", before(func(r *refresh.Rules, f *refresh.Family, _ *refresh.Shown, now *time.Time) {
			f.AbsoluteEnd = now.Add(r.Absolute)
		})},
		{"IdleEndIsNotKept", "BearerAlone", before(func(_ *refresh.Rules, f *refresh.Family, _ *refresh.Shown, _ *time.Time) { f.IdleEnd = f.AbsoluteEnd })},
		{"IdleEndPassesAbsoluteEnd", "BearerAlone", behind(func(v *refresh.Verdict, r refresh.Rules, _ refresh.Family, _ refresh.Shown, now time.Time) {
			if v.Answer != refresh.Refused {
				v.State.IdleEnd = now.Add(r.Idle)
			}
		})},
		{"RefusalMovesIdleEnd", "BoundCrowd", behind(func(v *refresh.Verdict, r refresh.Rules, _ refresh.Family, _ refresh.Shown, now time.Time) {
			if v.Changed {
				v.State.IdleEnd = now.Add(r.Idle)
			}
		})},
		{"RetryIsNoUse", "AttemptsAlone", behind(func(v *refresh.Verdict, _ refresh.Rules, f refresh.Family, _ refresh.Shown, _ time.Time) {
			if v.Answer == refresh.Repeated {
				v.State.IdleEnd = f.IdleEnd
			}
		})},
		{"EndedFamilyLivesAgain", "BearerAlone", before(func(_ *refresh.Rules, f *refresh.Family, _ *refresh.Shown, _ *time.Time) { f.Ended = time.Time{} })},
	}
}

func replayMutants() []mutant {
	return []mutant{
		{"AncestorIsTakenForParent", "BearerCrowd", before(func(_ *refresh.Rules, f *refresh.Family, s *refresh.Shown, _ *time.Time) {
			if s.Generation < f.Generation-1 {
				s.Generation = f.Generation - 1
			}
		})},
		{"AttemptKeyIsIgnored", "AttemptsAlone", before(func(_ *refresh.Rules, _ *refresh.Family, s *refresh.Shown, _ *time.Time) {
			s.Attempt = attemptOf(0)
		})},
		{"NoAttemptKeyMatchesNone", "BearerAlone", func(r refresh.Rules, f refresh.Family, s refresh.Shown, now time.Time) refresh.Verdict {
			none := f.Attempt == attemptOf(0) && s.Attempt == attemptOf(0) && s.Generation == f.Generation-1
			if none {
				f.Attempt, s.Attempt = attemptOf(9), attemptOf(9)
			}
			v := refresh.Judge(r, f, s, now)
			if none {
				v.State.Attempt = attemptOf(0)
			}
			return v
		}},
		{"AttemptKeyOfTheRotationBefore", "AttemptsAlone", behind(func(v *refresh.Verdict, _ refresh.Rules, f refresh.Family, _ refresh.Shown, _ time.Time) {
			v.State.Attempt = f.Attempt
		})},
		{"ConfirmationIsNotRecorded", "BoundKept", behind(func(v *refresh.Verdict, _ refresh.Rules, f refresh.Family, _ refresh.Shown, _ time.Time) {
			v.State.Confirmed = f.Confirmed
		})},
		{"ConfirmationIsIgnored", "ReportsThief", ignoring(func(to *refresh.State, from refresh.State) { to.Confirmed = from.Confirmed })},
		{"RetriesAreNotCapped", "ReportsAlone", before(func(r *refresh.Rules, _ *refresh.Family, _ *refresh.Shown, _ *time.Time) { r.MaxRetries = 1 << 30 })},
		{"RetriesAreNotCounted", "ReportsAlone", ignoring(func(to *refresh.State, from refresh.State) { to.Retries = from.Retries })},
		{"ParentHasASecondSuccessor", "BearerAlone", behind(func(v *refresh.Verdict, _ refresh.Rules, f refresh.Family, _ refresh.Shown, _ time.Time) {
			if v.Answer == refresh.Repeated {
				again(v, f)
			}
		})},
		{"SameKeyHasASecondSuccessor", "BoundCrowd", behind(func(v *refresh.Verdict, _ refresh.Rules, f refresh.Family, s refresh.Shown, _ time.Time) {
			if v.Answer == refresh.Repeated && s.Generation < f.Generation-1 {
				again(v, f)
			}
		})},
		{"AGenerationIsLeftOut", "BearerAlone", behind(func(v *refresh.Verdict, _ refresh.Rules, _ refresh.Family, _ refresh.Shown, _ time.Time) {
			if v.Answer == refresh.Rotated {
				v.State.Generation++
			}
		})},
		{"KeptTokenRotates", "BoundKept", before(func(r *refresh.Rules, _ *refresh.Family, _ *refresh.Shown, _ *time.Time) { r.KeepsTokens = false })},
	}
}

func thiefMutants() []mutant {
	return []mutant{
		{"AnyKeyIsTheRightOne", "BoundCrowd", before(func(_ *refresh.Rules, f *refresh.Family, s *refresh.Shown, _ *time.Time) { s.Key = f.Key })},
		{"AConfidentialClientNeedsNoProof", "BoundAnyKey", before(func(r *refresh.Rules, f *refresh.Family, s *refresh.Shown, _ *time.Time) {
			if s.Key == "" && r.AnyKey {
				s.Key = f.Key
			}
		})},
		{"AConfidentialClientIsHeldToItsKey", "BoundAnyKey", before(func(r *refresh.Rules, _ *refresh.Family, _ *refresh.Shown, _ *time.Time) { r.AnyKey = false })},
		{"AnyKeyDecidesAReplay", "BoundAnyKey", before(func(_ *refresh.Rules, f *refresh.Family, s *refresh.Shown, _ *time.Time) {
			if s.Key != "" {
				s.Key = f.Key
			}
		})},
		{"OtherKeyEndsTheFamily", "BoundCrowd", behind(func(v *refresh.Verdict, _ refresh.Rules, _ refresh.Family, _ refresh.Shown, now time.Time) {
			if v.Why == refresh.MissingProof {
				v.State.Ended, v.State.Reason = now, audit.TokenTheft
			}
		})},
		{"OtherKeyIsNotTold", "BoundCrowd", behind(func(v *refresh.Verdict, _ refresh.Rules, _ refresh.Family, _ refresh.Shown, _ time.Time) {
			if v.Why == refresh.MissingProof {
				v.Events = nil
			}
		})},
		{"ShadowsAreNotCounted", "BearerThief", ignoring(func(to *refresh.State, from refresh.State) { to.Shadows = from.Shadows })},
		{"AStepAheadIsNotCounted", "ReportsSteps", behind(func(v *refresh.Verdict, _ refresh.Rules, f refresh.Family, _ refresh.Shown, _ time.Time) {
			if v.Answer == refresh.Repeated && v.State.Retries > 0 {
				v.State.Shadows, v.State.ShadowedIn = f.Shadows, f.ShadowedIn
			}
		})},
		{"ShadowsCountTwiceInAGeneration", "BearerCrowd", before(func(_ *refresh.Rules, f *refresh.Family, _ *refresh.Shown, _ *time.Time) {
			if f.ShadowedIn == f.Generation {
				f.ShadowedIn--
			}
		})},
		{"ARunOfShadowsNeverEnds", "BearerShadows", before(func(_ *refresh.Rules, f *refresh.Family, s *refresh.Shown, _ *time.Time) {
			if f.Shadows > 0 && s.Generation == f.Generation {
				f.ShadowedIn = f.Generation
			}
		})},
		{"TheftLeavesTheFamilyAlive", "BearerCrowd", behind(func(v *refresh.Verdict, _ refresh.Rules, f refresh.Family, _ refresh.Shown, _ time.Time) {
			if v.Why == refresh.Why(audit.TokenTheft) && v.Changed {
				v.State = f.State
			}
		})},
		{"TheftLeavesTheSession", "BearerCrowd", behind(func(v *refresh.Verdict, _ refresh.Rules, _ refresh.Family, _ refresh.Shown, _ time.Time) {
			v.EndSession = false
		})},
		{"TheftIsNotTold", "BearerCrowd", behind(func(v *refresh.Verdict, _ refresh.Rules, _ refresh.Family, _ refresh.Shown, _ time.Time) {
			v.Events = nil
		})},
		{"TheftIsOnlyTold", "BearerCrowd", before(func(r *refresh.Rules, _ *refresh.Family, _ *refresh.Shown, _ *time.Time) { r.NotifyOnly = true })},
		{"TheBankForgivesAReplay", "BoundBank", before(func(r *refresh.Rules, _ *refresh.Family, _ *refresh.Shown, _ *time.Time) {
			r.EndOnSameKeyReplay = false
		})},
		{"LostHistoryIsTakenForCurrent", "BearerAlone", before(func(_ *refresh.Rules, f *refresh.Family, s *refresh.Shown, _ *time.Time) {
			s.Generation = min(s.Generation, f.Generation)
		})},
	}
}

// TestExploreFindsMutants proves that the explorer can see: it must find each
// fault that is put into the judge.
func TestExploreFindsMutants(t *testing.T) {
	t.Parallel()
	byName := make(map[string]*scene)
	for _, sc := range scenes() {
		byName[sc.name] = sc
	}
	for _, mutants := range [][]mutant{timeMutants(), replayMutants(), thiefMutants()} {
		for _, m := range mutants {
			t.Run(m.name, func(t *testing.T) {
				t.Parallel()
				n, found := explore(byName[m.scene], m.judge)
				if found == nil {
					t.Fatalf("the fault was not found in %d worlds of the scene %s", n, m.scene)
				}
				t.Logf("found after %d worlds: %v", n, found)
			})
		}
	}
}

// TestPromisesFindMutants proves that the promises see without the model: they
// alone must find those faults that break one.
func TestPromisesFindMutants(t *testing.T) {
	t.Parallel()
	all := make(map[string]mutant)
	for _, m := range slices.Concat(timeMutants(), replayMutants(), thiefMutants()) {
		all[m.name] = m
	}
	for _, name := range []string{
		"AbsoluteEndMoves", "IdleEndIsNotKept", "IdleEndPassesAbsoluteEnd", "RefusalMovesIdleEnd", "EndedFamilyLivesAgain",
		"OverlapANanosecondTooShort", "AncestorIsTakenForParent", "AttemptKeyIsIgnored", "AttemptKeyOfTheRotationBefore",
		"ParentHasASecondSuccessor", "SameKeyHasASecondSuccessor", "AGenerationIsLeftOut", "AnyKeyIsTheRightOne",
		"OtherKeyEndsTheFamily", "ShadowsAreNotCounted", "AStepAheadIsNotCounted", "TheftIsNotTold",
	} {
		m, ok := all[name]
		if !ok {
			t.Fatalf("there is no mutant %s", name)
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, sc := range scenes() {
				if sc.name == m.scene {
					sc.promisesOnly = true
					n, found := explore(sc, m.judge)
					if found == nil {
						t.Fatalf("the fault was not found in %d worlds of the scene %s", n, m.scene)
					}
					t.Logf("found after %d worlds: %v", n, found)
				}
			}
		})
	}
}
