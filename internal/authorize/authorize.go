// Package authorize owns the authorization endpoint: pushed requests, the checks
// of a request, consent, and the response.
//
// A pending request is stored nowhere but in the browser: the pages carry it,
// sealed, and each step leads back to the endpoint, which decides anew. The
// invariant: an answer goes to exactly a registered redirect URI, and carries
// iss.
package authorize

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/code"
	"github.com/fastbind/fastbind/internal/limit"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/page"
	"github.com/fastbind/fastbind/internal/policy"
	"github.com/fastbind/fastbind/internal/proof"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/session"
	"github.com/fastbind/fastbind/internal/token"
	"github.com/fastbind/fastbind/internal/web"
	"github.com/fastbind/fastbind/oauth"
)

// Paths of the endpoints, below the issuer.
const (
	Path        = "/authorize"
	PushPath    = "/par"
	ConsentPath = "/consent"
	loginPath   = "/login"
)

// People knows the name of a person.
type People interface {
	// Username returns the name that the person signs in with; empty: unknown.
	Username(ctx context.Context, subject string) (string, error)
}

// Hints reads ID tokens that were issued here.
type Hints interface {
	// Hint returns the claims of an ID token of ours, expired or not; it is
	// [token.ErrInvalid] for anything else.
	Hint(ctx context.Context, idToken string) (token.Claims, error)
}

// A Handler serves the authorization endpoint, pushed requests and consent. Set
// the fields before use.
type Handler struct {
	Issuer   string
	ACR      string // what a sign-in here achieves
	Clients  client.Store
	Auth     *client.Authenticator
	Gate     *session.Gate
	Codes    code.Store
	Store    Store
	Hints    Hints
	People   People
	Policy   func(name string) policy.Policy
	Throttle limit.Store
	Proofs   *proof.Checker
	Sealer   web.Sealer
	Cookies  web.Cookies
	Log      *slog.Logger
	// Now returns the time; nil means time.Now.
	Now func() time.Time
}

func (h *Handler) now() time.Time {
	if h.Now != nil {
		return h.Now()
	}
	return time.Now()
}

// ServeHTTP answers the authorization endpoint. A POST, which may come from
// another site and then without the session cookie, is turned into the GET that
// it stands for.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	web.NoStore(w)
	now := h.now()
	var (
		p   web.Params
		err error
	)
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		p, err = web.Query(r, defined())
	case http.MethodPost:
		p, err = web.Form(w, r, web.MaxBody, defined())
		if err == nil {
			http.Redirect(w, r, Path+"?"+p.Values().Encode(), http.StatusSeeOther)
			return
		}
	default:
		w.Header().Set("Allow", "GET, POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	q, err := h.read(r.Context(), p, err, now)
	if err == nil {
		err = h.serve(w, r, q, now)
	}
	if err != nil {
		h.refuse(w, r, q, err)
	}
}

// serve decides what comes next for a good request, and does it.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, q *request, now time.Time) error {
	ctx := r.Context()
	var s *session.Session
	switch v, err := h.Gate.Visit(ctx, h.Cookies.Session(r)); {
	case err == nil:
		s = &v
	case !errors.Is(err, session.ErrNone):
		return err
	}
	var allowed []string
	if s != nil && !q.client.Trusted {
		c, err := h.Store.Consent(ctx, s.Subject, q.client.ID)
		if err != nil && !errors.Is(err, ErrNone) {
			return fmt.Errorf("load consent: %w", err)
		}
		allowed = c.Scope
	}
	q.signInLasts(h.Policy(q.client.Policy).SessionAbsolute)
	st, refusal := decide(q, s, allowed, now)
	switch st {
	case stepAnswer:
		return h.answer(w, r, q, s, now)
	case stepSignIn, stepReauth:
		return h.signIn(w, r, q, s, now)
	case stepSelect:
		return h.selectAccount(w, r, q, s, now)
	case stepConsent:
		return h.consent(w, r, q, s, now)
	case stepRefuse:
	}
	if refusal == oauth.AccessDenied {
		if err := h.use(ctx, q, now); err != nil {
			return err
		}
	}
	return oauth.Refuse(refusal, "")
}

