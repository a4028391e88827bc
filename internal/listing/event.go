package listing

import (
	"strings"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/keys"
)

// An Event is a security event.
type Event struct {
	Time    string        `json:"time"`
	Kind    string        `json:"kind"`
	Reason  string        `json:"reason,omitempty"`
	Subject string        `json:"subject,omitempty"`
	Session string        `json:"session,omitempty"`
	Family  string        `json:"family,omitempty"`
	Client  string        `json:"client_id,omitempty"`
	Note    string        `json:"note,omitempty"`
	Parties []audit.Party `json:"parties,omitempty"`
}

// OfEvents returns all as they are shown.
func OfEvents(all []audit.Event) ([]Event, *Table) {
	views, t := make([]Event, 0, len(all)), &Table{Head: []string{"TIME", "KIND", "REASON", "CLIENT", "SESSION", "DETAIL"}}
	for _, v := range all {
		views = append(views, Event{
			stamp(v.Time), string(v.Kind), string(v.Reason), v.Subject, v.Session, v.Family, v.Client, v.Note, v.Parties,
		})
		t.Add(When(v.Time), string(v.Kind), string(v.Reason), v.Client, v.Session, detail(v))
	}
	return views, t
}

// detail says what else is known of an event.
func detail(v audit.Event) string {
	var parts []string
	if v.Note != "" {
		parts = append(parts, v.Note)
	}
	for _, p := range v.Parties {
		if who := strings.TrimSpace(p.Network + " " + p.Agent); who != "" {
			parts = append(parts, who)
		}
	}
	return strings.Join(parts, "; ")
}

// A Key is a signing key.
type Key struct {
	ID        string `json:"kid"`
	Algorithm string `json:"alg"`
	State     string `json:"state"`
	Since     string `json:"since"`
	Created   string `json:"created"`
}

// OfKeys returns all as they are shown.
func OfKeys(all []keys.Record) ([]Key, *Table) {
	views, t := make([]Key, 0, len(all)), &Table{Head: []string{"KEY", "ALGORITHM", "STATE", "SINCE", "CREATED"}}
	for _, k := range all {
		views = append(views, Key{k.ID, k.Algorithm, string(k.State), stamp(k.Since), stamp(k.Created)})
		t.Add(k.ID, k.Algorithm, string(k.State), When(k.Since), When(k.Created))
	}
	return views, t
}
