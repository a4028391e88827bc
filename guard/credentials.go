package guard

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
	errNone      = errors.New("no credentials")
	errTwice     = errors.New("more than one Authorization header")
	errSyntax    = errors.New("malformed Authorization header")
	errInQuery   = errors.New("token in the query")
	errInForm    = errors.New("token in header and form together")
	bearerScheme = "Bearer"
)

// credentials returns the token of r, from the one place where it may be: one
// Authorization header (RFC 6750, section 2.1). Whether it can be one at all is
// left to who has not seen it before: see isToken68.
func credentials(r *http.Request) (string, error) {
	if inQuery(r.URL) {
		return "", errInQuery // RFC 6750, section 2.3: not to be used.
	}
	headers := r.Header["Authorization"]
	switch len(headers) {
	case 0:
		return "", errNone
	case 1:
	default:
		return "", errTwice
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, bearerScheme) { // RFC 9110, section 11.1: in any case.
		return "", errNone
	}
	token = strings.Trim(token, " ")
	if token == "" {
		return "", errSyntax
	}
	return token, nil
}

// isToken68 reports whether s can be a bearer token (RFC 6750, section 2.1).
func isToken68(s string) bool {
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

// inForm reports whether the body of r is a form with a token (RFC 6750,
// section 2.2). The body stays as it is for who reads it next.
func inForm(r *http.Request) bool {
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

// quotable reports whether s can stand between the quotes of a header.
func quotable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// isScope reports whether s is one scope (RFC 6749, section 3.3).
func isScope(s string) bool { return s != "" && quotable(s) && !strings.Contains(s, " ") }