// answer issues a code and sends the browser to the client with it.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, q *request, s *session.Session, now time.Time) error {
	ctx := r.Context()
	p := h.Policy(q.client.Policy)
	offline := slices.Contains(q.scope, oauth.ScopeOffline)
	end := now.Add(p.Absolute)
	if !offline && s.AbsoluteEnd.Before(end) {
		end = s.AbsoluteEnd
	}
	c := opaque.New(opaque.Code)
	err := h.Codes.Put(ctx, code.Code{
		Digest: c.Digest(), RedirectURI: q.redirect, Challenge: q.challenge, Issued: now, Expires: now.Add(code.Life),
		Family: refresh.NewFamilyID(),
		Grant: refresh.Grant{
			Client: q.client.ID, Subject: s.Subject, Session: s.ID, Offline: offline,
			Scope: q.scope, Audience: q.audience, Claims: q.claims, Nonce: q.nonce, Key: q.key,
			ACR: s.ACR, AMR: s.AMR, AuthTime: s.AuthTime, AbsoluteEnd: end,
		},
	})
	if err != nil {
		return fmt.Errorf("store code: %w", err)
	}
	// Last, so that a fault costs nobody their request; without it nobody
	// learns the code.
	if err := h.use(ctx, q, now); err != nil {
		return err
	}
	h.respond(w, r, q, [][2]string{{"code", c.Reveal()}})
	return nil
}

// use marks a pushed request as used: once (RFC 9126, section 4).
func (h *Handler) use(ctx context.Context, q *request, now time.Time) error {
	if q.pushed == nil {
		return nil
	}
	first, err := h.Store.Use(ctx, *q.pushed, now)
	if err != nil {
		return fmt.Errorf("use pushed request: %w", err)
	}
	if !first {
		return onPage(oauth.InvalidRequestURI, "the request has been completed before")
	}
	return nil
}

// respond sends parameters to the client, with state and iss (RFC 9207, section
// 2).
func (h *Handler) respond(w http.ResponseWriter, r *http.Request, q *request, fields [][2]string) {
	if q.state != "" {
		fields = append(fields, [2]string{"state", q.state})
	}
	fields = append(fields, [2]string{"iss", h.Issuer})
	if q.mode == modeFormPost {
		page.FormPost(w, r, page.FormPostData{Action: q.redirect, Fields: fields, Locales: q.locales})
		return
	}
	var b strings.Builder
	b.WriteString(q.redirect)
	sep := byte('?')
	if strings.Contains(q.redirect, "?") {
		sep = '&'
	}
	for _, f := range fields {
		b.WriteByte(sep)
		b.WriteString(url.QueryEscape(f[0]))
		b.WriteByte('=')
		b.WriteString(url.QueryEscape(f[1]))
		sep = '&'
	}
	w.Header().Set("Location", b.String())
	w.WriteHeader(http.StatusSeeOther) // never 307: OAuth 2.1, section 7.5.3
}

// refuse sends a refusal to the client where that is safe, and shows it to the
// person where it is not. A fault is shown too, for the person can try again;
// but for prompt=none, where nobody looks (OpenID Connect Core, section 3.1.2.1).
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, q *request, err error) {
	e := oauth.ErrorFor(err)
	h.Log.LogAttrs(r.Context(), web.Severity(r.Context(), e.HTTPStatus(), err), "authorization refused", slog.String("request_id", web.RequestID(r.Context())),
		slog.String("code", string(e.Code)), slog.Any("err", err))
	if _, here := errors.AsType[pageError](err); here || q == nil || e.Code == oauth.TemporarilyUnavailable && !q.prompted("none") {
		h.showError(w, r, e)
		return
	}
	fields := [][2]string{{"error", string(e.Code)}}
	if e.Description != "" {
		fields = append(fields, [2]string{"error_description", e.Description})
	}
	h.respond(w, r, q, fields)
}

func (h *Handler) showError(w http.ResponseWriter, r *http.Request, e *oauth.Error) {
	status := e.HTTPStatus()
	d := page.ErrorData{
		Problem: page.ProblemRequest, Detail: e.Description, RequestID: web.RequestID(r.Context()), Continue: loginPath,
	}
	switch {
	case e.Code == oauth.TemporarilyUnavailable:
		w.Header().Set("Retry-After", "2")
		d.Problem = page.ProblemFault
		if r.Method == http.MethodGet {
			d.Continue = r.URL.RequestURI()
		}
	case e.Code == oauth.InvalidRequestURI:
		d.Problem = page.ProblemExpired
	case e.Code == oauth.InvalidClient || e.Code == oauth.UnauthorizedClient:
		d.Problem = page.ProblemClient
		status = http.StatusBadRequest // the person's browser did nothing wrong
	}
	page.Error(w, r, status, d)
}
