package guard

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/fastbind/fastbind/guard/internal/revoked"
	"github.com/fastbind/fastbind/internal/jose"
)

// A Principal is who is behind a request, as its access token says. Requests
// with the same token share one Principal: it is not to be changed.
type Principal struct {
	Subject  string // sub; that of the client itself where no person is involved
	ClientID string // client_id: the software that acts
	Scope    string // scope, separated by spaces

	SessionID  string // sid; empty if there is none
	Family     string // family: the authorization that the token comes from; empty if there is none
	Generation int64  // generation within Family
	TokenID    string // jti

	Issued, Expires time.Time // iat and exp
	KeyThumbprint   string    // cnf.jkt: the key that the token is bound to, and that was proven; empty if it is a plain bearer token
	AuthTime        time.Time // auth_time: the person's last authentication; zero if the token does not say
	ACR             string    // acr; empty if the token does not say

	claims []byte // JSON, verified; never changed
	cached *seen
}

// Has reports whether scope was granted. It compares exactly.
func (p *Principal) Has(scope string) bool {
	for rest := p.Scope; scope != "" && rest != ""; {
		s, after, _ := strings.Cut(rest, " ")
		if s == scope {
			return true
		}
		rest = after
	}
	return false
}

// Scopes returns the granted scopes.
func (p *Principal) Scopes() iter.Seq[string] {
	return func(yield func(string) bool) {
		for s := range strings.SplitSeq(p.Scope, " ") {
			if s != "" && !yield(s) {
				return
			}
		}
	}
}

// AMR returns how the person authenticated (RFC 8176), nil if the token does
// not say.
func (p *Principal) AMR() []string {
	raw, ok := p.Claim("amr")
	if !ok {
		return nil
	}
	list, err := jose.Strings(raw)
	if err != nil {
		return nil
	}
	return list
}

// Claim returns the value of a claim as it is written in the token.
func (p *Principal) Claim(name string) (json.RawMessage, bool) {
	var value json.RawMessage
	err := jose.Scan(p.claims, func(n, v []byte) error {
		if string(n) == name {
			value = slices.Clone(v)
		}
		return nil
	})
	return value, err == nil && value != nil
}

// Claims returns all claims, as a JSON object.
func (p *Principal) Claims() json.RawMessage { return slices.Clone(p.claims) }

// What a token may be refused for.
var (
	errClaim    = errors.New("claim missing or of wrong type")
	errIssuer   = errors.New("other issuer")
	errAudience = errors.New("other audience")
	errType     = errors.New("not an access token")
	errEarly    = errors.New("not valid yet")
	errBinding  = errors.New("bound in a way that is not known")
)

// reading collects the claims of one token.
type reading struct {
	into             *seen
	issuer, audience string
	iss, aud, cnf    bool
	exp, nbf, iat    int64
	hasExp, hasIat   bool
	hasAuthTime      bool
	authTime         int64
}

// readClaims fills s with the claims in payload.
func (g *Guard) readClaims(s *seen, payload []byte, now time.Time) error {
	c := reading{into: s, issuer: g.config.Issuer, audience: g.config.Audience}
	if err := jose.Scan(payload, c.member); err != nil {
		return err
	}
	p, leeway := &s.principal, int64(g.config.Leeway/time.Second)
	switch {
	case !c.iss:
		return errIssuer
	case !c.aud:
		return errAudience
	// RFC 9068, section 2.2: required claims.
	case !c.hasExp || !c.hasIat || p.Subject == "" || p.ClientID == "" || p.TokenID == "":
		return errClaim
	case c.cnf && g.proofs == nil:
		return errBound // RFC 9449, section 7.2. RFC 8705, section 3.
	case c.iat > now.Unix()+leeway || c.nbf > now.Unix()+leeway:
		return errEarly
	}
	const latest = 1 << 33 // seconds; as nanoseconds it still fits
	exp := min(c.exp, latest)
	s.until = exp*int64(time.Second) + int64(g.config.Leeway)
	if now.UnixNano() >= s.until {
		return ErrExpired
	}
	p.Issued, p.Expires = time.Unix(c.iat, 0).UTC(), time.Unix(exp, 0).UTC()
	if c.hasAuthTime {
		p.AuthTime = time.Unix(c.authTime, 0).UTC()
	}
	p.claims, p.cached = payload, s
	g.revoked.Name(&s.revoked, revoked.Claims{
		ID: p.TokenID, Family: p.Family, Session: p.SessionID,
		Subject: p.Subject, Client: p.ClientID, Key: s.key.ID, Device: p.KeyThumbprint, Issued: c.iat,
	})
	return nil
}

// member takes one claim.
func (c *reading) member(member, value []byte) (err error) {
	p := &c.into.principal
	switch string(member) {
	case "iss":
		var iss string
		iss, err = jose.Text(value)
		c.iss = iss == c.issuer // RFC 7519, section 4.1.1: compared exactly.
	case "aud":
		c.aud, err = names(value, c.audience)
	case "exp":
		c.exp, err = jose.Time(value)
		c.hasExp = true
	case "nbf":
		c.nbf, err = jose.Time(value)
	case "iat":
		c.iat, err = jose.Time(value)
		c.hasIat = true
	case "auth_time":
		c.authTime, err = jose.Time(value)
		c.hasAuthTime = true
	case "generation":
		p.Generation, err = jose.Time(value)
	case "cnf":
		c.cnf = true
		p.KeyThumbprint, err = thumbprint(value)
	case "sub":
		p.Subject, err = jose.Text(value)
	case "client_id":
		p.ClientID, err = jose.Text(value)
	case "scope":
		p.Scope, err = jose.Text(value)
	case "sid":
		p.SessionID, err = jose.Text(value)
	case "family":
		p.Family, err = jose.Text(value)
	case "jti":
		p.TokenID, err = jose.Text(value)
	case "acr":
		p.ACR, err = jose.Text(value)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errClaim, err)
	}
	return nil
}

// thumbprint returns the key in a confirmation (RFC 9449, section 6.1), which
// names that one and nothing else.
func thumbprint(cnf []byte) (jkt string, err error) {
	err = jose.Scan(cnf, func(name, value []byte) (err error) {
		if string(name) != "jkt" {
			return errBinding
		}
		jkt, err = jose.Text(value)
		return err
	})
	if err == nil && len(jkt) != thumbprintSize {
		err = errBinding
	}
	return jkt, err
}

// thumbprintSize is the length of a SHA-256 thumbprint.
const thumbprintSize = 43

// names reports whether value, a string or an array of strings, names want.
func names(value []byte, want string) (bool, error) {
	if len(value) > 0 && value[0] == '"' {
		s, err := jose.Text(value)
		return s == want, err
	}
	list, err := jose.Strings(value)
	return slices.Contains(list, want), err
}
