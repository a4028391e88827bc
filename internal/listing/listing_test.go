package listing_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/listing"
)

func TestClean(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"ada":                   "ada",
		"åda 中":                 "åda 中",
		"a\nb\tc\rd":            "a·b·c·d",
		"\x1b[2Jgone":           "·[2Jgone",
		"\x9b31m":               "\ufffd31m",
		"\u009b31m":             "·31m",
		"evil\u202egpj.exe":     "evil·gpj.exe",
		"a\u2028b\u2029c\u2066": "a·b·c·",
	} {
		if got := listing.Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestEventsStayOnTheirLine shows events whose text comes from outside: each
// takes one line, whatever its agent says.
func TestEventsStayOnTheirLine(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.FixedZone("", 3600))
	views, table := listing.OfEvents([]audit.Event{{
		Time: at, Kind: audit.Theft, Reason: audit.TokenTheft, Subject: "s", Client: "c",
		Parties: []audit.Party{{Network: "192.0.2.1", Agent: "good\nFORGED LINE"}, {Network: "192.0.2.2"}},
	}})
	if got, want := views[0].Time, "2026-05-01T11:00:00Z"; got != want {
		t.Errorf("time %q, want %q", got, want)
	}
	var b bytes.Buffer
	if err := table.Write(&b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[1], "192.0.2.1 good·FORGED LINE; 192.0.2.2") || !strings.Contains(lines[1], "2026-05-01 11:00:00Z") {
		t.Errorf("table:\n%s", b.String())
	}
}
