package theft

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed" // for the style sheet and the script
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/demo/party"
	"github.com/fastbind/fastbind/internal/web"
)

//go:embed style.css
var style string

//go:embed script.js
var script string

// view is what the page shows.
type view struct {
	name    string // empty: nobody has signed in
	issuer  string
	users   []User
	version string
	stage   int // of the steps at the top, from 0
	now     headline
	panes   []pane
	thefts  []story
	heals   []story
	result  *result
	log     []entry
}

type headline struct {
	title, text string
	tone        tone
}

// pane is one party's side.
type pane struct {
	who, title, state string
	short             string // title in a table
	tone              tone
	empty             bool
	refresh           string // prefix of the refresh token
	claims            party.Claims
	life, left        int64 // of the access token, in seconds
	stream            string
	streamTone        tone
	ticks             int
	dead              bool // its tokens are refused
	buttons           []button
}

type button struct {
	name, label, class string
	off                bool
}

// result is what came of a theft.
type result struct {
	number, unit, text string
	reason             string
	note               string
	parties            []evidence
	rows               []trace
}

// evidence is one party of the event.
type evidence struct {
	name string
	audit.Party
}

// show writes the page.
func (s *Page) show(w http.ResponseWriter, r *http.Request) {
	v := s.visitor(r)
	d := view{issuer: s.Issuer, users: s.Users}
	if v != nil && v.signedIn() {
		d = s.view(v, time.Now())
	}
	var b bytes.Buffer
	if err := document(d).Render(r.Context(), &b); err != nil {
		s.fault(w, r, err)
		return
	}
	web.NoStore(w)
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", s.policy())
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("X-Frame-Options", "DENY")
	w.Write(b.Bytes()) // the client is gone: it can ask again
}

// policy allows our style sheet and our script, calls to ourselves, and forms
// that lead to the issuer (CSP Level 3).
func (s *Page) policy() string {
	return "default-src 'none'; style-src " + sourceHash(style) + "; script-src " + sourceHash(script) +
		"; connect-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'; form-action 'self' " + s.Issuer
}

func sourceHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// live tells the script what changes by itself.
func (s *Page) live(w http.ResponseWriter, r *http.Request) {
	v := s.visitor(r)
	if v == nil || !v.signedIn() {
		web.NoStore(w)
		w.WriteHeader(http.StatusNotFound)
		return
	}
	v.mu.Lock()
	ticks := map[string]int{}
	for p, h := range v.hold {
		if h.stream != nil {
			ticks[side(p).String()] = h.stream.ticks
		}
	}
	b, err := json.Marshal(map[string]any{"version": v.state(), "ticks": ticks})
	v.mu.Unlock()
	if err != nil {
		s.fault(w, r, err)
		return
	}
	web.NoStore(w)
	w.Header().Set("Content-Type", "application/json")
	w.Write(b) // the client is gone: it can ask again
}

// state names what the page shows, but for what the script counts itself; v.mu
// is held.
func (v *visitor) state() string { return fmt.Sprint(v.version) }

func (s *Page) view(v *visitor, now time.Time) view {
	v.mu.Lock()
	defer v.mu.Unlock()
	d := view{
		name: v.name, issuer: s.Issuer, users: s.Users, version: v.state(), stage: 1,
		thefts: thefts(v.name), heals: heals(v.name),
	}
	for p := range sides {
		d.panes = append(d.panes, v.pane(p, now))
	}
	d.log = slices.Clone(v.log)
	slices.SortStableFunc(d.log, func(a, b entry) int { return cmp.Compare(a.at.UnixMilli(), b.at.UnixMilli()) }) // events have milliseconds
	stolen := !v.hold[thief].refresh.None()
	switch {
	case v.end != nil:
		d.stage = 3
		d.result = s.result(v)
		d.now = v.aftermath(d.result)
	case stolen:
		d.stage = 2
		d.now = v.danger()
	default:
		d.now = headline{
			v.name + " is signed in", "One family of tokens, one holder. Each renewal hands out the next generation; older ones are soon worth nothing.", good,
		}
	}
	return d
}

// danger says how things stand between the theft and its discovery.
func (v *visitor) danger() headline {
	mine, theirs := v.hold[victim].claims.Generation, v.hold[thief].claims.Generation
	h := headline{tone: warn, title: "One family, two holders"}
	switch {
	case theirs > mine:
		h.text = fmt.Sprintf("The thief is ahead, with generation %d against %d. It lasts until %s’s app renews.", theirs, mine, v.name)
	case mine > theirs+1:
		h.text = fmt.Sprintf("%s is at generation %d and the thief holds generation %d. The thief’s next renewal gives the copy away.", v.name, mine, theirs)
	case mine > theirs:
		h.text = fmt.Sprintf("The thief is one generation behind. For 30 s after %s’s renewal that could be a second tab; after that it is a theft.", v.name)
	default:
		h.text = "Both hold the same generation. Nobody can see that yet: whoever shows an old token first gives it away."
	}
	return h
}

