package app_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/fastbind/fastbind/guard"
	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/apptest"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/policy"
)

var (
	attempting = kinds()[1]
	reporting  = kinds()[2]
	plain      = kinds()[3]
)

// A channel is a way in which the server learns that an access token is used.
type channel struct {
	name string
	// use uses the token there; it must be good.
	use func(t *testing.T, s *stage, access string)
}

func channels() []channel {
	return []channel{
		{"Guard", useAtGuard},
		{"UserInfo", func(t *testing.T, s *stage, access string) {
			if a := s.node().Do(http.MethodGet, "/userinfo", nil, apptest.Bearer(access)); a.Status != http.StatusOK {
				t.Fatalf("UserInfo: %d %s", a.Status, a.Body)
			}
		}},
		{"Introspection", func(t *testing.T, s *stage, access string) {
			a := s.node().Post("/introspect", url.Values{"token": {access}}, s.api.Header())
			if a.Status != http.StatusOK || a.JSON(t)["active"] != true {
				t.Fatalf("introspection: %d %s", a.Status, a.Body)
			}
		}},
	}
}

// useAtGuard calls an API behind a guard that follows one of the nodes, and
// returns when the guard has reported.
func useAtGuard(t *testing.T, s *stage, access string) {
	t.Helper()
	g, err := guard.New(guard.Config{
		Issuer: s.nodes[0].Issuer, Audience: s.api.ID, ClientID: s.api.ID, ClientSecret: s.api.Secret, Now: s.clock.Now,
		WhenStale: guard.Deny, // it must not introspect, which confirms as well
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() {
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer work.Wait()
	defer cancel()
	if err := g.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	h := g.Require("orders:read")(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	within(t, 5*time.Second, "the API answers", func() bool { // as soon as its view is fresh
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://orders.test/orders", nil)
		r.Header = apptest.Bearer(access)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code == http.StatusNoContent
	})
	within(t, 5*time.Second, "the guard reports", func() bool { return g.Stats().Reported > 0 })
}

// TestConfirmation: wherever an access token is used, its generation is
// confirmed, and the parent is worth nothing any more once the overlap is over.
func TestConfirmation(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, o apptest.Options) {
		s := newStage(t, o)
		for _, c := range channels() {
			t.Run(c.name, func(t *testing.T) {
				b, victim := s.open(t, reporting)
				answer, ok := victim.send() // does not arrive
				if !ok {
					t.Fatal("the first refresh is refused")
				}
				b.given = append(b.given, answer)
				if f := b.row(); f.Confirmed >= f.Generation {
					t.Fatalf("generation %d is confirmed before its use", f.Generation)
				}
				// The token of the generation before is good for a few minutes
				// yet, and its use says nothing of the successor.
				c.use(t, s, victim.tokens.Access)
				b.pass(31 * time.Second)
				if again, ok := victim.send(); !ok || again.Refresh != answer.Refresh {
					t.Fatal("a lost response does not heal though nothing of it was used")
				}
				c.use(t, s, answer.Access)
				b.confirmed(2)
				if _, ok := victim.send(); ok {
					t.Error("the parent is answered though its successor was used")
				}
				if !b.theft() {
					t.Error("the replay after the use is no theft")
				}
			})
			t.Run(c.name+"WithinTheOverlap", func(t *testing.T) {
				b, victim := s.open(t, reporting)
				tab := victim.process()
				answer, _ := victim.send()
				c.use(t, s, answer.Access)
				b.confirmed(2)
				b.pass(29 * time.Second)
				if again, ok := tab.send(); !ok || again.Refresh != answer.Refresh {
					t.Error("a racing tab does not get the same successor")
				}
				b.pass(time.Second)
				if _, ok := tab.send(); ok || !b.theft() {
					t.Error("at the end of the overlap the parent is no theft")
				}
			})
		}
	})
}

// TestReportingIsPerClient: only clients whose APIs report use have a window for
// lost responses, and it ends: after a day, or five answers.
func TestReportingIsPerClient(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, o apptest.Options) {
		s := newStage(t, o)
		long := kind{name: "long", reports: true, policy: "mobile"}
		s.register(long)
		p, ok := policy.Named("mobile")
		if !ok {
			t.Fatal("there is no policy mobile")
		}
		for _, story := range []struct {
			name   string
			kind   kind
			after  time.Duration // the overlap is over
			before int           // answers in the window
			heals  bool
		}{
			{"Reporting", reporting, p.Overlap, 0, true},
			{"Plain", plain, p.Overlap, 0, false},
			{"BeforeTheEnd", long, p.LostResponse - time.Second, 0, true},
			{"AtTheEnd", long, p.LostResponse, 0, false},
			{"Fifth", reporting, time.Hour, p.MaxRetries - 1, true},
			{"Sixth", reporting, time.Hour, p.MaxRetries, false},
		} {
			t.Run(story.name, func(t *testing.T) {
				b, h := s.open(t, story.kind)
				lost, _ := h.send()
				b.given = append(b.given, lost)
				b.pass(story.after)
				for range story.before {
					if again, ok := h.send(); !ok || again.Refresh != lost.Refresh {
						t.Fatal("an answer that the window allows is missing")
					}
				}
				again, ok := h.send()
				switch {
				case story.heals && (!ok || again.Refresh != lost.Refresh || !b.live()):
					t.Error("the lost response does not heal")
				case !story.heals && (ok || !b.theft()):
					t.Error("the replay is no theft")
				}
			})
		}
		// An attempt key heals at any time, and without it there is nothing.
		b, h := s.open(t, attempting)
		lost, _ := h.send()
		b.pass(11 * time.Hour)
		if again, ok := h.send(); !ok || again.Refresh != lost.Refresh {
			t.Error("a retry with its attempt key does not heal")
		}
		h.number = thiefNumber // shows none
		if _, ok := h.send(); ok || !b.theft() {
			t.Error("a replay without the attempt key is no theft")
		}
	})
}

