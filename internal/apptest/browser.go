package apptest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// An Answer is what a server answered.
type Answer struct {
	Status int
	Header http.Header
	Body   string
	URL    *url.URL // that was asked
}

// JSON returns the members of a JSON answer.
func (a *Answer) JSON(t testing.TB) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(a.Body), &m); err != nil {
		t.Fatalf("answer of %s is not JSON: %v\n%d %s", a.URL.Path, err, a.Status, a.Body)
	}
	return m
}

// Code returns the error code of an answer; empty: none.
func (a *Answer) Code() string {
	var m struct {
		Error string `json:"error"`
	}
	if json.Unmarshal([]byte(a.Body), &m) != nil {
		return ""
	}
	return m.Error
}

// Location returns where an answer redirects to, resolved.
func (a *Answer) Location(t testing.TB) *url.URL {
	t.Helper()
	u, err := a.URL.Parse(a.Header.Get("Location"))
	if err != nil || a.Header.Get("Location") == "" {
		t.Fatalf("%s answers %d without a redirect: %s", a.URL.Path, a.Status, a.Body)
	}
	return u
}

// A Browser keeps cookies and follows redirects on the server, not off it.
type Browser struct {
	s      *Server
	client *http.Client
	// Header is sent with every request.
	Header http.Header
}

// Browser returns a browser without any cookies.
func (s *Server) Browser() *Browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatalf("cookie jar: %v", err)
	}
	return &Browser{s: s, client: &http.Client{Jar: jar, CheckRedirect: noRedirect}, Header: http.Header{}}
}

// Cookies returns the cookies that the browser would send to the server.
func (b *Browser) Cookies() []*http.Cookie {
	u, err := url.Parse(b.s.URL)
	if err != nil {
		b.s.t.Fatalf("parse %s: %v", b.s.URL, err)
	}
	return b.client.Jar.Cookies(u)
}

// Open opens an address, absolute or a path, and returns the last answer: the
// first that is no redirect, or that leads away from the server.
func (b *Browser) Open(address string) *Answer {
	b.s.t.Helper()
	return b.follow(b.Send(http.MethodGet, address, nil))
}

// Send sends one request and follows nothing.
func (b *Browser) Send(method, address string, form url.Values) *Answer {
	b.s.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = b.s.URL + address
	}
	address = strings.Replace(address, b.s.Issuer, b.s.URL, 1)
	r, err := http.NewRequestWithContext(b.s.t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.s.t.Fatalf("%s %s: %v", method, address, err)
	}
	maps.Copy(r.Header, b.Header)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		maps.Copy(r.Header, b.Header)
	}
	return do(b.s.t, b.client, r)
}

func (b *Browser) follow(a *Answer) *Answer {
	b.s.t.Helper()
	for range 10 {
		if a.Status < 300 || a.Status > 399 {
			return a
		}
		to := a.Location(b.s.t)
		if !strings.HasPrefix(to.String(), b.s.URL+"/") {
			return a
		}
		a = b.Send(http.MethodGet, to.String(), nil)
	}
	b.s.t.Fatalf("redirected too often, last from %s", a.URL)
	return nil
}

// A Form is the first form of a page.
type Form struct {
	Action string
	Fields url.Values // of the hidden and filled-in inputs
}

var (
	formTag   = regexp.MustCompile(`(?s)<form[^>]*\saction="([^"]*)"[^>]*>(.*?)</form>`)
	inputTag  = regexp.MustCompile(`(?s)<input[^>]*>`)
	attribute = regexp.MustCompile(`\s(name|value|type)="([^"]*)"`)
)

// Form returns the first form of a page.
func (a *Answer) Form(t testing.TB) Form {
	t.Helper()
	m := formTag.FindStringSubmatch(a.Body)
	if m == nil {
		t.Fatalf("no form on %s (%d):\n%s", a.URL, a.Status, a.Body)
	}
	f := Form{Action: html.UnescapeString(m[1]), Fields: url.Values{}}
	for _, tag := range inputTag.FindAllString(m[2], -1) {
		at := map[string]string{}
		for _, kv := range attribute.FindAllStringSubmatch(tag, -1) {
			at[kv[1]] = html.UnescapeString(kv[2])
		}
		if at["name"] != "" && at["type"] != "checkbox" {
			f.Fields.Set(at["name"], at["value"])
		}
	}
	return f
}

