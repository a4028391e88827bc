package authorize

import (
	"net/url"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/session"
	"github.com/fastbind/fastbind/oauth"
)

// now is when the tests decide.
var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func TestDecide(t *testing.T) {
	t.Parallel()
	ada := &session.Session{ID: "s1", Subject: "ada", AuthTime: now.Add(-time.Hour), IdleEnd: now.Add(time.Hour), AbsoluteEnd: now.Add(time.Hour)}
	fresh := *ada
	fresh.AuthTime = now
	recent := *ada
	recent.AuthTime = now.Add(-time.Second)
	since := resume{Started: now.Add(-time.Minute)}
	old := resume{Started: now.Add(-2 * time.Hour)}
	done := func(change func(*resume)) resume {
		m := resume{Started: now.Add(-time.Minute), Decided: now.Add(-time.Second), Session: "s1"}
		change(&m)
		return m
	}
	consented := done(func(m *resume) { m.Consent = true })
	oldConsented := done(func(m *resume) { m.Consent, m.Started = true, old.Started })
	stale := done(func(m *resume) { m.Consent, m.Decided = true, now.Add(-decisionLife) })
	foreign := done(func(m *resume) { m.Consent, m.Session = true, "s2" })
	denied := done(func(m *resume) { m.Denied = true })
	selected := done(func(m *resume) { m.Selected = true })
	deniedBefore := resume{Denied: true, Decided: now}

	for _, tt := range []struct {
		name    string
		prompt  string
		maxAge  time.Duration
		subject string
		trusted bool
		// The answer goes to redirect; empty: to the only redirect URI, on https.
		redirect string
		s        *session.Session
		resume   *resume
		allowed  []string
		want     step
		code     oauth.Code
	}{
		{name: "NobodySignedIn", want: stepSignIn},
		{name: "SilentNobody", prompt: "none", want: stepRefuse, code: oauth.LoginRequired},
		{name: "TrustedSignedIn", trusted: true, s: ada, want: stepAnswer},
		{name: "ConsentNeeded", s: ada, want: stepConsent},
		{name: "SilentConsentNeeded", prompt: "none", s: ada, want: stepRefuse, code: oauth.ConsentRequired},
		{name: "ConsentRemembered", s: ada, allowed: []string{"openid", "email"}, want: stepAnswer},
		{name: "ConsentForLess", s: ada, allowed: []string{"openid"}, want: stepConsent},
		{name: "ConsentRememberedButAnybodyCouldPose", s: ada, redirect: "http://127.0.0.1/cb", allowed: []string{"openid", "email"}, want: stepConsent},
		{name: "ConsentRememberedButTheSchemeIsAnybodys", s: ada, redirect: "com.example.app:/cb", allowed: []string{"openid", "email"}, want: stepConsent},
		{name: "ConsentJustGiven", s: ada, resume: &consented, want: stepAnswer},
		{name: "ConsentTooLongAgo", s: ada, resume: &stale, want: stepConsent},
		{name: "ConsentInAnotherSession", s: ada, resume: &foreign, want: stepConsent},
		{name: "PromptConsentDespiteMemory", prompt: "consent", s: ada, allowed: []string{"openid", "email"}, want: stepConsent},
		{name: "PromptConsentGiven", prompt: "consent", s: ada, resume: &consented, want: stepAnswer},
		{name: "Denied", s: ada, resume: &denied, want: stepRefuse, code: oauth.AccessDenied},
		{name: "CancelledBeforeSignIn", resume: &deniedBefore, want: stepRefuse, code: oauth.AccessDenied},
		{name: "PromptLogin", prompt: "login", trusted: true, s: ada, want: stepReauth},
		{name: "PromptLoginDone", prompt: "login", trusted: true, s: &fresh, resume: &since, want: stepAnswer},
		{name: "PromptLoginNotDone", prompt: "login", trusted: true, s: ada, resume: &since, want: stepReauth},
		{name: "PromptLoginBeforeTheRequest", prompt: "login", trusted: true, s: &fresh, want: stepReauth},
		{name: "MaxAgePassed", maxAge: time.Minute, trusted: true, s: ada, want: stepReauth},
		{name: "MaxAgePassedSilent", prompt: "none", maxAge: time.Minute, trusted: true, s: ada, want: stepRefuse, code: oauth.LoginRequired},
		{name: "MaxAgeReached", maxAge: time.Hour, trusted: true, s: ada, want: stepAnswer},
		{name: "MaxAgeZero", maxAge: 0, trusted: true, s: ada, want: stepReauth},
		{name: "MaxAgeZeroDone", maxAge: 0, trusted: true, s: &recent, resume: &since, want: stepAnswer},
		{name: "MaxAgeZeroDoneLongAgo", maxAge: 0, trusted: true, s: ada, resume: &old, want: stepReauth},
		{name: "PromptLoginDoneLongAgo", prompt: "login", trusted: true, s: ada, resume: &old, want: stepReauth},
		{name: "PromptLoginDoneAndConsentJustGiven", prompt: "login", s: ada, resume: &oldConsented, want: stepAnswer},
		{name: "OtherPerson", subject: "bob", trusted: true, s: ada, want: stepReauth},
		{name: "OtherPersonSilent", prompt: "none", subject: "bob", trusted: true, s: ada, want: stepRefuse, code: oauth.LoginRequired},
		{name: "OtherPersonAgain", subject: "bob", trusted: true, s: &fresh, resume: &since, want: stepRefuse, code: oauth.LoginRequired},
		{name: "SelectAccount", prompt: "select_account", trusted: true, s: ada, want: stepSelect},
		{name: "AccountSelected", prompt: "select_account", trusted: true, s: ada, resume: &selected, want: stepAnswer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			q := &request{maxAge: tt.maxAge, subject: tt.subject, scope: []string{"openid", "email"}, asks: []string{"openid", "email"}}
			if tt.maxAge == 0 && tt.name[:3] != "Max" {
				q.maxAge = -1
			}
			if tt.prompt != "" {
				q.prompt = []string{tt.prompt}
			}
			q.redirect = "https://app.example.com/cb"
			q.client = client.Client{Meta: client.Meta{Trusted: tt.trusted, RedirectURIs: []string{q.redirect}}}
			if tt.redirect != "" { // one of several
				q.client.RedirectURIs, q.redirect = append(q.client.RedirectURIs, tt.redirect), tt.redirect
			}
			if tt.resume != nil {
				q.isResumed, q.resume = true, *tt.resume
			}
			got, code := decide(q, tt.s, tt.allowed, now)
			if got != tt.want || code != tt.code {
				t.Errorf("decide = %v %q, want %v %q", got, code, tt.want, tt.code)
			}
		})
	}
}

// TestDigestOf: what a person did about one request is worth nothing for
// another.
func TestDigestOf(t *testing.T) {
	t.Parallel()
	a := url.Values{"client_id": {"a"}, "scope": {"openid"}}
	b := url.Values{"client_id": {"a"}, "scope": {"openid email"}}
	if digestOf(a) == digestOf(b) {
		t.Error("two requests have one digest")
	}
	if digestOf(a) != digestOf(url.Values{"scope": {"openid"}, "client_id": {"a"}}) {
		t.Error("the order of parameters changes the digest")
	}
}
