package interop_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// metadata is what the server says of itself (RFC 8414, section 2).
type metadata struct {
	Issuer     string `json:"issuer"`
	Authorize  string `json:"authorization_endpoint"`
	Token      string `json:"token_endpoint"`
	Push       string `json:"pushed_authorization_request_endpoint"`
	Introspect string `json:"introspection_endpoint"`
	Revoke     string `json:"revocation_endpoint"`
	EndSession string `json:"end_session_endpoint"`
}

// metadata reads what the server says of itself.
func (s *server) metadata() metadata {
	s.t.Helper()
	a := s.get(s.Issuer+"/.well-known/openid-configuration", "")
	var m metadata
	if err := json.Unmarshal(a.body, &m); err != nil || a.status != http.StatusOK {
		s.t.Fatalf("metadata: %d, %v", a.status, err)
	}
	if m.Issuer != s.Issuer || m.Authorize == "" || m.Token == "" || m.Push == "" || m.Introspect == "" || m.Revoke == "" || m.EndSession == "" {
		s.t.Fatalf("metadata lacks something: %+v", m)
	}
	return m
}

// An answer is what a server answered to software.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// code returns the OAuth error code; empty: none.
func (a answer) code() string {
	var m struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(a.body, &m) != nil {
		return ""
	}
	return m.Error
}

// tokens are what a client holds.
type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	ID      string `json:"id_token"`
}

// generation returns the generation of the family that the access token is of.
// It reads the claims without verifying them.
func (k tokens) generation() (int64, error) {
	parts := strings.Split(k.Access, ".")
	if len(parts) != 3 {
		return 0, fmt.Errorf("an access token of %d parts", len(parts))
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return 0, err
	}
	var c struct {
		Generation int64 `json:"generation"`
	}
	err = json.Unmarshal(b, &c)
	return c.Generation, err
}

// send sends a request with a client that keeps no cookies and follows nothing.
func send(ctx context.Context, method, address string, header http.Header, body []byte) (answer, error) {
	return sendBy(ctx, http.DefaultTransport, method, address, header, body)
}

// sendBy is send over a transport.
func sendBy(ctx context.Context, by http.RoundTripper, method, address string, header http.Header, body []byte) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for name, values := range header {
		r.Header[name] = values
	}
	c := http.Client{
		Transport:     by,
		Timeout:       20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := c.Do(r)
	if err != nil {
		return answer{}, err
	}
	b, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return answer{}, err
	}
	return answer{res.StatusCode, res.Header, b}, nil
}

// post sends a form as a client does: with HTTP Basic if it has a secret.
func post(ctx context.Context, address string, c registration, form url.Values, header http.Header) (answer, error) {
	return postBy(ctx, http.DefaultTransport, address, c, form, header)
}

// postBy is post over a transport.
func postBy(ctx context.Context, by http.RoundTripper, address string, c registration, form url.Values, header http.Header) (answer, error) {
	h := header.Clone()
	if h == nil {
		h = http.Header{}
	}
	h.Set("Content-Type", "application/x-www-form-urlencoded")
	if c.Secret == "" {
		form.Set("client_id", c.ID)
	} else {
		r := http.Request{Header: h}
		r.SetBasicAuth(url.QueryEscape(c.ID), url.QueryEscape(c.Secret))
	}
	return sendBy(ctx, by, http.MethodPost, address, h, []byte(form.Encode()))
}

// post sends a form to the server, which must answer.
func (s *server) post(address string, c registration, form url.Values) answer {
	s.t.Helper()
	a, err := post(s.t.Context(), address, c, form, nil)
	if err != nil {
		s.t.Fatalf("POST %s: %v", address, err)
	}
	return a
}

// get reads an address with an access token; empty: none.
func (s *server) get(address, access string) answer {
	s.t.Helper()
	a, err := send(s.t.Context(), http.MethodGet, address, bearer(access), nil)
	if err != nil {
		s.t.Fatalf("GET %s: %v", address, err)
	}
	return a
}

