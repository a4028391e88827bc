package client

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fastbind/fastbind/internal/limit"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/oauth"
)

// Credentials are what a request says about the client that sends it.
type Credentials struct {
	ID      string
	Secret  string // in the clear, as sent; only ever compared by digest
	Method  string // oauth.AuthNone, AuthBasic or AuthPost
	Network string // for throttling
}

// String never tells the secret.
func (c Credentials) String() string { return c.ID + " by " + c.Method }

// GoString never tells the secret.
func (c Credentials) GoString() string { return c.String() }

// CredentialsOf reads the client's credentials from the Authorization header and
// the form. More than one method in a request is refused (OAuth 2.1, section
// 2.4).
func CredentialsOf(h http.Header, id, secret, network string) (Credentials, error) {
	c := Credentials{ID: id, Secret: secret, Method: oauth.AuthNone, Network: network}
	if secret != "" {
		c.Method = oauth.AuthPost
	}
	values := h.Values("Authorization")
	if len(values) == 0 {
		if c.ID == "" {
			return c, oauth.Refuse(oauth.InvalidClient, "the client did not say who it is")
		}
		return c, nil
	}
	basicID, basicSecret, ok := basic(values)
	switch {
	case !ok:
		return c, refused(oauth.AuthBasic, nil)
	case secret != "":
		return c, oauth.Refuse(oauth.InvalidRequest, "more than one way of client authentication")
	case id != "" && id != basicID:
		return c, oauth.Refuse(oauth.InvalidRequest, "client_id does not fit the Authorization header")
	}
	return Credentials{ID: basicID, Secret: basicSecret, Method: oauth.AuthBasic, Network: network}, nil
}

// basic reads an Authorization header (RFC 7617); both parts are form-encoded
// (RFC 6749, section 2.3.1).
func basic(values []string) (id, secret string, ok bool) {
	if len(values) != 1 {
		return "", "", false
	}
	scheme, b64, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(b64))
	if err != nil {
		return "", "", false
	}
	id, secret, ok = strings.Cut(string(raw), ":")
	if !ok {
		return "", "", false
	}
	id, errID := url.QueryUnescape(id)
	secret, errSecret := url.QueryUnescape(secret)
	return id, secret, errID == nil && errSecret == nil && id != ""
}

// An Authenticator finds out which client sent a request.
type Authenticator struct {
	Store Store
	// Throttle slows down whoever keeps guessing a secret. It never stands in
	// the way of a right one, so nobody can be locked out.
	Throttle limit.Store
	// Now returns the time; nil means time.Now.
	Now func() time.Time
}

// failures lets somebody guess ten times, and then once a second.
func failures() limit.Rate { return limit.Rate{Burst: 10, Every: time.Second} }

// Authenticate returns the client that proved who it is with c; a public client
// only names itself. The refusal is the same whatever was wrong.
func (a *Authenticator) Authenticate(ctx context.Context, c Credentials) (Client, error) {
	cl, err := a.Store.Client(ctx, c.ID)
	if errors.Is(err, ErrNone) {
		return Client{}, a.fail(ctx, c, err)
	}
	if err != nil {
		return Client{}, err
	}
	switch {
	case !cl.Disabled.IsZero():
		return Client{}, a.fail(ctx, c, errors.New("client is disabled"))
	case cl.Public():
		if c.Method != oauth.AuthNone {
			return Client{}, a.fail(ctx, c, errors.New("a public client sent a secret"))
		}
		return cl, nil
	case !cl.Accepts(c.Method):
		return Client{}, a.fail(ctx, c, errors.New("client may not authenticate that way"))
	case !cl.proves(c.Secret):
		return Client{}, a.fail(ctx, c, errors.New("wrong secret"))
	}
	return cl, nil
}

// Accepts reports whether the confidential client c may authenticate by method.
func (c *Client) Accepts(method string) bool {
	if len(c.AuthMethods) == 0 {
		return method == oauth.AuthBasic || method == oauth.AuthPost
	}
	return slices.Contains(c.AuthMethods, method)
}

func (c *Client) proves(secret string) bool {
	h, err := opaque.Parse(opaque.ClientSecret, secret)
	if err != nil {
		return false
	}
	got := h.Digest()
	ok := 0
	for _, want := range c.Secrets {
		ok |= subtle.ConstantTimeCompare(got[:], want[:])
	}
	return ok == 1
}

func (a *Authenticator) fail(ctx context.Context, c Credentials, cause error) error {
	now := time.Now()
	if a.Now != nil {
		now = a.Now()
	}
	e := refused(c.Method, cause)
	h := opaque.KeyDigest("client", c.ID, limit.Network(c.Network))
	wait, err := a.Throttle.Take(ctx, h, failures(), now)
	if err != nil {
		return err
	}
	if wait > 0 {
		e.Status, e.RetryAfter = http.StatusTooManyRequests, int(wait.Seconds())+1
	}
	return e
}

func refused(method string, cause error) *oauth.Error {
	e := &oauth.Error{Code: oauth.InvalidClient, Description: "client authentication failed", Cause: cause}
	if method == oauth.AuthBasic {
		e.Challenge = `Basic realm="fastbind", charset="UTF-8"` // RFC 6749, section 5.2
	}
	return e
}
