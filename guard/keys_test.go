package guard_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fastbind/fastbind/guard"
	"github.com/fastbind/fastbind/guard/guardtest"
	"github.com/fastbind/fastbind/oauth"
)

// forged returns a token that names an unknown key.
func forged(t *testing.T, issuer *guardtest.Issuer, n int) string {
	t.Helper()
	_, payload, signature := parts(t, issuer.Mint(guardtest.Claims{}))
	return b64(fmt.Sprintf(`{"alg":"ES256","typ":"at+jwt","kid":"unknown-%d"}`, n)) + "." + b64(payload) + "." + signature
}

// However many tokens name unknown keys, the keys are fetched once in ten
// seconds.
func TestUnknownKeysFetchSeldom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := guardtest.NewInMemory(t)
		issuer.KeysFor(time.Hour)
		g := issuer.Guard(t)
		good := issuer.Mint(guardtest.Claims{Expires: time.Now().Add(time.Hour)})
		n := 0
		for range 600 { // a minute
			time.Sleep(100 * time.Millisecond)
			for range 3 {
				n++
				_, err := g.Check(get(forged(t, issuer, n)))
				wantRefusal(t, err, oauth.InvalidToken, guard.ErrInvalid)
			}
			if _, err := g.Check(get(good)); err != nil {
				t.Fatal(err)
			}
		}
		if got := issuer.Requests(guardtest.Keys); got < 7 || got > 8 {
			t.Errorf("%d fetches in a minute, want the first and one each ten seconds", got)
		}
	})
}

// A new key is found at once, by one fetch for all, which does not end with any
// of the requests that wait for it.
func TestKeyFetchIsShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := guardtest.NewInMemory(t)
		issuer.KeysFor(time.Hour)
		g := issuer.Guard(t)
		time.Sleep(time.Minute)
		issuer.Rotate(t, "EdDSA")
		token := issuer.Mint(guardtest.Claims{})
		issuer.Break(guardtest.Silent, guardtest.Keys)
		gone, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			_, err := g.Check(get(token).WithContext(gone)) // the one that brings about the fetch
			wantRefusal(t, err, oauth.TemporarilyUnavailable, guard.ErrUnavailable)
		})
		synctest.Wait()
		for range 50 {
			all.Go(func() {
				_, err := g.Check(get(token))
				// The fetch is cut off by the issuer: nobody knows.
				wantRefusal(t, err, oauth.TemporarilyUnavailable, guard.ErrUnavailable)
			})
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		if n := issuer.Requests(guardtest.Keys); n != 2 {
			t.Errorf("%d fetches, want 2", n)
		}
		issuer.Mend(guardtest.Keys)
		all.Wait()
		time.Sleep(2 * time.Second) // the fetch is tried again
		if _, err := g.Check(get(token)); err != nil {
			t.Error(err)
		}
	})
}

// The request that brings about a fetch goes away; the fetch does not, and the
// others get its keys.
func TestKeyFetchOutlivesRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := guardtest.NewInMemory(t)
		issuer.KeysFor(time.Hour)
		slow := &slowly{next: issuer.Config().HTTPClient.Transport}
		g := issuer.Guard(t, func(c *guard.Config) { c.HTTPClient = &http.Client{Transport: slow} })
		time.Sleep(time.Minute)
		issuer.Rotate(t, "EdDSA")
		token := issuer.Mint(guardtest.Claims{})
		slow.by(time.Second)
		gone, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			_, err := g.Check(get(token).WithContext(gone))
			wantRefusal(t, err, oauth.TemporarilyUnavailable, guard.ErrUnavailable)
		})
		synctest.Wait()
		for range 50 {
			all.Go(func() {
				if _, err := g.Check(get(token)); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		leave()
		all.Wait()
		if n := issuer.Requests(guardtest.Keys); n != 2 {
			t.Errorf("%d fetches, want 2", n)
		}
	})
}

// slowly delays requests for keys.
type slowly struct {
	next http.RoundTripper
	mu   sync.Mutex
	d    time.Duration
}

func (s *slowly) by(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.d = d
}

func (s *slowly) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	d := s.d
	s.mu.Unlock()
	if strings.HasSuffix(r.URL.Path, "/keys") {
		select {
		case <-time.After(d):
		case <-r.Context().Done():
			return nil, context.Cause(r.Context())
		}
	}
	return s.next.RoundTrip(r)
}

