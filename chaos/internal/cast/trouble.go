package cast

import (
	"context"
	"math/rand/v2"
	"time"
)

// every calls f, again and again, about so many times in a run.
func (p *Play) every(ctx context.Context, r *rand.Rand, times int64, f func() error) {
	period := p.lasts() / time.Duration(times)
	for p.Site.Clock.Sleep(between(r, period/2, period*3/2), 0) && !p.over() {
		// Others have woken at the same moment: in the middle of what they do.
		pause(ctx, between(r, 0, 10*time.Millisecond))
		if err := f(); err != nil && ctx.Err() == nil {
			p.Site.Log.Report("harness", "%v", err)
			return
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// killServers kills server processes without a warning.
func (p *Play) killServers(ctx context.Context, r *rand.Rand) {
	p.every(ctx, r, max(8, p.Refreshes/3000), func() error {
		return p.Site.Kill(ctx, r.IntN(p.Site.Nodes()), between(r, 0, 15*time.Second))
	})
}

// crashDatabase kills the database without a warning.
func (p *Play) crashDatabase(ctx context.Context, r *rand.Rand) {
	p.every(ctx, r, max(6, p.Refreshes/20_000), func() error {
		return p.Site.Crash(ctx, between(r, 0, 12*time.Second))
	})
}

// The clocks of the servers are mostly right within usualSkew, and at worst
// wrong by maxSkew.
const (
	usualSkew = 5 * time.Second
	maxSkew   = 2 * time.Minute
)

// skewClocks sets the clocks of the servers, each wrong in its own way.
func (p *Play) skewClocks(ctx context.Context, r *rand.Rand) {
	p.every(ctx, r, max(10, p.Refreshes/5000), func() error {
		most := usualSkew
		if chance(r, 500) {
			most = maxSkew
		}
		p.Site.Log.Skewed(most)
		for n := range p.Site.Nodes() {
			if err := p.Site.Skew(n, between(r, -most, most)); err != nil {
				return err
			}
		}
		return nil
	})
}
