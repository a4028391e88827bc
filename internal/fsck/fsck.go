package fsck

import (
	"fmt"
	"io"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/policy"
)

// A Finding is one broken invariant of one row.
type Finding struct {
	Check  string `json:"check"` // which invariant; see docs/restore.md
	Row    string `json:"row"`   // table and key
	Detail string `json:"detail"`
}

// A Report says what was looked at and what was found.
type Report struct {
	Families int64     `json:"families"`
	Sessions int64     `json:"sessions"`
	Codes    int64     `json:"codes"`
	Entries  int64     `json:"feed_entries"`
	Keys     int64     `json:"signing_keys"`
	Broken   int64     `json:"broken"`
	Findings []Finding `json:"findings"` // the first [MaxFindings]
}

// MaxFindings is how many findings a report names.
const MaxFindings = 1_000

// A Checker checks rows as they come and collects what it finds. Set Now before
// use; it is for one goroutine.
type Checker struct {
	// Now is the moment as of which the rows were read.
	Now time.Time
	// EventsFor is for how long events are kept.
	EventsFor time.Duration

	report Report
	feed   feedState
	keys   keyState
}

// Report returns what was found so far.
func (c *Checker) Report() Report {
	r := c.report
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
	return r
}

// Found adds a finding.
func (c *Checker) Found(check, row, format string, args ...any) {
	c.report.Broken++
	if len(c.report.Findings) < MaxFindings {
		c.report.Findings = append(c.report.Findings, Finding{check, row, fmt.Sprintf(format, args...)})
	}
}

// want adds a finding unless ok.
func (c *Checker) want(ok bool, check, row, format string, args ...any) {
	if !ok {
		c.Found(check, row, format, args...)
	}
}

// slack is by how much the clocks of those who wrote may differ from each other
// and from Now.
const slack = 10 * time.Minute

// tells reports whether what ended then must still be in the feed: an access
// token that it names could live.
func (c *Checker) tells(ended time.Time) bool {
	return c.Now.Before(ended.Add(policy.MaxAccessLife - slack))
}

// remembers reports whether the event of that time must still be there.
func (c *Checker) remembers(t time.Time) bool {
	return c.EventsFor == 0 || c.Now.Before(t.Add(c.EventsFor-slack))
}

// knownReason reports whether r is a reason for which something may end.
func knownReason(r audit.Reason) bool {
	switch r {
	case audit.Logout, audit.RPLogout, audit.BackchannelLogout, audit.RevokedByUser, audit.RevokedByAdmin, audit.RevokedByClient,
		audit.TokenTheft, audit.SessionReplaced, audit.IdleTimeout, audit.AbsoluteTimeout, audit.PasswordChanged,
		audit.FactorReset, audit.UserDisabled, audit.UserDeleted, audit.ClientDisabled, audit.KeyRevoked, audit.Epoch:
		return true
	}
	return false
}

// end checks what families and sessions have in common.
func (c *Checker) end(row string, l life) {
	c.want(l.ended.IsZero() == (l.reason == ""), "one_reason", row, "ended %s, reason %q", at(l.ended), l.reason)
	c.want(l.reason == "" || knownReason(l.reason), "known_reason", row, "reason %q", l.reason)
	c.want(!l.idleEnd.After(l.absoluteEnd), "idle_within_absolute", row, "idle end %s, absolute end %s", at(l.idleEnd), at(l.absoluteEnd))
	c.want(l.begun.Before(l.absoluteEnd), "absolute_after_begin", row, "begun %s, absolute end %s", at(l.begun), at(l.absoluteEnd))
	if l.ended.IsZero() {
		return
	}
	if c.remembers(l.ended) {
		n, general := l.ends.Own, l.ends.General
		c.want(n == 1 || n == 0 && general, "one_end_event", row, "%d events say that it ended", n)
		c.want(n == 0 || l.ends.Reason == l.reason, "event_says_reason", row, "reason %q, that of the event %q", l.reason, l.ends.Reason)
	}
	c.want(l.ends.Told || !c.tells(l.ended), "end_is_told", row, "ended %s, and no feed entry names it", at(l.ended))
}

// A life is what families and sessions have in common.
type life struct {
	begun, idleEnd, absoluteEnd, ended time.Time

	reason audit.Reason
	ends   Ends
}

// Ends is what events and feed say about the end of a row.
type Ends struct {
	Own     int64        // events that name the row
	Reason  audit.Reason // of them
	General bool         // an event of the moment stands for many rows
	Told    bool         // an entry of the feed names it, alone or with others
}

// Write writes r for people.
func (r Report) Write(w io.Writer) error {
	for _, f := range r.Findings {
		if _, err := fmt.Fprintf(w, "%-20s %s: %s\n", f.Check, f.Row, f.Detail); err != nil {
			return err
		}
	}
	if more := r.Broken - int64(len(r.Findings)); more > 0 {
		if _, err := fmt.Fprintf(w, "and %d more\n", more); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "families %d, sessions %d, codes %d, feed entries %d, signing keys %d: broken invariants %d\n",
		r.Families, r.Sessions, r.Codes, r.Entries, r.Keys, r.Broken)
	return err
}

// at writes a time.
func at(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.RFC3339Nano)
}
