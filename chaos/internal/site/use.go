package site

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/fastbind/fastbind/chaos/internal/wire"
	"github.com/fastbind/fastbind/guard"
)

// A use says that an access token of a generation was seen at an API.
type use struct {
	Family     string `json:"family"`
	Generation int64  `json:"generation"`
}

// maxReport is how many uses go into one report.
const maxReport = 500

// Use calls an API with the access token of h, in one of the ways in which a use
// becomes known to the servers: a report of the API before time moves on, an API
// behind a guard, introspection, or UserInfo.
func (s *Site) Use(ctx context.Context, r *rand.Rand, h *Holding) {
	number := r.IntN(s.options.Nodes)
	switch way := r.IntN(10); {
	case way == 0 && len(s.guards) > 0:
		s.guarded(ctx, r.IntN(len(s.guards)), h)
		s.seen(h) // the guard's own report comes some time later
	case way == 1:
		form := url.Values{"token": {h.Tokens.Access}}
		header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
		s.authenticate(header, form, resourceServer)
		s.answered(ctx, number, h, &wire.Call{Method: http.MethodPost, Path: "/introspect", Body: []byte(form.Encode()), Header: header})
	case way == 2 && h.Kind.OpenID:
		header := http.Header{"Authorization": {"Bearer " + h.Tokens.Access}}
		if h.Prover != nil {
			header.Set("Authorization", "DPoP "+h.Tokens.Access)
			if err := h.Prover.prove(header, http.MethodGet, "/userinfo", h.Tokens.Access, s.Clock.Now()); err != nil {
				s.Log.Report("harness", "%v", err)
			}
		}
		s.answered(ctx, number, h, &wire.Call{Method: http.MethodGet, Path: "/userinfo", Header: header})
	default:
		s.seen(h)
	}
}

// guarded calls the API behind a guard.
func (s *Site) guarded(ctx context.Context, number int, h *Holding) {
	if h.Prover != nil {
		status, err := s.api.call(ctx, number, h)
		// One that the clocks of server and guard make too early is refused too.
		if err != nil || status != http.StatusNoContent && status != http.StatusUnauthorized {
			s.Log.Report("guard", "family %s: a guard answered %d (%v)", h.Family.ID, status, err)
		}
		return
	}
	err := s.check(ctx, s.guards[number], h)
	if h.Family.Safe && errors.Is(err, guard.ErrRevoked) {
		s.Log.Report("revocation", "a guard refuses a token of family %s, which lives", h.Family.ID)
	}
}

// seen notes a use for the next report.
func (s *Site) seen(h *Holding) {
	if !h.Kind.Reports {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uses = append(s.uses, use{h.Family.ID, h.Tokens.Generation})
}

// answered sends a call that is a use when it is answered; else it is reported.
// To a server whose clock is behind a token may be of the future, and inactive.
func (s *Site) answered(ctx context.Context, number int, h *Holding, c *wire.Call) {
	a, err := s.Wire.Deliver(ctx, number, c)
	if err == nil && h.Prover != nil {
		h.Prover.learn(a)
	}
	if err != nil || a.Status != http.StatusOK || bytes.Contains(a.Body, []byte(`"active":false`)) {
		s.seen(h)
	}
}

// report reports the uses that were seen, all of them or none.
func (s *Site) report(ctx context.Context) {
	s.mu.Lock()
	uses := s.uses
	s.uses = nil
	s.mu.Unlock()
	for len(uses) > 0 {
		n := min(len(uses), maxReport)
		if err := s.reportSome(ctx, uses[:n]); err != nil {
			s.mu.Lock()
			s.uses = append(s.uses, uses...)
			s.mu.Unlock()
			return
		}
		uses = uses[n:]
	}
}

func (s *Site) reportSome(ctx context.Context, uses []use) error {
	body, err := json.Marshal(map[string]any{"uses": uses})
	if err != nil {
		return err
	}
	header := http.Header{"Content-Type": {"application/json"}}
	s.authenticate(header, url.Values{}, resourceServer)
	a, err := s.Wire.Deliver(ctx, len(uses)%s.options.Nodes, &wire.Call{Method: http.MethodPost, Path: "/token-use", Body: body, Header: header})
	if err == nil && a.Status != http.StatusNoContent {
		err = errors.New("the report was not taken")
	}
	return err
}

// check shows the access token of h to a guard.
func (s *Site) check(ctx context.Context, g *guard.Guard, h *Holding) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, Issuer+"/api", nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+h.Tokens.Access)
	_, err = g.CheckRule(r, rule())
	return err
}

// Gone waits until every guard refuses the access token of h, whose family has
// ended at a moment in real time, and returns how long after that the last of
// them did. A token that a guard would not take anyhow, because clocks differ,
// counts as refused.
func (s *Site) Gone(ctx context.Context, h *Holding, ended time.Time) time.Duration {
	const limit = 10 * time.Second
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for _, g := range s.guards {
		for s.check(ctx, g, h) == nil {
			if time.Since(ended) > limit {
				s.Log.Report("revocation", "a guard takes a token of family %s %v after it ended", h.Family.ID, limit)
				return limit
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return time.Since(ended)
			}
		}
	}
	return time.Since(ended)
}

// Accepted reports whether every guard takes the access token of h.
func (s *Site) Accepted(ctx context.Context, h *Holding) bool {
	for _, g := range s.guards {
		if s.check(ctx, g, h) != nil {
			return false
		}
	}
	return len(s.guards) > 0
}
