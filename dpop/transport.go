package dpop

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// A Transport is an [http.RoundTripper] that adds a proof to each request. It
// serves token requests as well as those to APIs: a request that has an
// Authorization header with an access token, or gets one from Token, is sent
// under the scheme DPoP with a proof for that token. The caller changes nothing
// else.
//
// It remembers the newest nonce of each server, and how far the server's clock
// is from its own. A request that was refused for the want of a nonce, or for
// its proof, is sent once more, unless its body cannot be had again (see
// [http.Request].GetBody): the clock may have been wrong, and net/http sends a
// request again by itself, proof and all, when a connection was lost. It is safe
// for concurrent use, and not to be copied.
type Transport struct {
	// Key makes the proofs. Required.
	Key *Key
	// Base sends the requests; nil means http.DefaultTransport.
	Base http.RoundTripper
	// Token returns the access token for a request that has no Authorization
	// header, empty if it is to go without: the function decides which hosts get
	// it, after a redirect too. nil: no request gets one.
	Token func(*http.Request) (string, error)
	// Now returns the time; nil means time.Now.
	Now func() time.Time

	mu      sync.Mutex
	servers map[string]server // by origin, guarded by mu
}

// A server is what is known of one.
type server struct {
	nonce string
	ahead time.Duration // its clock
}

const (
	maxServers = 256
	maxNonce   = 256
	maxRefusal = 64 << 10 // of which the code is looked for

	// clockTolerance is how far clocks may be apart before a proof is dated by
	// that of the server: the time that an answer takes looks the same.
	clockTolerance = 5 * time.Second

	nonceHeader = "DPoP-Nonce"
	useNonce    = "use_dpop_nonce"
	badProof    = "invalid_dpop_proof"
)

// RoundTrip sends r with a proof, and once more if it has to.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := t.token(r)
	if err != nil {
		discard(r.Body)
		return nil, err
	}
	origin := originOf(r.URL)
	before := t.known(origin)
	resp, err := t.send(r, r.Body, token, before)
	if err != nil {
		return nil, err
	}
	code, now := t.learn(origin, resp)
	if code == "" || code == useNonce && now.nonce == before.nonce {
		return resp, nil
	}
	body, ok := bodyAgain(r)
	if !ok {
		return resp, nil
	}
	io.CopyN(io.Discard, resp.Body, maxRefusal) //nolint:errcheck // only so that the connection can be used again
	resp.Body.Close()
	if resp, err = t.send(r, body, token, now); err != nil {
		return nil, err
	}
	t.learn(origin, resp)
	return resp, nil
}

// token returns the access token of r, empty if it has none.
func (t *Transport) token(r *http.Request) (string, error) {
	if t.Key == nil {
		return "", errors.New("dpop: the transport has no key")
	}
	authorization := r.Header.Get("Authorization")
	if authorization == "" && t.Token != nil {
		token, err := t.Token(r)
		if err != nil {
			return "", fmt.Errorf("dpop: access token: %w", err)
		}
		return token, nil
	}
	scheme, token, _ := strings.Cut(authorization, " ")
	if strings.EqualFold(scheme, "Bearer") || strings.EqualFold(scheme, "DPoP") {
		return strings.TrimSpace(token), nil
	}
	return "", nil // credentials of the client, or none
}

// send sends r with a body and a new proof.
func (t *Transport) send(r *http.Request, body io.ReadCloser, token string, to server) (*http.Response, error) {
	proof, err := t.Key.Proof(Params{
		Method: method(r), URL: addressOf(r), AccessToken: token, Nonce: to.nonce, Now: t.now().Add(to.ahead),
	})
	if err != nil {
		discard(body)
		return nil, err
	}
	out := r.Clone(r.Context())
	out.Body = body
	out.Header.Set("DPoP", proof)
	if token != "" {
		out.Header.Set("Authorization", "DPoP "+token)
	}
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	return base.RoundTrip(out)
}

func (t *Transport) now() time.Time {
	if t.Now != nil {
		return t.Now()
	}
	return time.Now()
}

func method(r *http.Request) string {
	if r.Method == "" {
		return http.MethodGet
	}
	return r.Method
}

// addressOf returns where r goes, as the server sees it.
func addressOf(r *http.Request) string {
	u := url.URL{Scheme: r.URL.Scheme, Host: r.URL.Host, Path: r.URL.Path, RawPath: r.URL.RawPath}
	if u.Path == "" {
		u.Path = "/"
	}
	return u.String()
}

func originOf(u *url.URL) string { return strings.ToLower(u.Scheme + "://" + u.Host) }

// bodyAgain returns the body of r for another time, and whether it can be had.
func bodyAgain(r *http.Request) (io.ReadCloser, bool) {
	if r.Body == nil || r.Body == http.NoBody {
		return r.Body, true
	}
	if r.GetBody == nil {
		return nil, false
	}
	body, err := r.GetBody()
	return body, err == nil
}

func discard(body io.Closer) {
	if body != nil {
		body.Close()
	}
}

func (t *Transport) known(origin string) server {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.servers[origin]
}

// learn takes from an answer what the next proof needs, and returns that and the
// error code if it refuses the proof. Others may learn something else meanwhile,
// from another server at the same address.
func (t *Transport) learn(origin string, resp *http.Response) (string, server) {
	code := refusal(resp)
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.servers[origin]
	// RFC 9449, section 8.2.
	if nonces := resp.Header.Values(nonceHeader); len(nonces) == 1 && isNonce(nonces[0]) {
		s.nonce = nonces[0]
	}
	if code != "" {
		if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			if s.ahead = date.Sub(now); s.ahead.Abs() < clockTolerance {
				s.ahead = 0
			}
		}
	}
	if s == (server{}) {
		return code, s
	}
	if t.servers == nil {
		t.servers = map[string]server{}
	}
	if _, ok := t.servers[origin]; !ok && len(t.servers) >= maxServers {
		for other := range t.servers { // any: it costs one more request
			delete(t.servers, other)
			break
		}
	}
	t.servers[origin] = s
	return code, s
}

// isNonce reports whether s can be a nonce (RFC 9449, section 8.1).
func isNonce(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return s != "" && len(s) <= maxNonce
}

// refusal returns with which code an answer refuses the proof, empty if it does
// not. The body can be read again.
func refusal(resp *http.Response) string {
	switch resp.StatusCode {
	case http.StatusUnauthorized: // RFC 9449, section 9: of an API.
		for _, challenge := range resp.Header.Values("WWW-Authenticate") {
			for _, code := range []string{useNonce, badProof} {
				if strings.Contains(challenge, code) {
					return code
				}
			}
		}
	case http.StatusBadRequest: // RFC 9449, section 8: of an authorization server.
		read, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
		rest := io.Reader(resp.Body)
		if err != nil {
			rest = failing{err}
		}
		resp.Body = again{io.MultiReader(bytes.NewReader(read), rest), resp.Body}
		var v struct {
			Error string `json:"error"`
		}
		if json.Unmarshal(read, &v) == nil && (v.Error == useNonce || v.Error == badProof) {
			return v.Error
		}
	}
	return ""
}

// again is a body of which a part was read before.
type again struct {
	io.Reader
	io.Closer
}

// A failing reader fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
