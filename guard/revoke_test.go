package guard_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fastbind/fastbind/guard"
	"github.com/fastbind/fastbind/guard/guardtest"
	"github.com/fastbind/fastbind/oauth"
)

// kinds are what can be revoked of a token with these claims.
var claims = guardtest.Claims{
	Subject: "ada", ClientID: "app", SessionID: "s1", Family: "f1", Generation: 1, TokenID: "t1",
}

func kinds(t *testing.T, token string) map[string]string {
	t.Helper()
	return map[string]string{
		"jti": "t1", "family": "f1", "sid": "s1", "sub": "ada", "client": "app", "kid": keyOf(t, token), "epoch": "",
	}
}

// A token that is in the cache is refused within a second of its revocation,
// whatever it is that was revoked, and so is one that was never seen; the
// tokens of others are not.
func TestN77EachKindOfRevocation(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"jti", "family", "sid", "sub", "client", "kid", "epoch"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			issuer := guardtest.New(t)
			before := time.Now().Add(-2 * time.Second)
			c := claims
			c.Issued = before
			token := issuer.Mint(c)
			unseen := c
			unseen.Scope = "unseen"
			neverSeen := issuer.Mint(unseen)
			oldKey := keyOf(t, token)
			issuer.Rotate(t, "ES256")
			g := issuer.Guard(t)
			other := issuer.Mint(guardtest.Claims{Subject: "bob", ClientID: "other", Issued: time.Now().Add(2 * time.Second)})
			for _, token := range []string{token, other} {
				if _, err := g.Check(get(token)); err != nil {
					t.Fatal(err)
				}
			}
			p, err := g.Check(get(token))
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := g.Watch(soon(t), p)
			defer stop()

			value := kinds(t, token)[kind]
			if kind == "kid" {
				value = oldKey
			}
			revoked := time.Now()
			issuer.Revoke(kind, value)
			<-ctx.Done()
			if d := time.Since(revoked); d > time.Second || !errors.Is(context.Cause(ctx), guard.ErrRevoked) {
				t.Errorf("after %v: %v", d, context.Cause(ctx))
			}
			for _, token := range []string{token, neverSeen} {
				_, err := g.Check(get(token))
				wantRefusal(t, err, oauth.InvalidToken, guard.ErrRevoked)
			}
			if _, err := g.Check(get(other)); err != nil {
				t.Errorf("somebody else's: %v", err)
			}
			if s := g.Stats(); len(s.Propagation) != 1 || s.Propagation[0] > time.Second {
				t.Errorf("propagation: %v", s.Propagation)
			}
		})
	}
}

// What a person, a client or everybody was issued after the moment of the
// revocation is good.
func TestRevokedUpToAMoment(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	now := time.Now()
	for _, e := range []guardtest.Entry{
		{Kind: "sub", Value: "ada"}, {Kind: "client", Value: "app"}, {Kind: "epoch"},
	} {
		e.Before, e.Until = now.Unix(), now.Add(time.Hour).Unix()
		issuer.Append(e)
		g := issuer.Guard(t)
		for _, ahead := range []time.Duration{-time.Hour, -time.Second, 0} {
			c := claims
			c.Issued, c.Expires = now.Add(ahead), now.Add(time.Minute)
			_, err := g.Check(get(issuer.Mint(c)))
			wantRefusal(t, err, oauth.InvalidToken, guard.ErrRevoked)
		}
		c := claims
		c.Issued = now.Add(time.Second)
		if _, err := g.Check(get(issuer.Mint(c))); err != nil {
			t.Errorf("%s: issued a second later: %v", e.Kind, err)
		}
		issuer.Restart()
	}
}

// What was revoked before the guard began is in the snapshot.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	token := issuer.Mint(claims)
	issuer.Revoke("family", "f1")
	for range 5 {
		issuer.Revoke("jti", "x")
	}
	g := issuer.Guard(t)
	_, err := g.Check(get(token))
	wantRefusal(t, err, oauth.InvalidToken, guard.ErrRevoked)
	if s := g.Stats(); s.Revocations != 2 || s.ViewAge < 0 {
		t.Errorf("stats: %+v", s)
	}
}

