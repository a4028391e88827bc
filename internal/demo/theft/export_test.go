package theft

import "time"

// The bounds of what is kept for visitors.
const (
	MaxVisitors = maxVisitors
	VisitorIdle = visitorIdle
)

// Visitors are what the page keeps.
type Visitors struct{ visitors visitors }

// Add keeps a new visitor and returns their cookie.
func (v *Visitors) Add(now time.Time) string { return v.visitors.add(&visitor{}, now) }

// Find reports whether there is a visitor with the cookie, who is then seen.
func (v *Visitors) Find(cookie string, now time.Time) bool {
	return v.visitors.find(cookie, now) != nil
}

// Sweep forgets those who have not been seen for long.
func (v *Visitors) Sweep(now time.Time) { v.visitors.sweep(now) }
