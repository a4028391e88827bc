package site

import (
	"bytes"
	"context"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/oauth"
)

const (
	audience       = "api"
	resourceServer = "api"
	redirect       = "https://app.example.com/callback"
)

// A Kind is a kind of client, as it is registered.
type Kind struct {
	Name string
	ID   string
	// Promised says that the contract promises that an honest client of this
	// kind is never logged out.
	Promised bool

	Confidential  bool
	SendsAttempts bool // an attempt key with each refresh
	// Registered says that SendsAttempts is also in its registration: then there
	// is no overlap.
	Registered bool
	Reports    bool // its APIs report use
	OpenID     bool // gets ID tokens too
	Bound      bool // to a key
	// Processes is how many others share the key and the credential, each with
	// storage of its own.
	Processes int
	// DPoP is what the client owes in proofs, as it is registered.
	DPoP string
}

// Kinds returns the kinds of clients.
func Kinds() []Kind {
	return []Kind{
		{Name: "attempt keys", ID: "attempts", Promised: true, SendsAttempts: true, Registered: true},
		{Name: "bearer, APIs report use", ID: "reports", Promised: true, Reports: true, OpenID: true},
		{Name: "confidential, attempt keys", ID: "confidential", Promised: true, Confidential: true, SendsAttempts: true, OpenID: true},
		{Name: "plain bearer", ID: "plain"},
		{Name: "bound to a key", ID: "bound", Promised: true, Bound: true, OpenID: true},
		{Name: "processes with one key", ID: "processes", Promised: true, Bound: true, Processes: 3, DPoP: client.DPoPRequired},
	}
}

// Slack is by how much moments may differ at which a client of the kind tries
// again: plain bearer clients have little time.
func (k *Kind) Slack() time.Duration {
	if k.Promised {
		return 5 * time.Second
	}
	return time.Second / 2
}

// Overlaps reports whether the parent of a generation is answered for as long as
// the overlap lasts.
func (k *Kind) Overlaps() bool { return !k.Registered && !k.Bound }

// register stores the clients.
func (s *Site) register(ctx context.Context) error {
	for _, k := range Kinds() {
		if err := s.client(ctx, k.ID, k.Confidential, client.Meta{
			RedirectURIs: []string{redirect}, Trusted: true, Policy: "spa",
			GrantTypes: []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken},
			Scopes:     []string{oauth.ScopeOpenID, "read"}, Audiences: []string{audience},
			SendsAttempts: k.Registered, APIsReport: k.Reports, DPoP: k.DPoP,
		}); err != nil {
			return err
		}
	}
	err := s.client(ctx, resourceServer, true, client.Meta{
		GrantTypes: []string{oauth.GrantClientCredentials}, Audiences: []string{audience}, ResourceServer: true,
	})
	s.secret = s.secrets[resourceServer]
	return err
}

func (s *Site) client(ctx context.Context, id string, confidential bool, m client.Meta) error {
	c := client.Client{ID: id, Meta: m, Created: time.Now()}
	if confidential {
		secret := opaque.New(opaque.ClientSecret)
		c.Secrets = []opaque.Digest{secret.Digest()}
		s.secrets[id] = secret.Reveal()
	}
	if err := c.Check(); err != nil {
		return err
	}
	return s.DB.Clients().Put(ctx, c, audit.Event{Time: time.Now(), Kind: audit.ClientChanged, Client: id})
}

func panicked(log []byte) bool {
	return bytes.Contains(log, []byte("msg=panic")) || bytes.Contains(log, []byte("goroutine 1 ["))
}
