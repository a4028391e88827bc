package web

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/fastbind/fastbind/oauth"
)

// Params are the parameters of a request. An empty value counts as absent
// (OAuth 2.1, sections 3.1 and 3.2).
type Params struct{ v url.Values }

// Limits on what a request may hold.
const (
	MaxBody   = 64 << 10  // of an ordinary form, in bytes
	MaxPage   = 256 << 10 // of a form that carries sealed state back
	maxParams = 500
)

// Query reads the parameters of the URL. One of defined that is repeated
// refuses the request.
func Query(r *http.Request, defined []string) (Params, error) {
	return parse(r.URL.RawQuery, defined)
}

// Form reads a form of at most limit bytes from the body of a POST. One of
// defined that is repeated, or that is in the URL as well, refuses the request.
func Form(w http.ResponseWriter, r *http.Request, limit int64, defined []string) (Params, error) {
	mt, ps, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mt != "application/x-www-form-urlencoded" ||
		(ps["charset"] != "" && !strings.EqualFold(ps["charset"], "utf-8")) {
		return Params{}, &oauth.Error{
			Code: oauth.InvalidRequest, Description: "the body must be application/x-www-form-urlencoded",
			Status: http.StatusUnsupportedMediaType,
		}
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return Params{}, &oauth.Error{Code: oauth.InvalidRequest, Description: "the body is too large", Status: http.StatusRequestEntityTooLarge}
		}
		return Params{}, &oauth.Error{Code: oauth.InvalidRequest, Description: "the body could not be read", Cause: err}
	}
	if r.URL.RawQuery != "" {
		q, err := parse(r.URL.RawQuery, nil)
		if err != nil {
			return Params{}, err
		}
		if slices.ContainsFunc(defined, q.v.Has) {
			return Params{}, oauth.Refuse(oauth.InvalidRequest, "parameters belong in the body, not in the URL")
		}
	}
	return parse(string(b), defined)
}

func parse(s string, defined []string) (Params, error) {
	if strings.Count(s, "&") >= maxParams {
		return Params{}, oauth.Refuse(oauth.InvalidRequest, "too many parameters")
	}
	v, err := url.ParseQuery(s)
	if err != nil {
		return Params{}, &oauth.Error{Code: oauth.InvalidRequest, Description: "the parameters are not well formed", Cause: err}
	}
	for _, name := range defined {
		if len(v[name]) > 1 {
			return Params{v}, oauth.Refuse(oauth.InvalidRequest, "a parameter is repeated")
		}
	}
	return Params{v}, nil
}

// NewParams returns v as parameters.
func NewParams(v url.Values) Params { return Params{v} }

// Get returns the value of a parameter; empty: absent.
func (p Params) Get(name string) string { return p.v.Get(name) }

// Has reports whether a parameter is present with a value.
func (p Params) Has(name string) bool { return p.v.Get(name) != "" }

// All returns the values of a parameter that may be repeated.
func (p Params) All(name string) []string {
	return slices.DeleteFunc(slices.Clone(p.v[name]), func(s string) bool { return s == "" })
}

// Fields returns the words of a space-separated parameter, each once, in order.
func (p Params) Fields(name string) []string {
	var out []string
	seen := map[string]bool{"": true} // not by looking through out: there may be very many
	for f := range strings.SplitSeq(p.v.Get(name), " ") {
		if !seen[f] {
			seen[f] = true
			out = append(out, f)
		}
	}
	return out
}

// Values returns a copy of the parameters.
func (p Params) Values() url.Values {
	out := make(url.Values, len(p.v))
	for k, v := range p.v {
		out[k] = slices.Clone(v)
	}
	return out
}
