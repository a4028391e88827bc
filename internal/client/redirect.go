package client

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/oauth"
)

// MayRedirect reports whether uri is one of the redirect URIs of c: the same
// string, but for the port of a registered loopback address (RFC 8252, section
// 7.3). 127.0.0.1, [::1] and localhost are three different hosts.
func (c *Client) MayRedirect(uri string) bool { return matches(c.RedirectURIs, uri) }

// MayReturn reports whether uri is one of the post-logout redirect URIs of c,
// by the same rule.
func (c *Client) MayReturn(uri string) bool { return matches(c.PostLogoutRedirectURIs, uri) }

func matches(registered []string, uri string) bool {
	if slices.Contains(registered, uri) {
		return true
	}
	want, ok := withoutLoopbackPort(uri)
	if !ok {
		return false
	}
	for _, r := range registered {
		if have, ok := withoutLoopbackPort(r); ok && have == want {
			return true
		}
	}
	return false
}

// withoutLoopbackPort cuts the port out of an http URL on a loopback host. It
// works on the text: nothing is decoded, so nothing is taken for something else.
func withoutLoopbackPort(uri string) (string, bool) {
	for _, host := range []string{"http://127.0.0.1", "http://[::1]", "http://localhost"} {
		rest, ok := strings.CutPrefix(uri, host)
		if !ok {
			continue
		}
		if digits, ok := strings.CutPrefix(rest, ":"); ok {
			n := len(digits) - len(strings.TrimLeft(digits, "0123456789"))
			port, err := strconv.ParseUint(digits[:n], 10, 16)
			if err != nil || port == 0 || digits[0] == '0' {
				return "", false
			}
			rest = digits[n:]
		}
		if rest != "" && rest[0] != '/' && rest[0] != '?' {
			return "", false
		}
		return host + rest, true
	}
	return "", false
}

// ErrRedirectURI says that a redirect URI cannot be registered; RFC 7591,
// section 3.2.2 calls it invalid_redirect_uri.
var ErrRedirectURI = errors.New("invalid_redirect_uri")

// CheckRedirectURI returns why uri cannot be registered, or nil: it must be
// absolute, without fragment, wildcard or user information, and either https,
// http on a loopback host, or a private scheme with a dot in it (OAuth 2.1,
// section 2.3; RFC 8252, section 7.1).
func CheckRedirectURI(uri string) error {
	bad := func(why string) error { return fmt.Errorf("%w: %q %s", ErrRedirectURI, uri, why) }
	for _, c := range uri {
		if c <= ' ' || c >= 0x7f || c == '\\' || c == '"' || c == '<' || c == '>' {
			return bad("holds a character that does not belong in a URI")
		}
	}
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		return bad("does not parse")
	case strings.Contains(uri, "#"):
		return bad("has a fragment")
	case strings.Contains(uri, "*"):
		return bad("has a wildcard")
	case u.User != nil:
		return bad("has user information")
	case u.Scheme != "" && !strings.HasPrefix(uri, u.Scheme+":"):
		return bad("has capital letters in its scheme")
	case hasDotSegment(u.EscapedPath()):
		return bad("has dot segments")
	}
	switch u.Scheme {
	case "https":
		if u.Hostname() == "" {
			return bad("has no host")
		}
		return nil
	case "http":
		if _, ok := withoutLoopbackPort(uri); !ok {
			return bad("uses http on a host other than 127.0.0.1, [::1] or localhost")
		}
		return nil
	case "":
		return bad("is not absolute")
	}
	if !strings.Contains(u.Scheme, ".") {
		return bad("has a scheme without a dot")
	}
	return nil
}

func hasDotSegment(path string) bool {
	for s := range strings.SplitSeq(strings.ReplaceAll(strings.ToLower(path), "%2e", "."), "/") {
		if s == "." || s == ".." {
			return true
		}
	}
	return false
}

// Target returns the origin or scheme that a redirect URI leads to, in the form
// of a Content-Security-Policy source.
func Target(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	if u.Scheme == "http" || u.Scheme == "https" {
		return u.Scheme + "://" + u.Host
	}
	return u.Scheme + ":"
}

// Check returns what is wrong with c as a registration, or nil.
func (c *Client) Check() error {
	if c.ID == "" || len(c.ID) > 128 || strings.ContainsFunc(c.ID, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' || r == '"' || r == '\\' }) {
		return errors.New("a client id is 1 to 128 printable characters without blanks, colons, quotes and backslashes")
	}
	if _, err := opaque.DecodeID(c.ID); err == nil { // RFC 9700, section 4.15
		return errors.New("a client id must not have the form of a subject")
	}
	for _, uri := range slices.Concat(c.RedirectURIs, c.PostLogoutRedirectURIs) {
		if err := CheckRedirectURI(uri); err != nil {
			return err
		}
	}
	for _, g := range c.GrantTypes {
		switch g {
		case oauth.GrantAuthorizationCode, oauth.GrantRefreshToken:
		case oauth.GrantClientCredentials:
			if c.Public() {
				return errors.New("client_credentials needs a confidential client")
			}
		default:
			return fmt.Errorf("unknown grant type %q", g)
		}
	}
	switch {
	case c.May(oauth.GrantAuthorizationCode) && len(c.RedirectURIs) == 0:
		return errors.New("authorization_code needs a redirect URI")
	case c.PKCEOptional && c.Public():
		return errors.New("a public client cannot be exempt from PKCE")
	case c.ResourceServer && c.Public():
		return errors.New("a resource server needs a secret")
	case c.ResourceServer && len(c.Audiences) == 0:
		return errors.New("a resource server needs the audience that it is")
	case !c.ResourceServer && len(c.GrantTypes) == 0:
		return errors.New("a client needs a grant type, which a redirect URI implies, or to be a resource server")
	}
	for _, s := range c.Scopes {
		if !ValidScope(s) {
			return fmt.Errorf("%q is not a scope", s)
		}
	}
	return c.checkWords()
}

// checkWords returns which word of the registration has no meaning, or nil.
func (c *Client) checkWords() error {
	if !slices.Contains([]string{"", "ES256", "RS256", "EdDSA"}, c.IDTokenAlg) {
		return fmt.Errorf("ID tokens cannot be signed with %q: use ES256, RS256 or EdDSA", c.IDTokenAlg)
	}
	if !slices.Contains([]string{"", DPoPReport, DPoPRequired}, c.DPoP) {
		return fmt.Errorf("dpop is %s, %s or left out, and not %q", DPoPReport, DPoPRequired, c.DPoP)
	}
	for _, m := range c.AuthMethods {
		if c.Public() || m != oauth.AuthBasic && m != oauth.AuthPost {
			return fmt.Errorf("client authentication method %q is not for this client", m)
		}
	}
	for _, a := range c.Audiences {
		if a == "" || len(a) > 512 || strings.ContainsFunc(a, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return fmt.Errorf("%q is not an audience", a)
		}
	}
	return nil
}

// May reports whether c may use a grant type.
func (c *Client) May(grant string) bool { return slices.Contains(c.GrantTypes, grant) }

// ValidScope reports whether s is a scope token (RFC 6749, section 3.3).
func ValidScope(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return s != "" && len(s) <= 128
}
