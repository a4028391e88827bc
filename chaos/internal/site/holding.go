package site

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fastbind/fastbind/chaos/internal/watch"
	"github.com/fastbind/fastbind/chaos/internal/wire"
	"github.com/fastbind/fastbind/internal/account"
	"github.com/fastbind/fastbind/internal/code"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/session"
)

// A Holding is what one party holds of a family, and from where it asks. A copy
// is what another party holds.
type Holding struct {
	Kind    Kind
	Family  *watch.Family
	Tokens  watch.Tokens
	Party   watch.Party
	Network string
	// Attempt is the attempt key of the refresh that has begun; empty: none.
	Attempt string
	// Prover makes proofs of possession; nil: it makes none.
	Prover *Prover
}

// agent is the User-Agent of all parties: they differ by their network.
const agent = "chaos"

// Person stores a person and returns its subject.
func (s *Site) Person(ctx context.Context, name string) (string, error) {
	d := account.Directory{Store: s.DB.Accounts(), Now: s.Clock.Now}
	a, err := d.Create(ctx, account.Person{Username: name})
	return a.Subject, err
}

// Begin signs a person in at a client and returns what the client then holds;
// nil once the run was stopped.
func (s *Site) Begin(ctx context.Context, r *rand.Rand, k Kind, subject, network string) *Holding {
	var h *Holding
	s.Again(func() (err error) {
		h, err = s.begin(ctx, r, k, subject, network)
		return err
	})
	return h
}

func (s *Site) begin(ctx context.Context, r *rand.Rand, k Kind, subject, network string) (*Holding, error) {
	_, signedOn, err := s.gate.Enter(ctx, session.Entry{Subject: subject, Network: network, Agent: agent}, nil)
	if err != nil {
		return nil, err
	}
	now := s.Clock.Now()
	id, handle, verifier := refresh.NewFamilyID(), opaque.New(opaque.Code), opaque.NewID()+opaque.NewID()
	sum := sha256.Sum256([]byte(verifier))
	scope := []string{"read"}
	if k.OpenID {
		scope = append(scope, "openid")
	}
	if err := s.DB.Codes().Put(ctx, code.Code{
		Digest: handle.Digest(), RedirectURI: redirect, Challenge: base64.RawURLEncoding.EncodeToString(sum[:]),
		Issued: now, Expires: now.Add(time.Hour), // the clocks of the servers are wrong by minutes
		Family: id,
		Grant: refresh.Grant{
			Client: k.ID, Subject: subject, Session: signedOn.ID, Scope: scope, Audience: []string{audience},
			AuthTime: now, AbsoluteEnd: now.Add(days),
		},
	}); err != nil {
		return nil, err
	}
	f := s.Log.NewFamily(string(id), k.Name)
	s.mu.Lock()
	s.families = append(s.families, f)
	s.mu.Unlock()
	h := &Holding{Kind: k, Family: f, Network: network}
	if f.Bound = k.Bound; k.Bound {
		if h.Prover, err = s.Prover(r); err != nil {
			return nil, err
		}
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {handle.Reveal()}, "redirect_uri": {redirect}, "code_verifier": {verifier}}
	a, err := s.dance(h, form, func(c *wire.Call) (wire.Answer, error) { return s.Wire.Deliver(ctx, r.IntN(s.options.Nodes), c) })
	if err != nil {
		return nil, err
	}
	t, outcome, err := f.Read(a.Status, a.Body)
	switch {
	case outcome == watch.Refused:
		s.Log.Report("code", "the code of family %s was refused", id)
	case outcome == watch.Given:
		h.Tokens = t
		return h, nil
	}
	return nil, errors.Join(err, errors.New("the code was not answered with tokens"))
}

// dance sends a token request, and once more if the server asks for a nonce.
func (s *Site) dance(h *Holding, form url.Values, send func(*wire.Call) (wire.Answer, error)) (a wire.Answer, err error) {
	for range 2 {
		c, err := s.call(h, form)
		if err != nil {
			return a, err
		}
		if a, err = send(c); err != nil {
			return a, err
		}
		if h.Prover == nil || !h.Prover.learn(a) {
			return a, nil
		}
	}
	return a, nil
}

// call returns a call of the token endpoint.
func (s *Site) call(h *Holding, form url.Values) (*wire.Call, error) {
	header := http.Header{
		"Content-Type": {"application/x-www-form-urlencoded"}, "User-Agent": {agent}, "X-Forwarded-For": {h.Network},
	}
	if h.Attempt != "" {
		header.Set("Idempotency-Key", h.Attempt)
	}
	if h.Prover != nil {
		if err := h.Prover.prove(header, http.MethodPost, tokenPath, "", s.Clock.Now()); err != nil {
			return nil, err
		}
	}
	s.authenticate(header, form, h.Kind.ID)
	shown, family, party := h.Tokens.Generation, h.Family, h.Party
	var given atomic.Int64
	return &wire.Call{
		Method: http.MethodPost, Path: tokenPath, Body: []byte(form.Encode()), Header: header,
		LateDouble: h.Kind.SendsAttempts || h.Kind.Bound, Slack: h.Kind.Slack(),
		Sent: func() func(wire.Answer) {
			q := family.Shown(shown)
			return func(a wire.Answer) {
				q.Answer(a.Status, a.Header, a.Body, party)
				if a.Status == http.StatusOK && given.Add(1) > 1 && header.Get("DPoP") != "" {
					s.Log.Report("replay", "family %s: a proof was taken twice", family.ID)
				}
			}
		},
	}, nil
}

const tokenPath = "/token"

func (s *Site) authenticate(h http.Header, form url.Values, id string) {
	secret, ok := s.secrets[id]
	if !ok {
		form.Set("client_id", id)
		return
	}
	r := http.Request{Header: h}
	r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
}

// Show sends the refresh token of h once, over the lossy network, and returns
// what the client is told. What it is given it does not have yet.
func (s *Site) Show(ctx context.Context, r *rand.Rand, h *Holding) (watch.Tokens, watch.Outcome) {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {h.Tokens.Refresh}}
	a, err := s.dance(h, form, func(c *wire.Call) (wire.Answer, error) { return s.Wire.Send(ctx, r, c) })
	if err != nil {
		return watch.Tokens{}, watch.Again
	}
	t, outcome, err := h.Family.Read(a.Status, a.Body)
	if err != nil {
		return watch.Tokens{}, watch.Again // it was reported when the answer was seen
	}
	return t, outcome
}

// Revoke asks a server to end the family of h (RFC 7009) until it says that it
// has, and reports whether it did.
func (s *Site) Revoke(ctx context.Context, r *rand.Rand, h *Holding) bool {
	form := url.Values{"token": {h.Tokens.Refresh}}
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "X-Forwarded-For": {h.Network}}
	s.authenticate(header, form, h.Kind.ID)
	c := &wire.Call{Method: http.MethodPost, Path: "/revoke", Body: []byte(form.Encode()), Header: header}
	return s.Again(func() error {
		a, err := s.Wire.Deliver(ctx, r.IntN(s.options.Nodes), c)
		if err != nil {
			return err
		}
		if a.Status != http.StatusOK {
			return fmt.Errorf("revocation answered %d %s", a.Status, strings.TrimSpace(string(a.Body)))
		}
		h.Family.End()
		return nil
	})
}
