package apptest

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fastbind/fastbind/dpop"
	"github.com/fastbind/fastbind/oauth"
)

// A Prover holds a key and shows proofs of it (RFC 9449), to one node or several.
// It is safe for concurrent use.
type Prover struct {
	Key *dpop.Key
	// Now is the clock of the client; nil means time.Now.
	Now func() time.Time

	mu    sync.Mutex
	nonce string
}

// NewProver returns one with a new key, which has not heard of any nonce.
func NewProver(t testing.TB) *Prover {
	t.Helper()
	k, err := dpop.NewKey()
	if err != nil {
		t.Fatalf("key: %v", err)
	}
	return &Prover{Key: k}
}

// Nonce returns the newest nonce; empty: none yet.
func (p *Prover) Nonce() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.nonce
}

// Heard keeps the nonce of an answer.
func (p *Prover) Heard(a *Answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := a.Header.Get("DPoP-Nonce"); n != "" {
		p.nonce = n
	}
}

// A Call is a request that shows a proof.
type Call struct {
	Method, Path string
	Form         url.Values // nil: no body
	Header       http.Header
	Access       string // access token that goes with it; empty: none
}

// Proof returns a proof with the newest nonce for a call to the server.
func (s *Server) Proof(p *Prover, c Call) string {
	s.t.Helper()
	now := time.Now
	if p.Now != nil {
		now = p.Now
	}
	proof, err := p.Key.Proof(dpop.Params{Method: c.Method, URL: s.Issuer + c.Path, AccessToken: c.Access, Nonce: p.Nonce(), Now: now()})
	if err != nil {
		s.t.Fatalf("proof: %v", err)
	}
	return proof
}

// Send sends a call with a proof, whatever it says.
func (s *Server) Send(proof string, c Call) *Answer {
	s.t.Helper()
	h := with(c.Header, "DPoP", proof)
	if c.Access != "" {
		h.Set("Authorization", "DPoP "+c.Access)
	}
	if c.Form != nil {
		h.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return s.Do(c.Method, c.Path, strings.NewReader(c.Form.Encode()), h)
}

// Prove sends a call with a new proof, and once more if the server asks for a
// nonce.
func (s *Server) Prove(p *Prover, c Call) *Answer {
	s.t.Helper()
	a := s.Send(s.Proof(p, c), c)
	p.Heard(a)
	if a.Code() == string(oauth.UseDPoPNonce) {
		a = s.Send(s.Proof(p, c), c)
		p.Heard(a)
	}
	return a
}

// Token sends a token request of a client, with a proof if it shows any.
func (s *Server) Token(c App, form url.Values, header http.Header) *Answer {
	s.t.Helper()
	if c.Prover == nil {
		return s.Post("/token", form, header)
	}
	return s.Prove(c.Prover, Call{Method: http.MethodPost, Path: "/token", Form: form, Header: header})
}
