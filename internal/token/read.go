package token

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fastbind/fastbind/internal/jose"
	"github.com/fastbind/fastbind/oauth"
)

// Keys yields the keys that verify.
type Keys interface {
	// Find returns the published keys that a kid and an algorithm may mean;
	// none: there is no such key. An error is a fault: nobody knows.
	Find(ctx context.Context, kid string, alg jose.Algorithm) ([]*jose.Key, error)
}

// Claims are what an access or ID token of ours says.
type Claims struct {
	Issuer     string
	Subject    string
	Audience   []string
	Expires    time.Time
	Issued     time.Time
	ID         string
	Client     string // client_id; of an ID token its audience
	Scope      []string
	Session    string
	Family     string
	Generation int64
	AuthTime   time.Time
	ACR        string
	AMR        []string
	Thumbprint string // cnf.jkt
	KeyID      string
}

// ErrInvalid says that a token is not one of ours, or not of the wanted type, or
// has expired. What exactly is wrong is in the error that wraps it, for the log.
var ErrInvalid = errors.New("invalid token")

// A Reader verifies tokens that this server signed.
type Reader struct {
	Issuer string
	Keys   Keys
}

// leeway is how far the clocks of the nodes may differ.
const leeway = 5 * time.Second

// Access returns the claims of an access token of ours that has not expired at
// now, or [ErrInvalid]. Any other error is a fault, and no verdict on the token.
func (r *Reader) Access(ctx context.Context, t string, now time.Time) (Claims, error) {
	c, typ, err := r.read(ctx, t)
	if err != nil {
		return Claims{}, err
	}
	switch {
	case !strings.EqualFold(strings.TrimPrefix(typ, "application/"), oauth.TypeAccessToken):
		return Claims{}, invalid("typ")
	case c.Issuer != r.Issuer:
		return Claims{}, invalid("iss")
	case c.ID == "" || c.Subject == "" || c.Client == "":
		return Claims{}, invalid("claims are missing")
	case !now.Before(c.Expires):
		return Claims{}, invalid("exp")
	case c.Issued.After(now.Add(leeway)):
		return Claims{}, invalid("iat")
	}
	return c, nil
}

// Hint returns the claims of an ID token of ours, expired or not (OpenID Connect
// Core, section 3.1.2.1), or [ErrInvalid]. Any other error is a fault.
func (r *Reader) Hint(ctx context.Context, t string) (Claims, error) {
	c, typ, err := r.read(ctx, t)
	if err != nil {
		return Claims{}, err
	}
	switch {
	case !strings.EqualFold(typ, oauth.TypeIDToken):
		return Claims{}, invalid("typ")
	case c.Issuer != r.Issuer:
		return Claims{}, invalid("iss")
	case c.Subject == "" || len(c.Audience) != 1:
		return Claims{}, invalid("claims are missing")
	}
	c.Client = c.Audience[0]
	return c, nil
}

func invalid(what string) error { return errors.Join(ErrInvalid, errors.New(what)) }

// read verifies the signature and reads the claims of a token. The key is the
// one that was published under the token's kid, and the algorithm is the key's.
func (r *Reader) read(ctx context.Context, t string) (Claims, string, error) {
	m, err := jose.Parse(t)
	if err != nil {
		return Claims{}, "", errors.Join(ErrInvalid, err)
	}
	h := m.Header()
	keys, err := r.Keys.Find(ctx, h.KeyID, h.Algorithm)
	if err != nil {
		return Claims{}, "", fmt.Errorf("find the key of a token: %w", err)
	}
	var payload []byte
	err = errors.New("unknown kid")
	for _, k := range keys {
		if payload, err = m.Verify(k); err == nil {
			break
		}
	}
	if err != nil {
		return Claims{}, "", errors.Join(ErrInvalid, err)
	}
	c := Claims{KeyID: h.KeyID}
	if err := jose.Scan(payload, c.set); err != nil {
		return Claims{}, "", errors.Join(ErrInvalid, err)
	}
	return c, h.Type, nil
}

func (c *Claims) set(name, value []byte) (err error) {
	at := func(dst *time.Time) error {
		s, err := jose.Time(value)
		*dst = time.Unix(s, 0)
		return err
	}
	text := func(dst *string) (err error) { *dst, err = jose.String(value); return err }
	switch string(name) {
	case "iss":
		return text(&c.Issuer)
	case "sub":
		return text(&c.Subject)
	case "jti":
		return text(&c.ID)
	case "client_id":
		return text(&c.Client)
	case "sid":
		return text(&c.Session)
	case "family":
		return text(&c.Family)
	case "acr":
		return text(&c.ACR)
	case "exp":
		return at(&c.Expires)
	case "iat":
		return at(&c.Issued)
	case "auth_time":
		return at(&c.AuthTime)
	case "generation":
		c.Generation, err = jose.Time(value)
	case "aud":
		c.Audience, err = jose.Strings(value)
	case "amr":
		c.AMR, err = jose.Strings(value)
	case "scope":
		var s string
		s, err = jose.String(value)
		c.Scope = strings.Fields(s)
	case "cnf":
		return jose.Scan(value, func(name, value []byte) error {
			if string(name) == "jkt" {
				c.Thumbprint, err = jose.String(value)
			}
			return err
		})
	}
	return err
}

// For reports whether the token is meant for an audience.
func (c *Claims) For(audience string) bool { return slices.Contains(c.Audience, audience) }
