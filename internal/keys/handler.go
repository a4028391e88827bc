package keys

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A Handler answers GET and HEAD with the key set of a ring (RFC 7517, section
// 5), from memory. Anybody may read it, from any origin.
type Handler struct {
	Ring *Ring
	// MaxAge is for how long the answer may be cached; 0 means 5 minutes. It
	// has to be well below [Lifetimes.PublishFor].
	MaxAge time.Duration
}

// ServeHTTP answers 503 before [Ring.Start].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	v := h.Ring.view.Load()
	if v == nil {
		header.Set("Cache-Control", "no-store")
		header.Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	maxAge := h.MaxAge
	if maxAge <= 0 {
		maxAge = 5 * time.Minute
	}
	header.Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int64(maxAge.Seconds())))
	header.Set("ETag", v.etag)
	if matches(r.Header.Values("If-None-Match"), v.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	// RFC 7517, section 8.5.2.
	header.Set("Content-Type", "application/jwk-set+json")
	header.Set("Content-Length", strconv.Itoa(len(v.body)))
	if r.Method == http.MethodGet {
		w.Write(v.body)
	}
}

// matches reports whether a list of entity tags names etag. RFC 9110, section
// 13.1.2: the comparison is the weak one.
func matches(lists []string, etag string) bool {
	for tag := range strings.SplitSeq(strings.Join(lists, ","), ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
			return true
		}
	}
	return false
}
