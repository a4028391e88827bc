package refresh_test

import (
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/refresh"
)

// ask shows a generation to the server of b.
func (b *bench) ask(change func(*refresh.Shown), generation int64) refresh.Result {
	b.t.Helper()
	s := shown(generation)
	if change != nil {
		change(&s)
	}
	got, err := b.rotator.Rotate(b.t.Context(), b.id, b.kind.rules, s)
	if err != nil {
		b.t.Fatal(err)
	}
	return got
}

func (b *bench) mustRotate(generation int64) {
	b.t.Helper()
	if got := b.ask(nil, generation); got.Answer != refresh.Rotated {
		b.t.Fatalf("generation %d: answer %d %q, want a rotation", generation, got.Answer, got.Why)
	}
}

func plain(t *testing.T) *bench { t.Helper(); return newBench(t, kind{rules: rules()}) }

// TestN51OtherClientsToken shows a token of another client, and tokens of what
// has ended. OAuth 2.1, section 4.3.
func TestN51OtherClientsToken(t *testing.T) {
	t.Parallel()
	b := plain(t)
	for _, generation := range []int64{0, 1, 2} {
		got := b.ask(func(s *refresh.Shown) { s.Client = "other" }, generation)
		if got.Answer != refresh.Refused || got.Changed || !b.live() {
			t.Errorf("generation %d of another client: %+v, alive: %t", generation, got.Verdict, b.live())
		}
	}
	b.mustRotate(1)
	for _, why := range []audit.Reason{audit.Logout, audit.PasswordChanged, audit.UserDisabled} {
		b := plain(t)
		b.store.End(b.id, why, b.now)
		if got := b.ask(nil, 1); got.Answer != refresh.Refused || got.Why != refresh.Why(why) {
			t.Errorf("after %s: %+v", why, got.Verdict)
		}
	}
}

// TestN52RotatedTokenReused shows a token again after it was rotated. OAuth 2.1,
// section 4.3.1; RFC 9700, section 4.14.2.
func TestN52RotatedTokenReused(t *testing.T) {
	t.Parallel()
	b := plain(t)
	b.mustRotate(1)
	b.pass(overlap)
	if got := b.ask(nil, 1); got.Why != refresh.Why(audit.TokenTheft) || !b.theft() {
		t.Fatalf("reuse: %+v", got.Verdict)
	}
	if got := b.ask(nil, 2); got.Answer != refresh.Refused {
		t.Errorf("the newest token lives after a reuse: %+v", got.Verdict)
	}
}

// TestN53MoreThanGranted asks for more scope and another resource than was
// granted. OAuth 2.1, section 4.3.1.
func TestN53MoreThanGranted(t *testing.T) {
	t.Parallel()
	b := plain(t)
	before := b.store.Family(b.id)
	if got := b.ask(func(s *refresh.Shown) { s.Scope = []string{"openid", "admin"} }, 1); got.Why != refresh.WrongScope {
		t.Errorf("scope: %+v", got.Verdict)
	}
	if got := b.ask(func(s *refresh.Shown) { s.Audience = []string{"https://other.example"} }, 1); got.Why != refresh.WrongTarget {
		t.Errorf("resource: %+v", got.Verdict)
	}
	if after := b.store.Family(b.id); after.Version != before.Version {
		t.Error("a refusal consumed something")
	}
	b.mustRotate(1)
}

// TestN54RotationOutlivesNothing refreshes until the end that was set when the
// family began. RFC 9700, section 4.14.2.
func TestN54RotationOutlivesNothing(t *testing.T) {
	t.Parallel()
	b := plain(t)
	end := b.store.Family(b.id).AbsoluteEnd
	generation := int64(1)
	for ; b.now.Add(idle / 2).Before(end); generation++ {
		b.pass(idle / 2)
		b.mustRotate(generation)
		if f := b.store.Family(b.id); !f.AbsoluteEnd.Equal(end) || f.IdleEnd.After(end) {
			t.Fatalf("generation %d: absolute end %v, idle end %v; want %v", generation, f.AbsoluteEnd, f.IdleEnd, end)
		}
	}
	b.now = end.Add(-tick)
	b.mustRotate(generation)
	b.now = end
	if got := b.ask(nil, generation+1); got.Why != refresh.Why(audit.AbsoluteTimeout) {
		t.Errorf("at the absolute end: %+v", got.Verdict)
	}
}

// TestN119ClockSetBack replays after a clock was set back, and refreshes at a
// node whose clock is five seconds behind.
func TestN119ClockSetBack(t *testing.T) {
	t.Parallel()
	b := plain(t)
	b.mustRotate(1)
	b.pass(-5 * time.Second)
	if got := b.ask(nil, 1); got.Answer != refresh.Repeated {
		t.Errorf("a tab at a node that is behind: %+v", got.Verdict)
	}
	b.mustRotate(2)
	b.pass(-time.Hour)
	if got := b.ask(nil, 2); got.Why != refresh.Why(audit.TokenTheft) {
		t.Errorf("a replay after the clock was set back: %+v", got.Verdict)
	}
}
