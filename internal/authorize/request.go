package authorize

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/token"
	"github.com/fastbind/fastbind/internal/web"
	"github.com/fastbind/fastbind/oauth"
)

// defined are the parameters with a meaning; one that is repeated refuses the
// request (OAuth 2.1, section 3.1).
func defined() []string {
	return []string{
		"client_id", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce", "prompt", "max_age",
		"login_hint", "id_token_hint", "acr_values", "claims", "ui_locales", "claims_locales", "display",
		"code_challenge", "code_challenge_method", "request", "request_uri", "registration", jktParam, resumeParam,
	}
}

// Response modes.
const (
	modeQuery    = "query"
	modeFormPost = "form_post"
)

// A request is an authorization request whose client and redirect URI are good:
// from here on errors go to the client.
type request struct {
	client   client.Client
	redirect string
	mode     string
	state    string

	scope    []string
	audience []string
	nonce    string
	bonds
	claims    string   // as far as the client is registered for them
	asks      []string // scope, and the scopes that stand for the claims: what consent is about
	prompt    []string
	maxAge    time.Duration // -1: not asked
	loginHint string
	locales   string
	subject   string // the only person that will do; empty: anybody

	// query holds the parameters as they came, without the resume parameter:
	// what the browser is sent back to.
	query url.Values
	// pushed is the digest of the pushed request; nil: it is none.
	pushed    *opaque.Digest
	resume    resume
	isResumed bool
	opened    time.Time // when the browser first came with it
}

// bonds are what must be shown to redeem the code; empty: nothing.
type bonds struct {
	challenge string // of PKCE
	key       string // thumbprint of a key
}

// pageError is a refusal that must not go to any redirect URI (OAuth 2.1,
// section 2.3.5).
type pageError struct{ refusal *oauth.Error }

// Error returns the text of the refusal, for the log.
func (e pageError) Error() string { return e.refusal.Error() }

// Unwrap returns the refusal.
func (e pageError) Unwrap() error { return e.refusal }

func onPage(c oauth.Code, description string) error {
	return pageError{oauth.Refuse(c, description)}
}

// read makes a request of parameters. An error that is a [pageError] is shown to
// the person; any other refusal comes with a request that says where it goes.
func (h *Handler) read(ctx context.Context, p web.Params, repeated error, now time.Time) (*request, error) {
	q := &request{query: p.Values(), maxAge: -1, mode: modeQuery, opened: now}
	q.query.Del(resumeParam)
	if len(q.query.Encode()) > web.MaxBody { // the pages that carry it could not be sent back
		return nil, pageError{&oauth.Error{Code: oauth.InvalidRequest, Description: "the request is too long", Status: http.StatusRequestURITooLong}}
	}
	if s := p.Get(resumeParam); s != "" {
		q.isResumed = h.Sealer.Open(web.ResumePurpose, s, &q.resume) == nil && q.resume.Request == digestOf(q.query)
	}
	if q.isResumed {
		q.opened = q.resume.Opened
	}
	cl, err := h.client(ctx, p)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(p.Get("request_uri"), oauth.RequestURIPrefix) {
		if p, err = h.pulled(ctx, p, q, cl); err != nil {
			return nil, err
		}
		repeated = nil
	} else if cl.RequirePAR {
		return nil, onPage(oauth.InvalidRequest, "this client must push its requests")
	}
	if err := q.address(cl, p); err != nil {
		return nil, err
	}
	if repeated != nil {
		return q, repeated
	}
	return q, h.fill(ctx, q, p)
}

func (h *Handler) client(ctx context.Context, p web.Params) (client.Client, error) {
	ids := p.All("client_id")
	if len(ids) != 1 {
		return client.Client{}, onPage(oauth.InvalidRequest, "the request does not say, or says more than once, which client sent it")
	}
	cl, err := h.Clients.Client(ctx, ids[0])
	switch {
	case errors.Is(err, client.ErrNone):
		return cl, onPage(oauth.InvalidClient, "no such client")
	case err != nil:
		return cl, err
	case !cl.Disabled.IsZero():
		return cl, onPage(oauth.InvalidClient, "no such client")
	case !cl.May(oauth.GrantAuthorizationCode):
		return cl, onPage(oauth.UnauthorizedClient, "this client may not ask people to sign in")
	}
	return cl, nil
}

