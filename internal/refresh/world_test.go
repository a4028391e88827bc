package refresh_test

import (
	"fmt"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/refresh"
)

// A scene is a kind of client and what may happen to it.
type scene struct {
	name  string
	rules refresh.Rules
	bound bool
	// sends says that the client sends attempt keys.
	sends bool
	depth int
	acts  []act

	promisesOnly bool // do not ask the model
}

// The actors of a world.
const (
	owner   int8 = iota // the client that was given the first token
	sibling             // a second process of the same client, with a storage of its own
	thief
	actors
)

// maxGeneration bounds the generations of a world.
const maxGeneration = 15

// A world is everything that is the case: the family as the server has it, the
// facts from which the model judges, and what each actor holds. It is
// comparable, so that a world that was seen before is recognised.
type world struct {
	now   time.Duration // since start
	state refresh.State
	facts facts

	saved struct { // the backup
		taken bool
		state refresh.State
		facts facts
	}

	token  [actors]int8 // generation of the refresh token it holds; 0: none
	access [actors]int8 // generation of its access token
	held   int8         // a request of the owner that is under way: the generation shown; 0: none

	stolen, copied bool // whether there ever was a thief, a sibling
	restored       bool
	excused        bool // the owner did what its kind of client must not do
	got            [maxGeneration + 1][actors]bool
}

// key is the key that an actor can prove; empty: none.
func (sc *scene) key(who int8) string {
	switch {
	case !sc.bound || who == thief:
		return ""
	case sc.rules.AnyKey && who == sibling:
		return wrong
	}
	return right
}

func newWorld(sc *scene) world {
	w := world{state: refresh.State{Generation: 1, Rotated: start, Network: network(owner), Agent: fox}}
	w.state.IdleEnd = start.Add(sc.rules.Idle)
	w.facts.newest = 1
	w.facts.made[1] = making{by: owner}
	w.token[owner], w.access[owner] = 1, 1
	return w
}

func network(who int8) string {
	if who == thief {
		return away
	}
	return home
}

func grantOf(sc *scene) refresh.Grant {
	g := granted()
	g.Begun, g.AbsoluteEnd = start, start.Add(sc.rules.Absolute)
	if sc.bound {
		g.Key = right
	}
	return g
}

func shownBy(sc *scene, who int8, generation int8) (refresh.Shown, int16) {
	s := refresh.Shown{Generation: int64(generation), Client: "app", Network: network(who), Agent: fox, Key: sc.key(who)}
	key := int16(0)
	if sc.sends && who != thief {
		// One refresh is all requests that show the same stored token: the key
		// was stored beside it.
		key = 100*int16(who) + int16(generation)
	}
	s.Attempt = attemptOf(key)
	return s, key
}

// show lets an actor show a generation, checks what comes of it, and stores the
// answer with the actor if it arrives. It returns what is wrong.
func (w *world) show(sc *scene, judge judgeFunc, who int8, generation int8, arrives bool) error {
	s, key := shownBy(sc, who, generation)
	f := refresh.Family{ID: "family", Version: 1, Grant: grantOf(sc), State: w.state}
	v := judge(sc.rules, f, s, start.Add(w.now))
	before := w.state
	want := w.facts.judge(sc, who, int64(generation), key, w.now)
	w.state = v.State
	if err := w.promises(sc, before, v, who, generation); err != nil {
		return err
	}
	if err := compare(v, want); err != nil && !sc.promisesOnly {
		return fmt.Errorf("the model says otherwise: %w", err)
	}
	if arrives && v.Answer != refresh.Refused {
		w.token[who] = int8(v.State.Generation)
		w.access[who] = w.token[who]
	}
	if v.Answer != refresh.Refused {
		w.got[v.State.Generation][who] = true
	}
	return nil
}

// use lets an actor use its access token at an API.
func (w *world) use(who int8) {
	g := int64(w.access[who])
	if w.facts.ended != "" || g > w.facts.newest {
		return
	}
	w.facts.seen[g] = true
	w.state.Confirmed = max(w.state.Confirmed, g) // as Store.Confirm does
}

// promises checks what the contract promises whatever the rows of its table
// say.
func (w *world) promises(sc *scene, before refresh.State, v refresh.Verdict, who int8, shown int8) error {
	after, now := v.State, start.Add(w.now)
	absolute := start.Add(sc.rules.Absolute)
	over := !before.Ended.IsZero() || !now.Before(before.IdleEnd) || !now.Before(absolute)
	theft := after.Reason == audit.TokenTheft && before.Ended.IsZero()
	switch {
	case over && (v.Answer != refresh.Refused || v.Changed):
		return fmt.Errorf("what is over was answered or changed: %+v", v)
	case !before.Ended.IsZero() && (!after.Ended.Equal(before.Ended) || after.Reason != before.Reason):
		return fmt.Errorf("what has ended did not stay ended: %+v", after)
	case after.Generation != before.Generation && (v.Answer != refresh.Rotated || int64(shown) != before.Generation || after.Generation != before.Generation+1):
		return fmt.Errorf("showing %d led from generation %d to %d: a generation with two successors, or none", shown, before.Generation, after.Generation)
	case v.Answer == refresh.Refused && !after.IdleEnd.Equal(before.IdleEnd):
		return fmt.Errorf("a refusal moved the idle end")
	case after.IdleEnd.Before(before.IdleEnd) || after.IdleEnd.After(absolute) && after.IdleEnd.After(before.IdleEnd):
		return fmt.Errorf("the idle end moved to %v (absolute end %v)", after.IdleEnd, absolute)
	case sc.bound && who == thief && (v.Answer != refresh.Refused || !after.Ended.IsZero() != !before.Ended.IsZero()):
		return fmt.Errorf("a thief without the key got an answer or ended the family: %+v", v)
	case theft && len(v.Events) == 0:
		return fmt.Errorf("a theft without an event")
	case theft && !w.stolen && !w.copied && !w.excused:
		return fmt.Errorf("an honest client was taken for a thief")
	case sc.key(who) != right && v.Answer != refresh.Refused && int64(shown) < before.Generation-1:
		return fmt.Errorf("an ancestor was answered")
	}
	return w.walksBehind(v)
}

