package cast

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/fastbind/fastbind/chaos/internal/site"
	"github.com/fastbind/fastbind/chaos/internal/watch"
)

// A plan is how a thief goes about it.
type plan struct {
	name string
	// step is called after each refresh of the victim, whose holding before it
	// is given, and reports whether the thief showed a token.
	step func(ctx context.Context, s *scene, parent site.Holding) bool
	// rest is how long the victim rests between refreshes.
	rest time.Duration
	// within is the number of refreshes of the victim, after the thief showed a
	// token for the first time, in which the theft is noticed at the latest:
	// what docs/rotation.md promises.
	within int
}

// plans are the thieves of the seven tests.
func plans() []plan {
	const usual = 6 * time.Minute // longer than an overlap and the worst clocks
	return []plan{
		{"first, the victim 30 min later", first, 30 * time.Minute, 1},
		{"first, and silent", firstAndSilent, 30 * time.Minute, 3},
		{"one step behind, 2 s after", behind, usual, 2},
		{"one step ahead, silent", firstAndSilent, usual, 3},
		{"in turn", inTurn, usual, 1},
		{"late", late, usual, 0},
		{"sometimes", sometimes, usual, 3},
		{"a second holder of the same token", secondHolder, usual, 1},
	}
}

// A scene is a victim and a thief with a copy of what it held.
type scene struct {
	*Play
	random *rand.Rand
	victim *holder
	thief  *holder
	shown  bool // the thief has shown something
	fresh  *holder
	since  time.Time // when fresh was given its tokens
}

// The thieves.

func first(ctx context.Context, s *scene, _ site.Holding) bool {
	if !s.shown {
		s.copy()
	}
	for range 1 + s.random.IntN(5) { // it goes on with what it has got
		if !s.Site.Clock.Sleep(4*time.Minute, restSlack) || !s.steal(ctx) {
			break
		}
	}
	return true
}

func firstAndSilent(ctx context.Context, s *scene, _ site.Holding) bool {
	if !s.shown {
		s.copy()
	}
	s.Site.Clock.Sleep(time.Minute, restSlack)
	s.take(ctx)
	return true
}

func behind(ctx context.Context, s *scene, parent site.Holding) bool {
	s.Site.Clock.Sleep(between(s.random, 2*time.Second, 10*time.Second), time.Second)
	s.thief.Tokens = parent.Tokens
	s.steal(ctx)
	return true
}

func inTurn(ctx context.Context, s *scene, parent site.Holding) bool {
	if !s.shown {
		s.thief.Tokens = parent.Tokens
	}
	s.Site.Clock.Sleep(6*time.Minute, restSlack)
	s.steal(ctx)
	return true
}

func late(ctx context.Context, s *scene, _ site.Holding) bool {
	if s.victim.Tokens.Generation < s.thief.Tokens.Generation+3 {
		return false
	}
	s.steal(ctx)
	return true
}

func sometimes(ctx context.Context, s *scene, _ site.Holding) bool {
	if chance(s.random, 600) {
		return false
	}
	if !s.shown {
		s.copy()
	}
	s.Site.Clock.Sleep(between(s.random, 5*time.Minute, 20*time.Minute), restSlack)
	s.steal(ctx)
	return true
}

func secondHolder(ctx context.Context, s *scene, parent site.Holding) bool {
	s.thief.Network = s.victim.Network
	return inTurn(ctx, s, parent)
}

// copy takes what the victim holds.
func (s *scene) copy() { s.thief.Tokens = s.victim.Tokens }

// steal refreshes with what the thief has, keeps what it is given, and uses it.
// It reports whether it was given something.
func (s *scene) steal(ctx context.Context) bool {
	if !s.take(ctx) {
		return false
	}
	s.Site.Use(ctx, s.random, s.thief.Holding)
	s.got(ctx, s.thief)
	return true
}

// take is steal without a use.
func (s *scene) take(ctx context.Context) bool {
	s.shown = true
	for {
		tokens, outcome := s.Site.Show(ctx, s.random, s.thief.Holding)
		switch outcome {
		case watch.Given:
			s.thief.Tokens = tokens
			return true
		case watch.Refused:
			return false
		case watch.Unproven: // without a key it will be no better next time
			if s.thief.Prover == nil {
				return false
			}
		case watch.Again: // it tries again
		}
		if !s.Site.Clock.Sleep(time.Second, time.Second/2) {
			return false
		}
	}
}