// address finds out where the answer goes: exactly a registered redirect URI.
func (q *request) address(cl client.Client, p web.Params) error {
	q.client = cl
	uris := p.All("redirect_uri")
	switch {
	case len(uris) > 1:
		return onPage(oauth.InvalidRequest, "redirect_uri is repeated")
	case len(uris) == 0 && len(cl.RedirectURIs) != 1: // OAuth 2.1, section 2.3.2
		return onPage(oauth.InvalidRequest, "redirect_uri is missing")
	case len(uris) == 0:
		q.redirect = cl.RedirectURIs[0]
	case !cl.MayRedirect(uris[0]):
		return onPage(oauth.InvalidRequest, "redirect_uri is not registered for this client")
	default:
		q.redirect = uris[0]
	}
	if states := p.All("state"); len(states) == 1 {
		q.state = states[0]
	}
	if p.Get("response_mode") == modeFormPost {
		q.mode = modeFormPost
	}
	return nil
}

// fill reads what is left, now that errors can go to the client.
func (h *Handler) fill(ctx context.Context, q *request, p web.Params) error {
	refuse := func(c oauth.Code, d string) error { return oauth.Refuse(c, d) }
	switch {
	case p.Has("request"):
		return refuse(oauth.RequestNotSupported, "request objects are not supported")
	case p.Has("request_uri"):
		return refuse(oauth.RequestURINotSupported, "only the request_uri of a pushed request is supported")
	case p.Has("registration"):
		return refuse(oauth.RegistrationNotSupport, "registration is not supported")
	case !slices.Contains([]string{"", modeQuery, modeFormPost}, p.Get("response_mode")):
		return refuse(oauth.InvalidRequest, "response_mode is not supported")
	case !p.Has("response_type"):
		return refuse(oauth.InvalidRequest, "response_type is missing")
	case p.Get("response_type") != "code":
		return refuse(oauth.UnsupportedResponseType, "only response_type code is supported")
	}
	q.nonce, q.loginHint, q.locales = p.Get("nonce"), p.Get("login_hint"), p.Get("ui_locales")
	if err := q.proofKey(p); err != nil {
		return err
	}
	if err := q.bind(p); err != nil {
		return err
	}
	if err := q.ask(p); err != nil {
		return err
	}
	if err := q.prompts(p); err != nil {
		return err
	}
	return h.person(ctx, q, p)
}

// proofKey reads the PKCE challenge (RFC 7636, sections 4.3 and 4.4.1). Only
// S256 is known; a challenge without a method would mean plain.
func (q *request) proofKey(p web.Params) error {
	c, method := p.Get("code_challenge"), p.Get("code_challenge_method")
	switch {
	case c == "" && method != "":
		return oauth.Refuse(oauth.InvalidRequest, "code_challenge_method without code_challenge")
	case c == "" && q.client.PKCEOptional && !q.client.Public():
		return nil
	case c == "":
		return oauth.Refuse(oauth.InvalidRequest, "code_challenge is missing")
	case method != oauth.MethodS256:
		return oauth.Refuse(oauth.InvalidRequest, "code_challenge_method must be S256")
	}
	if !sha256Text(c) {
		return oauth.Refuse(oauth.InvalidRequest, "code_challenge is not the base64url of a SHA-256")
	}
	q.challenge = c
	return nil
}

// jktParam names the key that the code is bound to.
const jktParam = "dpop_jkt"

// bind reads the thumbprint of the key to which the client binds the code.
// RFC 9449, section 10.
func (q *request) bind(p web.Params) error {
	q.key = p.Get(jktParam)
	if q.key != "" && !sha256Text(q.key) {
		return oauth.Refuse(oauth.InvalidRequest, "dpop_jkt is not the thumbprint of a key")
	}
	return nil
}

// sha256Text reports whether s is the base64url of a SHA-256.
func sha256Text(s string) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(b) == 32 && len(s) == 43
}

