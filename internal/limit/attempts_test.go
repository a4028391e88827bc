package limit_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/limit"
	"github.com/fastbind/fastbind/internal/opaque"
)

var noon = time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)

// guess makes n attempts, step apart, and returns how many were let through.
func guess(t *testing.T, a *limit.Attempts, now *time.Time, n int, step time.Duration, at func(i int) limit.Attempt) int {
	t.Helper()
	through := 0
	for i := range n {
		wait, err := a.Take(t.Context(), at(i))
		if err != nil {
			t.Fatal(err)
		}
		if wait == 0 {
			through++
		}
		*now = now.Add(step)
	}
	return through
}

func newAttempts() (*limit.Attempts, *time.Time) {
	now := noon
	return &limit.Attempts{Store: &limit.Memory{}, Now: func() time.Time { return now }}, &now
}

func address(i int) string { return fmt.Sprintf("198.51.%d.%d", i/250, i%250) }

// TestN101ConsecutiveFailures: however patient and distributed, strangers and
// known devices together have 100 guesses in a row.
func TestN101ConsecutiveFailures(t *testing.T) {
	t.Parallel()
	a, now := newAttempts()
	strangers := guess(t, a, now, 2000, time.Hour/2, func(i int) limit.Attempt {
		return limit.Attempt{Account: "ada", Network: address(i)}
	})
	known := guess(t, a, now, 2000, 5*time.Minute, func(i int) limit.Attempt {
		return limit.Attempt{Account: "ada", Network: address(i), Device: fmt.Sprint("device ", i%7)}
	})
	if strangers+known > 100 || strangers < 50 || known < 20 {
		t.Errorf("%d strangers and %d known devices could guess, want at most 100 together", strangers, known)
	}
}

// TestN101KnownDeviceIsNotLockedOut: strangers use up their own counters only.
func TestN101KnownDeviceIsNotLockedOut(t *testing.T) {
	t.Parallel()
	a, now := newAttempts()
	guess(t, a, now, 5000, time.Minute, func(i int) limit.Attempt {
		return limit.Attempt{Account: "ada", Network: address(i % 900)}
	})
	own := limit.Attempt{Account: "ada", Network: address(0), Device: "laptop"}
	if wait, err := a.Take(t.Context(), own); wait != 0 || err != nil {
		t.Fatalf("the known device waits %v (%v) because of strangers", wait, err)
	}
	stranger := limit.Attempt{Account: "ada", Network: "203.0.113.9"}
	if wait, err := a.Take(t.Context(), stranger); wait == 0 || err != nil {
		t.Fatalf("a stranger after 5000 attempts waits %v (%v), want a wait", wait, err)
	}
	if err := a.Succeeded(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	if wait, err := a.Take(t.Context(), stranger); wait != 0 || err != nil {
		t.Errorf("after the owner signed in, a new device waits %v (%v), want none", wait, err)
	}
}

// TestN101Spraying: one network cannot try one password on many accounts.
func TestN101Spraying(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]func(i int) string{
		"IPv4": func(int) string { return "198.51.100.7" },
		"IPv6": func(i int) string { return fmt.Sprintf("2001:db8:1:2:%x::%x", i, i) },
		"Mapped": func(i int) string {
			if i%2 == 0 {
				return "198.51.100.7"
			}
			return "::ffff:198.51.100.7"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, now := newAttempts()
			through := guess(t, a, now, 10_000, 0, func(i int) limit.Attempt {
				return limit.Attempt{Account: fmt.Sprint("user", i), Network: address(i)}
			})
			if through != 60 {
				t.Errorf("%d of 10,000 attempts went through at once, want 60", through)
			}
		})
	}
}

func TestN101Stuffing(t *testing.T) {
	t.Parallel()
	a, now := newAttempts()
	one := limit.Attempt{Account: "ada", Network: "198.51.100.7"}
	if n := guess(t, a, now, 100, 0, func(int) limit.Attempt { return one }); n != 6 {
		t.Errorf("%d guesses from one network at once, want 6", n)
	}
	other := limit.Attempt{Account: "bob", Network: "198.51.100.7"}
	if wait, err := a.Take(t.Context(), other); wait != 0 || err != nil {
		t.Errorf("another account from there waits %v (%v)", wait, err)
	}
	if n := guess(t, a, now, 100, 0, func(i int) limit.Attempt {
		return limit.Attempt{Account: "ada", Network: address(i)}
	}); n != 14 {
		t.Errorf("%d more guesses from 100 networks at once, want 14", n)
	}
	if err := a.Forgive(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	if wait, err := a.Take(t.Context(), limit.Attempt{Account: "ada", Network: "203.0.113.5"}); wait != 0 || err != nil {
		t.Errorf("after it was forgiven an attempt waits %v (%v)", wait, err)
	}
}

func TestFirstRefusal(t *testing.T) {
	t.Parallel()
	a, now := newAttempts()
	at := limit.Attempt{Account: "ada", Network: "198.51.100.7"}
	for i, want := range []bool{true, false, false} {
		if got, err := a.FirstRefusal(t.Context(), at); got != want || err != nil {
			t.Errorf("refusal %d: %v, %v, want %v", i, got, err, want)
		}
	}
	*now = now.Add(time.Minute)
	if got, err := a.FirstRefusal(t.Context(), at); !got || err != nil {
		t.Errorf("a minute later: %v, %v, want true", got, err)
	}
}

// brokenStore is a store whose database does not answer.
type brokenStore struct{ limit.Memory }

var errBroken = errors.New("database does not answer")

func (*brokenStore) Take(context.Context, opaque.Digest, limit.Rate, time.Time) (time.Duration, error) {
	return 0, errBroken
}

// TestFaultIsNotUnlimited: an attempt that cannot be counted is not let through
// as if it were the first.
func TestFaultIsNotUnlimited(t *testing.T) {
	t.Parallel()
	a := &limit.Attempts{Store: &brokenStore{}}
	if _, err := a.Take(t.Context(), limit.Attempt{Account: "ada"}); !errors.Is(err, errBroken) {
		t.Errorf("take: %v, want the fault", err)
	}
}
