package client_test

import (
	"errors"
	"testing"

	"github.com/fastbind/fastbind/internal/client"
)

// fixed are redirect URIs on an ordinary host.
func fixed() client.Client {
	return client.Client{Meta: client.Meta{RedirectURIs: []string{
		"https://app.example.com/cb", "https://app.example.com/other?x=1", "com.example.app:/cb",
	}}}
}

func TestN20RedirectPathTricks(t *testing.T) {
	t.Parallel()
	refuseAll(t, fixed(), []string{
		"https://app.example.com/cb/", "https://app.example.com/cb/x", "https://app.example.com/x/../cb", "https://app.example.com//cb",
		"https://app.example.com/%63b", "https://app.example.com/cb%2f", "https://app.example.com/.%2e/cb", "https://app.example.com/CB",
		"https://app.example.com/cb;x", "https://app.example.com", "https://app.example.com/", "com.example.app:/CB", "com.example.app://cb",
	})
}

func TestN21RedirectAuthorityTricks(t *testing.T) {
	t.Parallel()
	refuseAll(t, fixed(), []string{
		"https://app.example.com@evil.test/cb", "https://user@app.example.com/cb", "https://evil.test\\@app.example.com/cb",
		"https://app.example.com\t/cb", "https://app.example.com\n/cb", "https://app.example.com%00/cb", "https://app.example.com./cb",
		"https:app.example.com/cb", "https:/app.example.com/cb", "https://sub.app.example.com/cb", "https://example.com/cb",
		"https://APP.example.com/cb", "HTTPS://app.example.com/cb", "https://app.example.com.evil.test/cb", "https://ａpp.example.com/cb",
		"https://аpp.example.com/cb", " https://app.example.com/cb", "https://app.example.com/cb ", "http://app.example.com/cb",
	})
}

func TestN22RedirectQueryAndFragment(t *testing.T) {
	t.Parallel()
	refuseAll(t, fixed(), []string{
		"https://app.example.com/cb?", "https://app.example.com/cb?x=1", "https://app.example.com/other", "https://app.example.com/other?x=2",
		"https://app.example.com/other?x=1&y=2", "https://app.example.com/cb#", "https://app.example.com/cb#x",
	})
	c := fixed()
	for _, uri := range c.RedirectURIs {
		if !c.MayRedirect(uri) {
			t.Errorf("MayRedirect(%q) = false for a registered URI", uri)
		}
	}
}

func TestN23RedirectPorts(t *testing.T) {
	t.Parallel()
	refuseAll(t, fixed(), []string{"https://app.example.com:443/cb", "https://app.example.com:8443/cb"})
	for registered, other := range map[string][]string{
		"http://127.0.0.1/callback": {"http://127.0.0.1:1/callback", "http://127.0.0.1:65535/callback", "http://127.0.0.1/callback"},
		"http://[::1]:80/callback":  {"http://[::1]/callback", "http://[::1]:8080/callback"},
		"http://localhost/callback": {"http://localhost:3000/callback"},
	} {
		c := client.Client{Meta: client.Meta{RedirectURIs: []string{registered}}}
		for _, uri := range other {
			if !c.MayRedirect(uri) {
				t.Errorf("registered %q: MayRedirect(%q) = false", registered, uri)
			}
		}
	}
	loop := client.Client{Meta: client.Meta{RedirectURIs: []string{"http://127.0.0.1/callback"}}}
	refuseAll(t, loop, []string{
		"http://localhost/callback", "http://[::1]/callback", "http://127.1/callback", "http://0x7f.0.0.1/callback", "http://2130706433/callback",
		"http://[::ffff:127.0.0.1]/callback", "https://127.0.0.1/callback", "http://127.0.0.1:0/callback", "http://127.0.0.1:065/callback",
		"http://127.0.0.1:65536/callback", "http://127.0.0.1:8080:/callback", "http://127.0.0.1:/callback", "http://127.0.0.1:80@evil.test/callback",
		"http://127.0.0.1@evil.test/callback", "http://127.0.0.1.evil.test/callback", "http://127.0.0.1:+80/callback", "http://127.0.0.1:80#/callback",
		"http://127.0.0.1:80/callback?x", "http://127.0.0.1:80/Callback", "http://127.0.0.2/callback", "http://127.0.0.1:80\\callback",
	})
}

func refuseAll(t *testing.T, c client.Client, uris []string) {
	t.Helper()
	for _, uri := range uris {
		if c.MayRedirect(uri) {
			t.Errorf("MayRedirect(%q) = true, registered %q", uri, c.RedirectURIs)
		}
	}
}

func TestN24RegisteredRedirectURIs(t *testing.T) {
	t.Parallel()
	for _, uri := range []string{
		"javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "myapp:/cb", "vbscript:x", "http://app.example.com/cb", "http://10.0.0.1/cb",
		"https://app.example.com/cb#f", "https://app.example.com/cb#", "https://*.example.com/cb", "https://app.example.com/*", "https://user@app.example.com/cb",
		"/cb", "", "https://", "https:///cb", "https://app.example.com/a/../b", "https://app.example.com/%2e%2E/b", "https://app.example.com/c b",
		"https://app.example.com\\@evil.test", "HTTPS://app.example.com/cb", "https://app.example.com/\x00", "https://äpp.example.com/cb",
		"http://127.0.0.1.evil.test/cb", "http://localhost.evil.test/cb", "http://127.0.0.1:99999/cb",
	} {
		if err := client.CheckRedirectURI(uri); !errors.Is(err, client.ErrRedirectURI) {
			t.Errorf("CheckRedirectURI(%q) = %v, want invalid_redirect_uri", uri, err)
		}
	}
	for _, uri := range []string{
		"https://app.example.com/cb", "https://app.example.com:8443/cb?x=1", "http://127.0.0.1/cb", "http://127.0.0.1:1234/cb", "http://[::1]/cb",
		"http://localhost:3000/cb", "com.example.app:/cb", "com.example.app://oauth/cb",
	} {
		if err := client.CheckRedirectURI(uri); err != nil {
			t.Errorf("CheckRedirectURI(%q) = %v", uri, err)
		}
	}
}

func FuzzMayRedirect(f *testing.F) {
	f.Add("http://127.0.0.1:80/callback")
	f.Add("http://127.0.0.1:80@evil/callback")
	c := client.Client{Meta: client.Meta{RedirectURIs: []string{"http://127.0.0.1/callback", "https://app.example.com/cb"}}}
	f.Fuzz(func(t *testing.T, uri string) {
		if !c.MayRedirect(uri) {
			return
		}
		switch target := client.Target(uri); {
		case target == "https://app.example.com" && uri == c.RedirectURIs[1]:
		case len(target) >= len("http://127.0.0.1") && target[:len("http://127.0.0.1")] == "http://127.0.0.1" && client.CheckRedirectURI(uri) == nil:
		default:
			t.Errorf("%q leads to %q", uri, target)
		}
	})
}