// TestLockStep: a thief who follows one step behind his victim, or goes one step
// ahead and uses nothing before the victim has, is noticed in the third
// generation running at the latest.
func TestLockStep(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, o apptest.Options) {
		s := newStage(t, o)
		for _, story := range []struct {
			name  string
			kind  kind
			ahead bool // the thief goes first
			after time.Duration
			want  int // generation in which he is noticed
		}{
			{"BehindPlain", plain, false, 2 * time.Second, 3},
			{"BehindReporting", reporting, false, 2 * time.Second, 3},
			{"BehindAttempts", attempting, false, 2 * time.Second, 1},
			{"BehindOutsideTheOverlap", plain, false, time.Minute, 1},
			{"AheadPlain", plain, true, 2 * time.Second, 3},
			{"AheadPlainOutsideTheOverlap", plain, true, time.Minute, 1},
			{"AheadReporting", reporting, true, 2 * time.Second, 3},
			{"AheadReportingOutsideTheOverlap", reporting, true, time.Hour, 3},
			{"AheadAttempts", attempting, true, 2 * time.Second, 1},
		} {
			t.Run(story.name, func(t *testing.T) {
				b, victim := s.open(t, story.kind)
				thief := victim.thief()
				first, second := victim, thief
				if story.ahead {
					first, second = thief, victim
				}
				for step := 1; step < story.want; step++ {
					b.step(first, second, story.after)
					if !b.told(audit.Replay) {
						t.Error("a refresh token was shown again from elsewhere, and nobody was told")
					}
				}
				if got, ok := first.send(); ok {
					first.take(got)
				}
				b.pass(story.after)
				if _, ok := second.send(); ok || !b.theft() {
					t.Fatalf("not noticed in generation %d", story.want)
				}
				b.evidence()
			})
		}
	})
}

// step lets the first refresh and the second get the same successor, which only
// the victim uses.
func (b *bench) step(first, second *holder, after time.Duration) {
	b.t.Helper()
	got, ok := first.send()
	if !ok {
		b.t.Fatal("the first of the two is refused")
	}
	b.pass(after)
	same, ok := second.send()
	if !ok || same.Refresh != got.Refresh {
		b.t.Fatal("the second of the two does not get the same successor")
	}
	first.take(got)
	second.take(same)
	if b.kind.reports {
		b.reported(same.Access)
	}
	b.pass(5 * time.Minute)
}

// evidence fails the test unless the event of the theft shows both parties.
func (b *bench) evidence() {
	b.t.Helper()
	found, err := b.nodes[0].App.DB.Events(b.t.Context(), app.EventQuery{Family: string(b.family), Kind: audit.Theft})
	if err != nil || len(found) != 1 || len(found[0].Parties) != 2 {
		b.t.Fatalf("events of the theft: %+v, %v", found, err)
	}
	from := map[string]string{}
	for _, p := range found[0].Parties {
		from[p.Network] = p.Agent
	}
	if from[away] != "thief/1.0" || from["127.0.0.1"] == "" {
		b.t.Errorf("the event of the theft shows %v", from)
	}
}
