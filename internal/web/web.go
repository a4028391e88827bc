// Package web owns what all endpoints share: the request ID, the client's
// address, limits on bodies, headers, panic recovery, strict parameters, cookies
// and the sealed state that pages carry.
//
// The invariant: no request header decides a URL, a cookie or an identity. The
// only header that is believed at all is X-Forwarded-For, and only as far as the
// configured proxies wrote it.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/oauth"
)

// Edge is what every request passes first. Set the fields before use.
type Edge struct {
	// Secure says that the public address is https.
	Secure bool
	// Proxies are the networks whose X-Forwarded-For is believed; none by
	// default.
	Proxies []netip.Prefix
	Log     *slog.Logger
	// Observe gets the pattern of the route of each request that was answered,
	// the status (0: nothing was, or a fault to a client that had left), and how
	// long it took; nil: nobody does.
	Observe func(pattern string, status int, took time.Duration)
}

// Wrap returns a handler that gives each request an ID and the address it came
// from, sets the headers that every answer has, recovers panics, and writes one
// log line.
func (e *Edge) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		id := opaque.NewID()
		info := &arrival{id: id, network: e.clientAddr(r)}
		r = r.WithContext(context.WithValue(r.Context(), arrivalKey{}, info))
		h := w.Header()
		h.Set("X-Request-Id", id)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		if e.Secure {
			h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
		}
		rec := &recorder{ResponseWriter: w}
		defer func() {
			panicked := recover()
			if v := panicked; v != nil {
				if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(v)
				}
				e.Log.LogAttrs(r.Context(), slog.LevelError, "panic",
					slog.String("request_id", id), slog.String("panic", fmt.Sprint(v)), slog.String("stack", string(debug.Stack())))
				if rec.status != 0 { // half an answer must not look like a whole one
					panic(http.ErrAbortHandler)
				}
				oauth.WriteError(rec, &oauth.Error{Code: oauth.ServerError})
			}
			took, status := time.Since(started), rec.status
			if status >= http.StatusInternalServerError && panicked == nil && left(r.Context()) {
				status = 0
			}
			e.Log.LogAttrs(r.Context(), slog.LevelInfo, "request",
				slog.String("request_id", id), slog.String("method", r.Method), slog.String("route", r.Pattern),
				slog.Int("status", status), slog.Duration("took", took), slog.String("network", info.network))
			if e.Observe != nil {
				e.Observe(r.Pattern, status, took)
			}
		}()
		if r.Header.Get("Content-Encoding") != "" { // nothing here reads compressed bodies
			oauth.WriteError(rec, &oauth.Error{Code: oauth.InvalidRequest, Status: http.StatusUnsupportedMediaType})
			return
		}
		next.ServeHTTP(rec, r)
	})
}

type arrivalKey struct{}

type arrival struct{ id, network string }

// RequestID returns the ID of the request, which the answer and the log line
// carry too; empty outside of [Edge.Wrap].
func RequestID(ctx context.Context) string {
	if a, ok := ctx.Value(arrivalKey{}).(*arrival); ok {
		return a.id
	}
	return ""
}

// Network returns the address of the client, without port.
func Network(r *http.Request) string {
	if a, ok := r.Context().Value(arrivalKey{}).(*arrival); ok {
		return a.network
	}
	return peer(r).String()
}

// Agent returns the User-Agent, shortened and without control characters.
func Agent(r *http.Request) string {
	const maxAgent = 120
	a := strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == '\uFFFD' {
			return -1
		}
		return c
	}, r.UserAgent())
	if len(a) > maxAgent {
		a = strings.ToValidUTF8(a[:maxAgent], "")
	}
	return a
}

// clientAddr returns the right-most hop that no configured proxy vouches for.
func (e *Edge) clientAddr(r *http.Request) string {
	addr := peer(r)
	if !e.trusted(addr) {
		return addr.String()
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		addr = hop.Unmap()
		if !e.trusted(addr) {
			break
		}
	}
	return addr.String()
}

func (e *Edge) trusted(a netip.Addr) bool {
	for _, p := range e.Proxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func peer(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.IPv6Unspecified() // an in-memory listener
	}
	return a.Unmap().WithZone("")
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader notes the status.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write notes that the status is 200 if none was given.
func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// NoStore forbids caches to keep the answer.
func NoStore(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
}

// CORS lets scripts of any origin call next, without cookies: what the endpoint
// accepts is in the request itself. Methods are those that next knows.
func CORS(next http.Handler, methods string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Expose-Headers", "WWW-Authenticate, DPoP-Nonce, Retry-After, X-Request-Id")
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			h.Set("Access-Control-Allow-Methods", methods)
			h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, DPoP, Idempotency-Key")
			h.Set("Access-Control-Max-Age", "7200")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// left reports whether ctx, that of a request, was cancelled: its client went
// away, or the server gave up draining.
func left(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }

// Severity returns the level at which to log that a request was answered with
// status because of err. What was cancelled because the client left is no fault
// of the server; another fault that met a client which left is one.
func Severity(ctx context.Context, status int, err error) slog.Level {
	if status < http.StatusInternalServerError || left(ctx) && errors.Is(err, context.Canceled) {
		return slog.LevelInfo
	}
	return slog.LevelError
}

// Refuse writes what a client may see of err and logs the rest, once.
func Refuse(w http.ResponseWriter, r *http.Request, log *slog.Logger, what string, err error) {
	e := oauth.ErrorFor(err)
	log.LogAttrs(r.Context(), Severity(r.Context(), e.HTTPStatus(), err), "refused", slog.String("endpoint", what), slog.String("request_id", RequestID(r.Context())),
		slog.String("code", string(e.Code)), slog.Any("err", err))
	oauth.WriteError(w, e)
}
