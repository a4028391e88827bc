package refresh_test

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/refresh/refreshtest"
)

// refreshCount is how many requests TestStorm sends.
var refreshCount = flag.Int("refreshes", 120_000, "requests that the randomised run sends")

// A sufferer is an honest client in bad conditions: it stores an answer before
// it uses it, and tries again with what it has stored until it gets one.
type sufferer struct {
	*bench
	*holder
	random   *rand.Rand
	old      string // a token of long ago, which another process still holds
	requests int
	cycles   int
	refused  int
}

func newSufferer(t *testing.T, k kind, seed uint64) *sufferer {
	b := newBench(t, k)
	s := &sufferer{bench: b, holder: b.owner(), random: rand.New(rand.NewPCG(seed, 1))}
	s.old = s.token
	return s
}

// chance reports true in so many of a thousand cases.
func (s *sufferer) chance(perMille int) bool { return s.random.IntN(1000) < perMille }

// try sends one request and reports whether an answer arrived.
func (s *sufferer) try() bool {
	s.requests++
	fault := refreshtest.Healthy
	switch {
	case s.chance(25):
		return false // the request is lost
	case s.chance(5):
		fault = refreshtest.FailBefore
	case s.chance(5):
		fault = refreshtest.FailAfter
	}
	if fault != refreshtest.Healthy {
		s.store.Inject = func(method string) refreshtest.Fault {
			if method == "Swap" {
				return fault
			}
			return refreshtest.Healthy
		}
		defer func() { s.store.Inject = nil }()
		id, generation, err := s.minter.Read(s.token)
		if err != nil {
			s.t.Fatal(err)
		}
		shown := refresh.Shown{Generation: generation, Client: "app", Key: s.key, Network: s.network, Agent: fox}
		if s.kind.sends {
			shown.Attempt = attempt(s.number*1000 + s.fresh + 1)
		}
		if got, err := s.rotator.Rotate(s.t.Context(), id, s.kind.rules, shown); err == nil && got.Changed {
			s.t.Fatalf("an answer while the store fails: %+v", got)
		}
		return false // 503
	}
	got, token := s.send()
	if token == "" {
		s.refused++
		return true
	}
	if s.chance(25) {
		return false // the response is lost
	}
	if s.chance(10) && s.bound() {
		s.old = s.token
	}
	s.token = token
	s.fresh++
	s.use(got.State.Generation)
	return true
}

func (s *sufferer) bound() bool { return s.kind.bound }

// cycle lets some time pass and refreshes until there is an answer.
func (s *sufferer) cycle() {
	s.cycles++
	s.pass(time.Minute + time.Duration(s.random.Int64N(int64(9*time.Minute))))
	if s.chance(20) {
		s.pass(8 * time.Hour) // a night
	}
	s.roam(50)
	if s.bound() && s.chance(50) { // another process wakes up
		stale := *s.holder
		stale.token = s.old
		if _, token := stale.send(); token == "" {
			s.refused++
		}
	}
	if !s.kind.sends && s.chance(100) { // another tab is a moment earlier
		s.requests++
		if _, token := s.send(); token == "" {
			s.refused++
		}
		s.pass(time.Duration(s.random.Int64N(int64(5 * time.Second))))
	}
	// What plain bearer clients must do: try again soon.
	pauses := []time.Duration{time.Second, 2 * time.Second, 3 * time.Second}
	if s.kind.id != "Plain" {
		pauses = append(pauses, 20*time.Second, 2*time.Minute, time.Hour)
	}
	for !s.try() {
		s.pass(pauses[s.random.IntN(len(pauses))])
		s.roam(150)
	}
}

// roam changes the network in so many of a thousand cases.
func (s *sufferer) roam(perMille int) {
	if s.chance(perMille) {
		s.network = []string{home, "203.0.113.5", "2001:db8::77"}[s.random.IntN(3)]
	}
}

