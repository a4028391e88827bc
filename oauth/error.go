// Package oauth holds the words of OAuth 2.1 and OpenID Connect: error codes,
// grant types, server metadata, and how an error is written.
//
// It has no behaviour besides writing errors, and imports the standard library
// only.
package oauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// Code is an error code as it goes on the wire.
type Code string

// Error codes. The comment names where each is defined.
const (
	InvalidRequest          Code = "invalid_request"           // RFC 6749, section 5.2
	InvalidClient           Code = "invalid_client"            // RFC 6749, section 5.2
	InvalidGrant            Code = "invalid_grant"             // RFC 6749, section 5.2
	UnauthorizedClient      Code = "unauthorized_client"       // RFC 6749, section 5.2
	UnsupportedGrantType    Code = "unsupported_grant_type"    // RFC 6749, section 5.2
	InvalidScope            Code = "invalid_scope"             // RFC 6749, section 5.2
	AccessDenied            Code = "access_denied"             // RFC 6749, section 4.1.2.1
	UnsupportedResponseType Code = "unsupported_response_type" // RFC 6749, section 4.1.2.1
	ServerError             Code = "server_error"              // RFC 6749, section 4.1.2.1
	TemporarilyUnavailable  Code = "temporarily_unavailable"   // RFC 6749, section 4.1.2.1
	InvalidToken            Code = "invalid_token"             // RFC 6750, section 3.1
	InsufficientScope       Code = "insufficient_scope"        // RFC 6750, section 3.1
	UnsupportedTokenType    Code = "unsupported_token_type"    // RFC 7009, section 2.2.1
	InvalidTarget           Code = "invalid_target"            // RFC 8707, section 2
	InvalidRequestURI       Code = "invalid_request_uri"       // OpenID Connect Core, section 3.1.2.6
	InvalidRequestObject    Code = "invalid_request_object"    // OpenID Connect Core, section 3.1.2.6
	RequestNotSupported     Code = "request_not_supported"     // OpenID Connect Core, section 3.1.2.6
	RequestURINotSupported  Code = "request_uri_not_supported" // OpenID Connect Core, section 3.1.2.6
	RegistrationNotSupport  Code = "registration_not_supported"
	LoginRequired           Code = "login_required"             // OpenID Connect Core, section 3.1.2.6
	InteractionRequired     Code = "interaction_required"       // OpenID Connect Core, section 3.1.2.6
	ConsentRequired         Code = "consent_required"           // OpenID Connect Core, section 3.1.2.6
	AccountSelection        Code = "account_selection_required" // OpenID Connect Core, section 3.1.2.6
	UnmetAuthentication     Code = "unmet_authentication_requirements"
	InvalidDPoPProof        Code = "invalid_dpop_proof" // RFC 9449, section 5
	UseDPoPNonce            Code = "use_dpop_nonce"     // RFC 9449, section 8
	SlowDown                Code = "slow_down"          // RFC 8628, section 3.5
)

// Error is a refusal that may be shown to the client.
//
// Code and Description go on the wire; Description is a constant written by
// us, never text taken from the request or from another error. Cause stays on
// the server: it is logged, and is what errors.Is and errors.As see.
type Error struct {
	Code        Code
	Description string
	Cause       error
	// Status is the HTTP status; 0 means the usual one for Code.
	Status int
	// Challenge is the value of WWW-Authenticate; empty: none.
	Challenge string
	// RetryAfter is in seconds; 0: not said.
	RetryAfter int
}

// Error returns code, description and cause, for the log.
func (e *Error) Error() string {
	s := string(e.Code)
	if e.Description != "" {
		s += ": " + e.Description
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Refuse returns a refusal with a constant description.
func Refuse(c Code, description string) *Error {
	return &Error{Code: c, Description: description}
}

// ErrorFor returns what the client may see of err. Anything that is not an
// [*Error] is a fault of ours, such as a store that does not answer: the client
// is told to try again, and never that what it holds is no longer valid.
func ErrorFor(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: TemporarilyUnavailable, Cause: err, RetryAfter: 2}
}

// HTTPStatus returns the status that goes with e.
func (e *Error) HTTPStatus() int {
	if e.Status != 0 {
		return e.Status
	}
	switch e.Code {
	case InvalidClient, InvalidToken:
		return http.StatusUnauthorized
	case InsufficientScope, AccessDenied:
		return http.StatusForbidden
	case TemporarilyUnavailable:
		return http.StatusServiceUnavailable
	case ServerError:
		return http.StatusInternalServerError
	default:
		return http.StatusBadRequest
	}
}

// WriteError writes e as JSON (RFC 6749, section 5.2).
func WriteError(w http.ResponseWriter, e *Error) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	if e.Challenge != "" {
		h.Set("WWW-Authenticate", e.Challenge)
	}
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(e.RetryAfter))
	}
	if e.Code == "" { // no credentials were sent: RFC 6750, section 3.1
		w.WriteHeader(e.HTTPStatus())
		return
	}
	body, err := json.Marshal(struct {
		Error       Code   `json:"error"`
		Description string `json:"error_description,omitempty"`
	}{e.Code, e.Description})
	if err != nil {
		panic(fmt.Sprintf("oauth: marshal error: %v", err)) // two strings always marshal
	}
	w.WriteHeader(e.HTTPStatus())
	w.Write(append(body, '\n')) //nolint:errcheck // the client is gone: nobody to tell
}
