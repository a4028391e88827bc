package clock_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fastbind/fastbind/chaos/internal/clock"
)

// TestHoursPass: a year passes at once when everybody sleeps, each wakes at its
// time, and nobody who can wait wakes alone.
func TestHoursPass(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, began := clock.New(), time.Now()
		var moves atomic.Int64
		c.Moved = func(time.Duration) { moves.Add(1) }
		for i := range 10 {
			c.Go(func() {
				asked := time.Duration(i) * time.Minute
				before := c.Now()
				if !c.Sleep(asked, 10*time.Minute) {
					t.Error("the run was stopped")
				}
				if slept := c.Now().Sub(before); slept < asked || slept > asked+10*time.Minute {
					t.Errorf("slept %v instead of %v", slept, asked)
				}
				c.Sleep(365*24*time.Hour, 0)
			})
		}
		c.Run()
		if took := time.Since(began); took > 0 {
			t.Errorf("a year took %v", took)
		}
		if n := moves.Load(); n != 1+10 && n != 2 {
			t.Errorf("time moved on %d times", n)
		}
	})
}

// TestNobodyIsLate: while somebody is awake the others sleep on.
func TestNobodyIsLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := clock.New()
		var woken atomic.Bool
		c.Go(func() {
			c.Sleep(time.Second, 0)
			woken.Store(true)
		})
		c.Go(func() {
			slow := time.NewTimer(time.Hour) // a slow machine
			<-slow.C
			if woken.Load() {
				t.Error("somebody woke while others had work to do")
			}
		})
		c.Run()
		if !woken.Load() {
			t.Error("nobody woke")
		}
	})
}

// TestTogether: who waits for others that sleep does not hold up time, and goes
// on when the last has returned.
func TestTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := clock.New()
		var done atomic.Int64
		sleep := func(d time.Duration) func() {
			return func() {
				c.Sleep(d, 0)
				done.Add(1)
			}
		}
		c.Go(func() {
			before := c.Now()
			c.Together(sleep(time.Hour), sleep(time.Minute), func() { done.Add(1) })
			if done.Load() != 3 || c.Now().Sub(before) < time.Hour {
				t.Errorf("%d have returned after %v", done.Load(), c.Now().Sub(before))
			}
			c.Sleep(time.Minute, 0)
		})
		c.Run()
	})
}

// TestStop: a run that was stopped ends, whoever sleeps.
func TestStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := clock.New()
		c.Go(func() {
			if c.Sleep(time.Hour, 0) {
				t.Error("nobody told who slept")
			}
			if c.Sleep(time.Hour, 0) {
				t.Error("it sleeps again")
			}
		})
		c.Go(func() {
			c.Sleep(time.Minute, 0)
			c.Stop()
		})
		c.Run()
		if !c.Stopped() || c.Ahead() >= time.Hour {
			t.Errorf("stopped %t, ahead by %v", c.Stopped(), c.Ahead())
		}
	})
}
