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

// A node is a world and the acts that led to it.
type node struct {
	world
	path [12]uint8
	len  int
}

// explore visits every world that is reachable within the depth of the scene,
// nearest first, and returns how many there are and the first fault, with the
// shortest way to it.
func explore(sc *scene, judge judgeFunc) (int, error) {
	seed := maphash.MakeSeed()
	seen := make(map[uint64]struct{})
	level := []node{{world: newWorld(sc)}}
	seen[maphash.Comparable(seed, level[0].world)] = struct{}{}
	for range sc.depth {
		var next []node
		for i := range level {
			for a, act := range sc.acts {
				n := level[i]
				possible, err := act.do(&n.world, sc, judge)
				if !possible {
					continue
				}
				n.path[n.len] = uint8(a)
				n.len++
				if err != nil {
					return len(seen), fmt.Errorf("%w, after:\n%s", err, way(sc, n))
				}
				sum := maphash.Comparable(seed, n.world)
				if _, ok := seen[sum]; !ok {
					seen[sum] = struct{}{}
					next = append(next, n)
				}
			}
		}
		level = next
	}
	return len(seen), nil
}

func way(sc *scene, n node) string {
	var b strings.Builder
	for i, a := range n.path[:n.len] {
		fmt.Fprintf(&b, "  %d. %s\n", i+1, sc.acts[a].name)
	}
	return b.String()
}