// An event stream over a real connection ends when its session is revoked, and
// a hijacked one too; those of others go on, and nothing is held afterwards.
func TestOpenStreamsEnd(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	g := issuer.Guard(t)
	causes := make(chan error, 10)
	mux := http.NewServeMux()
	mux.Handle("/stream", g.Require()(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "data: hello\n\n")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
		causes <- context.Cause(r.Context())
	})))
	mux.Handle("/socket", g.Require()(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: test\r\nConnection: upgrade\r\n\r\nhello\n")
		rw.Flush()
		<-r.Context().Done()
		causes <- context.Cause(r.Context())
	})))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	open := func(path, token string) *bufio.Reader {
		r, err := http.NewRequestWithContext(soon(t), http.MethodGet, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		if path == "/socket" {
			r.Header.Set("Connection", "upgrade")
			r.Header.Set("Upgrade", "test")
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		body := bufio.NewReader(resp.Body)
		if line, err := body.ReadString('\n'); err != nil || line != "data: hello\n" && line != "hello\n" {
			t.Fatal(line, err)
		}
		return body
	}
	mine := issuer.Mint(guardtest.Claims{SessionID: "mine"})
	streams := []*bufio.Reader{open("/stream", mine), open("/stream", mine), open("/socket", mine), open("/socket", issuer.Mint(guardtest.Claims{SessionID: "mine"}))}
	others := open("/stream", issuer.Mint(guardtest.Claims{SessionID: "yours"}))
	if n := g.Stats().Running; n != 5 {
		t.Errorf("%d running, want 5", n)
	}
	issuer.Revoke("sid", "mine")
	revoked := time.Now()
	for _, s := range streams {
		if _, err := io.Copy(io.Discard, s); err != nil {
			t.Errorf("not ended: %v", err)
		}
		if cause := <-causes; !errors.Is(cause, guard.ErrRevoked) {
			t.Errorf("cause: %v", cause)
		}
	}
	if d := time.Since(revoked); d > time.Second {
		t.Errorf("ended after %v", d)
	}
	if len(causes) != 0 {
		t.Error("somebody else's stream ended")
	}
	issuer.Revoke("sid", "yours")
	io.Copy(io.Discard, others)
	<-causes
	server.Close() // waits for the handlers
	if n := g.Stats().Running; n != 0 {
		t.Errorf("%d still held", n)
	}
}

// A stream ends when its token has expired and no more leeway is left, unless
// its rule lets it outlive the token; then a revocation still ends it.
func TestStreamsAndExpiry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := guardtest.NewInMemory(t)
		g := issuer.Guard(t)
		begun := time.Now()
		token := issuer.Mint(guardtest.Claims{SessionID: "s"})
		type end struct {
			after time.Duration
			cause error
		}
		run := func(rule guard.Rule) <-chan end {
			ended := make(chan end, 1)
			h := g.RequireRule(rule)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				<-r.Context().Done()
				ended <- end{time.Since(begun), context.Cause(r.Context())}
			}))
			go h.ServeHTTP(httptest.NewRecorder(), get(token).WithContext(t.Context()))
			return ended
		}
		usual, outliving := run(guard.Rule{}), run(guard.Rule{OutliveToken: true})
		if e := <-usual; !errors.Is(e.cause, guard.ErrExpired) || e.after != 6*time.Minute {
			t.Errorf("got %+v", e)
		}
		time.Sleep(time.Hour)
		issuer.Revoke("sid", "s")
		if e := <-outliving; !errors.Is(e.cause, guard.ErrRevoked) || e.after < time.Hour {
			t.Errorf("got %+v", e)
		}
	})
}

// However a revocation and the begin of a request meet, the request is refused
// or its context ends.
func TestRevocationMeetsRequest(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	g := issuer.Guard(t)
	for range 50 {
		id := rand.Text()
		token := issuer.Mint(guardtest.Claims{SessionID: id})
		var all sync.WaitGroup
		h := g.Require()(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
				if !errors.Is(context.Cause(r.Context()), guard.ErrRevoked) {
					t.Error(context.Cause(r.Context()))
				}
			case <-time.After(10 * time.Second):
				t.Error("runs on")
			}
		}))
		for range 8 {
			all.Go(func() { h.ServeHTTP(httptest.NewRecorder(), get(token)) })
		}
		issuer.Revoke("sid", id)
		all.Wait()
	}
}

