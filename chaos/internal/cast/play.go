// Package cast owns the parties of a chaos run: honest clients of every kind,
// thieves in every way of the seven tests of docs/rotation.md, and what goes
// wrong meanwhile.
//
// Each party has a source of randomness of its own, which the seed and its
// number decide: who does what, which losses and which kills there are in which
// order is a function of the seed. The invariant: an honest client does what
// docs/rotation.md asks of clients, and nothing else.
package cast

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/fastbind/fastbind/chaos/internal/site"
)

// A Play is one run on one site. Set the exported fields before [Play.Run].
type Play struct {
	Site *site.Site
	Seed uint64
	// Refreshes is after how many requests with a refresh token, answered by a
	// server, the run ends.
	Refreshes int64
	// Clients is how many honest clients there are, and Scenes how many thefts
	// are under way at once.
	Clients, Scenes int

	subjects []string

	mu     sync.Mutex
	thefts map[string]*Tally // by plan and kind
	gone   []time.Duration   // from the verdict until the last guard refused
}

// A Tally is what became of thefts of one sort.
type Tally struct {
	Thefts, Noticed int
	// Latest is the number of refreshes of the victim, after the thief had shown
	// a token for the first time, in which the last one was noticed, and Within
	// what the contract allows.
	Latest, Within int
}

const people = 50

// Run runs it until its end, or until something is wrong.
func (p *Play) Run(ctx context.Context) error {
	p.thefts = make(map[string]*Tally)
	for i := range people {
		subject, err := p.Site.Person(ctx, fmt.Sprintf("person-%d", i))
		if err != nil {
			return err
		}
		p.subjects = append(p.subjects, subject)
	}
	c := p.Site.Clock
	kinds := site.Kinds()
	// Held until all have begun: the first must not run on alone.
	begin := make(chan struct{})
	actor := func(number int, f func(context.Context, *rand.Rand)) {
		r := rand.New(rand.NewPCG(p.Seed, uint64(number)))
		c.Go(func() {
			<-begin
			f(ctx, r)
		})
	}
	number := 0
	for range p.Clients {
		k := kinds[number%len(kinds)]
		actor(number, func(ctx context.Context, r *rand.Rand) { p.live(ctx, r, k) })
		number++
	}
	for range p.Scenes {
		actor(number, p.rob)
		number++
	}
	for _, f := range []func(context.Context, *rand.Rand){p.killServers, p.crashDatabase, p.skewClocks} {
		actor(number, f)
		number++
	}
	close(begin)
	c.Run()
	p.Site.Check(ctx)
	return ctx.Err()
}

// over reports whether the run has come to its end.
func (p *Play) over() bool {
	return p.Site.Clock.Stopped() || p.Site.Log.Refreshes.Load() >= p.Refreshes
}

// lasts is about how much time passes in a run, at the usual pace of clients.
func (p *Play) lasts() time.Duration {
	return usualRest * time.Duration(p.Refreshes) / time.Duration(max(p.Clients+p.Scenes, 1))
}

// Thefts returns what became of the thefts, by their sort.
func (p *Play) Thefts() map[string]*Tally {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.thefts
}

// Gone returns how long after a theft was noticed the last guard refused, in
// order.
func (p *Play) Gone() []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.Sort(p.gone)
	return p.gone
}

// between returns a duration from a to b.
func between(r *rand.Rand, a, b time.Duration) time.Duration {
	return a + time.Duration(r.Int64N(int64(b-a)+1))
}

// chance reports true in so many of a thousand cases.
func chance(r *rand.Rand, perMille int) bool { return r.IntN(1000) < perMille }

// network returns an address that nobody else has.
func network(r *rand.Rand) string {
	return fmt.Sprintf("10.%d.%d.%d", r.IntN(256), r.IntN(256), r.IntN(256))
}

// kindOf returns one of the kinds of clients.
func kindOf(r *rand.Rand) site.Kind {
	kinds := site.Kinds()
	return kinds[r.IntN(len(kinds))]
}
