// Package party owns how one party of the demo talks to the issuer and the API:
// over HTTP as anybody does, from an address and with a User-Agent of its own.
//
// It knows nothing of who is right. The invariant: tokens are in no address, no
// error and no log, and print as nothing.
package party

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

// A Hand is how a party talks to the issuer and the API: with a name and an
// address of its own.
type Hand struct {
	Agent string // User-Agent
	http  *http.Client
}

// New returns the hand of a party that calls itself agent. Its requests come
// from an address of the machine, where that can be had; nil: any.
func New(agent string, from net.IP) Hand {
	if from == nil {
		return Hand{agent, httpClient(nil)}
	}
	return Hand{agent, httpClient(&net.TCPAddr{IP: from})}
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

// A Bearer is a token in the clear. It prints as nothing.
type Bearer struct{ s *string }

// NewBearer returns the token s; of an empty one, none.
func NewBearer(s string) Bearer {
	if s == "" {
		return Bearer{}
	}
	return Bearer{&s}
}

// None reports whether there is no token.
func (b Bearer) None() bool { return b.s == nil }

// Reveal returns the token itself.
func (b Bearer) Reveal() string {
	if b.s == nil {
		return ""
	}
	return *b.s
}

// Prefix returns the beginning of the token, by which a person can tell it from
// others and which is worth nothing.
func (b Bearer) Prefix() string {
	const shown = 10
	s := b.Reveal()
	return s[:min(shown, len(s)/4)] + "…"
}

// String never tells the token.
func (b Bearer) String() string { return "…" }

// GoString never tells the token.
func (b Bearer) GoString() string { return "…" }

// LogValue never tells the token.
func (b Bearer) LogValue() slog.Value { return slog.StringValue("…") }

// Claims are the claims of a token that the page shows or compares.
type Claims struct {
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

// Decode reads the claims of a JWT without verifying it. That is for showing
// them only: who decides by them verifies them, as the API does.
func Decode(t Bearer) (c Claims, err error) {
	parts := strings.Split(t.Reveal(), ".")
	if len(parts) != 3 {
		return c, errors.New("not a JWT")
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(b, &c) != nil {
		return c, errors.New("not a JWT") // the cause quotes what it read
	}
	return c, nil
}

// A Reply is an answer of the token endpoint.
type Reply struct {
	Status  int
	Code    string // error code; empty: none
	Access  Bearer
	Refresh Bearer
	ID      Bearer // ID token; none at a refresh without openid
}

// OK reports whether tokens were handed out.
func (r Reply) OK() bool { return r.Status == http.StatusOK }

// Fits checks the ID token of a sign-in, which came from the token endpoint
// itself and so needs no signature (OpenID Connect Core, section 3.1.3.7).
func (r Reply) Fits(issuer, client, nonce string) error {
	c, err := Decode(r.ID)
	if err != nil || c.Issuer != issuer || c.Audience != client || c.Nonce != nonce {
		return errors.New("the ID token is not for this sign-in")
	}
	return nil
}

// String returns the status and the error code, never a token.
func (r Reply) String() string { return strings.TrimSpace(strconv.Itoa(r.Status) + " " + r.Code) }

// An Answer is an HTTP answer whose body was read, or its beginning.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Ask sends a request, with a form if it is not nil, and with a token if there
// is one.
func (h Hand) Ask(ctx context.Context, method, address string, form url.Values, access Bearer) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return Answer{}, fmt.Errorf("make request: %w", err)
	}
	r.Header.Set("User-Agent", h.Agent)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if !access.None() {
		r.Header.Set("Authorization", "Bearer "+access.Reveal())
	}
	res, err := h.http.Do(r)
	if err != nil {
		return Answer{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return Answer{}, fmt.Errorf("read answer: %w", err)
	}
	return Answer{res.StatusCode, res.Header, b}, nil
}

// Token asks the token endpoint.
func (h Hand) Token(ctx context.Context, endpoint string, form url.Values) (Reply, error) {
	a, err := h.Ask(ctx, http.MethodPost, endpoint, form, Bearer{})
	if err != nil {
		return Reply{}, err
	}
	var body struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
		ID      string `json:"id_token"`
		Error   string `json:"error"`
	}
	if json.Unmarshal(a.Body, &body) != nil {
		return Reply{}, fmt.Errorf("the token endpoint answers %d without JSON", a.Status)
	}
	r := Reply{a.Status, body.Error, NewBearer(body.Access), NewBearer(body.Refresh), NewBearer(body.ID)}
	if r.OK() && (r.Access.None() || r.Refresh.None()) {
		return Reply{}, errors.New("the token endpoint answers without tokens")
	}
	return r, nil
}

// Call calls an API and returns its status, with the error code of a refusal
// (RFC 6750, section 3.1).
func (h Hand) Call(ctx context.Context, address string, access Bearer) (status int, code string, err error) {
	a, err := h.Ask(ctx, http.MethodGet, address, nil, access)
	if err != nil {
		return 0, "", err
	}
	_, rest, _ := strings.Cut(a.Header.Get("WWW-Authenticate"), `error="`)
	code, _, _ = strings.Cut(rest, `"`)
	return a.Status, code, nil
}

// Listen reads an event stream until it ends and calls event for each event in
// it. It is no error if the stream was opened and ended in order.
func (h Hand) Listen(ctx context.Context, address string, access Bearer, event func(name, data string)) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	r.Header.Set("User-Agent", h.Agent)
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Authorization", "Bearer "+access.Reveal())
	res, err := h.http.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close() // it was read as far as it went
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", res.StatusCode)
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
	return lines.Err()
}