// aftermath says what came of it.
func (v *visitor) aftermath(r *result) headline {
	switch {
	case r.number == "":
		return headline{"Watching what still works …", "An old token was shown and refused.", warn}
	case slices.ContainsFunc(v.end.rows, func(t trace) bool { return t.late }):
		return headline{"Noticed, but not gone everywhere", "Something still worked when watching stopped: see below.", bad}
	case r.reason != string(audit.TokenTheft):
		return headline{"The session has ended", "Somebody or something else ended it before the old token was shown. The reason is " + r.reason + ".", warn}
	}
	who := "The thief showed a token that " + v.name + " had long renewed."
	if v.end.by == victim {
		who = v.name + "’s app showed a token that the thief had long renewed."
	}
	return headline{
		"Noticed, and gone everywhere in " + r.number + " " + r.unit,
		who + " Two parties hold one family: both are out, at the token endpoint, at the API and in open streams. " + v.name + " signs in again; the thief cannot.", good,
	}
}

func (v *visitor) pane(p side, now time.Time) pane {
	h := v.hold[p]
	d := pane{
		who: p.String(), title: v.name + "’s browser", short: v.name, empty: h.refresh.None(), claims: h.claims,
		life: h.claims.Expires - h.claims.Issued, left: max(0, int64(h.expires.Sub(now)/time.Second)),
		dead: v.end != nil,
	}
	if p == thief {
		d.title, d.short = "The thief", "Thief"
	}
	switch {
	case d.empty:
		d.state = "holds nothing"
	case v.end != nil && p == thief:
		d.state, d.tone = "locked out", bad
	case v.end != nil:
		d.state, d.tone = "signs in again", warn
	case p == thief:
		d.state, d.tone = "holds a copy", warn
	default:
		d.state, d.tone = "signed in", good
	}
	if !d.empty {
		d.refresh = h.refresh.Prefix()
	}
	if st := h.stream; st != nil {
		d.ticks = st.ticks
		switch {
		case st.ended.IsZero():
			d.stream, d.streamTone = "open", good
		case v.end != nil && !st.ended.Before(v.end.shown):
			d.stream, d.streamTone = "ended after "+millis(st.ended.Sub(v.end.shown))+" ("+st.reason+")", bad
		default:
			d.stream, d.streamTone = "ended ("+st.reason+")", bad
		}
	}
	d.buttons = v.buttons(p)
	return d
}

// fate says what came of an access token that has not expired.
func (p pane) fate() string {
	if p.dead {
		return ", and refused all the same"
	}
	return ""
}

func (v *visitor) buttons(p side) []button {
	over := v.end != nil
	if p == victim {
		return []button{
			{"renew", "Renew", "", over},
			{"call", "Call the API", "quiet", false},
		}
	}
	empty := v.hold[thief].refresh.None()
	return []button{
		{"steal", "Steal the refresh token", "alarm", over || !empty},
		{"thief-renew", "Thief renews", "quiet", over || empty},
		{"thief-call", "Thief calls the API", "quiet", empty},
	}
}

// result returns what came of the theft; v.mu is held.
func (s *Page) result(v *visitor) *result {
	r := &result{rows: v.end.rows}
	if len(v.end.rows) > 0 {
		r.number, r.unit, _ = strings.Cut(millis(v.end.gone), " ")
	}
	r.text = "Noticed " + millis(v.end.noticed) + " after the old token was shown."
	for _, e := range v.events {
		if e.Reason != "" {
			r.reason = string(e.Reason)
		}
		if e.Kind != audit.Theft {
			continue
		}
		r.reason, r.note = string(e.Reason), e.Note
		for _, p := range e.Parties {
			who := evidence{v.name, p}
			if p.Agent == s.hands[thief].Agent {
				who.name = "The thief"
			}
			r.parties = append(r.parties, who)
		}
		break
	}
	return r
}

// millis writes a duration in milliseconds, rounded up.
func millis(d time.Duration) string {
	return fmt.Sprintf("%d ms", max(1, (d+time.Millisecond-1)/time.Millisecond))
}

// list returns the steps of a story for the script, which plays them slowly.
func (t story) list() string { return strings.Join(t.steps, " ") }

// icon is the mark as the browser shows it in a tab.
const icon = "data:image/svg+xml," +
	"%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32' fill='none' stroke='%23197a63' stroke-width='4'%3E" +
	"%3Crect x='3' y='9' width='17' height='14' rx='7'/%3E%3Crect x='12' y='9' width='17' height='14' rx='7'/%3E%3C/svg%3E"
