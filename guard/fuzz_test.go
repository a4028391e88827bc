package guard_test

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/fastbind/fastbind/guard/guardtest"
	"github.com/fastbind/fastbind/oauth"
)

// Whatever a request shows, it gets through only with a good token in one
// Authorization header and nowhere else, and what it is told is well-formed.
func FuzzCredentials(f *testing.F) {
	issuer := guardtest.New(f)
	g := issuer.Guard(f)
	good := issuer.Mint(guardtest.Claims{})
	f.Add("Bearer GOOD", "", "", "", "")
	f.Add("bearer  GOOD", "", "a=b", "application/x-www-form-urlencoded", "a=b")
	f.Add("Bearer GOOD", "Bearer GOOD", "", "", "")
	f.Add("Bearer GOOD", "", "access_token=GOOD", "application/x-www-form-urlencoded; charset", "access_token=GOOD")
	f.Add("Bearer GOOD", "", "access%5ftoken=", "application/x-www-form-urlencoded;", "%zz&access_token")
	f.Add("Basic GOOD", "", "", "", "")
	f.Add("Bearer GOOD, Bearer GOOD", "", "", "", "")
	f.Add("Bearer\tGOOD", "", "", "", "")
	f.Fuzz(func(t *testing.T, first, second, query, contentType, body string) {
		insert := strings.NewReplacer("GOOD", good).Replace
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.test/", strings.NewReader(insert(body)))
		if err != nil {
			t.Fatal(err)
		}
		r.URL.RawQuery = insert(query)
		r.Header["Authorization"] = []string{insert(first)}
		if second != "" {
			r.Header["Authorization"] = []string{insert(first), insert(second)}
		}
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		p, err := g.Check(r)
		read, readErr := io.ReadAll(r.Body)
		if readErr != nil || string(read) != insert(body) {
			t.Errorf("the body has changed: %v", readErr)
		}
		if err != nil {
			e, ok := errors.AsType[*oauth.Error](err)
			if !ok || p != nil || e.HTTPStatus() != 400 && e.HTTPStatus() != 401 || !strings.HasPrefix(e.Challenge, `Bearer realm="https://api.test"`) ||
				strings.ContainsAny(e.Challenge, "\r\n") {
				t.Errorf("refused with %v, %q", err, e.Challenge)
			}
			return
		}
		if scheme, token, _ := strings.Cut(insert(first), " "); second != "" || !strings.EqualFold(scheme, "bearer") || strings.Trim(token, " ") != good {
			t.Errorf("got through with %q and %q", first, second)
		}
		if values, _ := url.ParseQuery(insert(query)); values.Has("access_token") {
			t.Errorf("got through with %q", query)
		}
		r.Body = io.NopCloser(strings.NewReader(insert(body)))
		if r.ParseForm(); r.PostForm.Has("access_token") && len(body) < 64<<10 {
			t.Errorf("got through with the form %q of type %q", body, contentType)
		}
	})
}

// No token gets through that the issuer has not signed.
func FuzzToken(f *testing.F) {
	issuer := guardtest.New(f)
	g := issuer.Guard(f)
	good := issuer.Mint(guardtest.Claims{})
	f.Add(good)
	f.Add(good + "=")
	f.Add(good[:len(good)-1])
	f.Fuzz(func(t *testing.T, token string) {
		p, err := g.Check(get(token))
		if token == good || p == nil && err != nil {
			return
		}
		t.Errorf("got through: %q", token)
	})
}
