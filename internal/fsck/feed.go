package fsck

import (
	"fmt"
	"time"

	"github.com/fastbind/fastbind/internal/jose"
	"github.com/fastbind/fastbind/internal/keys"
	"github.com/fastbind/fastbind/internal/revoke"
)

// feedState is what is remembered from one entry of the feed to the next.
type feedState struct {
	last  int64     // number
	until time.Time // the latest of all entries so far
}

// knownKind reports whether k is a kind of feed entries.
func knownKind(k revoke.Kind) bool {
	switch k {
	case revoke.Token, revoke.Family, revoke.Session, revoke.Subject, revoke.Client, revoke.Key, revoke.Device, revoke.Epoch:
		return true
	case revoke.History: // is ordered, and never written
	}
	return false
}

// Entry checks an entry of the feed. Entries come in the order of their numbers.
func (c *Checker) Entry(e revoke.Entry) {
	c.report.Entries++
	row := fmt.Sprintf("feed entry %d", e.Number)
	c.want(e.Number >= 1, "feed_number", row, "numbers begin at 1")
	c.want(knownKind(e.Kind), "feed_kind", row, "kind %q", e.Kind)
	c.want(knownReason(e.Reason), "known_reason", row, "reason %q", e.Reason)
	c.want((e.Value == "") == (e.Kind == revoke.Epoch), "feed_value", row, "kind %q, value %q", e.Kind, e.Value)
	moment := e.Kind == revoke.Subject || e.Kind == revoke.Client || e.Kind == revoke.Epoch
	c.want(moment == (e.Before != 0), "feed_before", row, "kind %q, before %d", e.Kind, e.Before)
	until := time.Unix(e.Until, 0)
	c.want(until.After(time.UnixMilli(e.At)), "feed_until", row, "until %s, at %s", at(until), at(time.UnixMilli(e.At)))
	c.gap(e.Number - 1)
	c.feed.last = e.Number
	if until.After(c.feed.until) {
		c.feed.until = until
	}
}

// gap checks that nothing is missing between the last entry and number. What is
// of no use any more may have been deleted; but no entry before one that still
// is can have been written an hour after it. After a restore the numbers go on
// at a multiple of [revoke.Leap].
func (c *Checker) gap(number int64) {
	if number <= c.feed.last || number%revoke.Leap == 0 || !c.feed.until.After(c.Now.Add(slack)) {
		return
	}
	c.Found("feed_gap", fmt.Sprintf("feed entry %d", c.feed.last+1), "%d entries are missing", number-c.feed.last)
}

// Counter checks the counter of the feed, after all entries.
func (c *Checker) Counter(number int64) {
	c.want(number >= c.feed.last, "feed_counter", "feed counter", "counter %d, newest entry %d", number, c.feed.last)
	c.gap(number)
}

// keyState is what is remembered from one key to the next.
type keyState struct {
	count   int64
	signing map[string]int // how many sign, by algorithm
}

// Key checks a signing key. Keys come in the order of their positions.
func (c *Checker) Key(k keys.Record, position int64) {
	c.report.Keys++
	row := "signing key " + k.ID
	if c.keys.signing == nil {
		c.keys.signing = map[string]int{}
	}
	c.want(position == c.keys.count, "key_position", row, "position %d, want %d", position, c.keys.count)
	c.keys.count++
	switch k.State {
	case keys.Published, keys.Retired:
	case keys.Signing:
		c.keys.signing[k.Algorithm]++
	default:
		c.Found("key_state", row, "state %q", k.State)
	}
	c.want(!k.Since.Before(k.Created), "key_times", row, "created %s, in its state since %s", at(k.Created), at(k.Since))
	c.want(len(k.Sealed) > 0, "key_sealed", row, "there is no private key")
	public, err := jose.ParseKey(k.Public)
	switch {
	case err != nil:
		c.Found("key_public", row, "the public key: %v", err)
	case public.Thumbprint() != k.ID:
		c.Found("key_public", row, "the public key is %s", public.Thumbprint())
	}
}

// KeySet checks the keys together, after all of them; version is that of the
// set, 0 if there is none.
func (c *Checker) KeySet(version int64) {
	c.want((version == 0) == (c.keys.count == 0), "key_set", "key set", "version %d, %d keys", version, c.keys.count)
	signing := 0
	for alg, n := range c.keys.signing {
		c.want(n <= 1, "one_signing_key", "key set", "%d keys sign with %s", n, alg)
		signing += n
	}
	c.want(c.keys.count == 0 || signing > 0, "one_signing_key", "key set", "no key signs")
}
