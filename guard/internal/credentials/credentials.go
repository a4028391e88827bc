// Package credentials finds the access token of a request, in the one place where
// it may be.
//
// Whether the token is good is the business of package guard. The invariant: a
// request that shows a token in another place, or in two, has none.
package credentials

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// How a request may show its token wrongly.
var (
	ErrNone    = errors.New("no credentials")
	ErrSyntax  = errors.New("malformed Authorization header")
	ErrInForm  = errors.New("token in header and form together")
	errTwice   = errors.New("more than one Authorization header")
	errInQuery = errors.New("token in the query")
)

// The schemes.
const (
	Bearer = "Bearer"
	DPoP   = "DPoP"
)

// A Shown is a token as a request shows it.
type Shown struct {
	Token string
	Bound bool // with a proof that it comes from the holder of a key: under the scheme DPoP
}

// Of returns the token of r from its one Authorization header (RFC 6750, section
// 2.1. RFC 9449, section 7.1). Whether it can be one at all is left to who has
// not seen it before: see [IsToken68]. The error is [ErrNone] if r shows no
// token. With an error the result says only how r tried.
func Of(r *http.Request) (s Shown, err error) {
	headers := r.Header["Authorization"]
	if len(headers) > 0 {
		var scheme string
		scheme, s.Token, _ = strings.Cut(headers[0], " ")
		// RFC 9110, section 11.1: in any case.
		if s.Bound = strings.EqualFold(scheme, DPoP); !s.Bound && !strings.EqualFold(scheme, Bearer) {
			err = ErrNone
		}
		s.Token = strings.Trim(s.Token, " ")
	}
	switch {
	case inQuery(r.URL):
		err = errInQuery // RFC 6750, section 2.3: not to be used.
	case len(headers) == 0:
		err = ErrNone
	case len(headers) > 1:
		err = errTwice
	case err == nil && s.Token == "":
		err = ErrSyntax
	}
	return s, err
}

// IsToken68 reports whether s can be a bearer token (RFC 6750, section 2.1).
func IsToken68(s string) bool {
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '-', c == '.', c == '_', c == '~', c == '+', c == '/':
		default:
			return false
		}
	}
	return s != ""
}

const tokenParameter = "access_token"

// inQuery reports whether the query of u has a token.
func inQuery(u *url.URL) bool {
	if u.RawQuery == "" || !strings.Contains(u.RawQuery, tokenParameter) && !strings.Contains(u.RawQuery, "%") {
		return false
	}
	return u.Query().Has(tokenParameter)
}

// maxForm is how much of a form is searched for a token.
const maxForm = 64 << 10

// InForm reports whether the body of r is a form with a token (RFC 6750,
// section 2.2). The body stays as it is for who reads it next.
func InForm(r *http.Request) bool {
	if r.PostForm != nil {
		return r.PostForm.Has(tokenParameter)
	}
	if r.Body == nil || r.Body == http.NoBody || r.Method == http.MethodGet || r.Method == http.MethodHead {
		return false
	}
	contentType := r.Header.Get("Content-Type")
	if contentType == "" {
		return false
	}
	if t, _, err := mime.ParseMediaType(contentType); t != "application/x-www-form-urlencoded" || err != nil && t == "" {
		return false
	}
	read, err := io.ReadAll(io.LimitReader(r.Body, maxForm))
	rest := io.Reader(r.Body)
	if err != nil {
		rest = failing{err}
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(read), rest), r.Body}
	form, _ := url.ParseQuery(string(read)) // what is malformed is left out, as by [http.Request.ParseForm]
	return form.Has(tokenParameter)
}

// A failing reader fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// Quotable reports whether s can stand between the quotes of a header.
func Quotable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// IsScope reports whether s is one scope (RFC 6749, section 3.3).
func IsScope(s string) bool { return s != "" && Quotable(s) && !strings.Contains(s, " ") }
