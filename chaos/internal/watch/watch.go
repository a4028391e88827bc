// Package watch knows what every party of a chaos run was told, and says when
// that breaks the rotation contract (docs/rotation.md).
//
// It stands between the clients and the servers, below what the transport
// loses: it sees each answer that a server gave, also those that no client
// gets. The invariant: what it has not seen, it does not presume.
package watch

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Log is what is wrong, and what was counted. It is safe for concurrent use.
type Log struct {
	// Broken is called when something is wrong for the first time. It may be nil.
	Broken func()
	// Now returns the time of the run; nil means time.Now.
	Now func() time.Time

	Refreshes atomic.Int64 // requests with a refresh token that a server answered
	Answers   atomic.Int64 // those of them that gave a token

	mu      sync.Mutex
	wrong   []Finding
	logouts map[string]int   // honest clients that were logged out, by their kind
	trouble int              // faults that are under way
	calm    time.Time        // when the last one was over
	skew    [2]time.Duration // by how much a clock may be wrong, now and before
}

// A Finding is something that the contract does not allow.
type Finding struct {
	Check     string // which check found it
	Text      string
	Refreshes int64 // how many there had been
}

// maxFindings is how many findings are kept.
const maxFindings = 50

// Report notes something that the contract does not allow.
func (l *Log) Report(check, format string, a ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.wrong) == 0 && l.Broken != nil {
		l.Broken()
	}
	if len(l.wrong) < maxFindings {
		l.wrong = append(l.wrong, Finding{check, fmt.Sprintf(format, a...), l.Refreshes.Load()})
	}
}

// Findings returns what was reported, in its order.
func (l *Log) Findings() []Finding {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.wrong)
}

// LoggedOut counts an honest client of a kind that was told that its grant is
// not valid any more.
func (l *Log) LoggedOut(kind string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.logouts == nil {
		l.logouts = make(map[string]int)
	}
	l.logouts[kind]++
}

// Logouts returns how many honest clients of a kind were logged out.
func (l *Log) Logouts(kind string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.logouts[kind]
}

// settle is for how long after a fault a server may still say that it cannot
// answer: until its connections are new.
const settle = 5 * time.Second

// Trouble says that a fault has begun that a server may notice, and returns
// what to call when it is over.
func (l *Log) Trouble() (over func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trouble++
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.trouble--
		l.calm = time.Now()
	})
}

// Excused reports whether there was a fault just now.
func (l *Log) Excused() bool { return l.excused(time.Now()) }

// excused reports whether there was a fault since a moment in real time.
func (l *Log) excused(since time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.trouble > 0 || l.calm.Add(settle).After(since)
}

// Skewed says by how much the clocks of servers may be wrong from now on.
func (l *Log) Skewed(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.skew = [2]time.Duration{d, l.skew[0]}
}

// overlap is for how long after a rotation its parent is answered in any case,
// whichever servers are asked; negative: it need not be.
func (l *Log) overlap() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	const promised, margin = 30 * time.Second, time.Second
	return promised - margin - 2*max(l.skew[0], l.skew[1])
}

func (l *Log) now() time.Time {
	if l.Now == nil {
		return time.Now()
	}
	return l.Now()
}

// A Family is what is known of one family.
type Family struct {
	ID   string
	Kind string
	// Bound says that it is tied to a key.
	Bound bool
	// Safe says that the contract promises that it is never taken for stolen:
	// nobody has copied anything, and its client can tell so.
	Safe bool
	// Overlaps says that its client may show the parent of a generation again
	// for a while, and that nobody else shows it.
	Overlaps bool

	log *Log

	mu       sync.Mutex
	tokens   map[int64]string // by generation
	newest   int64            // of the generations that were answered
	since    time.Time        // when that was for the first time
	ended    bool             // somebody was told so who showed a good token
	stored   *stored          // as the database had it when it was last read
	expected bool             // it was begun, as far as anybody was told
}

// NewFamily returns a family of which nothing is known yet.
func (l *Log) NewFamily(id, kind string) *Family {
	return &Family{ID: id, Kind: kind, log: l, tokens: make(map[int64]string)}
}

// A Request is one that was sent and not answered yet.
type Request struct {
	family *Family
	shown  int64 // generation
	began  time.Time
	floor  int64 // no older generation may be the answer
	ended  bool  // it had ended before
}

// Shown notes that the refresh token of a generation is sent now; 0: the code
// that begins the family.
func (f *Family) Shown(generation int64) *Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &Request{family: f, shown: generation, began: time.Now(), floor: f.newest, ended: f.ended}
}

// Tokens is a successful answer of the token endpoint.
type Tokens struct {
	Access     string `json:"access_token"`
	Refresh    string `json:"refresh_token"`
	Generation int64  `json:"-"` // of both
}

// An Outcome is what an answer says about the grant.
type Outcome int

