package fsck

import (
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/code"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/session"
)

// Neighbour says what became of a row that another one names.
type Neighbour int

// What may have become of it.
const (
	Gone  Neighbour = iota
	Ended           // or disabled
	Live
)

func (n Neighbour) String() string {
	switch n {
	case Live:
		return "live"
	case Ended:
		return "ended"
	case Gone:
	}
	return "gone"
}

// A Family is a family as it is stored, with what is known of its neighbours.
type Family struct {
	refresh.Family
	SweepAt                      int64 // unix seconds
	Client, Subject, SessionLife Neighbour
	Ends                         Ends
	Thefts                       int64 // theft events that ended it
}

// Family checks a family.
func (c *Checker) Family(f Family) {
	c.report.Families++
	row := "family " + string(f.ID)
	c.want(f.Generation >= 1, "generation", row, "generation %d", f.Generation)
	c.want(f.Confirmed >= 0 && f.Confirmed <= f.Generation, "confirmed", row, "confirmed %d, generation %d", f.Confirmed, f.Generation)
	c.want(f.Version >= f.Generation, "version", row, "version %d, generation %d: a rotation did not raise the version", f.Version, f.Generation)
	c.want(f.ShadowedIn >= 0 && f.ShadowedIn <= f.Generation, "shadowed_in", row, "shadowed in %d, generation %d", f.ShadowedIn, f.Generation)
	c.want(f.Replays >= f.Retries && f.Retries >= 0 && f.Shadows >= 0 && f.Alarms >= 0, "counters", row,
		"replays %d, retries %d, shadows %d, alarms %d", f.Replays, f.Retries, f.Shadows, f.Alarms)
	c.want(f.Grant.Client != "" && f.Grant.Subject != "" && f.Grant.Session != "", "owner", row,
		"client %q, subject %q, session %q", f.Grant.Client, f.Grant.Subject, f.Grant.Session)
	c.end(row, life{
		begun: f.Begun, idleEnd: f.IdleEnd, absoluteEnd: f.AbsoluteEnd, ended: f.State.Ended, reason: f.Reason, ends: f.Ends,
	})
	c.want(f.Thefts <= 1, "one_theft", row, "%d theft events ended it", f.Thefts)
	c.want(f.Thefts == 0 || !f.State.Ended.IsZero(), "theft_ends", row, "a theft event ended it, and it lives")
	if !f.State.Ended.IsZero() {
		return
	}
	c.want(f.Client == Live, "live_client", row, "it lives, its client %s is %s", f.Grant.Client, f.Client)
	c.want(f.Subject == Live, "live_subject", row, "it lives, its subject %s is %s", f.Grant.Subject, f.Subject)
	c.want(f.Offline || f.SessionLife == Live, "live_session", row, "it lives, its session %s is %s", f.Grant.Session, f.SessionLife)
	next := min(f.IdleEnd.Unix(), f.AbsoluteEnd.Unix())
	c.want(f.SweepAt <= next, "ends_in_time", row, "looked at again only %d seconds after its end", f.SweepAt-next)
}

// A Session is a session as it is stored, with what is known of its neighbours.
type Session struct {
	session.Session
	SweepAt int64 // unix seconds
	Subject Neighbour
	Ends    Ends
}

// Session checks a session.
func (c *Checker) Session(s Session) {
	c.report.Sessions++
	row := "session " + s.ID
	c.want(s.Version >= 1, "version", row, "version %d", s.Version)
	c.end(row, life{
		begun: s.Begun, idleEnd: s.IdleEnd, absoluteEnd: s.AbsoluteEnd, ended: s.Session.Ended, reason: s.Reason, ends: s.Ends,
	})
	if !s.Session.Ended.IsZero() {
		return
	}
	c.want(s.Subject == Live, "live_subject", row, "it lives, its subject %s is %s", s.Session.Subject, s.Subject)
	c.want(s.SweepAt <= s.AbsoluteEnd.Unix(), "ends_in_time", row, "looked at again only %d seconds after its end", s.SweepAt-s.AbsoluteEnd.Unix())
}

// A Code is an authorization code as it is stored.
type Code struct {
	code.Code
	Yielded bool // its family exists
}

// Code checks a code. A family outlives the code that began it, so that one
// without the other is broken.
func (c *Checker) Code(v Code) {
	c.report.Codes++
	row := "code of family " + string(v.Family)
	c.want(v.Issued.Before(v.Expires), "code_life", row, "issued %s, expires %s", at(v.Issued), at(v.Expires))
	c.want(v.Yielded || v.Redeemed.IsZero(), "redeemed_code", row, "redeemed %s, and there is no family", at(v.Redeemed))
	c.want(!v.Yielded || !v.Redeemed.IsZero(), "unredeemed_code", row, "not redeemed, and there is a family")
}

// Theft says that a theft event is the end of a family.
func Theft(e audit.Event) bool { return e.Kind == audit.Theft && e.Reason != "" }
