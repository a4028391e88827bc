package site

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/fastbind/fastbind/chaos/internal/wire"
	"github.com/fastbind/fastbind/dpop"
)

// A Prover makes the proofs of one device or process. It is safe for concurrent
// use.
type Prover struct {
	key       *dpop.Key
	clock     time.Duration   // by how much its clock is wrong
	transport *dpop.Transport // to APIs

	mu    sync.Mutex
	nonce string // the newest one; under mu
}

// maxClock is by how much the clock of a client may be wrong.
const maxClock = 4 * time.Minute

// Prover returns one with a key of its own.
func (s *Site) Prover(r *rand.Rand) (*Prover, error) {
	key, err := dpop.NewKey()
	if err != nil {
		return nil, err
	}
	return s.prover(key, time.Duration(r.Int64N(int64(2*maxClock)))-maxClock), nil
}

// Process returns a prover of another process that shares the key.
func (s *Site) Process(p *Prover) *Prover { return s.prover(p.key, p.clock) }

func (s *Site) prover(key *dpop.Key, clock time.Duration) *Prover {
	now := func() time.Time { return s.Clock.Now().Add(clock) }
	return &Prover{key: key, clock: clock, transport: &dpop.Transport{Key: key, Base: &s.api, Now: now}}
}

// prove adds a proof to the headers of a request.
func (p *Prover) prove(h http.Header, method, path, access string, now time.Time) error {
	p.mu.Lock()
	nonce := p.nonce
	p.mu.Unlock()
	proof, err := p.key.Proof(dpop.Params{
		Method: method, URL: Issuer + path, AccessToken: access, Nonce: nonce, Now: now.Add(p.clock),
	})
	if err == nil {
		h.Set("DPoP", proof)
	}
	return err
}

// learn takes the nonce from an answer, and reports whether that is all that the
// request lacked.
func (p *Prover) learn(a wire.Answer) bool {
	if nonce := a.Header.Get("DPoP-Nonce"); nonce != "" {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.nonce = nonce
	}
	var e struct {
		Error string `json:"error"`
	}
	return a.Status == http.StatusBadRequest && json.Unmarshal(a.Body, &e) == nil && e.Error == "use_dpop_nonce"
}
