package demo

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// party is one of the two who hold the tokens of a visitor.
type party int

const (
	victim party = iota
	thief
	parties
)

func (p party) String() string {
	if p == thief {
		return "thief"
	}
	return "victim"
}

// A hand is how a party talks to the issuer and the API: over HTTP, with a name
// and an address of its own.
type hand struct {
	agent string // User-Agent
	http  *http.Client
}

// hands returns those of both parties. The thief's requests come from another
// loopback address where the machine has one.
func hands() [parties]hand {
	return [parties]hand{
		victim: {"DemoApp/1.0 (the victim's own browser)", httpClient(nil)},
		thief:  {"Thief/1.0 (somebody else's machine)", httpClient(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)})},
	}
}

func httpClient(from *net.TCPAddr) *http.Client {
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if from != nil {
			c, err := (&net.Dialer{Timeout: callTimeout, LocalAddr: from}).DialContext(ctx, network, address)
			if err == nil {
				return c, nil
			}
		}
		return (&net.Dialer{Timeout: callTimeout}).DialContext(ctx, network, address)
	}
	return &http.Client{
		Transport:     &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

const (
	callTimeout = 5 * time.Second
	maxAnswer   = 256 << 10
)

// A bearer is a token in the clear. It prints as nothing.
type bearer struct{ s *string }

func newBearer(s string) bearer {
	if s == "" {
		return bearer{}
	}
	return bearer{&s}
}

func (b bearer) none() bool { return b.s == nil }

// reveal returns the token itself.
func (b bearer) reveal() string {
	if b.s == nil {
		return ""
	}
	return *b.s
}

// prefix returns the beginning of the token, by which a person can tell it from
// others and which is worth nothing.
func (b bearer) prefix() string {
	const shown = 10
	s := b.reveal()
	return s[:min(shown, len(s)/4)] + "…"
}

// String never tells the token.
func (b bearer) String() string { return "…" }

// GoString never tells the token.
func (b bearer) GoString() string { return "…" }

// LogValue never tells the token.
func (b bearer) LogValue() slog.Value { return slog.StringValue("…") }

// tokenClaims are the claims of a token that the page shows or compares.
type tokenClaims struct {
	Issuer     string `json:"iss"`
	Nonce      string `json:"nonce"`
	Subject    string `json:"sub"`
	Audience   any    `json:"aud"`
	Scope      string `json:"scope"`
	Session    string `json:"sid"`
	Family     string `json:"family"`
	Generation int64  `json:"generation"`
	Expires    int64  `json:"exp"`
	Issued     int64  `json:"iat"`
}

// decode reads the claims of a JWT without verifying it. That is for showing
// them only: who decides by them verifies them, as the API does.
func decode(t bearer) (c tokenClaims, err error) {
	parts := strings.Split(t.reveal(), ".")
	if len(parts) != 3 {
		return c, errors.New("not a JWT")
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(b, &c) != nil {
		return c, errors.New("not a JWT") // the cause quotes what it read
	}
	return c, nil
}

// A reply is an answer of the token endpoint.
type reply struct {
	status  int
	code    string // error code; empty: none
	access  bearer
	refresh bearer
	id      bearer // ID token; none at a refresh without openid
}

func (r reply) ok() bool { return r.status == http.StatusOK }

// fits checks the ID token of a sign-in, which came from the token endpoint
// itself and so needs no signature (OpenID Connect Core, section 3.1.3.7).
func (r reply) fits(issuer, nonce string) error {
	c, err := decode(r.id)
	if err != nil || c.Issuer != issuer || c.Audience != spaID || c.Nonce != nonce {
		return errors.New("the ID token is not for this sign-in")
	}
	return nil
}

func (r reply) String() string { return strings.TrimSpace(strconv.Itoa(r.status) + " " + r.code) }

// ask sends a request and returns the answer with the body read, or its
// beginning.
func (h hand) ask(ctx context.Context, method, address string, form url.Values, access bearer) (*http.Response, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, nil, fmt.Errorf("make request: %w", err)
	}
	r.Header.Set("User-Agent", h.agent)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if !access.none() {
		r.Header.Set("Authorization", "Bearer "+access.reveal())
	}
	res, err := h.http.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close() //nolint:errcheck // what was read is there
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, nil, fmt.Errorf("read answer: %w", err)
	}
	return res, b, nil
}

// token asks the token endpoint.
func (h hand) token(ctx context.Context, endpoint string, form url.Values) (reply, error) {
	res, b, err := h.ask(ctx, http.MethodPost, endpoint, form, bearer{})
	if err != nil {
		return reply{}, err
	}
	var body struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
		ID      string `json:"id_token"`
		Error   string `json:"error"`
	}
	if json.Unmarshal(b, &body) != nil {
		return reply{}, fmt.Errorf("the token endpoint answers %d without JSON", res.StatusCode)
	}
	r := reply{res.StatusCode, body.Error, newBearer(body.Access), newBearer(body.Refresh), newBearer(body.ID)}
	if r.ok() && (r.access.none() || r.refresh.none()) {
		return reply{}, errors.New("the token endpoint answers without tokens")
	}
	return r, nil
}

// call calls an API and returns its status, with the error code of a refusal
// (RFC 6750, section 3.1).
func (h hand) call(ctx context.Context, address string, access bearer) (status int, code string, err error) {
	res, _, err := h.ask(ctx, http.MethodGet, address, nil, access)
	if err != nil {
		return 0, "", err
	}
	_, rest, _ := strings.Cut(res.Header.Get("WWW-Authenticate"), `error="`)
	code, _, _ = strings.Cut(rest, `"`)
	return res.StatusCode, code, nil
}

// listen reads an event stream until it ends and calls event for each event in
// it. It returns whether the stream was opened at all.
func (h hand) listen(ctx context.Context, address string, access bearer, event func(name, data string)) (bool, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return false, fmt.Errorf("make request: %w", err)
	}
	r.Header.Set("User-Agent", h.agent)
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Authorization", "Bearer "+access.reveal())
	res, err := h.http.Do(r)
	if err != nil {
		return false, err
	}
	defer res.Body.Close() //nolint:errcheck // it was read as far as it went
	if res.StatusCode != http.StatusOK {
		return false, fmt.Errorf("status %d", res.StatusCode)
	}
	name := ""
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		if v, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			name = v
		}
		if v, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			event(name, v)
		}
	}
	return true, lines.Err()
}
