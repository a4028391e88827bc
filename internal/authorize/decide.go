package authorize

import (
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fastbind/fastbind/internal/session"
	"github.com/fastbind/fastbind/oauth"
)

// resumeParam carries a sealed [resume] in the addresses that the browser is
// sent back to.
const resumeParam = "resume"

// A resume says what a person has done about a request. It is bound to that
// request and worth nothing for another.
type resume struct {
	Request string    `json:"q"` // see digestOf
	Opened  time.Time `json:"o"` // when the browser first came with the request
	Started time.Time `json:"s"` // when the person was last asked to sign in, or first asked for anything
	// Decided is when the person allowed or denied the request, or chose to go
	// on with the account that is signed in, in the session named.
	Decided  time.Time `json:"d,omitzero"`
	Session  string    `json:"i,omitempty"`
	Consent  bool      `json:"c,omitempty"`
	Denied   bool      `json:"n,omitempty"`
	Selected bool      `json:"a,omitempty"`
}

// decisionLife is for how long a decision, or a sign-in that was asked for,
// stands while the browser goes on.
const decisionLife = 10 * time.Minute

func (r resume) fresh(s *session.Session, now time.Time) bool {
	return s != nil && r.Session == s.ID && now.Before(r.Decided.Add(decisionLife))
}

// digestOf names a request by its parameters.
func digestOf(q url.Values) string {
	sum := sha256.Sum256([]byte(q.Encode()))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// A step is what has to happen next.
type step int

const (
	stepAnswer step = iota // everything is there: issue a code
	stepSignIn             // nobody is signed in
	stepReauth             // somebody is, and must prove again who they are
	stepSelect             // which account?
	stepConsent
	stepRefuse
)

// decide says what has to happen next for q, with the browser's session (nil:
// none) and the scopes that its person has allowed the client before. It is a
// pure function.
func decide(q *request, s *session.Session, allowed []string, now time.Time) (step, oauth.Code) {
	silent := q.prompted("none")
	ask := func(st step, c oauth.Code) (step, oauth.Code) {
		if silent {
			return stepRefuse, c
		}
		return st, ""
	}
	denied := q.isResumed && q.resume.Denied
	switch {
	case denied && (s == nil || q.resume.Session == "" || q.resume.fresh(s, now)):
		return stepRefuse, oauth.AccessDenied
	case s == nil:
		return ask(stepSignIn, oauth.LoginRequired)
	}
	decided := q.isResumed && q.resume.fresh(s, now)
	// Signed in since the request began, and still going on with it: that is
	// what prompt=login asks for. An address from the history is not.
	renewed := q.isResumed && !s.AuthTime.Before(q.resume.Started.Truncate(time.Second)) &&
		(decided || now.Before(s.AuthTime.Add(decisionLife)))
	switch {
	case q.subject != "" && q.subject != s.Subject:
		if renewed { // somebody else than the one who was asked for: OpenID Connect Core, section 3.1.2.2
			return stepRefuse, oauth.LoginRequired
		}
		return ask(stepReauth, oauth.LoginRequired)
	case q.prompted("login") && !renewed:
		return stepReauth, ""
	case q.maxAge >= 0 && now.Sub(s.AuthTime) > q.maxAge && !renewed:
		return ask(stepReauth, oauth.LoginRequired)
	}
	if q.prompted("select_account") && !renewed && !(decided && (q.resume.Selected || q.resume.Consent)) {
		return stepSelect, ""
	}
	if !q.client.Trusted && !(decided && q.resume.Consent) &&
		(q.prompted("consent") || q.unverifiable() || !covers(allowed, q.asks)) {
		return ask(stepConsent, oauth.ConsentRequired)
	}
	return stepAnswer, ""
}

// unverifiable says that anything on the person's machine could pose as the
// client: it proves nothing, and the answer goes to a loopback address or a
// private scheme, which other programs may claim. An earlier consent does not
// stand for such a request (RFC 8252, section 8.6).
func (q *request) unverifiable() bool {
	return q.client.Public() && !strings.HasPrefix(q.redirect, "https://")
}

func covers(allowed, scope []string) bool {
	for _, s := range scope {
		if !slices.Contains(allowed, s) {
			return false
		}
	}
	return true
}
