package theft

import (
	"cmp"
	"crypto/rand"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/demo/party"
	"github.com/fastbind/fastbind/internal/opaque"
)

// side is one of the two who hold the tokens of a visitor.
type side int

const (
	victim side = iota
	thief
	sides
)

func (p side) String() string {
	if p == thief {
		return "thief"
	}
	return "victim"
}

// hands returns those of both sides. The thief's requests come from another
// loopback address where the machine has one.
func hands() [sides]party.Hand {
	return [sides]party.Hand{
		victim: party.New("DemoApp/1.0 (the victim's own browser)", nil),
		thief:  party.New("Thief/1.0 (somebody else's machine)", net.IPv4(127, 0, 0, 2)),
	}
}

// Bounds of what is kept for visitors of the page, in memory only.
const (
	maxVisitors = 100
	maxEntries  = 150
	visitorIdle = time.Hour
)

// A visitor is one browser in which the page is open: what both parties hold,
// and what has happened.
type visitor struct {
	acting sync.Mutex // held by the one action that goes on

	mu      sync.Mutex // guards what follows
	version int64      // counts changes
	used    time.Time
	pending *pending // a sign-in that is under way
	name    string   // of who signed in; empty: nobody
	family  string
	newest  int64 // generation that is known of
	hold    [sides]holding
	log     []entry
	events  []audit.Event // of the family, oldest first
	end     *aftermath    // nil: nothing has been noticed
}

// pending is what has to fit when the browser comes back from the sign-in.
type pending struct {
	state, verifier, nonce string
	until                  time.Time
}

// A holding is what one party holds.
type holding struct {
	access, refresh party.Bearer
	claims          party.Claims
	expires         time.Time
	calls           int
	refused         string // how the token endpoint refused for good; empty: not
	stream          *stream
}

// A stream is the open event stream of a party; guarded by the visitor's mu.
type stream struct {
	ticks  int
	ended  time.Time // zero: it is open
	reason string
	closed bool          // nobody wants it any more
	cancel func()        // nil: not begun yet
	opened chan struct{} // closed at the first event, or when there will be none
	over   chan struct{} // closed when it has ended
}

// An aftermath is what came of a stolen token. Times are counted from the
// moment the old token was shown: the request that did it had not even been
// answered.
type aftermath struct {
	shown   time.Time
	by      side          // who showed it
	noticed time.Duration // until the answer was there
	gone    time.Duration // until the last trace was gone; 0: not known yet
	rows    []trace
}

// A trace is one thing that a party held, and how it ended.
type trace struct {
	who    side
	what   string
	answer string
	after  time.Duration
	late   bool // it still worked when watching stopped
}

// tone is how an entry looks.
type tone string

const (
	plain tone = ""
	good  tone = "good"
	warn  tone = "warn"
	bad   tone = "bad"
)

// An entry is one line of the timeline.
type entry struct {
	at     time.Time
	who    string // victim, thief or server
	text   string
	answer string // of an HTTP call; empty: none
	tone   tone
}

// note adds an entry; v.mu is held.
func (v *visitor) note(e entry) {
	v.version++
	if len(v.log) < maxEntries {
		v.log = append(v.log, e)
	}
}

// say adds an entry.
func (v *visitor) say(e entry) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.note(e)
}

// signedIn reports whether somebody has signed in.
func (v *visitor) signedIn() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.name != ""
}

// over reports whether the theft has been noticed.
func (v *visitor) over() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.end != nil
}

// held returns a copy of what a party holds.
func (v *visitor) held(p side) holding {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.hold[p]
}

// hangUp closes the streams.
func (v *visitor) hangUp() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, h := range v.hold {
		if h.stream == nil {
			continue
		}
		h.stream.closed = true
		if h.stream.cancel != nil {
			h.stream.cancel()
		}
	}
}

// visitors are all visitors by the digest of their cookie. The zero value is
// empty.
type visitors struct {
	mu  sync.Mutex
	all map[opaque.Digest]*visitor
}

func visitorKey(cookie string) opaque.Digest { return opaque.KeyDigest("demo visitor", cookie) }

// find returns the visitor with the cookie; nil: there is none.
func (vs *visitors) find(cookie string, now time.Time) *visitor {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	v := vs.all[visitorKey(cookie)]
	if v != nil {
		v.mu.Lock()
		v.used = now
		v.mu.Unlock()
	}
	return v
}

// add keeps v and returns the cookie for it. Where there are too many, the one
// that was used longest ago goes.
func (vs *visitors) add(v *visitor, now time.Time) string {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if vs.all == nil {
		vs.all = map[opaque.Digest]*visitor{}
	}
	if len(vs.all) >= maxVisitors {
		keys := make([]opaque.Digest, 0, len(vs.all))
		for k := range vs.all {
			keys = append(keys, k)
		}
		vs.drop(slices.MinFunc(keys, func(a, b opaque.Digest) int {
			return cmp.Compare(vs.all[a].lastUsed().UnixNano(), vs.all[b].lastUsed().UnixNano())
		}))
	}
	cookie := rand.Text()
	v.used = now
	vs.all[visitorKey(cookie)] = v
	return cookie
}

func (v *visitor) lastUsed() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.used
}

// drop forgets a visitor; vs.mu is held.
func (vs *visitors) drop(k opaque.Digest) {
	if v := vs.all[k]; v != nil {
		v.hangUp()
		delete(vs.all, k)
	}
}

// remove forgets the visitor with the cookie.
func (vs *visitors) remove(cookie string) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	vs.drop(visitorKey(cookie))
}

// sweep forgets those who have not been here for long.
func (vs *visitors) sweep(now time.Time) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	for k, v := range vs.all {
		if !now.Before(v.lastUsed().Add(visitorIdle)) {
			vs.drop(k)
		}
	}
}

// cookieName holds the port, because cookies do not tell ports apart.
func (s *Page) cookieName() string {
	return "fastbind-demo-" + s.port()
}

// cookieOf returns the visitor's cookie; empty if there is none or more than
// one.
func (s *Page) cookieOf(r *http.Request) string {
	all := r.CookiesNamed(s.cookieName())
	if len(all) != 1 {
		return ""
	}
	return all[0].Value
}

func (s *Page) setCookie(w http.ResponseWriter, value string) {
	k := &http.Cookie{Name: s.cookieName(), Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if value == "" {
		k.MaxAge = -1
	}
	http.SetCookie(w, k)
}

// visitor returns who sent the request; nil: nobody we know.
func (s *Page) visitor(r *http.Request) *visitor {
	return s.visitors.find(s.cookieOf(r), time.Now())
}
