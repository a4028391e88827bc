package interop_test

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
)

// A person uses a browser that keeps cookies and runs no script: a client that
// reads pages and posts the forms on them.
type person struct {
	t      testing.TB
	s      *server
	client *http.Client
}

func newPerson(t testing.TB, s *server) *person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &person{t, s, &http.Client{
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// A view is what the person sees: a page, or an address off the server that the
// browser was sent to.
type view struct {
	t      testing.TB
	url    *url.URL
	status int
	header http.Header
	body   string
	away   *url.URL // nil: a page of the server
}

// open opens an address and follows redirects as long as they stay on the server.
func (p *person) open(address string) *view {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, address, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.follow(r)
}

// submit posts a form as it is, with the named fields filled in.
func (p *person) submit(f *form, fill map[string]string) *view {
	p.t.Helper()
	v := url.Values{}
	for name, values := range f.fields {
		v[name] = values
	}
	for name, value := range fill {
		if !f.names[name] {
			p.t.Fatalf("the form has no field %q, only %v", name, f.names)
		}
		v.Set(name, value)
	}
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, f.action.String(), strings.NewReader(v.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", p.s.Issuer)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return p.follow(r)
}

func (p *person) follow(r *http.Request) *view {
	p.t.Helper()
	for range 10 {
		res, err := p.client.Do(r)
		if err != nil {
			p.t.Fatalf("%s %s: %v", r.Method, r.URL.Path, err)
		}
		b, err := io.ReadAll(res.Body)
		err = errors.Join(err, res.Body.Close())
		if err != nil {
			p.t.Fatalf("%s %s: %v", r.Method, r.URL.Path, err)
		}
		v := &view{t: p.t, url: r.URL, status: res.StatusCode, header: res.Header, body: string(b)}
		if res.StatusCode < 300 || res.StatusCode > 399 {
			return v
		}
		to, err := res.Location()
		if err != nil {
			p.t.Fatalf("%s answers %d: %v", r.URL.Path, res.StatusCode, err)
		}
		if to.Scheme+"://"+to.Host != p.s.Issuer {
			v.away = to
			return v
		}
		if r, err = http.NewRequestWithContext(p.t.Context(), http.MethodGet, to.String(), nil); err != nil {
			p.t.Fatal(err)
		}
	}
	p.t.Fatalf("redirected too often, last to %s", r.URL)
	return nil
}

// signIn fills in the sign-in page that v must be.
func (p *person) signIn(v *view, username string) *view {
	p.t.Helper()
	if v.away != nil {
		p.t.Fatalf("sent to %s instead of a sign-in page", v.away)
	}
	f := v.form("password")
	if f.complete["username"] != "username" || f.complete["password"] != "current-password" {
		p.t.Errorf("autocomplete of the sign-in fields: %v", f.complete)
	}
	return p.submit(f, map[string]string{"username": username, "password": p.s.password(p.t, username)})
}

// authorize goes through an authorization request, signing in where the server
// asks, and returns where the browser ends.
func (p *person) authorize(address, username string) *url.URL {
	p.t.Helper()
	v := p.open(address)
	if v.away == nil {
		v = p.signIn(v, username)
	}
	if v.away == nil {
		v = p.submit(v.form("decision"), map[string]string{"decision": "allow"})
	}
	if v.away == nil {
		p.t.Fatalf("the authorization request ends on a page (%d):\n%s", v.status, v.body)
	}
	return v.away
}

// A form is a form of a page.
type form struct {
	action   *url.URL
	fields   url.Values        // as they are
	names    map[string]bool   // of fields and buttons
	complete map[string]string // autocomplete by name
}

// form returns the form that has a field or button of that name; empty: any.
func (v *view) form(has string) *form {
	v.t.Helper()
	for _, f := range v.forms() {
		if has == "" || f.names[has] {
			return f
		}
	}
	v.t.Fatalf("no form with %q on %s (%d):\n%s", has, v.url.Path, v.status, v.body)
	return nil
}

func (v *view) forms() []*form {
	v.t.Helper()
	var (
		all  []*form
		open *form
	)
	d := xml.NewDecoder(strings.NewReader(v.body))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			v.t.Fatalf("page %s does not parse: %v\n%s", v.url.Path, err, v.body)
		}
		if end, ok := token.(xml.EndElement); ok && end.Name.Local == "form" {
			open = nil
			continue
		}
		tag, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		at := map[string]string{}
		for _, a := range tag.Attr {
			at[a.Name.Local] = a.Value
		}
		switch {
		case tag.Name.Local == "form":
			open = v.newForm(at)
			all = append(all, open)
		case open != nil && at["name"] != "" && (tag.Name.Local == "input" || tag.Name.Local == "button"):
			open.names[at["name"]] = true
			open.complete[at["name"]] = at["autocomplete"]
			if tag.Name.Local == "input" && at["type"] != "checkbox" && at["type"] != "submit" {
				open.fields.Set(at["name"], at["value"])
			}
		}
	}
}

func (v *view) newForm(at map[string]string) *form {
	v.t.Helper()
	if !strings.EqualFold(at["method"], "post") {
		v.t.Errorf("a form on %s has method %q", v.url.Path, at["method"])
	}
	action, err := v.url.Parse(at["action"])
	if err != nil {
		v.t.Fatalf("form action %q: %v", at["action"], err)
	}
	return &form{action: action, fields: url.Values{}, names: map[string]bool{}, complete: map[string]string{}}
}