// ask reads what the client asks for: scope, resources and claims.
func (q *request) ask(p web.Params) error {
	q.scope = p.Fields("scope")
	if len(q.scope) == 0 {
		for _, s := range q.client.Scopes {
			if s != oauth.ScopeOpenID && s != oauth.ScopeOffline {
				q.scope = append(q.scope, s)
			}
		}
	}
	for _, s := range q.scope {
		if !slices.Contains(q.client.Scopes, s) {
			return oauth.Refuse(oauth.InvalidScope, "the client is not registered for one of the scopes")
		}
	}
	q.audience = p.All("resource") // RFC 8707, section 2
	for _, a := range q.audience {
		if !slices.Contains(q.client.Audiences, a) {
			return oauth.Refuse(oauth.InvalidTarget, "the client is not registered for one of the resources")
		}
	}
	if len(q.audience) == 0 {
		q.audience = q.client.Audiences
	}
	q.claims = p.Get("claims")
	if len(q.claims) > maxClaims {
		return oauth.Refuse(oauth.InvalidRequest, "claims is too long")
	}
	return q.askClaims()
}

// askClaims reads the claims parameter: what the client is not registered for is
// left out, and what it is is subject to consent like a scope (OpenID Connect
// Core, sections 5.4 and 5.5).
func (q *request) askClaims() error {
	q.asks = q.scope
	if q.claims == "" {
		return nil
	}
	all, err := token.ParseClaims(q.claims)
	if err != nil {
		return err
	}
	within, needed := all.Within(q.client.Scopes, q.client.Trusted)
	b, err := json.Marshal(within)
	if err != nil {
		return err
	}
	q.claims, q.asks = string(b), slices.Clone(q.scope)
	for _, s := range needed {
		if !slices.Contains(q.asks, s) {
			q.asks = append(q.asks, s)
		}
	}
	return nil
}

const maxClaims = 4 << 10

// prompts reads prompt and max_age.
func (q *request) prompts(p web.Params) error {
	q.prompt = p.Fields("prompt")
	for _, s := range q.prompt {
		if !slices.Contains(prompts(), s) {
			return oauth.Refuse(oauth.InvalidRequest, "prompt has an unknown value")
		}
	}
	if q.prompted("none") && len(q.prompt) > 1 {
		return oauth.Refuse(oauth.InvalidRequest, "prompt none goes with no other value")
	}
	if s := p.Get("max_age"); s != "" {
		n, err := strconv.ParseUint(s, 10, 31)
		if err != nil {
			return oauth.Refuse(oauth.InvalidRequest, "max_age is not a number of seconds")
		}
		q.maxAge = time.Duration(n) * time.Second
	}
	return nil
}

func prompts() []string { return []string{"none", "login", "consent", "select_account"} }

// signInLasts bounds for how long a sign-in is good for this request.
func (q *request) signInLasts(d time.Duration) {
	if q.maxAge < 0 || d < q.maxAge {
		q.maxAge = d
	}
}

func (q *request) prompted(s string) bool { return slices.Contains(q.prompt, s) }

// person finds out who alone will do: the one of the hint, or of a sub that the
// claims parameter asks for.
func (h *Handler) person(ctx context.Context, q *request, p web.Params) error {
	if t := p.Get("id_token_hint"); t != "" {
		c, err := h.Hints.Hint(ctx, t)
		if err != nil && !errors.Is(err, token.ErrInvalid) {
			return err
		}
		if err != nil {
			return &oauth.Error{Code: oauth.InvalidRequest, Description: "id_token_hint is not an ID token of this server", Cause: err}
		}
		q.subject = c.Subject
	}
	c, err := token.ParseClaims(q.claims)
	if err != nil {
		return err
	}
	for _, v := range c.IDToken["sub"].Wants() {
		s, ok := v.(string)
		if !ok || q.subject != "" && q.subject != s {
			return oauth.Refuse(oauth.InvalidRequest, "the hints name different people")
		}
		q.subject = s
	}
	if r := c.IDToken["acr"]; r != nil && r.Essential {
		if w := r.Wants(); len(w) > 0 && !slices.Contains(w, any(h.ACR)) {
			return oauth.Refuse(oauth.UnmetAuthentication, "the required authentication is not available")
		}
	}
	return nil
}
