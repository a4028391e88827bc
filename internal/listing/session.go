package listing

import (
	"fmt"
	"io"
	"strings"

	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/session"
)

// A Session is a sign-on session.
type Session struct {
	ID          string   `json:"id"`
	Subject     string   `json:"subject"`
	Username    string   `json:"username,omitempty"`
	Begun       string   `json:"begun"`
	AuthTime    string   `json:"auth_time"`
	LastSeen    string   `json:"last_seen"`
	IdleEnd     string   `json:"idle_end"`
	AbsoluteEnd string   `json:"absolute_end"`
	ACR         string   `json:"acr,omitempty"`
	AMR         []string `json:"amr,omitempty"`
	Remember    bool     `json:"remember"`
	Network     string   `json:"network,omitempty"`
	Agent       string   `json:"agent,omitempty"`
	Families    []Family `json:"families,omitempty"`
}

// A Family is a family of refresh tokens.
type Family struct {
	ID          string `json:"id"`
	Client      string `json:"client_id"`
	Generation  int64  `json:"generation"`
	Bound       bool   `json:"bound"`
	Offline     bool   `json:"offline"`
	Begun       string `json:"begun"`
	IdleEnd     string `json:"idle_end"`
	AbsoluteEnd string `json:"absolute_end"`
	Ended       string `json:"ended,omitempty"`
	Reason      string `json:"reason,omitempty"`
}

// OfSession returns s as it is shown, with the name of its person.
func OfSession(s session.Session, username string) Session {
	return Session{
		ID: s.ID, Subject: s.Subject, Username: username,
		Begun: stamp(s.Begun), AuthTime: stamp(s.AuthTime), LastSeen: stamp(s.LastSeen),
		IdleEnd: stamp(s.IdleEnd), AbsoluteEnd: stamp(s.AbsoluteEnd),
		ACR: s.ACR, AMR: s.AMR, Remember: s.Remember, Network: s.Network, Agent: s.Agent,
	}
}

// SessionTable is an empty table of sessions.
func SessionTable() *Table {
	return &Table{Head: []string{"SESSION", "USER", "BEGUN", "SEEN", "NETWORK", "AGENT"}}
}

// AddSession adds a session to a [SessionTable].
func (t *Table) AddSession(s session.Session, username string) {
	t.Add(s.ID, username, When(s.Begun), When(s.LastSeen), s.Network, s.Agent)
}

// With returns v with its families.
func (v Session) With(families []refresh.Family) Session {
	for _, f := range families {
		v.Families = append(v.Families, ofFamily(f))
	}
	return v
}

// Write writes what is known of the session.
func (v Session) Write(w io.Writer) error {
	t := &Table{Head: []string{"FIELD", "VALUE"}}
	t.Add("session", v.ID)
	t.Add("user", v.Username)
	t.Add("subject", v.Subject)
	t.Add("begun", v.Begun)
	t.Add("signed in", v.AuthTime)
	t.Add("seen", v.LastSeen)
	t.Add("idle end", v.IdleEnd)
	t.Add("absolute end", v.AbsoluteEnd)
	t.Add("how", strings.Join(v.AMR, " "))
	t.Add("network", v.Network)
	t.Add("agent", v.Agent)
	if err := t.Write(w); err != nil || len(v.Families) == 0 {
		return err
	}
	f := &Table{Head: []string{"FAMILY", "CLIENT", "GENERATION", "BEGUN", "ENDED", "REASON"}}
	for _, of := range v.Families {
		f.Add(of.ID, of.Client, fmt.Sprint(of.Generation), of.Begun, of.Ended, of.Reason)
	}
	return f.Write(w)
}

func ofFamily(f refresh.Family) Family {
	return Family{
		ID: string(f.ID), Client: f.Client, Generation: f.Generation, Bound: f.Bound(), Offline: f.Offline,
		Begun: stamp(f.Begun), IdleEnd: stamp(f.IdleEnd), AbsoluteEnd: stamp(f.AbsoluteEnd),
		Ended: stamp(f.Ended), Reason: string(f.Reason),
	}
}
