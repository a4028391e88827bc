package token

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"

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

// A Reader verifies tokens that this server signed. Set the fields before the
// first call; it is safe for concurrent use.
type Reader struct {
	Issuer string
	Keys   Keys
	// Remember is how many bytes of memory the claims of access tokens may take,
	// roughly, that are remembered by their digest so that their signatures need
	// not be checked again; 0: none are.
	Remember uint64

	begin sync.Once
	seen  *otter.Cache[[sha256.Size]byte, signed]
}

// A signed is a token whose signature was checked. It holds no part of the token
// itself.
type signed struct {
	claims Claims
	typ    string
	key    *jose.Key // that the signature is by
	size   uint32    // of the token
}

// leeway is how far the clocks of the nodes may differ.
const leeway = 5 * time.Second

// Access returns the claims of an access token of ours that has not expired at
// now, or [ErrInvalid]. Any other error is a fault, and no verdict on the token.
// Do not change what the slices of the claims hold.
func (r *Reader) Access(ctx context.Context, t string, now time.Time) (Claims, error) {
	digest := sha256.Sum256([]byte(t))
	s, known, err := r.recall(ctx, digest)
	if err == nil && !known {
		s, err = r.read(ctx, t)
	}
	if err != nil {
		return Claims{}, err
	}
	c := s.claims
	switch {
	case !strings.EqualFold(strings.TrimPrefix(s.typ, "application/"), oauth.TypeAccessToken):
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
	if r.seen != nil && !known {
		s.size = uint32(len(t)) //nolint:gosec // package jose reads nothing long
		r.seen.Set(digest, s)
	}
	return c, nil
}

// recall returns what is known of an access token that was verified before. That
// counts only while the key that it was verified with is published.
func (r *Reader) recall(ctx context.Context, digest [sha256.Size]byte) (s signed, known bool, err error) {
	r.begin.Do(func() {
		if r.Remember > 0 {
			r.seen = otter.Must(&otter.Options[[sha256.Size]byte, signed]{MaximumWeight: r.Remember, Weigher: weigh})
		}
	})
	if r.seen == nil {
		return signed{}, false, nil
	}
	if s, known = r.seen.GetIfPresent(digest); !known {
		return signed{}, false, nil
	}
	keys, err := r.find(ctx, s.key.ID, s.key.Algorithm)
	if err == nil && !slices.Contains(keys, s.key) {
		r.seen.Invalidate(digest)
		known = false
	}
	return s, known, err
}

// weigh returns what an entry takes, roughly: the claims are shorter than their
// token, and the rest is of one size.
func weigh(_ [sha256.Size]byte, s signed) uint32 { return 640 + s.size }

// Hint returns the claims of an ID token of ours, expired or not (OpenID Connect
// Core, section 3.1.2.1), or [ErrInvalid]. Any other error is a fault.
func (r *Reader) Hint(ctx context.Context, t string) (Claims, error) {
	s, err := r.read(ctx, t)
	if err != nil {
		return Claims{}, err
	}
	c := s.claims
	switch {
	case !strings.EqualFold(s.typ, oauth.TypeIDToken):
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

func (r *Reader) find(ctx context.Context, kid string, alg jose.Algorithm) ([]*jose.Key, error) {
	keys, err := r.Keys.Find(ctx, kid, alg)
	if err != nil {
		return nil, fmt.Errorf("find the key of a token: %w", err)
	}
	return keys, nil
}

// read verifies the signature and reads the claims of a token. The key is the
// one that was published under the token's kid, and the algorithm is the key's.
func (r *Reader) read(ctx context.Context, t string) (signed, error) {
	m, err := jose.Parse(t)
	if err != nil {
		return signed{}, errors.Join(ErrInvalid, err)
	}
	h := m.Header()
	keys, err := r.find(ctx, h.KeyID, h.Algorithm)
	if err != nil {
		return signed{}, err
	}
	// What the header says is a part of the token.
	s := signed{claims: Claims{KeyID: strings.Clone(h.KeyID)}, typ: strings.Clone(h.Type)}
	var payload []byte
	err = errors.New("unknown kid")
	for _, k := range keys {
		if payload, err = m.Verify(k); err == nil {
			s.key = k
			break
		}
	}
	if err == nil {
		err = jose.Scan(payload, s.claims.set)
	}
	if err != nil {
		return signed{}, errors.Join(ErrInvalid, err)
	}
	return s, nil
}

func (c *Claims) set(name, value []byte) (err error) {
	at := func(dst *time.Time) error {
		s, err := jose.Time(value)
		*dst = time.Unix(s, 0)
		return err
	}
	text := func(dst *string) (err error) {
		*dst, err = jose.String(value)
		if err == nil && strings.IndexByte(*dst, 0) >= 0 { // in nothing of ours, and not to be asked of a database
			err = jose.ErrMalformed
		}
		return err
	}
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