// An entry of a kind that this version does not know stops nothing.
func TestUnknownKind(t *testing.T) {
	t.Parallel()
	issuer := guardtest.New(t)
	issuer.Append(guardtest.Entry{Kind: "planet", Value: "earth", Until: time.Now().Add(time.Hour).Unix()})
	issuer.Revoke("family", "f1")
	issuer.Revoke("jkt", "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I")
	g := issuer.Guard(t)
	_, err := g.Check(get(issuer.Mint(claims)))
	wantRefusal(t, err, oauth.InvalidToken, guard.ErrRevoked)
	if n := g.Stats().Unknown; n != 1 {
		t.Errorf("%d unknown", n)
	}
}

// A stream that breaks is begun anew at once: what a node misses while it
// restarts costs a fraction of a second, wherever the stream goes on.
func TestFeedBreaksCleanly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := guardtest.NewInMemory(t)
		g := issuer.Guard(t)
		for range 5 {
			id := rand.Text()
			token := issuer.Mint(guardtest.Claims{Family: id})
			issuer.Break(http.StatusServiceUnavailable, guardtest.Stream)
			synctest.Wait() // the stream has ended
			issuer.Revoke("family", id)
			issuer.Mend(guardtest.Stream)
			time.Sleep(150 * time.Millisecond)
			if _, err := g.Check(get(token)); !errors.Is(err, guard.ErrRevoked) {
				t.Fatal("not known after 150 ms")
			}
		}
		issuer.Break(http.StatusServiceUnavailable, guardtest.Stream)
		before := issuer.Requests(guardtest.Stream)
		time.Sleep(time.Minute)
		if n := issuer.Requests(guardtest.Stream) - before; n < 10 || n > 35 {
			t.Errorf("%d tries in a minute without an answer", n)
		}
	})
}

// The next stream may lead to a node that does not answer: pages are asked for
// beside it, soon.
func TestFeedBreaksAndHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := guardtest.NewInMemory(t)
		g := issuer.Guard(t)
		token := issuer.Mint(claims)
		issuer.Break(http.StatusServiceUnavailable, guardtest.Stream)
		synctest.Wait() // the stream has ended
		issuer.Break(guardtest.Silent, guardtest.Stream)
		issuer.Revoke("family", "f1")
		time.Sleep(350 * time.Millisecond)
		if _, err := g.Check(get(token)); !errors.Is(err, guard.ErrRevoked) {
			t.Error("not known after 350 ms")
		}
		before := issuer.Requests(guardtest.Pages)
		time.Sleep(5 * time.Second)
		if n := issuer.Requests(guardtest.Pages) - before; n < 3 || n > 6 {
			t.Errorf("%d pages in 5 s", n)
		}
	})
}

// The feed is resumed where it broke, and read from the beginning by pages
// while there is no stream; either way nothing is missed.
func TestFeedInterrupted(t *testing.T) {
	t.Parallel()
	for name, hurt := range map[string]func(*guardtest.Issuer){
		"Refused":      func(i *guardtest.Issuer) { i.Break(http.StatusServiceUnavailable, guardtest.Stream, guardtest.Pages) },
		"Silent":       func(i *guardtest.Issuer) { i.Break(guardtest.Silent, guardtest.Stream, guardtest.Pages) },
		"OnlyPages":    func(i *guardtest.Issuer) { i.Break(http.StatusNotAcceptable, guardtest.Stream) },
		"SilentStream": func(i *guardtest.Issuer) { i.Break(guardtest.Silent, guardtest.Stream) },
		"Unauthorized": func(i *guardtest.Issuer) { i.Break(http.StatusUnauthorized, guardtest.Stream, guardtest.Pages) },
		"LostHistory": func(i *guardtest.Issuer) {
			i.Break(http.StatusServiceUnavailable, guardtest.Stream, guardtest.Pages)
			i.Restart()
			i.Revoke("jti", "elsewhere")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				issuer := guardtest.NewInMemory(t)
				for range 3 {
					issuer.Revoke("sid", "before")
				}
				g := issuer.Guard(t)
				tokens := map[string]string{}
				for _, s := range []string{"before", "during", "after", "never"} {
					tokens[s] = issuer.Mint(guardtest.Claims{SessionID: s, Expires: time.Now().Add(time.Hour)})
				}
				hurt(issuer)
				for range 1500 { // more than a page
					issuer.Revoke("jti", "elsewhere")
				}
				issuer.Revoke("sid", "during")
				time.Sleep(20 * time.Second)
				if name == "OnlyPages" || name == "SilentStream" {
					_, err := g.CheckRule(get(tokens["during"]), guard.Rule{WhenStale: guard.Deny})
					wantRefusal(t, err, oauth.InvalidToken, guard.ErrRevoked)
				}
				if n := issuer.Requests(guardtest.Stream); n < 2 {
					t.Errorf("the stream was tried %d times", n)
				}
				issuer.Mend(guardtest.Stream, guardtest.Pages)
				issuer.Revoke("sid", "after")
				time.Sleep(20 * time.Second)
				synctest.Wait()
				for s, token := range tokens {
					_, err := g.Check(get(token))
					if s == "never" {
						if err != nil {
							t.Errorf("%s: %v", s, err)
						}
						continue
					}
					wantRefusal(t, err, oauth.InvalidToken, guard.ErrRevoked)
				}
				if age := g.Stats().ViewAge; age > time.Second {
					t.Errorf("the view is %v old", age)
				}
				issuer.Revoke("sid", "never")
				synctest.Wait()
				_, err := g.Check(get(tokens["never"]))
				wantRefusal(t, err, oauth.InvalidToken, guard.ErrRevoked)
			})
		})
	}
}

