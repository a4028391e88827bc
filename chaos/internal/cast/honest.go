package cast

import (
	"context"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/fastbind/fastbind/chaos/internal/site"
	"github.com/fastbind/fastbind/chaos/internal/watch"
)

// A holder is a client with its storage.
type holder struct {
	*site.Holding
	play   *Play
	random *rand.Rand
	others []*holder // other processes that share its key and its credential
}

// How long a client rests between two refreshes.
const (
	shortestRest = time.Minute
	longestRest  = 10 * time.Minute
	usualRest    = (shortestRest + longestRest) / 2
	restSlack    = 20 * time.Second
	night        = 8 * time.Hour
)

// live is the life of an honest client: it signs in, and refreshes and uses what
// it holds until it signs out.
func (p *Play) live(ctx context.Context, r *rand.Rand, k site.Kind) {
	if !p.Site.Clock.Sleep(between(r, 0, longestRest), restSlack) {
		return
	}
	for !p.over() {
		h := p.begin(ctx, r, k)
		if h == nil {
			return
		}
		h.Family.Safe, h.Family.Overlaps = k.Promised, k.Overlaps()
		for !p.over() && h.rest() {
			if !h.work(ctx) {
				p.loggedOut(h)
				break
			}
			if chance(r, 5) {
				h.signOut(ctx)
				break
			}
		}
	}
}

func (p *Play) begin(ctx context.Context, r *rand.Rand, k site.Kind) *holder {
	h := p.Site.Begin(ctx, r, k, p.subjects[r.IntN(len(p.subjects))], network(r))
	if h == nil {
		return nil
	}
	first := &holder{Holding: h, play: p, random: r}
	for range k.Processes {
		copied := *h
		copied.Prover = p.Site.Process(h.Prover)
		first.others = append(first.others, &holder{Holding: &copied, play: p, random: rand.New(rand.NewPCG(r.Uint64(), 1))})
	}
	return first
}

// work refreshes and uses what it is given, and sometimes at the same time, or
// alone, some other process does. It reports whether all were given something.
func (h *holder) work(ctx context.Context) bool {
	all := []*holder{h}
	for _, o := range h.others {
		if chance(h.random, 200) {
			all = append(all, o)
		}
	}
	given := make([]bool, len(all))
	var tasks []func()
	for i, one := range all {
		tasks = append(tasks, func() {
			if given[i] = one.refresh(ctx); given[i] {
				h.play.Site.Use(ctx, one.random, one.Holding)
			}
		})
	}
	h.play.Site.Clock.Together(tasks...)
	return !slices.Contains(given, false)
}

// loggedOut notes that an honest client was told that its grant is not valid.
func (p *Play) loggedOut(h *holder) {
	if p.Site.Clock.Stopped() {
		return
	}
	p.Site.Log.LoggedOut(h.Kind.Name)
	if h.Kind.Promised {
		p.Site.Log.Report("honest-logout", "family %s (%s) was refused at generation %d", h.Family.ID, h.Kind.Name, h.Tokens.Generation)
	}
}

// rest waits until the next refresh, and reports false once the run was stopped.
func (h *holder) rest() bool {
	d := between(h.random, shortestRest, longestRest)
	if chance(h.random, 2) {
		d = night
	}
	if chance(h.random, 20) {
		h.Network = network(h.random)
	}
	return h.play.Site.Clock.Sleep(d, restSlack)
}

// refresh sends the token until there is an answer, and stores what it is given
// before anything is done with it. It reports whether it was given something.
func (h *holder) refresh(ctx context.Context) bool {
	if h.Kind.SendsAttempts {
		var key [16]byte
		for i := range key {
			key[i] = byte(h.random.Uint32())
		}
		h.Attempt = hex.EncodeToString(key[:])
	}
	for try := 0; ; try++ {
		tokens, outcome := h.show(ctx)
		switch outcome {
		case watch.Given:
			h.Tokens, h.Attempt = tokens, ""
			return true
		case watch.Refused:
			return false
		case watch.Again, watch.Unproven: // nothing was said about the grant
		}
		if !h.play.Site.Clock.Sleep(h.pause(try), h.Kind.Slack()) {
			return false
		}
	}
}

// pause returns how long to wait before the next try. Plain bearer clients have
// the overlap, and no more; the others may be in a tunnel.
func (h *holder) pause(try int) time.Duration {
	soon := between(h.random, time.Second, time.Second+time.Duration(min(try, 3))*time.Second)
	if !h.Kind.Promised {
		return soon
	}
	switch n := h.random.IntN(100); {
	case n < 3:
		return time.Hour
	case n < 15:
		return 2 * time.Minute
	case n < 30:
		return 20 * time.Second
	default:
		return soon
	}
}

// show sends the token once; a client with several tabs sometimes from more than
// one of them at the same time. What it returns is what came first.
func (h *holder) show(ctx context.Context) (watch.Tokens, watch.Outcome) {
	s := h.play.Site
	if !chance(h.random, 100) {
		return s.Show(ctx, h.random, h.Holding)
	}
	type answer struct {
		tokens  watch.Tokens
		outcome watch.Outcome
	}
	var tabs []func()
	answers := make([]answer, 2+h.random.IntN(2))
	for i := range answers {
		r := rand.New(rand.NewPCG(h.random.Uint64(), uint64(i)))
		tabs = append(tabs, func() {
			answers[i].tokens, answers[i].outcome = s.Show(ctx, r, h.Holding)
		})
	}
	s.Clock.Together(tabs...)
	best := answers[0]
	for _, a := range answers[1:] {
		if a.outcome > best.outcome { // one tab that was logged out logs out all
			best = a
		}
	}
	return best.tokens, best.outcome
}

// signOut gives back the family, and shows that this is for good.
func (h *holder) signOut(ctx context.Context) {
	s := h.play.Site
	if !s.Revoke(ctx, h.random, h.Holding) || chance(h.random, 500) && !s.Clock.Sleep(time.Minute, restSlack) {
		return
	}
	s.Show(ctx, h.random, h.Holding) // that it is refused, the watch sees to
}
