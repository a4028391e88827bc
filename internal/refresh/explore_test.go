package refresh_test

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/policy"
	"github.com/fastbind/fastbind/internal/refresh"
)

// The times of the scenes: three steps of the clock reach each boundary exactly
// and the nanosecond before it.
const (
	almostOverlap = overlap - tick
	almostHour    = time.Hour - overlap
)

func sceneRules(change ...func(*refresh.Rules)) refresh.Rules {
	r := refresh.Rules{Policy: policy.Policy{
		Idle: 2 * time.Hour, Absolute: 3 * time.Hour,
		Overlap: overlap, LostResponse: time.Hour, MaxRetries: 2,
	}}
	for _, c := range change {
		c(&r)
	}
	return r
}

// scenes returns the kinds of clients, each with what may happen to it.
func scenes() []*scene {
	clock := []act{passes(almostOverlap), passes(tick), passes(almostHour)}
	with := func(acts ...act) []act { return append(acts, clock...) }
	network := with(refreshes(owner), loses, sends, arrives, backup, restore, signsOut)
	crowd := with(refreshes(owner), loses, copies, refreshes(sibling), steals, refreshes(thief))
	reports := func(r rul) { r.APIsReport = true }
	sends := func(r rul) { r.SendsAttempts = true }
	return []*scene{
		{name: "BearerAlone", rules: sceneRules(), depth: 6, acts: network},
		{name: "BearerCrowd", rules: sceneRules(), depth: 6, acts: crowd},
		{name: "BearerThief", rules: sceneRules(), depth: 9, acts: []act{refreshes(owner), steals, refreshes(thief), passes(almostOverlap), passes(tick)}},
		{name: "BearerShadows", rules: sceneRules(), depth: 11, acts: []act{refreshes(owner), steals, refreshes(thief)}},
		{name: "BearerOnlyTold", rules: sceneRules(func(r rul) { r.NotifyOnly = true }), depth: 6, acts: crowd},
		{name: "AttemptsAlone", rules: sceneRules(sends), sends: true, depth: 6, acts: network},
		{name: "AttemptsCrowd", rules: sceneRules(sends), sends: true, depth: 6, acts: crowd},
		{name: "AttemptsUnregistered", rules: sceneRules(), sends: true, depth: 6, acts: crowd},
		{name: "ReportsAlone", rules: sceneRules(reports), depth: 6, acts: slices.Concat(network, []act{uses(owner)})},
		{name: "ReportsThief", rules: sceneRules(reports), depth: 7, acts: with(refreshes(owner), loses, uses(owner), steals, refreshes(thief), uses(thief))},
		{name: "ReportsSteps", rules: sceneRules(reports), depth: 11, acts: []act{refreshes(owner), uses(owner), steals, refreshes(thief), passes(overlap)}},
		{name: "AttemptsReports", rules: sceneRules(reports, sends), sends: true, depth: 6, acts: slices.Concat(crowd, []act{uses(owner)})},
		{name: "BoundAlone", rules: sceneRules(reports), bound: true, depth: 6, acts: slices.Concat(network, []act{uses(owner)})},
		{name: "BoundCrowd", rules: sceneRules(reports), bound: true, depth: 6, acts: slices.Concat(crowd, []act{uses(owner)})},
		{name: "BoundBank", rules: sceneRules(func(r rul) { r.EndOnSameKeyReplay = true }), bound: true, depth: 6, acts: crowd},
		{name: "BoundAnyKey", rules: sceneRules(func(r rul) { r.AnyKey = true }), bound: true, depth: 6, acts: crowd},
		{name: "BoundKept", rules: sceneRules(func(r rul) { r.KeepsTokens = true }), bound: true, depth: 6, acts: crowd},
	}
}

// TestExplore tries every sequence of what may happen in each scene, up to its
// depth, and checks each verdict against the model and the promises.
func TestExplore(t *testing.T) {
	t.Parallel()
	for _, sc := range scenes() {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			n, found := explore(sc, refresh.Judge)
			if found != nil {
				t.Fatal(found)
			}
			t.Logf("%d worlds, depth %d", n, sc.depth)
		})
	}
}

// A path is the acts that lead to a world. Worlds are made anew from it: they
// are large, and there are many at a time.
type path struct {
	acts [12]uint8
	len  int
}

func (p path) and(act int) path {
	p.acts[p.len] = uint8(act)
	p.len++
	return p
}

// world returns the world at the end of p.
func (p path) world(sc *scene, judge judgeFunc) (world, error) {
	w := newWorld(sc)
	for _, a := range p.acts[:p.len] {
		if possible, err := sc.acts[a].do(&w, sc, judge); !possible || err != nil {
			return w, fmt.Errorf("the second time it came out otherwise: %w", err)
		}
	}
	return w, nil
}

// explore visits every world that is reachable within the depth of the scene,
// nearest first, and returns how many there are and the first fault, with the
// shortest way to it.
func explore(sc *scene, judge judgeFunc) (int, error) {
	seed := maphash.MakeSeed()
	seen := map[uint64]struct{}{maphash.Comparable(seed, newWorld(sc)): {}}
	level := []path{{}}
	for range sc.depth {
		var next []path
		for _, p := range level {
			from, err := p.world(sc, judge)
			if err != nil {
				return len(seen), err
			}
			for a, act := range sc.acts {
				w := from
				possible, err := act.do(&w, sc, judge)
				if err != nil {
					return len(seen), fmt.Errorf("%w, after:\n%s", err, way(sc, p.and(a)))
				}
				if !possible {
					continue
				}
				sum := maphash.Comparable(seed, w)
				if _, ok := seen[sum]; !ok {
					seen[sum] = struct{}{}
					next = append(next, p.and(a))
				}
			}
		}
		level = next
	}
	return len(seen), nil
}

func way(sc *scene, p path) string {
	var b strings.Builder
	for i, a := range p.acts[:p.len] {
		fmt.Fprintf(&b, "  %d. %s\n", i+1, sc.acts[a].name)
	}
	return b.String()
}