func bearer(access string) http.Header {
	if access == "" {
		return nil
	}
	return http.Header{"Authorization": {"Bearer " + access}}
}

// held returns the tokens of an answer of the token endpoint, which must be good.
func (s *server) held(a answer) tokens {
	s.t.Helper()
	var k tokens
	if err := json.Unmarshal(a.body, &k); err != nil || a.status != http.StatusOK || k.Access == "" || k.Refresh == "" {
		s.t.Fatalf("token answer: %d %s (%v)", a.status, a.code(), err)
	}
	s.secret(k.Access)
	s.secret(k.Refresh)
	return k
}

const (
	callback  = "http://127.0.0.1:9/callback"
	verifier  = "a-verifier-of-a-test-that-keeps-no-secret-0123456789"
	allScopes = "openid profile email offline_access orders:read"
)

// asking returns the address of an authorization request of a client.
func (s *server) asking(c registration) string {
	s.t.Helper()
	return s.metadata().Authorize + "?" + url.Values{
		"client_id": {c.ID}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {allScopes},
		"state": {"s"}, "code_challenge": {challenge()}, "code_challenge_method": {"S256"},
	}.Encode()
}

// isSignedIn reports whether the person's browser is signed in, by asking
// silently as a client does.
func (p *person) isSignedIn(c registration) bool {
	p.t.Helper()
	v := p.open(p.s.asking(c) + "&prompt=none")
	if v.away == nil {
		p.t.Fatalf("prompt=none shows a page (%d):\n%s", v.status, v.body)
	}
	switch got := v.away.Query(); {
	case got.Get("error") == "login_required":
		return false
	case got.Get("code") != "":
		p.s.secret(got.Get("code"))
		return true
	default:
		p.t.Fatalf("prompt=none answers error %q", got.Get("error"))
		return false
	}
}

// code signs a person in to a client and returns the code that the client got.
func (s *server) code(p *person, c registration, username string) string {
	s.t.Helper()
	got := p.authorize(s.asking(c), username).Query()
	if got.Get("code") == "" || got.Get("state") != "s" || got.Get("iss") != s.Issuer {
		s.t.Fatalf("authorization answer: error %q, state %q, iss %q", got.Get("error"), got.Get("state"), got.Get("iss"))
	}
	s.secret(got.Get("code"))
	return got.Get("code")
}

func redemption(code string) url.Values {
	return url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier},
	}
}

func renewal(refresh string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}}
}

// tokens signs a person in to a client and redeems the code.
func (s *server) tokens(p *person, c registration, username string) tokens {
	s.t.Helper()
	return s.held(s.post(s.metadata().Token, c, redemption(s.code(p, c, username))))
}

// renew refreshes, which must succeed.
func (s *server) renew(c registration, refresh string) tokens {
	s.t.Helper()
	return s.held(s.post(s.metadata().Token, c, renewal(refresh)))
}

// refused fails the test unless a says that a grant is worth nothing.
func (s *server) refused(what string, a answer) {
	s.t.Helper()
	if a.status != http.StatusBadRequest || a.code() != "invalid_grant" {
		s.t.Errorf("%s: %d %q, want 400 invalid_grant", what, a.status, a.code())
	}
}

// bound is the time within which what was revoked must be gone everywhere.
const bound = time.Second

// until calls f every few milliseconds until it is true, and returns how long
// after from that was. It fails the test when that takes much longer than the
// bound.
func (s *server) until(from time.Time, what string, f func() bool) time.Duration {
	s.t.Helper()
	d, err := poll(s.t.Context(), from, f)
	if err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
	return d
}

func poll(ctx context.Context, from time.Time, f func() bool) (time.Duration, error) {
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for {
		if f() {
			return time.Since(from), nil
		}
		if d := time.Since(from); d > 10*bound {
			return d, fmt.Errorf("not after %s", d)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func challenge() string { return oauth2.S256ChallengeFromVerifier(verifier) }
