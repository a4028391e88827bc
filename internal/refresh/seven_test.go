package refresh_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/refresh/refreshtest"
)

// A bench is a server, a family and a clock.
type bench struct {
	t       *testing.T
	kind    kind
	store   *refreshtest.Memory
	rotator *refresh.Rotator
	minter  refresh.Minter
	id      refresh.FamilyID
	now     time.Time
}

// A kind is a kind of client.
type kind struct {
	id    string
	name  string
	rules refresh.Rules
	bound bool
	sends bool
}

func kinds() []kind {
	return []kind{
		{id: "Bound", name: "bound to a key", rules: rules(), bound: true},
		{id: "Attempts", name: "bearer with attempt keys", rules: rules(func(r rul) { r.SendsAttempts = true }), sends: true},
		{id: "Reports", name: "bearer, APIs report use", rules: rules(func(r rul) { r.APIsReport = true })},
		{id: "Plain", name: "plain bearer", rules: rules()},
	}
}

func newBench(t *testing.T, k kind) *bench {
	t.Helper()
	b := &bench{t: t, kind: k, store: &refreshtest.Memory{}, minter: minter(opaque.NewSecrets()), id: refresh.NewFamilyID(), now: start}
	b.rotator = &refresh.Rotator{Store: b.store, Now: func() time.Time { return b.now }}
	f := unbound()
	f.ID = b.id
	f.State = refresh.State{Generation: 1, IdleEnd: start.Add(idle), Rotated: start, Network: home, Agent: fox}
	if k.bound {
		f.Key = right
	}
	b.store.Begin(f)
	return b
}

// A holder is somebody who has a copy of the token.
type holder struct {
	b       *bench
	number  int
	network string
	key     string
	token   string
	fresh   int // number of the refresh, for its attempt key
}

func (b *bench) owner() *holder {
	h := &holder{b: b, number: 1, network: home, token: b.minter.Token(b.id, 1).Reveal()}
	if b.kind.bound {
		h.key = right
	}
	return h
}

// process returns a second process with a copy of the token, the key included.
func (h *holder) process() *holder {
	c := *h
	c.number++
	return &c
}

// thief returns somebody elsewhere with a copy of the token, without the key.
func (h *holder) thief() *holder {
	return &holder{b: h.b, number: thiefNumber, network: away, token: h.token}
}

const thiefNumber = 9

// send shows the token and returns the answer, which the holder does not have
// yet.
func (h *holder) send() (refresh.Result, string) {
	h.b.t.Helper()
	id, generation, err := h.b.minter.Read(h.token)
	if err != nil {
		h.b.t.Fatal(err)
	}
	s := refresh.Shown{Generation: generation, Client: "app", Key: h.key, Network: h.network, Agent: fox}
	if h.b.kind.sends && h.number != thiefNumber {
		s.Attempt = attempt(h.number*1000 + h.fresh + 1)
	}
	got, err := h.b.rotator.Rotate(h.b.t.Context(), id, h.b.kind.rules, s)
	if err != nil {
		h.b.t.Fatal(err)
	}
	if got.Answer == refresh.Refused {
		return got, ""
	}
	return got, h.b.minter.Token(id, got.State.Generation).Reveal()
}

// refresh sends, stores the answer and uses it. It reports whether there was
// one.
func (h *holder) refresh() bool {
	h.b.t.Helper()
	got, token := h.send()
	if token == "" {
		return false
	}
	h.token = token
	h.fresh++
	h.use(got.State.Generation)
	return true
}

// use calls an API with an access token of the generation.
func (h *holder) use(generation int64) {
	if !h.b.kind.rules.APIsReport {
		return
	}
	if err := h.b.store.Confirm(h.b.t.Context(), []refresh.Use{{Family: h.b.id, Generation: generation}}); err != nil {
		h.b.t.Fatal(err)
	}
}

func (b *bench) pass(d time.Duration) { b.now = b.now.Add(d) }

// live reports whether the family lives.
func (b *bench) live() bool { f := b.store.Family(b.id); return f.Live(b.now) }

// told reports whether there is an event of the kind.
func (b *bench) told(k audit.Kind) bool {
	for _, e := range b.store.Events(b.id) {
		if e.Kind == k {
			return true
		}
	}
	return false
}

// theft reports whether the family has ended for a theft that was told.
func (b *bench) theft() bool {
	return !b.live() && b.store.Family(b.id).Reason == audit.TokenTheft && b.told(audit.Theft)
}

// A trial is one of the seven tests: what happens, and what it comes to in a few
// words.
type trial struct {
	name string
	run  func(*bench) string
	want [4]string // for each of the kinds
}

func race50ms(b *bench) string {
	o := b.owner()
	_, first := o.send()
	b.pass(50 * time.Millisecond)
	_, second := o.send()
	if first == "" || first != second || !b.live() {
		return "not both answered"
	}
	o.token = second
	o.fresh++
	b.pass(5 * time.Minute)
	if !o.refresh() || b.told(audit.Theft) {
		return "dead later"
	}
	return "same successor"
}

func twoHolders(b *bench) string {
	o := b.owner()
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
			if b.live() && b.told(audit.Theft) && turn == 1 {
				return "the second holder is refused, told; the first lives"
			}
			return fmt.Sprint("refused at turn ", turn)
		}
	}
	return "both live"
}

