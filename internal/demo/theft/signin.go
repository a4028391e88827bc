package theft

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fastbind/fastbind/internal/demo/party"
	"github.com/fastbind/fastbind/internal/page"
	"github.com/fastbind/fastbind/oauth"
)

const signInLife = 15 * time.Minute

func (s *Page) port() string {
	u, err := url.Parse(s.URL)
	if err != nil {
		return ""
	}
	return u.Port()
}

// metadata returns what the issuer says of itself.
func (s *Page) metadata(ctx context.Context) (oauth.Metadata, error) {
	s.metaMu.Lock()
	defer s.metaMu.Unlock()
	if s.meta.Issuer != "" {
		return s.meta, nil
	}
	a, err := s.hands[victim].Ask(ctx, http.MethodGet, s.Issuer+"/.well-known/oauth-authorization-server", nil, party.Bearer{})
	if err != nil {
		return oauth.Metadata{}, fmt.Errorf("read metadata: %w", err)
	}
	var m oauth.Metadata
	if a.Status != http.StatusOK || json.Unmarshal(a.Body, &m) != nil {
		return oauth.Metadata{}, fmt.Errorf("read metadata: status %d", a.Status)
	}
	if m.Issuer != s.Issuer { // RFC 8414, section 3.3
		return oauth.Metadata{}, errors.New("read metadata: other issuer")
	}
	s.meta = m
	return m, nil
}

// signIn sends the browser to the issuer: authorization code with PKCE, as any
// app does.
func (s *Page) signIn(w http.ResponseWriter, r *http.Request) {
	meta, err := s.metadata(r.Context())
	if err != nil {
		s.fault(w, r, err)
		return
	}
	to, err := url.Parse(meta.AuthorizationEndpoint)
	if err != nil {
		s.fault(w, r, err)
		return
	}
	now := time.Now()
	p := &pending{rand.Text(), rand.Text() + rand.Text(), rand.Text(), now.Add(signInLife)}
	challenge := sha256.Sum256([]byte(p.verifier))
	to.RawQuery = url.Values{
		"response_type": {"code"}, "client_id": {s.ClientID}, "redirect_uri": {s.redirectURI()},
		"scope": {strings.Join(s.Scope, " ")}, "state": {p.state}, "nonce": {p.nonce},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {oauth.MethodS256},
	}.Encode()
	s.visitors.remove(s.cookieOf(r))
	s.setCookie(w, s.visitors.add(&visitor{pending: p}, now))
	http.Redirect(w, r, to.String(), http.StatusSeeOther)
}

func (s *Page) redirectURI() string { return s.URL + "/callback" }

// callback is where the issuer sends the browser back to.
func (s *Page) callback(w http.ResponseWriter, r *http.Request) {
	v, q, now := s.visitor(r), r.URL.Query(), time.Now()
	if v == nil {
		s.problem(w, r, http.StatusBadRequest, page.ProblemExpired, "no sign-in was begun in this browser")
		return
	}
	v.mu.Lock()
	p := v.pending
	v.pending = nil
	v.mu.Unlock()
	switch {
	case p == nil && v.signedIn(): // the page was loaded again
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	case p == nil || !now.Before(p.until):
		s.problem(w, r, http.StatusBadRequest, page.ProblemExpired, "the sign-in was begun too long ago")
		return
	case subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(p.state)) != 1:
		s.problem(w, r, http.StatusBadRequest, page.ProblemExpired, "the answer does not belong to this browser")
		return
	case q.Get("iss") != s.Issuer: // RFC 9207, section 2.4
		s.problem(w, r, http.StatusBadRequest, page.ProblemRequest, "the answer is another server's")
		return
	case q.Get("code") == "":
		s.problem(w, r, http.StatusBadRequest, page.ProblemRequest, "the sign-in was not finished")
		return
	}
	fresh, err := s.redeem(r.Context(), q.Get("code"), p)
	if err != nil {
		s.fault(w, r, err)
		return
	}
	// A cookie that was there before somebody signed in is worth nothing after.
	s.visitors.remove(s.cookieOf(r))
	s.setCookie(w, s.visitors.add(fresh, now))
	if err := s.open(r.Context(), fresh, victim); err != nil {
		s.Log.LogAttrs(r.Context(), slog.LevelWarn, "stream of the demo page", slog.Any("err", err))
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// redeem redeems a code and returns the visitor who holds what it was worth.
func (s *Page) redeem(ctx context.Context, code string, p *pending) (*visitor, error) {
	meta, err := s.metadata(ctx)
	if err != nil {
		return nil, err
	}
	a, err := s.hands[victim].Token(ctx, meta.TokenEndpoint, url.Values{
		"grant_type": {oauth.GrantAuthorizationCode}, "client_id": {s.ClientID}, "code": {code},
		"redirect_uri": {s.redirectURI()}, "code_verifier": {p.verifier},
	})
	if err != nil {
		return nil, fmt.Errorf("redeem code: %w", err)
	}
	if !a.OK() {
		return nil, fmt.Errorf("redeem code: %s", a)
	}
	if err := a.Fits(s.Issuer, s.ClientID, p.nonce); err != nil {
		return nil, fmt.Errorf("redeem code: %w", err)
	}
	v := &visitor{}
	if err := v.took(victim, a); err != nil {
		return nil, fmt.Errorf("redeem code: %w", err)
	}
	v.name, v.family = s.nameOf(ctx, meta.UserinfoEndpoint, a.Access), v.hold[victim].claims.Family
	v.note(entry{
		at: time.Now(), who: victim.String(), tone: good,
		text: v.name + " signs in and holds generation " + ordinal(v.newest) + " of a new family.",
	})
	return v, nil
}

// nameOf returns what to call the person whose token this is.
func (s *Page) nameOf(ctx context.Context, endpoint string, access party.Bearer) string {
	var who struct {
		Given    string `json:"given_name"`
		Username string `json:"preferred_username"`
	}
	a, err := s.hands[victim].Ask(ctx, http.MethodGet, endpoint, nil, access)
	if err == nil && a.Status == http.StatusOK && json.Unmarshal(a.Body, &who) == nil {
		for _, name := range []string{who.Given, who.Username} {
			if name != "" {
				return name
			}
		}
	}
	return "The user"
}

// again ends what the visitor holds, if it still lives, and forgets it.
func (s *Page) again(w http.ResponseWriter, r *http.Request) {
	if v := s.visitor(r); v != nil {
		v.acting.Lock()
		defer v.acting.Unlock()
		h := v.held(victim)
		if meta, err := s.metadata(r.Context()); err == nil && !h.refresh.None() && h.refused == "" {
			_, err := s.hands[victim].Ask(r.Context(), http.MethodPost, meta.RevocationEndpoint, url.Values{
				"client_id": {s.ClientID}, "token": {h.refresh.Reveal()}, "token_type_hint": {"refresh_token"},
			}, party.Bearer{})
			if err != nil {
				s.Log.LogAttrs(r.Context(), slog.LevelWarn, "demo token not revoked", slog.Any("err", err))
			}
		}
		s.visitors.remove(s.cookieOf(r))
	}
	s.setCookie(w, "")
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// fault answers that something does not work.
func (s *Page) fault(w http.ResponseWriter, r *http.Request, err error) {
	s.Log.LogAttrs(r.Context(), slog.LevelWarn, "request failed", slog.Any("err", err))
	s.problem(w, r, http.StatusBadGateway, page.ProblemFault, "")
}