// got notes who was given tokens last, if guards take them.
func (s *scene) got(ctx context.Context, h *holder) {
	s.fresh = nil
	if s.Site.Accepted(ctx, h.Holding) {
		s.fresh, s.since = h, s.Site.Clock.Now()
	}
}

// patience is after how many refreshes of its victim a thief who was not noticed
// gives up.
const patience = 8

// rob plays one theft after the other.
func (p *Play) rob(ctx context.Context, r *rand.Rand) {
	all := plans()
	for p.Site.Clock.Sleep(between(r, 0, longestRest), restSlack) && !p.over() {
		p.theft(ctx, r, all[r.IntN(len(all))], kindOf(r))
	}
}

// theft lets the victim live for a while, copies what it holds, and follows the
// plan until it is noticed.
func (p *Play) theft(ctx context.Context, r *rand.Rand, with plan, k site.Kind) {
	victim := p.begin(ctx, r, k)
	if victim == nil {
		return
	}
	s := &scene{Play: p, random: r, victim: victim}
	for range 1 + r.IntN(4) {
		if !victim.rest() {
			return
		}
		if !victim.work(ctx) {
			p.loggedOut(victim)
			return
		}
	}
	if s.thief = victim.robbed(r); s.thief == nil {
		return
	}
	n, noticed := 0, false
	for !noticed && n < patience {
		if s.shown {
			n++
		}
		parent := *victim.Holding
		if !p.Site.Clock.Sleep(with.rest, restSlack) {
			return
		}
		if victim.refresh(ctx) {
			p.Site.Use(ctx, r, victim.Holding)
			s.got(ctx, victim)
			noticed = s.noticed(ctx)
			if !noticed {
				with.step(ctx, s, parent)
			}
		}
		began := time.Now()
		if noticed = s.noticed(ctx); noticed {
			s.end(ctx, began)
		}
		if p.Site.Clock.Stopped() {
			return
		}
	}
	p.tally(with, k, n, noticed)
}

// robbed returns a thief with a copy of what h holds. A key cannot be copied: who
// steals from a client with one has none, or one of his own.
func (h *holder) robbed(r *rand.Rand) *holder {
	loot := *h.Holding
	loot.Network, loot.Attempt, loot.Prover = network(r), "", nil
	if h.Kind.Bound {
		loot.Party = watch.Stranger
		if chance(r, 500) {
			own, err := h.play.Site.Prover(r)
			if err != nil {
				h.play.Site.Log.Report("harness", "%v", err)
				return nil
			}
			loot.Prover = own
		}
	}
	return &holder{Holding: &loot, play: h.play, random: r}
}

// noticed reports whether somebody was told of the theft.
func (s *scene) noticed(ctx context.Context) (yes bool) {
	s.Site.Again(func() (err error) {
		yes, err = s.Site.Noticed(ctx, s.victim.Family)
		return err
	})
	return yes
}

// accessLife is for how long an access token is good enough to see it refused.
const accessLife = 4 * time.Minute

// end tries what has ended once more, and measures how soon guards refuse what
// was issued last.
func (s *scene) end(ctx context.Context, ended time.Time) {
	if s.victim.Kind.Bound {
		// The rightful holder's family lives on.
		if !s.victim.work(ctx) {
			s.loggedOut(s.victim)
		}
		return
	}
	s.victim.Family.End()
	s.Site.Show(ctx, s.random, s.victim.Holding) // that it is refused, the watch sees to
	s.Site.Show(ctx, s.random, s.thief.Holding)
	if s.fresh == nil || s.Site.Clock.Now().Sub(s.since) > accessLife {
		return
	}
	d := s.Site.Gone(ctx, s.fresh.Holding, ended)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = append(s.gone, d)
}

func (p *Play) tally(with plan, k site.Kind, n int, noticed bool) {
	name := with.name + " | " + k.Name
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.thefts[name]
	if t == nil {
		t = &Tally{Within: with.within}
		p.thefts[name] = t
	}
	t.Thefts++
	if noticed {
		t.Noticed++
		t.Latest = max(t.Latest, n)
	}
	if !noticed || n > with.within {
		p.Site.Log.Report("theft-noticed", "%s: noticed %t, at refresh %d of the victim, at the latest it has to be %d", name, noticed, n, with.within)
	}
}
