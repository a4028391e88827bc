package apptest

import (
	"sync"
	"time"
)

// A Clock stands until it is moved: for servers and clients whose time a test
// makes pass. It is safe for concurrent use.
type Clock struct {
	mu sync.Mutex
	at time.Time
}

// NewClock returns a clock that stands at the present time.
func NewClock() *Clock { return &Clock{at: time.Now()} }

// Now returns the time that the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// Add moves the clock, also back.
func (c *Clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// Off returns the Now of a clock that differs from c by d.
func (c *Clock) Off(d time.Duration) func() time.Time {
	return func() time.Time { return c.Now().Add(d) }
}
