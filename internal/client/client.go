// Package client owns registered clients: what they may ask for, where answers
// may go, and how they prove who they are.
//
// The invariant: a redirect URI is compared as a string with what was
// registered, character by character; only the port of a loopback address may
// differ.
package client

import (
	"context"
	"errors"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/opaque"
)

// A Client is registered software (RFC 7591, section 2).
type Client struct {
	ID      string
	Version int64 // changes with every write; 0: not stored yet
	Meta
	// Secrets are the digests of the client's secrets; any of them proves who
	// it is. Empty: a public client.
	Secrets  []opaque.Digest
	Created  time.Time
	Disabled time.Time // zero: enabled
}

// Meta is what a client was registered with.
type Meta struct {
	Name                   string   `json:"client_name,omitempty"`
	RedirectURIs           []string `json:"redirect_uris,omitempty"`
	PostLogoutRedirectURIs []string `json:"post_logout_redirect_uris,omitempty"`
	GrantTypes             []string `json:"grant_types,omitempty"`
	Scopes                 []string `json:"scopes,omitempty"`
	// Audiences are the resource servers that its access tokens are for.
	Audiences []string `json:"audiences,omitempty"`
	Policy    string   `json:"policy,omitempty"` // name of a session policy
	// Trusted clients are the operator's own: no consent is asked.
	Trusted bool `json:"trusted,omitempty"`
	// ResourceServer clients may introspect tokens for their audience, read
	// the revocation feed and report uses.
	ResourceServer bool `json:"resource_server,omitempty"`
	// PKCEOptional exempts a confidential client from PKCE.
	PKCEOptional bool `json:"pkce_optional,omitempty"`
	// RequirePAR refuses authorization requests that were not pushed
	// (RFC 9126, section 6).
	RequirePAR bool `json:"require_pushed_authorization_requests,omitempty"`
	// IDTokenAlg is the algorithm of its ID tokens; empty: ES256.
	IDTokenAlg string `json:"id_token_signed_response_alg,omitempty"`
	// AuthMethods are the ways in which a confidential client may
	// authenticate; empty: client_secret_basic and client_secret_post.
	AuthMethods []string `json:"token_endpoint_auth_methods,omitempty"`

	// DPoP says what the client owes in proofs of possession; empty: nothing.
	// A proof that it shows is checked and binds in any case.
	DPoP string `json:"dpop,omitempty"`

	// The client's side of the rotation contract; see refresh.Rules.
	SendsAttempts bool `json:"sends_attempt_keys,omitempty"`
	APIsReport    bool `json:"apis_report_use,omitempty"`
	NotifyOnly    bool `json:"notify_only,omitempty"`
}

// Values of [Meta.DPoP]: the steps on the way to a client of which no token is
// of use to a thief.
const (
	DPoPReport   = "report"   // an event tells of tokens that were issued without a proof
	DPoPRequired = "required" // no tokens without a proof
)

// Constrained reports whether c may hold no tokens but such that are bound to a
// key: what dpop_bound_access_tokens says (RFC 9449, section 5.2).
func (c *Client) Constrained() bool { return c.DPoP == DPoPRequired }

// Public reports whether c cannot keep a secret.
func (c *Client) Public() bool { return len(c.Secrets) == 0 }

// Errors of a Store.
var (
	// ErrNone says that there is no such client.
	ErrNone = errors.New("no such client")
	// ErrConflict says that the client was changed by somebody else, or, when
	// it was to be created, that it exists.
	ErrConflict = errors.New("client was changed meanwhile or exists")
)

// Store is the memory of the package.
type Store interface {
	// Client returns the client with the id, or [ErrNone].
	Client(ctx context.Context, id string) (Client, error)
	// Clients returns all clients by id.
	Clients(ctx context.Context) ([]Client, error)
	// Put stores c if the stored one is at c.Version (0: if there is none),
	// and raises the version; else it is [ErrConflict]. The event travels in
	// the same transaction.
	Put(ctx context.Context, c Client, e audit.Event) error
	// Delete removes the client, its consents, codes and pushed requests. What
	// was issued to it is ended before, by package revoke.
	Delete(ctx context.Context, id string, e audit.Event) error
}
