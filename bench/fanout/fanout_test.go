package fanout_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/pgtest"
)

var (
	guards = flag.Int("guards", 200, "how many guards follow the feed")
	rounds = flag.Int("rounds", 12, "how many revocations are measured; from 100 on the bounds of the contract are asserted")
)

// The bounds of the contract for the p99, from the return of the revoking call
// to the last guard.
const (
	oneNode   = 100 * time.Millisecond
	manyNodes = time.Second
)

// Few rounds have no p99 and run beside other tests, on a machine that is not
// theirs: then nine of ten are held to the second, and all of them to the age at
// which a guard trusts its view no more.
const (
	enough   = 100
	staleAge = 5 * time.Second
)

// A crowd is many guards, and what was measured of them.
type crowd struct {
	t     testing.TB
	apis  []*api
	party *party

	each []time.Duration // of every guard in every round
	last []time.Duration // of the last guard in every round

	checks sync.WaitGroup // that tokens stay refused
}

// gather furnishes the nodes and lets the guards follow their feed.
func gather(t testing.TB, b *balancer, n *node) *crowd {
	t.Helper()
	n.command(password+"\n", "user", "create", "ada", "--password-stdin")
	secret := func(args ...string) string {
		var c struct {
			Secret string `json:"client_secret"`
		}
		if err := json.Unmarshal(n.command("", append([]string{"client", "create", "--json"}, args...)...), &c); err != nil {
			t.Fatal(err)
		}
		return c.Secret
	}
	app := secret("app", "--redirect-uri", redirect, "--trusted", "--scope", "openid", "--audience", audience, "--sends-attempt-keys",
		"--grant", "authorization_code", "--grant", "refresh_token", "--grant", "client_credentials")
	c := &crowd{t: t, party: newParty(t, b.url(), app)}
	c.apis = apis(t, *guards, b.url(), secret("api", "--resource-server", "--audience", audience))
	return c
}

// round opens a stream at every guard, calls before, ends the token, and measures
// until every stream has ended and every guard refuses the token.
func (c *crowd) round(w way, before func()) {
	t := c.t
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	token, end := w.token()
	streams := make([]<-chan time.Time, len(c.apis))
	for i, a := range c.apis {
		var err error
		if streams[i], err = a.open(ctx, token); err != nil {
			t.Fatalf("open a stream: %v", err)
		}
	}
	before()
	returned := end()
	var last time.Duration
	for i, s := range streams {
		took := max(0, (<-s).Sub(returned))
		if ctx.Err() != nil {
			t.Fatalf("%s: a stream is still open after 30 s", w.name)
		}
		last = max(last, took)
		c.each = append(c.each, took)
		if err := c.apis[i].refuses(token); err != nil {
			t.Errorf("%s: the stream ended %s after the call, and then the token was %v", w.name, took, err)
		}
	}
	c.last = append(c.last, last)
	c.checks.Go(func() { // and nowhere is it taken once the bound has passed
		<-time.After(time.Until(returned.Add(max(last, manyNodes))))
		for _, a := range c.apis {
			if err := a.refuses(token); err != nil {
				t.Errorf("%s: after the bound has passed the token is %v", w.name, err)
			}
		}
	})
}

// run measures so many rounds; it calls before with the number of each.
func (c *crowd) run(before func(round int)) {
	c.t.Helper()
	ways := c.party.ways()
	for i := range *rounds {
		c.round(ways[i%len(ways)], func() { before(i) })
	}
	c.checks.Wait()
}

// report prints the distribution and holds it to the bound.
func (c *crowd) report(what string, bound time.Duration) {
	t := c.t
	t.Helper()
	for _, d := range []struct {
		what string
		all  []time.Duration
	}{{"to each guard", c.each}, {"to the last guard", c.last}} {
		slices.Sort(d.all)
		t.Logf("%s, %d guards, %d revocations, %s: p50=%s p90=%s p99=%s max=%s", what, len(c.apis), len(c.last), d.what,
			at(d.all, 50), at(d.all, 90), at(d.all, 99), at(d.all, 100))
	}
	percent, most := 99, manyNodes
	if len(c.last) < enough {
		percent, bound, most = 90, manyNodes, staleAge
	}
	if d := at(c.last, percent); d > bound {
		t.Errorf("%s: p%d to the last guard is %s, want at most %s", what, percent, d, bound)
	}
	if d := at(c.last, 100); d > most {
		t.Errorf("%s: a revocation took %s to the last guard, want at most %s", what, d, most)
	}
	var slowest time.Duration
	for _, a := range c.apis {
		for _, d := range a.guard.Stats().Propagation {
			slowest = max(slowest, d)
		}
	}
	t.Logf("%s: by the guards' own count the slowest entry took %s from its decision", what, slowest)
}