func lostFor(d time.Duration) func(*bench) string {
	return func(b *bench) string {
		o := b.owner()
		if !o.refresh() {
			return "refused at once"
		}
		b.pass(5 * time.Minute)
		got, _ := o.send() // the answer is lost
		b.pass(d)
		again, token := o.send()
		switch {
		case token == "" && b.theft():
			return "theft"
		case token == "" || again.State.Generation != got.State.Generation || b.told(audit.Theft):
			return "not healed"
		}
		o.token, o.fresh = token, o.fresh+1
		b.pass(5 * time.Minute)
		if !o.refresh() {
			return "dead later"
		}
		return "heals"
	}
}

func thiefFirst(b *bench) string {
	o := b.owner()
	t := o.thief()
	if _, token := t.send(); token == "" {
		b.pass(30 * time.Minute)
		if o.refresh() && b.told(audit.ForeignKey) {
			return "thief refused at once, noticed"
		}
		return "victim dead"
	}
	thiefs := b.store.Family(b.id).Generation
	b.pass(30 * time.Minute)
	if !o.refresh() {
		if b.theft() {
			return "noticed at the victim's refresh, all dead"
		}
		return "not noticed"
	}
	// The thief used nothing: the victim got the same successor, and has used
	// it. Whoever refreshes next leaves the other behind.
	if o.b.store.Family(b.id).Generation != thiefs {
		return "a second chain"
	}
	b.pass(5 * time.Minute)
	o.refresh()
	b.pass(5 * time.Minute)
	t.token = b.minter.Token(b.id, thiefs).Reveal()
	if t.refresh() || !b.theft() {
		return "not noticed"
	}
	return "noticed at the first use after it, all dead"
}

func thiefBehind(b *bench) string {
	o := b.owner()
	t := o.thief()
	for step := 1; step <= 10; step++ {
		if !o.refresh() {
			return "victim dead"
		}
		successor := o.token
		b.pass(2 * time.Second)
		switch {
		case t.refresh() && t.token != successor:
			return "a second chain"
		case b.theft() && step == 1:
			return "noticed at once"
		case b.theft():
			return fmt.Sprintf("same successor at most, noticed in generation %d running", step)
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

func inTurn(b *bench) string {
	o := b.owner()
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
		if b.theft() {
			return fmt.Sprintf("noticed at turn %d", turn+1)
		}
	}
	if b.live() && b.told(audit.ForeignKey) {
		return "refused, noticed"
	}
	return "not noticed"
}

// TestSevenTests runs the seven tests of docs/rotation.md against each kind of
// client and logs them as its table.
func TestSevenTests(t *testing.T) {
	t.Parallel()
	same := func(s string) [4]string { return [4]string{s, s, s, s} }
	trials := []trial{
		{"two refreshes 50 ms apart", race50ms, same("same successor")},
		{"then two separate holders carry on for hours", twoHolders, [4]string{
			"both live", "theft at the second holder's next refresh",
			"theft at the second holder's next refresh", "theft at the second holder's next refresh",
		}},
		{"response lost, retry after 2 s", lostFor(2 * time.Second), same("heals")},
		{"response lost, retry after 1 h", lostFor(time.Hour), [4]string{"heals", "heals", "heals", "theft"}},
		{"the thief refreshes first, the victim 30 min later", thiefFirst, [4]string{
			"thief refused at once, noticed", "noticed at the victim's refresh, all dead",
			"noticed at the first use after it, all dead", "noticed at the victim's refresh, all dead",
		}},
		{"the thief replays 2 s after the victim, and goes on so", thiefBehind, [4]string{
			"refused, noticed", "noticed at once",
			"same successor at most, noticed in generation 3 running", "same successor at most, noticed in generation 3 running",
		}},
		{"thief and victim refresh in turn for 20 h", inTurn, [4]string{
			"refused, noticed", "noticed at turn 1", "noticed at turn 1", "noticed at turn 1",
		}},
	}
	var table strings.Builder
	fmt.Fprint(&table, "\n| # | test |")
	for _, k := range kinds() {
		fmt.Fprintf(&table, " %s |", k.name)
	}
	fmt.Fprint(&table, "\n| --- | --- | --- | --- | --- | --- |\n")
	for i, tr := range trials {
		fmt.Fprintf(&table, "| %d | %s |", i+1, tr.name)
		for j, k := range kinds() {
			got := tr.run(newBench(t, k))
			if got != tr.want[j] {
				t.Errorf("%s, %s: %s, want %s", tr.name, k.name, got, tr.want[j])
			}
			fmt.Fprintf(&table, " %s |", got)
		}
		fmt.Fprintln(&table)
	}
	t.Log(table.String())
}

// TestSecondHolderIsOnlyTold is the second of the seven tests where the client's
// rules say so.
func TestSecondHolderIsOnlyTold(t *testing.T) {
	t.Parallel()
	k := kind{name: "plain bearer, only told", rules: rules(func(r rul) { r.NotifyOnly = true })}
	const want = "the second holder is refused, told; the first lives"
	if got := twoHolders(newBench(t, k)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