// A server that has lost its history begins its numbers anew, below those that
// the guard knows: what it says from then on counts, and what the guard knows
// still does.
func TestServerLosesItsHistory(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string][]guardtest.Endpoint{
		"Stream": nil, "Pages": {guardtest.Stream}, "BackToStream": {guardtest.Stream, guardtest.Pages},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				issuer := guardtest.NewInMemory(t)
				if name == "Pages" {
					issuer.Break(http.StatusNotAcceptable, guardtest.Stream)
				}
				for range 10 {
					issuer.Revoke("sid", "before")
				}
				g := issuer.Guard(t)
				issuer.Break(http.StatusNotAcceptable, broken...)
				issuer.Restart()
				issuer.Revoke("sid", "after")
				time.Sleep(3 * time.Second)
				if name == "BackToStream" {
					issuer.Mend(broken...)
					time.Sleep(3 * time.Second)
				}
				for _, s := range []string{"before", "after"} {
					_, err := g.CheckRule(get(issuer.Mint(guardtest.Claims{SessionID: s})), guard.Rule{WhenStale: guard.InsecureAllow})
					wantRefusal(t, err, oauth.InvalidToken, guard.ErrRevoked)
				}
			})
		})
	}
}

// While the stream cannot be had, pages keep the view fresh.
func TestPagesKeepTheViewFresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := guardtest.NewInMemory(t)
		issuer.Break(http.StatusNotAcceptable, guardtest.Stream)
		g := issuer.Guard(t, func(c *guard.Config) { c.WhenStale = guard.Deny })
		var ages []time.Duration
		for range 120 {
			time.Sleep(500 * time.Millisecond)
			ages = append(ages, g.Stats().ViewAge)
		}
		if oldest := slices.Max(ages); oldest > 4*time.Second {
			t.Errorf("the view got %v old", oldest)
		}
		token := issuer.Mint(claims)
		if _, err := g.Check(get(token)); err != nil {
			t.Error(err)
		}
		issuer.Revoke("sid", "s1")
		time.Sleep(3 * time.Second)
		_, err := g.Check(get(token))
		wantRefusal(t, err, oauth.InvalidToken, guard.ErrRevoked)
	})
}

// What no token can be named by any more is forgotten.
func TestEntriesExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := guardtest.NewInMemory(t)
		g := issuer.Guard(t)
		for range 1000 {
			issuer.Revoke("jti", issuer.Mint(guardtest.Claims{}))
		}
		g.Check(get(issuer.Mint(guardtest.Claims{})))
		synctest.Wait()
		if s := g.Stats(); s.Revocations != 1000 || s.Tokens != 1 {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Hour + 3*time.Minute)
		if s := g.Stats(); s.Revocations != 0 || s.Tokens != 0 {
			t.Errorf("%+v", s)
		}
	})
}
