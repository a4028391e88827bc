package fanout_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fastbind/fastbind/guard"
)

const (
	audience = "https://api.example"
	redirect = "http://127.0.0.1/callback"
	password = "marmot-lantern-quay-58"
)

// An api is one of many resource servers, with a guard and a stream that ends
// with the token.
type api struct {
	guard *guard.Guard
	url   string
}

// apis starts so many, each with connections of its own.
func apis(t testing.TB, count int, issuer, secret string) []*api {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var work sync.WaitGroup
	all := make([]*api, count)
	for i := range all {
		g, err := guard.New(guard.Config{Issuer: issuer, Audience: audience, ClientID: "api", ClientSecret: secret})
		if err != nil {
			t.Fatal(err)
		}
		work.Go(func() {
			if err := g.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		server := httptest.NewServer(g.RequireRule(guard.Rule{})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "hello\n")
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		})))
		t.Cleanup(server.Close)
		all[i] = &api{g, server.URL}
	}
	t.Cleanup(func() {
		cancel()
		work.Wait()
	})
	soon, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	for _, a := range all {
		if err := a.guard.Ready(soon); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// open opens the stream with a token, and returns a channel that holds the time
// at which it ended.
func (a *api) open(ctx context.Context, token string) (<-chan time.Time, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	body := bufio.NewReader(resp.Body)
	if line, err := body.ReadString('\n'); line != "hello\n" {
		resp.Body.Close()
		return nil, errors.Join(err, errors.New(resp.Status))
	}
	ended := make(chan time.Time, 1)
	go func() {
		defer resp.Body.Close()
		io.Copy(io.Discard, body)
		ended <- time.Now()
	}()
	return ended, nil
}

// refuses reports whether the guard refuses the token for having been revoked.
func (a *api) refuses(token string) error {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	_, err := a.guard.Check(r)
	if errors.Is(err, guard.ErrRevoked) {
		return nil
	}
	if err == nil {
		return errors.New("accepted")
	}
	return err
}

// A party is a client of the server, and the person who uses it.
type party struct {
	t              testing.TB
	issuer, secret string
	http           *http.Client
}

func newParty(t testing.TB, issuer, secret string) *party {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &party{t, issuer, secret, &http.Client{
		Jar: jar, Timeout: 10 * time.Second,
		CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			if strings.HasPrefix(r.URL.String(), redirect) {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}}
}

// do sends a request until somebody answers it: a node may be gone. It returns
// the answer and when it had arrived.
func (p *party) do(make func() *http.Request) (*http.Response, []byte, time.Time) {
	p.t.Helper()
	var last error
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		resp, err := p.http.Do(make())
		if err == nil {
			b, errBody := io.ReadAll(resp.Body)
			resp.Body.Close()
			if errBody == nil && resp.StatusCode < 500 {
				return resp, b, time.Now()
			}
			err = errors.Join(errBody, errors.New(resp.Status))
		}
		last = err
		<-time.After(20 * time.Millisecond)
	}
	p.t.Fatalf("no answer within 10 s: %v", last)
	return nil, nil, time.Time{}
}

func (p *party) post(path string, form url.Values) (int, []byte, time.Time) {
	p.t.Helper()
	resp, b, at := p.do(func() *http.Request {
		r, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.issuer+path, strings.NewReader(form.Encode()))
		if err != nil {
			p.t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth("app", url.QueryEscape(p.secret))
		return r
	})
	return resp.StatusCode, b, at
}

type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

func (p *party) tokens(form url.Values) (t tokens, ok bool) {
	p.t.Helper()
	status, b, _ := p.post("/token", form)
	if status != http.StatusOK {
		return t, false
	}
	if err := json.Unmarshal(b, &t); err != nil {
		p.t.Fatal(err)
	}
	return t, true
}

// service returns an access token of the client itself.
func (p *party) service() tokens {
	p.t.Helper()
	t, ok := p.tokens(url.Values{"grant_type": {"client_credentials"}})
	if !ok {
		p.t.Fatal("no token for the client itself")
	}
	return t
}

var (
	formTag  = regexp.MustCompile(`(?s)<form[^>]*\saction="([^"]*)"`)
	inputTag = regexp.MustCompile(`<input[^>]*\sname="([^"]*)"[^>]*\svalue="([^"]*)"`)
)

// family returns the tokens of a new family of the person. A code whose
// redemption was lost with a node is given up for another one.
func (p *party) family() tokens {
	p.t.Helper()
	for range 5 {
		verifier := rand.Text() + rand.Text()
		sum := sha256.Sum256([]byte(verifier))
		q := url.Values{
			"client_id": {"app"}, "redirect_uri": {redirect}, "response_type": {"code"}, "scope": {"openid"}, "state": {"s"},
			"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
		}
		code := p.code(p.issuer + "/authorize?" + q.Encode())
		if t, ok := p.tokens(url.Values{
			"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}, "code_verifier": {verifier},
		}); ok {
			return t
		}
	}
	p.t.Fatal("no tokens")
	return tokens{}
}

// code opens an authorization request, signing the person in where the server
// asks, and returns the code.
func (p *party) code(address string) string {
	p.t.Helper()
	resp, b, _ := p.do(func() *http.Request {
		r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, address, nil)
		if err != nil {
			p.t.Fatal(err)
		}
		return r
	})
	if form := formTag.FindSubmatch(b); resp.StatusCode == http.StatusOK && form != nil {
		to, err := resp.Request.URL.Parse(html.UnescapeString(string(form[1])))
		if err != nil {
			p.t.Fatal(err)
		}
		fields := url.Values{}
		for _, m := range inputTag.FindAllSubmatch(b, -1) {
			fields.Set(html.UnescapeString(string(m[1])), html.UnescapeString(string(m[2])))
		}
		fields.Set("username", "ada")
		fields.Set("password", password)
		resp, _, _ = p.do(func() *http.Request {
			r, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, to.String(), strings.NewReader(fields.Encode()))
			if err != nil {
				p.t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Sec-Fetch-Site", "same-origin")
			return r
		})
	}
	to, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || to.Query().Get("code") == "" {
		p.t.Fatalf("no code: %d %s", resp.StatusCode, resp.Header.Get("Location"))
	}
	return to.Query().Get("code")
}

// A way is one in which a token can come to its end.
type way struct {
	name string
	// token returns an access token, and how to end it, which returns when the
	// call that does so has returned.
	token func() (access string, end func() time.Time)
}

func (p *party) ways() []way {
	revoke := func(token string) func() time.Time {
		return func() time.Time {
			status, b, at := p.post("/revoke", url.Values{"token": {token}})
			if status != http.StatusOK {
				p.t.Fatalf("revoke: %d %s", status, b)
			}
			return at
		}
	}
	return []way{
		{"token revoked", func() (string, func() time.Time) {
			t := p.service()
			return t.Access, revoke(t.Access)
		}},
		{"family revoked", func() (string, func() time.Time) {
			t := p.family()
			return t.Access, revoke(t.Refresh)
		}},
		{"theft noticed", func() (string, func() time.Time) {
			t := p.family()
			refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {t.Refresh}}
			fresh, ok := p.tokens(refresh)
			if !ok {
				p.t.Fatal("refresh refused")
			}
			return fresh.Access, func() time.Time {
				status, b, at := p.post("/token", refresh)
				if status != http.StatusBadRequest {
					p.t.Fatalf("replay: %d %s", status, b)
				}
				return at
			}
		}},
	}
}