// The last good keys stay, whatever the issuer answers, and a token with an
// unknown key is not called bad while they cannot be fetched.
func TestLastGoodKeysStay(t *testing.T) {
	t.Parallel()
	for name, hurt := range map[string]func(*guardtest.Issuer){
		"Unavailable": func(i *guardtest.Issuer) { i.Break(http.StatusServiceUnavailable, guardtest.Keys) },
		"Silent":      func(i *guardtest.Issuer) { i.Break(guardtest.Silent, guardtest.Keys) },
		"Redirect":    func(i *guardtest.Issuer) { i.Break(http.StatusFound, guardtest.Keys) },
		"Metadata":    func(i *guardtest.Issuer) { i.Break(http.StatusNotFound, guardtest.Metadata, guardtest.Keys) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				issuer := guardtest.NewInMemory(t)
				issuer.KeysFor(time.Minute)
				g := issuer.Guard(t)
				hurt(issuer)
				time.Sleep(3 * time.Hour)
				if _, err := g.Check(get(issuer.Mint(guardtest.Claims{}))); err != nil {
					t.Error(err)
				}
				issuer.Rotate(t, "ES256")
				token := issuer.Mint(guardtest.Claims{})
				_, err := g.Check(get(token))
				wantRefusal(t, err, oauth.TemporarilyUnavailable, guard.ErrUnavailable)
				issuer.Mend(guardtest.Keys, guardtest.Metadata)
				time.Sleep(31 * time.Second) // no longer than that between two attempts
				if _, err := g.Check(get(token)); err != nil {
					t.Error(err)
				}
			})
		})
	}
	t.Run("EmptySet", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			issuer := guardtest.NewInMemory(t)
			issuer.KeysFor(time.Minute)
			g := issuer.Guard(t)
			token := issuer.Mint(guardtest.Claims{Expires: time.Now().Add(time.Hour)})
			issuer.Withdraw(keyOf(t, token))
			time.Sleep(10 * time.Minute)
			if _, err := g.Check(get(token)); err != nil {
				t.Error(err)
			}
		})
	})
}

// The keys are fetched again when they get old, with the max-age of the answer,
// within bounds.
func TestKeysGetOld(t *testing.T) {
	t.Parallel()
	for said, want := range map[time.Duration]int{0: 12, time.Second: 120, 10 * time.Minute: 6, 48 * time.Hour: 1} {
		synctest.Test(t, func(t *testing.T) {
			issuer := guardtest.NewInMemory(t)
			issuer.KeysFor(said)
			issuer.Guard(t)
			time.Sleep(time.Hour - time.Second)
			if n := issuer.Requests(guardtest.Keys); n != want {
				t.Errorf("max-age %v: %d fetches in an hour, want %d", said, n, want)
			}
		})
	}
}

// A key that was revoked is refused at once, and the key that replaces it is
// known at once.
func TestKeyRevoked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := guardtest.NewInMemory(t)
		issuer.KeysFor(time.Hour)
		g := issuer.Guard(t)
		old := issuer.Mint(guardtest.Claims{})
		if _, err := g.Check(get(old)); err != nil {
			t.Fatal(err)
		}
		g.Check(get(forged(t, issuer, 1))) // so that no unknown key brings about a fetch for a while
		issuer.Rotate(t, "ES256")
		issuer.Revoke("kid", keyOf(t, old))
		synctest.Wait()
		_, err := g.Check(get(old))
		wantRefusal(t, err, oauth.InvalidToken, guard.ErrRevoked)
		if _, err := g.Check(get(issuer.Mint(guardtest.Claims{}))); err != nil {
			t.Error(err)
		}
	})
}

// The metadata of another issuer, or addresses that nobody should send secrets
// to, are not taken.
func TestMetadataOfAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := guardtest.NewInMemory(t)
		for _, name := range []string{"https://issuer.test/tenant", "https://other.test"} {
			c := issuer.Config()
			c.Issuer = name
			g, err := guard.New(c)
			if err != nil {
				t.Fatal(err)
			}
			guardtest.Run(t, g)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if g.Ready(ctx) == nil {
				t.Errorf("%s: ready", name)
			}
			_, err = g.Check(get(issuer.Mint(guardtest.Claims{})))
			wantRefusal(t, err, oauth.TemporarilyUnavailable, guard.ErrUnavailable)
		}
	})
}

// No redirect is followed, wherever the issuer is told to send somebody.
func TestRedirects(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := guardtest.NewInMemory(t)
		asked := make(chan string, 1000)
		next := issuer.Config().HTTPClient.Transport
		g, err := guard.New(func() guard.Config {
			c := issuer.Config()
			c.HTTPClient = &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
				asked <- r.URL.Host
				if !strings.HasSuffix(r.URL.Path, "/keys") {
					return next.RoundTrip(r)
				}
				return &http.Response{StatusCode: http.StatusFound, Header: http.Header{"Location": {"https://evil.test/"}}, Body: http.NoBody, Request: r}, nil
			})}
			return c
		}())
		if err != nil {
			t.Fatal(err)
		}
		guardtest.Run(t, g)
		time.Sleep(time.Minute)
		synctest.Wait()
		for range len(asked) {
			if host := <-asked; host != "issuer.test" {
				t.Errorf("asked %s", host)
			}
		}
	})
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
