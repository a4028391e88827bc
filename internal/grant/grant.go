// Package grant owns the token endpoint: one file for each grant type.
//
// The order is fixed: the request is read, the client authenticated, everything
// that can be refused without touching the grant is refused, the proof of
// possession is used up, and only then is anything else consumed. The invariant: nothing leaves before what it stands for is
// durable.
package grant

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/code"
	"github.com/fastbind/fastbind/internal/jose"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/policy"
	"github.com/fastbind/fastbind/internal/proof"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/revoke"
	"github.com/fastbind/fastbind/internal/token"
	"github.com/fastbind/fastbind/internal/web"
	"github.com/fastbind/fastbind/oauth"
)

// Path of the endpoint, below the issuer.
const Path = "/token"

// A Handler serves the token endpoint. Set the fields before use.
type Handler struct {
	Auth    *client.Authenticator
	Codes   code.Store
	Minter  refresh.Minter
	Rotator *refresh.Rotator
	Mint    *token.Mint
	Revoke  *revoke.Core
	Policy  func(name string) policy.Policy
	Proofs  *proof.Checker
	Report  *proof.Report
	Log     *slog.Logger
	// Now returns the time; nil means time.Now.
	Now func() time.Time
}

// attemptHeader carries the attempt key of a refresh.
const attemptHeader = "Idempotency-Key"

// maxAttempt bounds an attempt key, in bytes.
const maxAttempt = 256

func defined() []string {
	return []string{
		"grant_type", "client_id", "client_secret", "code", "redirect_uri", "code_verifier", "refresh_token", "scope",
	}
}

// A request is a token request whose client is known.
type request struct {
	web.Params
	client  client.Client
	policy  policy.Policy
	now     time.Time
	network string
	agent   string
	attempt opaque.Digest // all zero: none
	proof   proof.Shown   // checked, and not used up
	// unbound says that something was issued that is bound to no key.
	unbound bool
}

// A response is a successful answer (RFC 6749, section 5.1).
type response struct {
	AccessToken    string `json:"access_token"`
	TokenType      string `json:"token_type"`
	ExpiresIn      int64  `json:"expires_in"`
	RefreshToken   string `json:"refresh_token,omitempty"`
	RefreshExpires int64  `json:"refresh_token_expires_in,omitempty"`
	IDToken        string `json:"id_token,omitempty"`
	Scope          string `json:"scope,omitempty"`
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	web.NoStore(w)
	now := time.Now()
	if h.Now != nil {
		now = h.Now()
	}
	h.Proofs.Offer(w, now)
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if err := h.serve(w, r, now); err != nil {
		web.Refuse(w, r, h.Log, "token", err)
	}
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, now time.Time) error {
	q, err := h.read(w, r, now)
	if err != nil {
		return err
	}
	var a response
	switch g := q.Get("grant_type"); {
	case g == "":
		return oauth.Refuse(oauth.InvalidRequest, "grant_type is missing")
	case g != oauth.GrantAuthorizationCode && g != oauth.GrantRefreshToken && g != oauth.GrantClientCredentials:
		return oauth.Refuse(oauth.UnsupportedGrantType, "")
	case !q.client.May(g):
		return oauth.Refuse(oauth.UnauthorizedClient, "the client is not registered for this grant type")
	case g == oauth.GrantAuthorizationCode:
		a, err = h.authorizationCode(r.Context(), q)
	case g == oauth.GrantRefreshToken:
		a, err = h.refreshToken(r.Context(), q)
	default:
		a, err = h.clientCredentials(r.Context(), q)
	}
	if err != nil {
		return err
	}
	if q.unbound && q.client.DPoP == client.DPoPReport {
		h.Report.Unbound(r.Context(), q.client.ID, audit.Party{Time: now, Network: q.network, Agent: q.agent, Key: q.proof.Key})
	}
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(b) //nolint:errcheck // the client is gone: it can ask again
	return nil
}

// read reads the request, finds out which client sent it, and checks its proof.
func (h *Handler) read(w http.ResponseWriter, r *http.Request, now time.Time) (*request, error) {
	q := &request{now: now, network: web.Network(r), agent: web.Agent(r)}
	var err error
	if q.Params, err = web.Form(w, r, web.MaxBody, defined()); err != nil {
		return nil, err
	}
	if keys := r.Header.Values(attemptHeader); len(keys) > 0 {
		if len(keys) > 1 || keys[0] == "" || len(keys[0]) > maxAttempt {
			return nil, oauth.Refuse(oauth.InvalidRequest, "Idempotency-Key must be one value of 1 to 256 bytes")
		}
		q.attempt = opaque.KeyDigest("attempt", keys[0])
	}
	cred, err := client.CredentialsOf(r.Header, q.Get("client_id"), q.Get("client_secret"), q.network)
	if err != nil {
		return nil, err
	}
	if q.client, err = h.Auth.Authenticate(r.Context(), cred); err != nil {
		return nil, err
	}
	q.policy = h.Policy(q.client.Policy)
	if q.proof, err = h.Proofs.Check(r, proof.Target{Path: Path}, now); err != nil {
		return nil, err
	}
	if q.proof.Key == "" && q.client.Constrained() {
		return nil, h.unproven(r.Context(), q)
	}
	return q, nil
}

// invalidGrant is the one refusal of a code or refresh token, whatever is wrong
// with it: the cause goes into the log and the event.
func invalidGrant(cause error) *oauth.Error {
	return &oauth.Error{Code: oauth.InvalidGrant, Description: "the grant is not valid", Cause: cause}
}

// idAlg is the algorithm of the client's ID tokens.
func (q *request) idAlg() jose.Algorithm {
	if q.client.IDTokenAlg == "" {
		return jose.ES256
	}
	return jose.Algorithm(q.client.IDTokenAlg)
}

func scopeString(scope []string) string { return strings.Join(scope, " ") }