// TestStorm is the randomised run: no honest client may be refused, whatever is
// lost. Attempt keys have tabs that take turns.
func TestStorm(t *testing.T) {
	t.Parallel()
	const perFamily = 1000
	for _, k := range kinds() {
		t.Run(k.id, func(t *testing.T) {
			t.Parallel()
			k.rules.Absolute = 365 * day
			requests, families := 0, 0
			for seed := uint64(1); requests < *refreshCount/4; seed++ {
				s := newSufferer(t, k, seed)
				f := s.store.Family(s.id)
				f.ID, f.AbsoluteEnd = refresh.NewFamilyID(), start.Add(365*day)
				s.store.Begin(f)
				s.bench.id = f.ID
				s.token = s.minter.Token(f.ID, 1).Reveal()
				s.old = s.token
				for s.cycles < perFamily && s.refused == 0 {
					s.cycle()
				}
				got := s.store.Family(f.ID)
				if s.refused > 0 || !got.Live(s.now) {
					t.Fatalf("seed %d: an honest client was refused after %d refreshes: %+v", seed, s.cycles, got.State)
				}
				for _, e := range s.store.Events(f.ID) {
					if e.Kind != audit.Replay {
						t.Fatalf("seed %d: an alarm about an honest client: %+v", seed, e)
					}
				}
				if got.Generation < perFamily*9/10 {
					t.Fatalf("seed %d: %d generations after %d refreshes", seed, got.Generation, s.cycles)
				}
				requests += s.requests
				families++
			}
			t.Logf("%d requests of %d families, 0 refused", requests, families)
		})
	}
}

// A plan is how a thief goes about it. It is called after each refresh of the
// victim and reports whether it showed a token.
type plan struct {
	name string
	step func(v *sufferer, thief *holder, parent string) bool
	// within is the number of refreshes of the victim, after the thief showed a
	// token for the first time, in which the theft is noticed at the latest.
	within int
}

func plans() []plan {
	return []plan{
		{"First", func(v *sufferer, thief *holder, _ string) bool {
			if thief.fresh == 0 { // since when it goes on with what it has got
				thief.token = v.token
			}
			v.pass(time.Minute)
			thief.refresh()
			return true
		}, 2},
		{"FirstAndSilent", func(v *sufferer, thief *holder, _ string) bool {
			if thief.fresh == 0 {
				thief.token = v.token
			}
			v.pass(time.Minute)
			if _, token := thief.send(); token != "" {
				thief.token = token
				thief.fresh++
			}
			return true
		}, 3},
		{"Behind", func(v *sufferer, thief *holder, parent string) bool {
			v.pass(time.Duration(1+v.random.Int64N(20)) * time.Second)
			thief.token = parent
			thief.refresh()
			return true
		}, 2},
		{"Late", func(v *sufferer, thief *holder, _ string) bool {
			_, g, err := v.minter.Read(thief.token)
			if err != nil {
				v.t.Fatal(err)
			}
			if v.store.Family(v.id).Generation < g+3 {
				return false
			}
			thief.refresh()
			return true
		}, 0},
		{"Sometimes", func(v *sufferer, thief *holder, _ string) bool {
			if v.chance(600) {
				return false
			}
			if thief.fresh == 0 {
				thief.token = v.token
			}
			v.pass(time.Duration(v.random.Int64N(int64(20 * time.Minute))))
			thief.refresh()
			return true
		}, 3},
	}
}

// TestStormWithThieves lets a thief copy each family's token at some time and
// go about it in each way. Every theft must be noticed, and in time.
func TestStormWithThieves(t *testing.T) {
	t.Parallel()
	for _, k := range kinds() {
		for _, p := range plans() {
			t.Run(k.id+p.name, func(t *testing.T) {
				t.Parallel()
				latest, thefts := 0, 0
				for seed := uint64(1); seed <= 60; seed++ {
					v := newSufferer(t, k, seed)
					n := v.rob(p)
					if n < 0 {
						t.Fatalf("seed %d: not noticed: %+v", seed, v.store.Family(v.id).State)
					}
					if k.bound && (v.refused > 0 || !v.live()) {
						t.Fatalf("seed %d: the rightful holder of the key was refused", seed)
					}
					latest = max(latest, n)
					thefts++
				}
				t.Logf("%d thefts, all noticed, at the latest at refresh %d of the victim after it", thefts, latest)
				if latest > p.within {
					t.Errorf("a theft was noticed at refresh %d of the victim, want %d", latest, p.within)
				}
			})
		}
	}
}

// rob lets the victim live for a while, copies its token, follows the plan, and
// returns the number of refreshes of the victim until the theft was noticed,
// less than 0 if it was not.
func (s *sufferer) rob(p plan) int {
	for range s.random.IntN(20) {
		s.cycle()
	}
	thief := s.thief()
	begun := false
	for n := 0; n < 20; {
		if begun {
			n++
		}
		parent := s.token
		s.cycle()
		if !s.noticed() && p.step(s, thief, parent) {
			begun = true
		}
		if s.noticed() {
			return n
		}
	}
	return -1
}

func (s *sufferer) noticed() bool { return s.told(audit.Theft) || s.told(audit.ForeignKey) }