// Submit posts the first form of a page with the given fields set, and follows.
func (b *Browser) Submit(page *Answer, fields map[string]string) *Answer {
	b.s.t.Helper()
	f := page.Form(b.s.t)
	for k, v := range fields {
		f.Fields.Set(k, v)
	}
	to, err := page.URL.Parse(f.Action)
	if err != nil {
		b.s.t.Fatalf("form action %q: %v", f.Action, err)
	}
	return b.follow(b.Send(http.MethodPost, to.String(), f.Fields))
}

// SignIn signs a person in on a sign-in page, and follows.
func (b *Browser) SignIn(page *Answer, username string) *Answer {
	b.s.t.Helper()
	return b.Submit(page, map[string]string{"username": username, "password": Password})
}

// PKCE returns a verifier and its challenge (RFC 7636, section 4).
func PKCE() (verifier, challenge string) {
	verifier = Random()
	sum := sha256.Sum256([]byte(verifier))
	return verifier, base64.RawURLEncoding.EncodeToString(sum[:])
}

// Path returns the address of the authorization endpoint with the parameters.
func (s *Server) Path(v url.Values) string { return "/authorize?" + v.Encode() }

// App is what a test knows of a client.
type App struct {
	ID, Secret, Redirect, Scope string
	// Prover shows proofs of its key with token requests; nil: plain bearer.
	Prover *Prover
}

// Header returns the credentials of the client; none for a public one.
func (c App) Header() http.Header {
	if c.Secret == "" {
		return http.Header{}
	}
	return Basic(c.ID, c.Secret)
}

// Tokens are what a client holds.
type Tokens struct {
	App     App
	Access  string
	Refresh string
	ID      string
	Raw     map[string]any
}

// Request returns the parameters of an authorization request of the client and
// the verifier that goes with it.
func (c App) Request() (url.Values, string) {
	verifier, challenge := PKCE()
	return url.Values{
		"client_id": {c.ID}, "redirect_uri": {c.Redirect}, "response_type": {"code"}, "scope": {c.Scope},
		"state": {Random()}, "nonce": {Random()}, "code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}, verifier
}

// Code runs an authorization request in the browser, signing the person in where
// the server asks, and returns the parameters of the answer.
func (b *Browser) Code(v url.Values, username string) url.Values {
	b.s.t.Helper()
	a := b.Open(b.s.Path(v))
	if a.Status == http.StatusOK && strings.Contains(a.Body, `name="password"`) {
		a = b.SignIn(a, username)
	}
	if a.Status == http.StatusOK && strings.Contains(a.Body, `name="decision"`) {
		a = b.Submit(a, map[string]string{"decision": "allow"})
	}
	return a.Location(b.s.t).Query()
}

// Redeem redeems a code.
func (s *Server) Redeem(c App, code, verifier string) *Answer {
	s.t.Helper()
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {c.Redirect}, "code_verifier": {verifier},
	}
	if c.Secret == "" {
		form.Set("client_id", c.ID)
	}
	return s.Token(c, form, c.Header())
}

// Tokens signs a person in to a client and returns what the client then holds.
func (b *Browser) Tokens(c App, username string) Tokens {
	b.s.t.Helper()
	v, verifier := c.Request()
	got := b.Code(v, username)
	if got.Get("code") == "" || got.Get("state") != v.Get("state") || got.Get("iss") != b.s.Issuer {
		b.s.t.Fatalf("authorization answer: %v", got)
	}
	return b.s.held(c, b.s.Redeem(c, got.Get("code"), verifier))
}

func (s *Server) held(c App, a *Answer) Tokens {
	s.t.Helper()
	if a.Status != http.StatusOK {
		s.t.Fatalf("token answer: %d %s", a.Status, a.Body)
	}
	m := a.JSON(s.t)
	text := func(name string) string {
		v, _ := m[name].(string) //nolint:errcheck // absent is empty
		s.Secret(v)
		return v
	}
	return Tokens{App: c, Access: text("access_token"), Refresh: text("refresh_token"), ID: text("id_token"), Raw: m}
}

// Refresh presents a refresh token; attempt is the attempt key, empty: none.
func (s *Server) Refresh(c App, token, attempt string) *Answer {
	s.t.Helper()
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
	h := c.Header()
	if c.Secret == "" {
		form.Set("client_id", c.ID)
	}
	if attempt != "" {
		h.Set("Idempotency-Key", attempt)
	}
	return s.Token(c, form, h)
}

// Renew refreshes and returns what the client then holds.
func (s *Server) Renew(t Tokens) Tokens {
	s.t.Helper()
	return s.held(t.App, s.Refresh(t.App, t.Refresh, ""))
}

// Redirect is a redirect URI that leads nowhere.
const Redirect = "http://127.0.0.1:9/callback"