// walksBehind checks that owner and thief do not both get the successor in the
// third generation running.
func (w *world) walksBehind(v refresh.Verdict) error {
	g := v.State.Generation
	if w.restored || g < 4 || v.Answer == refresh.Refused {
		return nil
	}
	for _, n := range []int64{g, g - 1, g - 2} {
		if !w.got[n][thief] || !w.got[n][owner] {
			return nil
		}
	}
	return fmt.Errorf("owner and thief hold generations %d to %d and nobody has noticed", g-2, g)
}

// An act is something that may happen. It reports whether it could.
type act struct {
	name string
	do   func(*world, *scene, judgeFunc) (bool, error)
}

func refreshes(who int8) act {
	names := []string{"owner refreshes", "sibling refreshes", "thief refreshes"}
	return act{names[who], func(w *world, sc *scene, j judgeFunc) (bool, error) {
		if w.token[who] == 0 || w.facts.newest >= maxGeneration {
			return false, nil
		}
		w.excuse(sc, who, w.token[who])
		return true, w.show(sc, j, who, w.token[who], true)
	}}
}

// excuse notes that the owner does what the contract cannot forgive its kind of
// client: an unbound client that shows an ancestor, or without attempt keys the
// parent when neither the overlap nor the lost-response window is open; a bound
// one that shows an ancestor where the policy ends families for it.
func (w *world) excuse(sc *scene, who int8, shown int8) {
	if sc.bound && sc.rules.EndOnSameKeyReplay && int64(shown) < w.facts.newest-1 {
		w.excused = true
	}
	if who != owner || sc.bound || int64(shown) >= w.facts.newest || sc.sends && int64(shown) == w.facts.newest-1 {
		return
	}
	m := w.facts.made[w.facts.newest]
	since := w.now - m.at
	heals := int64(shown) == w.facts.newest-1 && (since < sc.rules.Overlap && !sc.rules.SendsAttempts ||
		sc.rules.APIsReport && !sc.rules.SendsAttempts && !w.facts.seen[w.facts.newest] && since < sc.rules.LostResponse && int(w.facts.late[w.facts.newest]) < sc.rules.MaxRetries)
	if !heals {
		w.excused = true
	}
}

var (
	loses = act{"owner refreshes, the response is lost", func(w *world, sc *scene, j judgeFunc) (bool, error) {
		if w.facts.newest >= maxGeneration {
			return false, nil
		}
		w.excuse(sc, owner, w.token[owner])
		return true, w.show(sc, j, owner, w.token[owner], false)
	}}
	sends = act{"owner sends a request that is held up", func(w *world, _ *scene, _ judgeFunc) (bool, error) {
		if w.held != 0 {
			return false, nil
		}
		w.held = w.token[owner]
		return true, nil
	}}
	arrives = act{"the request that was held up arrives", func(w *world, sc *scene, j judgeFunc) (bool, error) {
		if w.held == 0 || w.facts.newest >= maxGeneration {
			return false, nil
		}
		shown := w.held
		w.held = 0
		w.excuse(sc, owner, shown)
		return true, w.show(sc, j, owner, shown, false)
	}}
	steals = act{"thief copies the owner's token", func(w *world, _ *scene, _ judgeFunc) (bool, error) {
		w.stolen, w.token[thief] = true, w.token[owner]
		return true, nil
	}}
	copies = act{"sibling copies the owner's token", func(w *world, _ *scene, _ judgeFunc) (bool, error) {
		w.copied, w.token[sibling] = true, w.token[owner]
		return true, nil
	}}
	backup = act{"backup", func(w *world, _ *scene, _ judgeFunc) (bool, error) {
		w.saved.taken, w.saved.state, w.saved.facts = true, w.state, w.facts
		return true, nil
	}}
	restore = act{"restore", func(w *world, _ *scene, _ judgeFunc) (bool, error) {
		if !w.saved.taken {
			return false, nil
		}
		w.restored, w.state, w.facts = true, w.saved.state, w.saved.facts
		return true, nil
	}}
	signsOut = act{"owner signs out", func(w *world, _ *scene, _ judgeFunc) (bool, error) {
		if w.facts.ended != "" {
			return false, nil
		}
		w.facts.ended = audit.Logout
		w.state.Ended, w.state.Reason = start.Add(w.now), audit.Logout
		return true, nil
	}}
)

func uses(who int8) act {
	names := []string{"owner calls an API", "sibling calls an API", "thief calls an API"}
	return act{names[who], func(w *world, sc *scene, _ judgeFunc) (bool, error) {
		if w.access[who] == 0 || !sc.rules.APIsReport {
			return false, nil
		}
		w.use(who)
		return true, nil
	}}
}

func passes(d time.Duration) act {
	return act{fmt.Sprint(d, " pass"), func(w *world, _ *scene, _ judgeFunc) (bool, error) {
		w.now += d
		return true, nil
	}}
}
