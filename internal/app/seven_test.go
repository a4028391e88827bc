package app_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/apptest"
	"github.com/fastbind/fastbind/internal/audit"
)

// A trial is one of the seven tests of the rotation contract: what happens to a
// family, and what it comes to in the words of docs/rotation.md.
type trial struct {
	name string
	run  func(*bench, *holder) string
}

func trials() []trial {
	return []trial{
		{"two refreshes 50 ms apart", race50ms},
		{"then two separate holders carry on for hours", twoHolders},
		{"response lost, retry after 2 s", lostFor(2 * time.Second)},
		{"response lost, retry after 1 h", lostFor(time.Hour)},
		{"the thief refreshes first, the victim 30 min later", thiefFirst},
		{"the thief replays 2 s after the victim, and goes on so", thiefBehind},
		{"thief and victim refresh in turn for 20 h", inTurn},
	}
}

func race50ms(b *bench, o *holder) string {
	first, ok := o.send()
	b.pass(50 * time.Millisecond)
	second, again := o.send()
	if !ok || !again || first.Refresh != second.Refresh || !b.live() {
		return "not both answered"
	}
	o.take(second)
	b.pass(5 * time.Minute)
	if !o.refresh() || b.told(audit.Theft) {
		return "dead later"
	}
	return "same successor"
}

func twoHolders(b *bench, o *holder) string {
	other := o.process()
	for turn := range 40 {
		b.pass(5 * time.Minute)
		h := o
		if turn%2 == 1 {
			h = other
		}
		if !h.refresh() {
			if b.theft() && turn == 1 {
				return "theft at the second holder's next refresh"
			}
			return fmt.Sprint("refused at turn ", turn)
		}
	}
	return "both live"
}

func lostFor(d time.Duration) func(*bench, *holder) string {
	return func(b *bench, o *holder) string {
		if !o.refresh() {
			return "refused at once"
		}
		b.pass(5 * time.Minute)
		lost, _ := o.send()
		b.given = append(b.given, lost)
		b.pass(d)
		again, ok := o.send()
		switch {
		case !ok && b.theft():
			return "theft"
		case !ok || again.Refresh != lost.Refresh || b.told(audit.Theft):
			return "not healed"
		}
		o.take(again)
		b.pass(5 * time.Minute)
		if !o.refresh() {
			return "dead later"
		}
		return "heals"
	}
}

func thiefFirst(b *bench, o *holder) string {
	t := o.thief()
	got, ok := t.send()
	b.pass(30 * time.Minute)
	if !ok {
		if o.refresh() && b.told(audit.ForeignKey) {
			return "thief refused at once, noticed"
		}
		return "victim dead"
	}
	t.take(got)
	if !o.refresh() {
		if b.theft() {
			return "noticed at the victim's refresh, all dead"
		}
		return "not noticed"
	}
	// The thief used nothing: the victim got the same successor, and has used
	// it. Whoever refreshes next leaves the other behind.
	if o.tokens.Refresh != got.Refresh {
		return "a second chain"
	}
	b.pass(5 * time.Minute)
	o.refresh()
	b.pass(5 * time.Minute)
	if t.refresh() || !b.theft() {
		return "not noticed"
	}
	return "noticed at the first use after it, all dead"
}

func thiefBehind(b *bench, o *holder) string {
	t := o.thief()
	for step := 1; step <= 10; step++ {
		if !o.refresh() {
			return "victim dead"
		}
		b.pass(2 * time.Second)
		switch {
		case t.refresh() && t.tokens.Refresh != o.tokens.Refresh:
			return "a second chain"
		case b.theft() && step == 1:
			return "noticed at once"
		case b.theft():
			return fmt.Sprintf("same successor at most, noticed in the %s generation running", ordinal(step))
		case b.kind.bound && !b.told(audit.ForeignKey):
			return "not noticed"
		}
		b.pass(5 * time.Minute)
	}
	if b.live() && b.kind.bound {
		return "refused, noticed"
	}
	return "not noticed"
}

func ordinal(n int) string {
	return []string{"zeroth", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"}[n]
}

func inTurn(b *bench, o *holder) string {
	t := o.thief()
	for turn := range 120 { // 20 hours
		b.pass(5 * time.Minute)
		if !o.refresh() {
			return "victim dead"
		}
		b.pass(5 * time.Minute)
		if t.refresh() {
			return "thief answered"
		}
		if !b.live() && b.theft() {
			return fmt.Sprintf("noticed at turn %d", turn+1)
		}
	}
	if b.live() && b.told(audit.ForeignKey) {
		return "refused, noticed"
	}
	return "not noticed"
}

// promised returns the cells of the table of the seven tests in
// docs/rotation.md, by test and kind of client, without marks and footnotes.
func promised(t *testing.T) map[string]map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/rotation.md")
	if err != nil {
		t.Fatal(err)
	}
	plain := strings.NewReplacer("**", "", "¹", "", "²", "", "³", "")
	cells := map[string]map[string]string{}
	var head []string
	for line := range strings.Lines(string(text)) {
		row := strings.Split(plain.Replace(strings.Trim(strings.TrimSpace(line), "|")), "|")
		for i := range row {
			row[i] = strings.TrimSpace(row[i])
		}
		switch {
		case len(row) > 2 && row[0] == "#" && row[1] == "test":
			head = row
		case len(row) != len(head):
			head = nil
		case head != nil && row[0] != "---":
			cells[row[1]] = map[string]string{}
			for i := 2; i < len(row); i++ {
				cells[row[1]][head[i]] = row[i]
			}
		}
	}
	return cells
}

// TestSevenTests plays the seven tests of the rotation contract over HTTP, on
// several nodes where the database can be shared, for each kind of client, and
// compares what they come to with the table of docs/rotation.md.
func TestSevenTests(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, o apptest.Options) {
		s, want := newStage(t, o), promised(t)
		var table strings.Builder
		fmt.Fprint(&table, "\n| # | test |")
		for _, k := range kinds() {
			fmt.Fprintf(&table, " %s |", k.name)
		}
		fmt.Fprint(&table, "\n| --- | --- |", strings.Repeat(" --- |", len(kinds())), "\n")
		for i, tr := range trials() {
			fmt.Fprintf(&table, "| %d | %s |", i+1, tr.name)
			for _, k := range kinds() {
				got := tr.run(s.open(t, k))
				if want := want[tr.name][k.name]; got != want {
					t.Errorf("%s, %s: %q, want %q", tr.name, k.name, got, want)
				}
				fmt.Fprintf(&table, " %s |", got)
			}
			fmt.Fprintln(&table)
		}
		t.Logf("through HTTP on %d nodes:%s", len(s.nodes), table.String())
	})
}
