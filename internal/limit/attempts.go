package limit

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/fastbind/fastbind/internal/opaque"
)

// Attempts limits the guessing of passwords (NIST SP 800-63B-4, section 3.2.2).
//
// An attempt is counted before the password is looked at, so that concurrent
// guesses gain nothing. Attempts from a device on which the account was signed
// in to before have counters of their own: however much strangers guess, they
// cannot keep the owner of such a device out. Of strangers and known devices
// together, no more than 100 attempts in a row can fail per account; a success,
// or [Attempts.Forgive], starts anew. Names without an account are counted like
// all others. The invariant: an attempt that cannot be counted is not made.
type Attempts struct {
	Store Store
	// Now returns the time; nil means time.Now.
	Now func() time.Time
}

// An Attempt is one try to sign in.
type Attempt struct {
	Account string // canonical username, or what was typed if that cannot be one
	Network string // client address
	Device  string // identifier of a device known for the account; empty: a stranger
}

// year is so long that what comes back once in it does not count.
const year = 365 * 24 * time.Hour

// A gate is one of the rates that an attempt has to pass.
type gate struct {
	name, subject string
	rate          Rate
	reset         bool // by a success
}

// gates returns the rates for at in such an order that what one of them holds
// back does not use up those behind it.
func gates(at Attempt) []gate {
	account := digestText(at.Account)
	if at.Device != "" {
		return []gate{
			{"device", account + digestText(at.Device), Rate{Burst: 10, Every: time.Minute}, true},
			{"known", account, Rate{Burst: 30, Every: year}, true},
		}
	}
	network := Network(at.Network)
	return []gate{
		{"account-network", account + network, Rate{Burst: 6, Every: 5 * time.Minute}, true},
		{"network", network, Rate{Burst: 60, Every: 5 * time.Second}, false},
		{"account", account, Rate{Burst: 20, Every: 10 * time.Minute}, true},
		{"strangers", account, Rate{Burst: 70, Every: year}, true},
	}
}

// Take counts an attempt. It returns 0 if it may be made, and if not, after how
// long one may be.
func (a *Attempts) Take(ctx context.Context, at Attempt) (wait time.Duration, err error) {
	now := a.now()
	for _, g := range gates(at) {
		wait, err := a.Store.Take(ctx, g.key(), g.rate, now)
		if err != nil {
			return 0, fmt.Errorf("count attempt: %w", err)
		}
		if wait > 0 {
			return wait, nil
		}
	}
	return 0, nil
}

// Succeeded notes that an attempt was right: the failures before it count no
// more.
func (a *Attempts) Succeeded(ctx context.Context, at Attempt) error {
	for _, g := range gates(at) {
		if !g.reset {
			continue
		}
		if err := a.Store.Forget(ctx, g.key()); err != nil {
			return fmt.Errorf("forget attempts: %w", err)
		}
	}
	return a.Forgive(ctx, at.Account)
}

// Forgive takes back what was counted for the account from everywhere, as far as
// it would lock the account for long: for when the password was set anew.
func (a *Attempts) Forgive(ctx context.Context, account string) error {
	id := digestText(account)
	for _, name := range []string{"known", "account", "strangers"} {
		if err := a.Store.Forget(ctx, gate{name: name, subject: id}.key()); err != nil {
			return fmt.Errorf("forget attempts: %w", err)
		}
	}
	return nil
}

// FirstRefusal reports whether no attempt like this one was refused in the last
// minute, so that a flood of them is one line in the record.
func (a *Attempts) FirstRefusal(ctx context.Context, at Attempt) (bool, error) {
	now := a.now()
	g := gate{name: "refused", subject: digestText(at.Account) + Network(at.Network)}
	return a.Store.Once(ctx, g.key(), now, now.Add(time.Minute))
}

func (g gate) key() opaque.Digest {
	return sha256.Sum256([]byte("sign-in\x00" + g.name + "\x00" + g.subject))
}

// digestText gives a text of somebody else's a fixed length.
func digestText(s string) string {
	sum := sha256.Sum256([]byte(s))
	return string(sum[:])
}

// Network returns what one party can be expected to have one of: an IPv4
// address, or an IPv6 network of 64 bits.
func Network(addr string) string {
	a, err := netip.ParseAddr(strings.TrimSpace(addr))
	if err != nil {
		return "unknown"
	}
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return "unknown"
	}
	return p.String()
}

func (a *Attempts) now() time.Time {
	if a.Now != nil {
		return a.Now()
	}
	return time.Now()
}