// at returns a percentile of sorted times: the least that so many of them do not
// exceed.
func at(all []time.Duration, percent int) time.Duration {
	if len(all) == 0 {
		return 0
	}
	return all[max(0, (len(all)*percent+99)/100-1)].Round(10 * time.Microsecond)
}

// histogram logs the node's own measure and says whether it has one.
func (n *node) histogram(what string) {
	n.t.Helper()
	const name = "fastbind_revocation_propagation_seconds"
	count, sum := n.metric(name+"_count "), n.metric(name+"_sum ")
	var parts []string
	for _, le := range []string{"0.005", "0.02", "0.1", "1"} {
		parts = append(parts, fmt.Sprintf("%.0f within %ss", n.metric(name+`_bucket{le="`+le+`"}`), le))
	}
	n.t.Logf("%s says: %.0f entries written to its last guard, %s; mean %.1f ms; %.0f guards connected",
		what, count, strings.Join(parts, ", "), 1000*sum/max(count, 1), n.metric("fastbind_guards_connected "))
	if count == 0 {
		n.t.Errorf("%s has measured nothing", what)
	}
}

// measureOne measures one node on a database; empty: SQLite.
func measureOne(t testing.TB, database string) *crowd {
	t.Helper()
	b, all := nodes(t, 1, database)
	c := gather(t, b, all[0])
	c.run(func(int) {})
	all[0].histogram("the node")
	return c
}

// measureThree measures three nodes behind a balancer, on one PostgreSQL. In
// every tenth round one node is stopped, and in every tenth another is killed,
// at the moment of the revocation; each is started again. Their guards go on at
// the others, and miss nothing.
func measureThree(t testing.TB) *crowd {
	t.Helper()
	b, all := nodes(t, 3, pgtest.New(t).Empty(t))
	c := gather(t, b, all[0])
	var work sync.WaitGroup
	t.Cleanup(work.Wait)
	start := func(n *node) {
		if err := n.start(); err != nil {
			t.Error(err)
		}
	}
	c.run(func(round int) {
		switch round % 10 {
		case 3:
			work.Wait()
			work.Go(func() {
				all[1].stop()
				start(all[1])
			})
		case 8:
			work.Wait()
			all[2].kill()
			work.Go(func() { start(all[2]) })
		}
	})
	work.Wait()
	all[0].histogram("the node that ran all the time")
	for _, n := range all {
		if dropped := n.metric("fastbind_guards_dropped_total "); dropped > 0 {
			t.Errorf("%.0f guards were too slow", dropped)
		}
	}
	return c
}

func TestOneNode(t *testing.T) {
	databases := map[string]string{"SQLite": ""}
	if pgtest.Enabled() {
		databases["PostgreSQL"] = pgtest.New(t).Empty(t)
	}
	for name, database := range databases {
		t.Run(name, func(t *testing.T) { measureOne(t, database).report("one node on "+name, oneNode) })
	}
}

func TestThreeNodes(t *testing.T) {
	if !pgtest.Enabled() {
		return // make test runs it
	}
	measureThree(t).report("three nodes, one restarted and one killed", manyNodes)
}

// BenchmarkRevocation reports what TestOneNode and TestThreeNodes hold to the
// contract, of as many rounds as a p99 needs.
func BenchmarkRevocation(b *testing.B) {
	if !pgtest.Enabled() {
		return // make bench runs it
	}
	*rounds = max(*rounds, enough)
	for _, m := range []struct {
		name    string
		measure func(b *testing.B) *crowd
	}{
		{"OneNode/SQLite", func(b *testing.B) *crowd { return measureOne(b, "") }},
		{"OneNode/PostgreSQL", func(b *testing.B) *crowd { return measureOne(b, pgtest.New(b).Empty(b)) }},
		{"ThreeNodes", func(b *testing.B) *crowd { return measureThree(b) }},
	} {
		b.Run(m.name, func(b *testing.B) {
			var last []time.Duration
			for b.Loop() {
				last = append(last, m.measure(b).last...)
			}
			slices.Sort(last)
			for name, percent := range map[string]int{"p50-ms": 50, "p99-ms": 99, "max-ms": 100} {
				b.ReportMetric(at(last, percent).Seconds()*1000, name)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}
