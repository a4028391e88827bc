package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // for the style sheet
	"encoding/base64"
	"net/http"
	"slices"
	"strings"

	"github.com/a-h/templ"
)

//go:embed style.css
var style string

// submitScript is the only script of all pages.
const submitScript = `document.forms[0].submit()`

// icon is the mark as the browser shows it in a tab.
const icon = "data:image/svg+xml," +
	"%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32' fill='none' stroke='%23197a63' stroke-width='4'%3E" +
	"%3Crect x='3' y='9' width='17' height='14' rx='7'/%3E%3Crect x='12' y='9' width='17' height='14' rx='7'/%3E%3C/svg%3E"

// write renders the page and writes it with the headers that all pages have.
func write(w http.ResponseWriter, r *http.Request, status int, policy string, c templ.Component) {
	var b bytes.Buffer
	if err := c.Render(r.Context(), &b); err != nil {
		// Writing to memory fails only when the request has been given up.
		http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", policy)
	// No Cross-Origin-Opener-Policy: apps open the sign-in page in a window of
	// its own and wait for what it answers.
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	w.WriteHeader(status)
	w.Write(b.Bytes()) //nolint:errcheck // the client is gone: nobody to tell
}

// basePolicy allows our style sheet and nothing else (CSP Level 3).
func basePolicy() string {
	return "default-src 'none'; style-src " + sourceHash(style) +
		"; img-src data:; base-uri 'none'; frame-ancestors 'none'"
}

// formPolicy also allows forms that post to this server, and what the answer
// may redirect to.
func formPolicy(targets []string) string {
	var p strings.Builder
	p.WriteString(basePolicy() + "; form-action 'self'")
	var seen []string
	for _, t := range targets {
		if t = source(t); t != "" && !slices.Contains(seen, t) {
			seen = append(seen, t)
			p.WriteString(" " + t)
		}
	}
	return p.String()
}

// submitPolicy allows the script that posts a form to an app. It leaves
// form-action out: where that app redirects to is its own business, and the
// browser would hold it against this page.
func submitPolicy() string {
	return basePolicy() + "; script-src " + sourceHash(submitScript)
}

// source returns the scheme of t as a source expression; empty if it has none.
// Browsers hold every redirect that follows a form against form-action, those
// of the app included, and where an app goes on to is its own business.
func source(t string) string {
	scheme, _, ok := strings.Cut(t, ":")
	if !ok || scheme == "" || strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.") != "" {
		return ""
	}
	return scheme + ":"
}

func sourceHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
