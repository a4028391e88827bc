package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fastbind/fastbind/internal/account"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/oauth"
)

// The demo's clients.
const (
	spaID     = "demo-spa"
	webID     = "demo-web"
	serviceID = "demo-service"
	apiID     = "demo-api"
)

// ordersScope is the scope of the orders of the demo API.
const ordersScope = "orders:read"

// Seed makes sure that the demo's users and clients exist, and returns them. The
// secrets of the clients are made once and kept in secretsFile, which only its
// owner can read. What exists already stays as it is, so that Seed may run at
// every start on the same data; a client whose secret is not the one in the file
// gets that one.
func Seed(ctx context.Context, s Stores, secretsFile string, now time.Time) (Facts, error) {
	f := Facts{Users: users()}
	for _, u := range f.Users {
		if err := seedUser(ctx, s.Accounts, u, now); err != nil {
			return Facts{}, fmt.Errorf("demo user %s: %w", u.Username, err)
		}
	}
	secrets, err := readSecrets(secretsFile)
	if err != nil {
		return Facts{}, fmt.Errorf("secrets of the demo clients: %w", err)
	}
	for _, r := range registrations() {
		c := Client{
			ID: r.ID, RedirectURIs: orEmpty(r.RedirectURIs), PostLogoutRedirectURIs: orEmpty(r.PostLogoutRedirectURIs), Policy: r.Policy,
		}
		if r.confidential {
			h := secrets[r.ID]
			r.Secrets = []opaque.Digest{h.Digest()}
			c.Secret = h.Reveal()
		}
		if err := seedClient(ctx, s.Clients, r.Client, now); err != nil {
			return Facts{}, fmt.Errorf("demo client %s: %w", r.ID, err)
		}
		f.Clients = append(f.Clients, c)
	}
	return f, nil
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func seedUser(ctx context.Context, d *account.Directory, u User, now time.Time) error {
	_, err := d.ByName(ctx, u.Username)
	if !errors.Is(err, account.ErrNone) {
		return err // nil: the user exists, and no password needs to be hashed
	}
	_, err = d.Create(ctx, account.Person{Username: u.Username, Password: u.Password, Claims: claims(u.Username, now)})
	if errors.Is(err, account.ErrTaken) {
		return nil // another process was faster
	}
	return err
}

func seedClient(ctx context.Context, s client.Store, want client.Client, now time.Time) error {
	if err := want.Check(); err != nil {
		return err
	}
	event := audit.Event{Time: now, Kind: audit.ClientChanged, Client: want.ID, Note: "demo client"}
	have, err := s.Client(ctx, want.ID)
	switch {
	case errors.Is(err, client.ErrNone):
		want.Created = now
		return s.Put(ctx, want, event)
	case err != nil:
		return err
	case len(want.Secrets) == 0 || slices.Contains(have.Secrets, want.Secrets[0]):
		return nil
	}
	have.Secrets = want.Secrets
	return s.Put(ctx, have, event)
}

type registration struct {
	client.Client
	confidential bool
}

// registrations are the demo's clients, without secrets.
func registrations() []registration {
	callback, home := []string{"http://127.0.0.1/callback"}, []string{"http://127.0.0.1/"}
	app := func(id, name, policy string) client.Client {
		return client.Client{ID: id, Meta: client.Meta{
			Name: name, RedirectURIs: callback, PostLogoutRedirectURIs: home, Policy: policy, Trusted: true,
			GrantTypes: []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken},
			Scopes: []string{
				oauth.ScopeOpenID, oauth.ScopeProfile, oauth.ScopeEmail, oauth.ScopeAddress, oauth.ScopePhone,
				oauth.ScopeOffline, ordersScope,
			},
			Audiences: []string{Audience}, APIsReport: true,
		}}
	}
	service := client.Client{ID: serviceID, Meta: client.Meta{
		Name: "Demo service", Policy: "service", Trusted: true,
		GrantTypes: []string{oauth.GrantClientCredentials}, Scopes: []string{ordersScope}, Audiences: []string{Audience},
	}}
	api := client.Client{ID: apiID, Meta: client.Meta{
		Name: "Demo API", Policy: "service", Trusted: true, ResourceServer: true, Audiences: []string{Audience},
	}}
	return []registration{
		{app(spaID, "Demo app", "spa"), false},
		{app(webID, "Demo website", "web"), true},
		{service, true},
		{api, true},
	}
}

// readSecrets returns a secret for each confidential client: those in the file,
// and new ones, which are in the file when it returns.
func readSecrets(file string) (map[string]opaque.Handle, error) {
	text := map[string]string{}
	b, err := os.ReadFile(file)
	switch {
	case err == nil:
		if err := json.Unmarshal(b, &text); err != nil {
			return nil, fmt.Errorf("%s is not readable as JSON", file) // the cause quotes what it read
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	secrets, fresh := map[string]opaque.Handle{}, false
	for _, r := range registrations() {
		if !r.confidential {
			continue
		}
		h, err := opaque.Parse(opaque.ClientSecret, text[r.ID])
		if err != nil {
			h, fresh = opaque.New(opaque.ClientSecret), true
			text[r.ID] = h.Reveal()
		}
		secrets[r.ID] = h
	}
	if !fresh {
		return secrets, nil
	}
	if b, err = json.MarshalIndent(text, "", "  "); err != nil {
		return nil, fmt.Errorf("write: %w", err)
	}
	return secrets, replace(file, append(b, '\n'))
}

// replace writes a file that only its owner can read, completely or not at all.
func replace(file string, b []byte) (err error) {
	t, err := os.CreateTemp(filepath.Dir(file), ".demo-*") // made with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(t.Name()))
		}
	}()
	_, err = t.Write(b)
	if err = errors.Join(err, t.Sync(), t.Close()); err != nil {
		return err
	}
	return os.Rename(t.Name(), file)
}
