package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastbind/fastbind/guard/internal/revoked"
	"github.com/fastbind/fastbind/oauth"
)

const (
	fetchTimeout = 5 * time.Second
	maxDocument  = 1 << 20
)

// ErrUnavailable says that an answer could not be had. It is no answer.
var ErrUnavailable = errors.New("the issuer does not answer")

// Config is what an [Issuer] needs. All fields but the credentials are
// required.
type Config struct {
	Name                   string // the issuer identifier
	URL                    *url.URL
	ClientID, ClientSecret string
	HTTP                   *http.Client // follows no redirects
	Log                    *slog.Logger
	Now                    func() time.Time
	Revoked                *revoked.Set // what the feed is followed into
}

// An Issuer is the issuer as the guard sees it. It is safe for concurrent use.
type Issuer struct {
	Config
	Keys      Keyring
	endpoints atomic.Pointer[endpoints]
	asker     asker
	reporter  *reporter
	counts    counters
}

// New returns an issuer of which nothing is known yet.
func New(c Config) *Issuer {
	i := &Issuer{Config: c, reporter: newReporter()}
	i.Keys.loaded, i.Keys.wake = make(chan struct{}), make(chan struct{}, 1)
	return i
}

// endpoints are the addresses that the issuer names in its metadata; those that
// it does not have are empty.
type endpoints struct {
	keys, introspection, revocations, use string
}

// discover reads the metadata of the issuer.
func (i *Issuer) discover(ctx context.Context) (*endpoints, error) {
	// RFC 8414, section 3.1: between host and path.
	u := *i.URL
	u.Path = "/.well-known/oauth-authorization-server" + strings.TrimSuffix(u.Path, "/")
	u.RawPath = ""
	body, _, err := i.get(ctx, u.String())
	if err != nil {
		return nil, err
	}
	var m oauth.Metadata
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, err
	}
	if m.Issuer != i.Name { // RFC 8414, section 3.3.
		return nil, errors.New("the metadata are those of another issuer")
	}
	e := &endpoints{m.JWKSURI, m.IntrospectionEndpoint, m.RevocationsEndpoint, m.TokenUseEndpoint}
	for _, address := range []string{e.keys, e.introspection, e.revocations, e.use} {
		if address == "" {
			continue
		}
		u, err := url.Parse(address)
		if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" ||
			u.Scheme != "https" && u.Scheme != i.URL.Scheme {
			return nil, errors.New("an endpoint has an unusable address")
		}
	}
	if e.keys == "" {
		return nil, errors.New("jwks_uri is missing")
	}
	return e, nil
}

// get fetches a document, within a time and up to a size.
func (i *Issuer) get(ctx context.Context, address string) ([]byte, http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, err
	}
	r.Header.Set("Accept", "application/json")
	return i.do(r, maxDocument)
}

// do sends a request and returns the body of its answer, which has to be 200
// and of at most limit bytes.
func (i *Issuer) do(r *http.Request, limit int64) ([]byte, http.Header, error) {
	resp, err := i.HTTP.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, nil, statusError(resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, nil, err
	}
	if int64(len(body)) > limit {
		return nil, nil, errors.New("the answer is too long")
	}
	return body, resp.Header, nil
}

// authenticate adds the credentials of the API (RFC 6749, section 2.3.1).
func (i *Issuer) authenticate(r *http.Request) {
	r.SetBasicAuth(url.QueryEscape(i.ClientID), url.QueryEscape(i.ClientSecret))
}

// A statusError is an answer that is not the expected one.
type statusError int

func (e statusError) Error() string { return "answered with status " + strconv.Itoa(int(e)) }

// isType reports whether a response is of the media type.
func isType(h http.Header, want string) bool {
	t, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && t == want
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// backoff returns how long to wait after so many failures before: up to first
// at first, then twice as long each time, up to limit, and by chance up to half
// of it less, so that those who failed together do not come back together.
func backoff(failures int, first, limit time.Duration) time.Duration {
	d := min(limit, first<<min(max(failures, 0), 16))
	return d - rand.N(d/2)
}

// Counts is what an issuer has counted.
type Counts struct {
	Reported, Dropped int64 // first uses
	Unknown           int64 // revocations of unknown kinds
	Propagation       []time.Duration
}

// Counts returns what was counted so far.
func (i *Issuer) Counts() Counts {
	c := &i.counts
	c.mu.Lock()
	defer c.mu.Unlock()
	return Counts{c.reported.Load(), c.dropped.Load(), c.unknown.Load(), slices.Clone(c.propagation)}
}

// maxPropagation is how many propagation times are kept.
const maxPropagation = 256

type counters struct {
	reported, dropped, unknown atomic.Int64

	mu          sync.Mutex
	propagation []time.Duration // guarded by mu
}

func (c *counters) propagated(milliseconds int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.propagation) >= maxPropagation {
		c.propagation = slices.Delete(c.propagation, 0, 1)
	}
	c.propagation = append(c.propagation, time.Duration(milliseconds)*time.Millisecond)
}

// errNotRunning is why nobody can wait for keys.
var errNotRunning = fmt.Errorf("%w: the guard does not run", ErrUnavailable)
