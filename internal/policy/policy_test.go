package policy_test

import (
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/policy"
)

func TestPresets(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, p := range policy.Presets() {
		if err := p.Check(); err != nil {
			t.Errorf("preset: %v", err)
		}
		if got, ok := policy.Named(p.Name); !ok || got != p || seen[p.Name] {
			t.Errorf("preset %q is not found by its name, or twice", p.Name)
		}
		seen[p.Name] = true
		if p.Idle > p.Absolute || p.SessionIdle > p.SessionAbsolute {
			t.Errorf("preset %q has an idle end that its absolute end comes before", p.Name)
		}
	}
	if _, ok := policy.Named("forever-and-a-day"); ok {
		t.Error("an unknown name is a policy")
	}
}

// TestCheck: nothing that is left out means for ever.
func TestCheck(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*policy.Policy){
		"NoName":            func(p *policy.Policy) { p.Name = "" },
		"NoAccessLife":      func(p *policy.Policy) { p.AccessLife = 0 },
		"LongAccessLife":    func(p *policy.Policy) { p.AccessLife = policy.MaxAccessLife + 1 },
		"NoIdle":            func(p *policy.Policy) { p.Idle = 0 },
		"NoAbsolute":        func(p *policy.Policy) { p.Absolute = 0 },
		"NegativeAbsolute":  func(p *policy.Policy) { p.Absolute = -time.Second },
		"NoSessionIdle":     func(p *policy.Policy) { p.SessionIdle = 0 },
		"NoSessionAbsolute": func(p *policy.Policy) { p.SessionAbsolute = 0 },
		"UnknownRefresh":    func(p *policy.Policy) { p.Refresh = "reuse" },
	} {
		p, ok := policy.Named("spa")
		if !ok {
			t.Fatal("no preset spa")
		}
		change(&p)
		if p.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	p, ok := policy.Named("spa")
	p.AccessLife = policy.MaxAccessLife
	if err := p.Check(); !ok || err != nil {
		t.Errorf("the longest access lifetime: %v", err)
	}
}