// The outcomes.
const (
	Again    Outcome = iota // nothing: try again
	Unproven                // nothing: the proof of possession is missing, or is no good
	Given                   // tokens
	Refused                 // invalid_grant
)

// Read returns what an answer of the token endpoint about a family says.
func (f *Family) Read(status int, body []byte) (Tokens, Outcome, error) {
	switch {
	case status == http.StatusOK:
		t, err := read(body, f.ID)
		if err != nil {
			return Tokens{}, Again, err
		}
		return t, Given, nil
	case status == http.StatusBadRequest && code(body) == "invalid_grant":
		return Tokens{}, Refused, nil
	case unproven(status, body):
		return Tokens{}, Unproven, nil
	}
	return Tokens{}, Again, nil
}

// Answer notes how the request, which p sent, was answered.
func (r *Request) Answer(status int, h http.Header, body []byte, p Party) {
	f := r.family
	t, outcome, err := f.Read(status, body)
	if r.shown > 0 && outcome != Unproven {
		f.log.Refreshes.Add(1)
	}
	switch {
	case err != nil:
		f.log.Report("answer", "family %s: %v", f.ID, err)
	case outcome == Given:
		f.given(r, t, p)
	case outcome == Refused:
		f.refused(r.shown, p)
	case status == http.StatusServiceUnavailable:
		if !f.log.excused(r.began) {
			f.log.Report("no-fault", "family %s: 503 while nothing is down: %s", f.ID, body)
		}
		if h.Get("Retry-After") == "" {
			f.log.Report("retry-after", "family %s: 503 without Retry-After", f.ID)
		}
	case outcome != Unproven:
		f.log.Report("answer", "family %s: answer %d %s", f.ID, status, body)
	}
}

// unproven reports whether an answer is about the proof, which says nothing about
// the grant.
func unproven(status int, body []byte) bool {
	c := code(body)
	return status == http.StatusBadRequest && (c == "use_dpop_nonce" || c == "invalid_dpop_proof")
}

// A Party is who shows a token, as far as the contract tells them apart.
type Party int

// The parties.
const (
	// Holder has all that the family asks for.
	Holder Party = iota
	// Stranger has a copy of the token, and not the key that it is bound to.
	Stranger
)

func (f *Family) given(r *Request, t Tokens, p Party) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log.Answers.Add(1)
	f.expected = true
	switch {
	case r.ended:
		f.log.Report("ended-lives", "family %s had ended, and got generation %d", f.ID, t.Generation)
	case f.Bound && p == Stranger:
		f.log.Report("foreign-key", "family %s is bound, and somebody without its key got generation %d", f.ID, t.Generation)
	case t.Generation < r.floor:
		f.log.Report("lost-generation", "family %s was at generation %d, and is at %d", f.ID, r.floor, t.Generation)
	case !f.Bound && t.Generation != r.shown+1, t.Generation <= r.shown:
		f.log.Report("successor", "family %s: generation %d got generation %d", f.ID, r.shown, t.Generation)
	case f.tokens[t.Generation] != "" && f.tokens[t.Generation] != t.Refresh:
		f.log.Report("second-successor", "family %s has two tokens of generation %d", f.ID, t.Generation)
	}
	f.tokens[t.Generation] = t.Refresh
	delete(f.tokens, t.Generation-remembered)
	if t.Generation > f.newest {
		f.newest, f.since = t.Generation, f.log.now()
	}
}

// remembered is how many generations are kept.
const remembered = 16

func (f *Family) refused(shown int64, p Party) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p != Holder {
		return
	}
	if since := f.log.now().Sub(f.since); !f.ended && f.Overlaps && shown == f.newest-1 && since < f.log.overlap() {
		f.log.Report("overlap", "family %s: generation %d was refused %v after it was rotated", f.ID, shown, since)
	}
	f.ended = true
}

// End notes that somebody was told that the family has ended.
func (f *Family) End() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
}

// read reads an answer, which has to be about the family.
func read(body []byte, family string) (Tokens, error) {
	var t Tokens
	if err := json.Unmarshal(body, &t); err != nil {
		return t, fmt.Errorf("answer: %w", err)
	}
	parts := strings.Split(t.Access, ".")
	if len(parts) != 3 || t.Refresh == "" {
		return t, fmt.Errorf("answer without tokens: %s", body)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return t, fmt.Errorf("access token: %w", err)
	}
	var claims struct {
		Family     string `json:"family"`
		Generation int64  `json:"generation"`
	}
	if err := json.Unmarshal(raw, &claims); err != nil {
		return t, fmt.Errorf("access token: %w", err)
	}
	if claims.Family != family {
		return t, fmt.Errorf("answer about the family %s", claims.Family)
	}
	t.Generation = claims.Generation
	return t, nil
}

func code(body []byte) string {
	var e struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &e) != nil {
		return ""
	}
	return e.Error
}
