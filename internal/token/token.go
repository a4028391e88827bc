// Package token owns access and ID tokens: it decides their claims, signs them,
// reads them back, and answers UserInfo.
//
// An access token is a JWT (RFC 9068) that names its session, family and
// generation, so that whoever verifies it locally can be told that it has ended.
// The invariant: a token never says more than the grant it was minted from, and
// never lives past it. Whether a token still counts is the business of package
// revoke.
package token

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/fastbind/fastbind/internal/jose"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/oauth"
)

// Signers yields the key that signs now.
type Signers interface {
	// Signer returns the signing key of an algorithm, from memory where there
	// is one.
	Signer(ctx context.Context, alg jose.Algorithm) (*jose.Signer, error)
}

// People knows the claims of a person.
type People interface {
	// Claims returns the standard claims of the subject but for sub; nil for a
	// subject that is not known.
	Claims(ctx context.Context, subject string) (map[string]any, error)
}

// A Grant is what a token is minted from.
type Grant struct {
	Client     string
	Subject    string
	Session    string // empty: no person is involved
	Family     string // empty: no family
	Generation int64
	Scope      []string
	Audience   []string // empty: the issuer itself
	AuthTime   time.Time
	ACR        string
	AMR        []string
	Key        string // thumbprint of the key that the token is bound to; empty: none
	Claims     string // claims parameter of the authorization request; may be empty
	Nonce      string
	End        time.Time // no token lives past it; zero: no bound
}

// A Mint signs tokens. Set the fields before use; it is safe for concurrent use.
type Mint struct {
	Issuer  string
	Signers Signers
	People  People
}

// Access returns an access token for g that was decided on at now and lives for
// life, and when it expires. now must be the time of the decision, not later:
// what is revoked after the decision is told apart from what is granted after
// the revocation by it.
func (m *Mint) Access(ctx context.Context, g Grant, now time.Time, life time.Duration) (string, time.Time, error) {
	s, err := m.Signers.Signer(ctx, jose.ES256)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("access token key: %w", err)
	}
	exp := expiry(now, life, g.End)
	c := accessClaims{
		Issuer: m.Issuer, Subject: g.Subject, Audience: audience(g.Audience, m.Issuer), Expires: exp.Unix(),
		Issued: now.Unix(), ID: opaque.NewID(), Client: g.Client, Scope: strings.Join(g.Scope, " "),
		Session: g.Session, Family: g.Family, Generation: g.Generation, ACR: g.ACR, AMR: g.AMR,
	}
	if !g.AuthTime.IsZero() {
		c.AuthTime = g.AuthTime.Unix()
	}
	if g.Key != "" {
		c.Confirmation = &Confirmation{Thumbprint: g.Key}
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("access token claims: %w", err)
	}
	t, err := s.Sign(oauth.TypeAccessToken, payload)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("sign access token: %w", err)
	}
	return t, exp, nil
}

// accessClaims are the claims of an access token (RFC 9068, section 2.2).
type accessClaims struct {
	Issuer       string        `json:"iss"`
	Subject      string        `json:"sub"`
	Audience     any           `json:"aud"`
	Expires      int64         `json:"exp"`
	Issued       int64         `json:"iat"`
	ID           string        `json:"jti"`
	Client       string        `json:"client_id"`
	Scope        string        `json:"scope,omitempty"`
	Session      string        `json:"sid,omitempty"`
	Family       string        `json:"family,omitempty"`
	Generation   int64         `json:"generation,omitempty"`
	AuthTime     int64         `json:"auth_time,omitempty"`
	ACR          string        `json:"acr,omitempty"`
	AMR          []string      `json:"amr,omitempty"`
	Confirmation *Confirmation `json:"cnf,omitempty"`
}

// A Confirmation names the key that a token is bound to. RFC 9449, section 6.1.
type Confirmation struct {
	Thumbprint string `json:"jkt"`
}

func audience(a []string, issuer string) any {
	switch len(a) {
	case 0:
		return issuer
	case 1:
		return a[0]
	}
	return a
}

func expiry(now time.Time, life time.Duration, end time.Time) time.Time {
	exp := now.Add(life)
	if !end.IsZero() && end.Before(exp) {
		exp = end
	}
	return exp
}

// ID returns an ID token for g (OpenID Connect Core, section 2), signed with
// alg, that goes with an access token. A refreshed one carries no nonce (section
// 12.2): the caller leaves it out of g.
func (m *Mint) ID(ctx context.Context, g Grant, alg jose.Algorithm, access string, now time.Time, life time.Duration) (string, error) {
	s, err := m.Signers.Signer(ctx, alg)
	if err != nil {
		return "", fmt.Errorf("id token key: %w", err)
	}
	claims := map[string]any{}
	if want := requested(g.Claims).IDToken; len(want) > 0 {
		known, err := m.People.Claims(ctx, g.Subject)
		if err != nil {
			return "", fmt.Errorf("id token claims: %w", err)
		}
		for name := range want {
			if v, ok := known[name]; ok && v != nil {
				claims[name] = v
			}
		}
	}
	claims["iss"] = m.Issuer
	claims["sub"] = g.Subject
	claims["aud"] = g.Client
	claims["iat"] = now.Unix()
	claims["exp"] = expiry(now, life, g.End).Unix()
	claims["auth_time"] = g.AuthTime.Unix()
	claims["sid"] = g.Session
	claims["at_hash"] = accessHash(alg, access)
	if g.Nonce != "" {
		claims["nonce"] = g.Nonce
	}
	if g.ACR != "" {
		claims["acr"] = g.ACR
	}
	if len(g.AMR) > 0 {
		claims["amr"] = g.AMR
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("id token claims: %w", err)
	}
	t, err := s.Sign(oauth.TypeIDToken, payload)
	if err != nil {
		return "", fmt.Errorf("sign id token: %w", err)
	}
	return t, nil
}

// accessHash is at_hash (OpenID Connect Core, section 3.1.3.6): the left half of
// the access token's hash by the function that alg itself uses.
func accessHash(alg jose.Algorithm, access string) string {
	if alg == jose.EdDSA || alg == jose.Ed25519 {
		sum := sha512.Sum512([]byte(access))
		return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
	}
	sum := sha256.Sum256([]byte(access))
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}
