// Package demo owns what a server in development mode shows: users and clients
// with secrets that everybody may know, a small API behind the guard, and a page
// on which a person steals a token and sees what comes of it.
//
// It works on the server from the outside: the API asks the issuer over HTTP as
// any resource server does, and the page is an ordinary OAuth client. The
// invariant: nothing of it exists unless somebody asked for a demo, and it
// listens on a loopback address only.
package demo

import (
	"github.com/fastbind/fastbind/internal/account"
	"github.com/fastbind/fastbind/internal/client"
)

// Audience is the audience of the access tokens for the demo API.
const Audience = "demo-api"

// Stores are what the demo's users and clients are put into.
type Stores struct {
	Clients  client.Store
	Accounts *account.Directory
}

// Facts are what somebody who tries the server has to know.
type Facts struct {
	Users   []User   `json:"users"`
	Clients []Client `json:"clients"`
}

// A User is somebody who can sign in.
type User struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// A Client is registered software.
type Client struct {
	ID                     string   `json:"client_id"`
	Secret                 string   `json:"client_secret,omitempty"` // empty: a public client
	RedirectURIs           []string `json:"redirect_uris"`
	PostLogoutRedirectURIs []string `json:"post_logout_redirect_uris"`
	Policy                 string   `json:"policy"`
}

// String never tells the secret.
func (c Client) String() string { return c.ID }

// GoString never tells the secret.
func (c Client) GoString() string { return c.ID }

// client returns the client with an id; the zero value if there is none.
func (f Facts) client(id string) Client {
	for _, c := range f.Clients {
		if c.ID == id {
			return c
		}
	}
	return Client{}
}
