package web

import (
	"net/http"
	"time"

	"github.com/fastbind/fastbind/internal/opaque"
)

// Cookies writes and reads the cookies of the sign-in pages.
//
// On https the names begin with __Host- and the cookies are Secure, so that no
// sibling domain and no path can set them. On a loopback address without TLS
// not every browser keeps Secure cookies; there the cookies are plain, and their
// names hold the port, because cookies do not tell ports apart.
type Cookies struct {
	Secure bool
	Port   string // of the public address; only used when it is not Secure
}

func (c Cookies) name(what string) string {
	if c.Secure {
		return "__Host-fastbind-" + what
	}
	return "fastbind-" + what + "-" + c.Port
}

// Session returns the value of the session cookie; empty if there is none or
// more than one.
func (c Cookies) Session(r *http.Request) string { return c.value(r, "session") }

// SetSession sets the session cookie. It lives until the given time if the
// person asked to be remembered, else until the browser is closed.
func (c Cookies) SetSession(w http.ResponseWriter, h opaque.Handle, until time.Time, remember bool) {
	k := c.cookie("session", h.Reveal())
	if remember {
		k.Expires = until.UTC()
	}
	http.SetCookie(w, k)
}

// ClearSession removes the session cookie.
func (c Cookies) ClearSession(w http.ResponseWriter) {
	k := c.cookie("session", "")
	k.MaxAge = -1
	http.SetCookie(w, k)
}

// Device returns the value of the cookie that says who signed in here before;
// empty if there is none or more than one.
func (c Cookies) Device(r *http.Request) string { return c.value(r, "device") }

// SetDevice sets that cookie.
func (c Cookies) SetDevice(w http.ResponseWriter, value string) {
	k := c.cookie("device", value)
	k.MaxAge = int((400 * 24 * time.Hour).Seconds()) // the longest that browsers keep one
	http.SetCookie(w, k)
}

func (c Cookies) value(r *http.Request, what string) string {
	all := r.CookiesNamed(c.name(what))
	if len(all) != 1 {
		return ""
	}
	return all[0].Value
}

func (c Cookies) cookie(what, value string) *http.Cookie {
	return &http.Cookie{
		Name: c.name(what), Value: value, Path: "/",
		Secure: c.Secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}
