package revoke

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/token"
	"github.com/fastbind/fastbind/internal/web"
	"github.com/fastbind/fastbind/oauth"
)

// A Handler answers the revocation endpoint (RFC 7009).
type Handler struct {
	Core   *Core
	Auth   *client.Authenticator
	Minter refresh.Minter
	Reader *token.Reader
	Log    *slog.Logger
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	web.NoStore(w)
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if err := h.serve(w, r); err != nil {
		web.Refuse(w, r, h.Log, "revoke", err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

func tokenParams() []string {
	return []string{"token", "token_type_hint", "client_id", "client_secret"}
}

// serve revokes the token of the request. A refresh token takes its family with
// it, and so its access tokens; an access token goes alone. A token that means
// nothing is answered like one that was revoked (RFC 7009, section 2.2).
func (h *Handler) serve(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	p, err := web.Form(w, r, web.MaxBody, tokenParams())
	if err != nil {
		return err
	}
	cred, err := client.CredentialsOf(r.Header, p.Get("client_id"), p.Get("client_secret"), web.Network(r))
	if err != nil {
		return err
	}
	cl, err := h.Auth.Authenticate(ctx, cred)
	if err != nil {
		return err
	}
	t := p.Get("token")
	if t == "" {
		return oauth.Refuse(oauth.InvalidRequest, "token is missing")
	}
	o, err := h.order(ctx, cl, t)
	if err != nil || o.Kind == "" {
		return err
	}
	o.Reason = audit.RevokedByClient
	_, err = h.Core.End(ctx, o)
	return err
}

// order returns what has to end with the token; the zero Order: nothing.
func (h *Handler) order(ctx context.Context, cl client.Client, t string) (Order, error) {
	foreign := oauth.Refuse(oauth.UnauthorizedClient, "the token was issued to another client") // RFC 7009, section 2.1
	if id, _, err := h.Minter.Read(t); err == nil {
		f, err := h.Core.family(ctx, id)
		switch {
		case err != nil:
			return Order{}, err
		case f == nil:
			return Order{}, nil
		case f.Client != cl.ID:
			return Order{}, foreign
		}
		return Order{Kind: Family, Value: string(id)}, nil
	}
	c, err := h.Reader.Access(ctx, t, h.Core.now())
	switch {
	case errors.Is(err, token.ErrInvalid):
		return Order{}, nil // a token that means nothing needs no revoking
	case err != nil:
		return Order{}, err
	case c.Client != cl.ID:
		return Order{}, foreign
	}
	return Order{Kind: Token, Value: c.ID}, nil
}

// An Introspection answers the introspection endpoint (RFC 7662). Resource
// servers may ask, each about tokens that are meant for it.
type Introspection struct {
	Core   *Core
	Auth   *client.Authenticator
	Reader *token.Reader
	Log    *slog.Logger
}

// introspected is the answer about a token (RFC 7662, section 2.2).
type introspected struct {
	Active    bool     `json:"active"`
	Scope     string   `json:"scope,omitempty"`
	Client    string   `json:"client_id,omitempty"`
	TokenType string   `json:"token_type,omitempty"`
	Expires   int64    `json:"exp,omitempty"`
	Issued    int64    `json:"iat,omitempty"`
	Subject   string   `json:"sub,omitempty"`
	Audience  []string `json:"aud,omitempty"`
	Issuer    string   `json:"iss,omitempty"`
	ID        string   `json:"jti,omitempty"`
	Session   string   `json:"sid,omitempty"`
	AuthTime  int64    `json:"auth_time,omitempty"`
	ACR       string   `json:"acr,omitempty"`
	AMR       []string `json:"amr,omitempty"`
	// Confirmation names the key that the token is bound to. RFC 9449, section
	// 6.2.
	Confirmation *token.Confirmation `json:"cnf,omitempty"`
}

func (i *Introspection) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	web.NoStore(w)
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if err := i.serve(w, r); err != nil {
		web.Refuse(w, r, i.Log, "introspect", err)
	}
}

func (i *Introspection) serve(w http.ResponseWriter, r *http.Request) error {
	p, err := web.Form(w, r, web.MaxBody, tokenParams())
	if err != nil {
		return err
	}
	rs, err := resourceServer(r, i.Auth, p.Get("client_id"), p.Get("client_secret"))
	if err != nil {
		return err
	}
	if !p.Has("token") {
		return oauth.Refuse(oauth.InvalidRequest, "token is missing")
	}
	a, err := i.answer(r.Context(), rs, p.Get("token"), i.Core.now())
	if err != nil {
		return err
	}
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(b) //nolint:errcheck // the client is gone: it can ask again
	return nil
}

// answer says what there is to say about a token; nothing but inactive about
// one that does not verify, has ended, or is not for this resource server.
func (i *Introspection) answer(ctx context.Context, rs client.Client, t string, now time.Time) (introspected, error) {
	c, err := i.Reader.Access(ctx, t, now)
	if errors.Is(err, token.ErrInvalid) || err == nil && !serves(rs, c.Audience) {
		return introspected{}, nil // that is the answer
	}
	if err != nil {
		return introspected{}, err
	}
	ok, err := i.Core.Standing(ctx, c, now)
	if err != nil || !ok {
		return introspected{}, err
	}
	a := introspected{
		Active: true, Scope: strings.Join(c.Scope, " "), Client: c.Client, TokenType: oauth.TokenBearer,
		Expires: c.Expires.Unix(), Issued: c.Issued.Unix(), Subject: c.Subject, Audience: c.Audience,
		Issuer: c.Issuer, ID: c.ID, Session: c.Session, ACR: c.ACR, AMR: c.AMR,
	}
	if !c.AuthTime.IsZero() {
		a.AuthTime = c.AuthTime.Unix()
	}
	if c.Thumbprint != "" {
		a.TokenType, a.Confirmation = oauth.TokenDPoP, &token.Confirmation{Thumbprint: c.Thumbprint}
	}
	return a, nil
}
