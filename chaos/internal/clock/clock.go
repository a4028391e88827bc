// Package clock owns the time of a chaos run: hours pass as soon as nobody has
// anything left to do at the present moment.
//
// Actors are goroutines that were begun by [Clock.Go] and wait by
// [Clock.Sleep]. The invariant: while an actor is awake, no more time passes
// than really does; so that nobody is late because the machine is slow.
package clock

import (
	"container/heap"
	"sync"
	"time"
)

// A Clock is the time of a run. Set the fields before [Clock.Run].
type Clock struct {
	// Quiet is called when everybody sleeps, before time moves on. It may be
	// nil.
	Quiet func()
	// Moved is called when time has moved on, before anybody wakes. It may be
	// nil.
	Moved func(ahead time.Duration)

	mu       sync.Mutex
	changed  *sync.Cond
	ahead    time.Duration // of the real time
	awake    int
	sleepers sleepers
	stopped  bool
}

// New returns a clock that shows the real time.
func New() *Clock {
	c := &Clock{}
	c.changed = sync.NewCond(&c.mu)
	return c
}

// Now returns the time of the run.
func (c *Clock) Now() time.Time { return time.Now().Add(c.Ahead()) }

// Ahead returns by how much the clock is ahead of the real time.
func (c *Clock) Ahead() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ahead
}

// Go begins an actor.
func (c *Clock) Go(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.awake++
	go func() {
		defer c.leave()
		f()
	}()
}

func (c *Clock) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rest()
}

// rest says that an actor is not awake any more; c.mu is held.
func (c *Clock) rest() {
	c.awake--
	if c.awake == 0 {
		c.changed.Broadcast()
	}
}

// Sleep waits for d, or up to slack longer if others can then wake at the same
// moment. It reports false, and does not wait, once the run has been stopped.
// Only actors may call it.
func (c *Clock) Sleep(d, slack time.Duration) bool {
	c.mu.Lock()
	if c.stopped {
		c.mu.Unlock()
		return false
	}
	at := time.Now().Add(c.ahead + max(d, 0))
	s := &sleeper{at: at, latest: at.Add(slack), woken: make(chan struct{})}
	heap.Push(&c.sleepers, s)
	c.rest()
	c.mu.Unlock()
	<-s.woken
	return !c.Stopped()
}

// Together runs all of fs at once and returns when all have returned. Only
// actors may call it, and all of fs are actors.
func (c *Clock) Together(fs ...func()) {
	left, done := len(fs), make(chan struct{})
	for _, f := range fs {
		c.mu.Lock()
		c.awake++
		c.mu.Unlock()
		go func() {
			f()
			c.mu.Lock()
			defer c.mu.Unlock()
			if left--; left == 0 {
				close(done) // the caller is awake in its place
				return
			}
			c.rest()
		}()
	}
	c.leave()
	<-done
}

// Stop ends the run: nobody sleeps any more.
func (c *Clock) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	c.changed.Broadcast()
}

// Stopped reports whether the run was stopped.
func (c *Clock) Stopped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopped
}

// Run moves time on until there are no actors any more.
func (c *Clock) Run() {
	for c.wait() {
		if c.Quiet != nil {
			c.Quiet()
		}
		due := c.due()
		if c.Moved != nil {
			c.Moved(c.Ahead())
		}
		c.mu.Lock()
		c.awake += len(due)
		c.mu.Unlock()
		for _, s := range due {
			close(s.woken)
		}
	}
}

// wait returns when everybody sleeps, and reports whether somebody does.
func (c *Clock) wait() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.awake > 0 {
		c.changed.Wait()
	}
	return len(c.sleepers) > 0
}

// due moves time on and returns who has to wake.
func (c *Clock) due() []*sleeper {
	c.mu.Lock()
	defer c.mu.Unlock()
	latest := c.sleepers[0].latest
	if c.stopped { // all of them
		latest = time.Unix(1<<40, 0)
	}
	for _, s := range c.sleepers {
		if s.latest.Before(latest) && !c.stopped {
			latest = s.latest
		}
	}
	var due []*sleeper
	for len(c.sleepers) > 0 && !c.sleepers[0].at.After(latest) {
		due = append(due, heap.Pop(&c.sleepers).(*sleeper)) //nolint:errcheck,forcetypeassert // it holds nothing else
	}
	if !c.stopped {
		c.ahead = max(c.ahead, time.Until(due[len(due)-1].at))
	}
	return due
}

// A sleeper is an actor that waits, in the order of at.
type sleeper struct {
	at, latest time.Time
	woken      chan struct{}
}

type sleepers []*sleeper

func (s sleepers) Len() int           { return len(s) }
func (s sleepers) Less(i, j int) bool { return s[i].at.Before(s[j].at) }
func (s sleepers) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }

// Push is for package heap.
func (s *sleepers) Push(v any) { *s = append(*s, v.(*sleeper)) } //nolint:errcheck,forcetypeassert // it holds nothing else

// Pop is for package heap.
func (s *sleepers) Pop() any {
	old := *s
	last := old[len(old)-1]
	*s = old[:len(old)-1]
	return last
}
