package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/listing"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/policy"
	"github.com/fastbind/fastbind/internal/revoke"
)

type clientCreate struct {
	ID string `arg:"" optional:"" name:"id" help:"Client id; one is made if it is left out."`

	Name           string   `help:"Name that people are shown."`
	Public         bool     `help:"The client cannot keep a secret: a browser or native app."`
	RedirectURI    []string `name:"redirect-uri" sep:"none" placeholder:"URI" help:"Where answers may go; may be repeated."`
	PostLogoutURI  []string `name:"post-logout-redirect-uri" sep:"none" placeholder:"URI" help:"Where people may return to after sign-out; may be repeated."`
	Grant          []string `placeholder:"TYPE" help:"authorization_code, refresh_token, client_credentials; the first two if there is a redirect URI."`
	Scope          []string `sep:" " placeholder:"SCOPE" help:"Scopes it may ask for."`
	Audience       []string `sep:"none" placeholder:"AUD" help:"Resource servers that its access tokens are for."`
	Policy         string   `placeholder:"NAME" help:"Session policy: web, spa, mobile, bank, kiosk or service."`
	IDTokenAlg     string   `name:"id-token-alg" placeholder:"ALG" help:"Algorithm of its ID tokens; ES256 if it is left out."`
	AuthMethod     []string `placeholder:"METHOD" help:"client_secret_basic, client_secret_post."`
	Trusted        bool     `help:"The operator's own: no consent is asked."`
	ResourceServer bool     `help:"It may introspect tokens for its audience and read the revocation feed."`
	PKCEOptional   bool     `name:"pkce-optional" help:"Exempt a confidential client from PKCE."`
	RequirePAR     bool     `name:"require-par" help:"Refuse authorization requests that were not pushed."`
	DPoP           string   `name:"dpop" default:"off" enum:"off,report,required" help:"Proofs of possession: off, report (tell of tokens without one) or required."`
	SendsAttempts  bool     `name:"sends-attempt-keys" help:"It sends an Idempotency-Key with each refresh."`
	APIsReport     bool     `name:"apis-report-use" help:"Its APIs report the first use of its tokens."`
	NotifyOnly     bool     `name:"notify-only" help:"Refuse and notify where a second holder cannot be told from a thief."`
}

// Run registers the client.
func (k *clientCreate) Run(ctx context.Context, c *console) error {
	if k.Policy != "" {
		if _, ok := policy.Named(k.Policy); !ok {
			var names []string
			for _, p := range policy.Presets() {
				names = append(names, p.Name)
			}
			return usageError{fmt.Sprintf("there is no policy %q; there are %s", k.Policy, strings.Join(names, ", "))}
		}
	}
	if k.ID == "" {
		k.ID = "client-" + opaque.NewID()
	}
	if len(k.Grant) == 0 && len(k.RedirectURI) > 0 {
		k.Grant = []string{"authorization_code", "refresh_token"}
	}
	n := client.Client{ID: k.ID, Created: time.Now(), Meta: client.Meta{
		Name: k.Name, RedirectURIs: k.RedirectURI, PostLogoutRedirectURIs: k.PostLogoutURI, GrantTypes: k.Grant,
		Scopes: k.Scope, Audiences: k.Audience, Policy: k.Policy, Trusted: k.Trusted, ResourceServer: k.ResourceServer,
		PKCEOptional: k.PKCEOptional, RequirePAR: k.RequirePAR, IDTokenAlg: k.IDTokenAlg, AuthMethods: k.AuthMethod,
		DPoP: dpopStep(k.DPoP), SendsAttempts: k.SendsAttempts, APIsReport: k.APIsReport, NotifyOnly: k.NotifyOnly,
	}}
	var secret opaque.Handle
	if !k.Public {
		secret = opaque.New(opaque.ClientSecret)
		n.Secrets = []opaque.Digest{secret.Digest()}
	}
	if err := n.Check(); err != nil {
		return usageError{err.Error()}
	}
	return c.with(ctx, func(a *app.App) error {
		err := a.Clients.Put(ctx, n, audit.Event{Time: n.Created, Kind: audit.ClientChanged, Client: n.ID, Note: "created"})
		if errors.Is(err, client.ErrConflict) {
			return fmt.Errorf("there is a client %q already", n.ID)
		}
		if err != nil {
			return err
		}
		v := listing.OfClient(n)
		v.Secret = secret.Reveal()
		return c.print(v, v.Write)
	})
}

type clientList struct{}

// Run lists all clients.
func (clientList) Run(ctx context.Context, c *console) error {
	return c.with(ctx, func(a *app.App) error {
		all, err := a.Clients.Clients(ctx)
		if err != nil {
			return err
		}
		views, t := listing.OfClients(all)
		return c.print(views, t.Write)
	})
}

type clientShow struct {
	ID string `arg:"" name:"id"`
}

// Run shows one client.
func (k *clientShow) Run(ctx context.Context, c *console) error {
	return c.with(ctx, func(a *app.App) error {
		found, err := findClient(ctx, a, k.ID)
		if err != nil {
			return err
		}
		v := listing.OfClient(found)
		return c.print(v, v.Write)
	})
}

type clientDPoP struct {
	ID   string `arg:"" name:"id"`
	Step string `arg:"" enum:"off,report,required" help:"off, report or required."`
}

// Run changes what the client owes in proofs of possession.
func (k *clientDPoP) Run(ctx context.Context, c *console) error {
	return c.with(ctx, func(a *app.App) error {
		found, err := findClient(ctx, a, k.ID)
		if err != nil {
			return err
		}
		found.DPoP = dpopStep(k.Step)
		event := audit.Event{Time: time.Now(), Kind: audit.ClientChanged, Client: k.ID, Note: "dpop " + k.Step}
		if err := a.Clients.Put(ctx, found, event); err != nil {
			return err
		}
		found.Version++
		v := listing.OfClient(found)
		return c.print(v, v.Write)
	})
}

// dpopStep is what a step on the command line is in a registration.
func dpopStep(s string) string {
	if s == "off" {
		return ""
	}
	return s
}

type clientDelete struct {
	ID string `arg:"" name:"id"`
}

// Run ends all that the client holds, and then removes it. It may be repeated
// after it was cut off.
func (k *clientDelete) Run(ctx context.Context, c *console) error {
	return c.with(ctx, func(a *app.App) error {
		if _, err := findClient(ctx, a, k.ID); err != nil {
			return err
		}
		ended, err := a.Revoke.End(ctx, revoke.Order{Kind: revoke.Client, Value: k.ID, Reason: audit.ClientDisabled, Disable: true})
		if err != nil {
			return err
		}
		err = a.Clients.Delete(ctx, k.ID, audit.Event{Time: time.Now(), Kind: audit.ClientChanged, Client: k.ID, Note: "deleted"})
		if err != nil {
			return err
		}
		return c.printEnded(ended)
	})
}

func findClient(ctx context.Context, a *app.App, id string) (client.Client, error) {
	found, err := a.Clients.Client(ctx, id)
	if errors.Is(err, client.ErrNone) {
		return found, fmt.Errorf("there is no client %q", id)
	}
	return found, err
}
