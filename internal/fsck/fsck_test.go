package fsck_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/fsck"
	"github.com/fastbind/fastbind/internal/revoke"
)

// TestManyFindings looks at more broken rows than a report names: they are
// counted, and memory does not grow with them.
func TestManyFindings(t *testing.T) {
	t.Parallel()
	c := fsck.Checker{Now: time.Unix(1_000_000, 0)}
	for i := range int64(2 * fsck.MaxFindings) {
		c.Entry(revoke.Entry{Number: i + 1, Kind: revoke.Token, Value: "v", Reason: "boredom", At: 1, Until: 2})
	}
	r := c.Report()
	if r.Broken != 2*fsck.MaxFindings || len(r.Findings) != fsck.MaxFindings {
		t.Errorf("%d broken, %d named", r.Broken, len(r.Findings))
	}
	var b strings.Builder
	if err := r.Write(&b); err != nil || !strings.Contains(b.String(), fmt.Sprintf("and %d more", fsck.MaxFindings)) {
		t.Errorf("%v: %.300s", err, b.String())
	}
}

// TestFeedLeaps lets the numbers go on elsewhere after a restore, and only
// there.
func TestFeedLeaps(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	entry := func(n int64) revoke.Entry {
		return revoke.Entry{Number: n, Kind: revoke.Token, Value: "v", Reason: "logout", At: now.UnixMilli(), Until: now.Add(time.Hour).Unix()}
	}
	for number, want := range map[int64]int64{3: 0, 4: 1, now.Unix()*revoke.Leap + 1: 0, now.Unix()*revoke.Leap + 2: 1} {
		c := fsck.Checker{Now: now}
		for _, n := range []int64{1, 2, number} {
			c.Entry(entry(n))
		}
		c.Counter(number)
		if got := c.Report(); got.Broken != want {
			t.Errorf("after a number of %d: %+v, want %d", number, got, want)
		}
	}
}
