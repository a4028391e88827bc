package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fastbind/fastbind/chaos/internal/cast"
	"github.com/fastbind/fastbind/chaos/internal/clock"
	"github.com/fastbind/fastbind/chaos/internal/site"
	"github.com/fastbind/fastbind/chaos/internal/watch"
)

// errBroken says that the contract was broken; what is wrong has been printed.
var errBroken = errors.New("the contract is broken")

// options are those of a run.
type options struct {
	seed            uint64
	refreshes       int64
	clients, scenes int
	engine          string
	keep            bool
}

// sums are what the last line says.
type sums struct {
	refreshes                int64
	logouts, thefts, noticed int
	gone                     []time.Duration
	broken                   bool
}

// The servers and guards of a run on PostgreSQL. On SQLite there is one server.
const (
	nodes  = 3
	guards = 3
)

// run plays on each engine and prints what came of it.
func (o options) run(ctx context.Context, out io.Writer) error {
	o.crowd()
	engines := []string{"postgres", "sqlite"}
	switch {
	case o.engine != "both" && !slices.Contains(engines, o.engine):
		return fmt.Errorf("engine %q is neither of %s nor both", o.engine, strings.Join(engines, ", "))
	case o.engine != "both":
		engines = []string{o.engine}
	}
	dir, err := os.MkdirTemp("", "fastbind-chaos-")
	if err != nil {
		return err
	}
	if o.keep {
		fmt.Fprintf(out, "files are in %s\n", dir)
	} else {
		defer os.RemoveAll(dir) //nolint:errcheck // what is left over is harmless
	}
	fmt.Fprintf(out, "seed=%d refreshes=%d clients=%d scenes=%d engines=%s\n", o.seed, o.refreshes, o.clients, o.scenes, strings.Join(engines, ","))
	s, err := o.plays(ctx, out, dir, engines)
	if err != nil {
		return err
	}
	slices.Sort(s.gone)
	p99 := -1.0
	if len(s.gone) > 0 {
		p99 = float64(s.gone[(len(s.gone)*99+99)/100-1].Microseconds()) / 1000
	}
	fmt.Fprintf(out, "refreshes=%d honest_logouts=%d thefts=%d noticed=%d refused_p99_ms=%.1f\n", s.refreshes, s.logouts, s.thefts, s.noticed, p99)
	if s.broken || s.logouts > 0 || s.noticed < s.thefts || p99 > 1000 {
		return errBroken
	}
	return nil
}

// plays plays on all engines at once: while one waits for its disk the other has
// the processors. It prints what came of each, in their order.
func (o options) plays(ctx context.Context, out io.Writer, dir string, engines []string) (sums, error) {
	said, came, failed := make([]strings.Builder, len(engines)), make([]sums, len(engines)), make([]error, len(engines))
	var work sync.WaitGroup
	for i, engine := range engines {
		work.Go(func() {
			if err := o.play(ctx, &said[i], &came[i], engine, filepath.Join(dir, engine), o.refreshes/int64(len(engines))); err != nil {
				failed[i] = fmt.Errorf("%s: %w", engine, err)
			}
		})
	}
	work.Wait()
	var all sums
	for i := range engines {
		fmt.Fprint(out, said[i].String())
		all.add(came[i])
	}
	return all, errors.Join(failed...)
}

func (s *sums) add(t sums) {
	s.refreshes += t.refreshes
	s.logouts += t.logouts
	s.thefts += t.thefts
	s.noticed += t.noticed
	s.gone = append(s.gone, t.gone...)
	s.broken = s.broken || t.broken
}

// crowd says how many parties there are, if nothing else does: enough that many
// of them are awake at the same time, and that each lives for hours.
func (o *options) crowd() {
	if o.clients == 0 {
		o.clients = int(min(max(o.refreshes/100, 240), 3000))
	}
	if o.scenes == 0 {
		o.scenes = max(o.clients/10, 40)
	}
}

// play runs one play and adds it to the sums.
func (o options) play(ctx context.Context, out io.Writer, s *sums, engine, dir string, refreshes int64) (err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	c := clock.New()
	l := &watch.Log{Broken: c.Stop, Now: c.Now}
	so := site.Options{Dir: dir, Nodes: 1, Guards: guards, CheckEvery: max(4000, refreshes/25)}
	if engine == "postgres" {
		so.Postgres, so.Nodes = true, nodes
	}
	st, err := site.Open(ctx, so, c, l)
	if err != nil {
		return err
	}
	began := time.Now()
	p := &cast.Play{Site: st, Seed: o.seed, Refreshes: refreshes, Clients: o.clients, Scenes: o.scenes}
	err = p.Run(ctx)
	took := time.Since(began)
	err = errors.Join(err, st.Close())
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%s: %d requests, %d answers in %s (%.0f/s), %s of virtual time\n", engine, l.Refreshes.Load(), l.Answers.Load(),
		took.Round(time.Millisecond), float64(l.Refreshes.Load())/took.Seconds(), c.Ahead().Round(time.Minute))
	for _, k := range site.Kinds() {
		fmt.Fprintf(out, "  honest logouts, %s: %d\n", k.Name, l.Logouts(k.Name))
		if k.Promised {
			s.logouts += l.Logouts(k.Name)
		}
	}
	thefts := p.Thefts()
	for _, name := range slices.Sorted(maps.Keys(thefts)) {
		t := thefts[name]
		fmt.Fprintf(out, "  theft, %s: %d, noticed %d, at the latest at refresh %d of the victim (of %d)\n", name, t.Thefts, t.Noticed, t.Latest, t.Within)
		s.thefts += t.Thefts
		s.noticed += t.Noticed
	}
	for _, f := range l.Findings() {
		s.broken = true
		fmt.Fprintf(out, "  BROKEN after %d refreshes, %s: %s\n", f.Refreshes, f.Check, f.Text)
	}
	s.refreshes += l.Refreshes.Load()
	s.gone = append(s.gone, p.Gone()...)
	return nil
}
