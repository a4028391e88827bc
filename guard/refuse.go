package guard

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/fastbind/fastbind/dpop"
	"github.com/fastbind/fastbind/guard/internal/credentials"
	"github.com/fastbind/fastbind/oauth"
)

// sentinel returns which of the errors of this package err is.
func sentinel(err error) error {
	for _, s := range []error{ErrExpired, ErrRevoked, ErrUnavailable, ErrMalformed, ErrProof, ErrNonce} {
		if errors.Is(err, s) {
			return s
		}
	}
	return ErrInvalid
}

// An attempt is a request for a route, with or without a proof.
type attempt struct {
	g     *Guard
	rule  Rule
	bound bool
}

// because returns what a request is refused with, and counts it. What the client
// is told depends on the reason alone, and on the proof: it does not learn
// whether a token is unknown, expired or revoked.
func (a attempt) because(reason, cause error) *oauth.Error {
	for i := range reasons {
		if errors.Is(reason, reasons[i].err) {
			a.g.refused[i].Add(1)
		}
	}
	e := &oauth.Error{Cause: reason}
	if cause != nil && !errors.Is(cause, reason) {
		e.Cause = fmt.Errorf("%w: %w", reason, cause)
	} else if cause != nil {
		e.Cause = cause
	}
	switch {
	case errors.Is(reason, ErrUnavailable):
		e.Code, e.RetryAfter = oauth.TemporarilyUnavailable, 1
		return e
	case errors.Is(reason, ErrNoCredentials): // RFC 6750, section 3.1: no error code.
		e.Status = http.StatusUnauthorized
	case errors.Is(reason, ErrMalformed):
		e.Code, e.Description = oauth.InvalidRequest, "The access token has to be sent once, in the Authorization header"
	case errors.Is(reason, ErrScope):
		e.Code, e.Description = oauth.InsufficientScope, "The access token does not allow this"
	case errors.Is(reason, ErrProof): // RFC 9449, section 7.1.
		e.Code, e.Description, e.Status = oauth.InvalidDPoPProof, dpop.Describe(cause), http.StatusUnauthorized
	case errors.Is(reason, ErrNonce): // RFC 9449, section 9.
		e.Code, e.Description, e.Status = oauth.UseDPoPNonce, dpop.Describe(cause), http.StatusUnauthorized
	default:
		e.Code, e.Description = oauth.InvalidToken, "The access token is not valid"
	}
	e.Challenge = a.challenge(e)
	return e
}

// challenge returns the ways in which a token can be shown. What is wrong stands
// with the one that was tried.
func (a attempt) challenge(e *oauth.Error) string {
	var b strings.Builder
	params := func(tried bool) {
		if tried && e.Code != "" {
			b.WriteString(`, error="` + string(e.Code) + `", error_description="` + e.Description + `"`)
		}
		if tried && e.Code == oauth.InsufficientScope {
			b.WriteString(`, scope="` + strings.Join(a.rule.Scopes, " ") + `"`)
		}
		if a.g.config.ResourceMetadata != "" { // RFC 9728, section 5.1.
			b.WriteString(`, resource_metadata="` + a.g.config.ResourceMetadata + `"`)
		}
	}
	only := a.g.config.DPoP.Demand == DPoPRequired
	if !only { // RFC 6750, section 3.
		b.WriteString(credentials.Bearer + ` realm="` + a.g.config.Realm + `"`)
		params(!a.bound || a.g.proofs == nil)
	}
	if a.g.proofs != nil { // RFC 9449, section 7.1.
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(credentials.DPoP + ` realm="` + a.g.config.Realm + `", algs="` + strings.Join(dpop.Algorithms(), " ") + `"`)
		params(a.bound || only)
	}
	return b.String()
}

// Refuse answers a request that [Guard.Check] refused with err.
func (g *Guard) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	e := oauth.ErrorFor(err)
	level := slog.LevelInfo
	if e.Code == oauth.TemporarilyUnavailable {
		level = slog.LevelWarn
	}
	g.log.LogAttrs(r.Context(), level, "request refused", slog.Int("status", e.HTTPStatus()), slog.Any("err", e.Cause))
	if e.HTTPStatus() == http.StatusUnauthorized {
		g.SendNonce(w)
	}
	if e.Code == "" {
		w.Header().Set("WWW-Authenticate", e.Challenge)
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(e.HTTPStatus())
		return
	}
	oauth.WriteError(w, e)
}
