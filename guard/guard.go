package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastbind/fastbind/guard/internal/credentials"
	"github.com/fastbind/fastbind/guard/internal/issuer"
	"github.com/fastbind/fastbind/guard/internal/proof"
	"github.com/fastbind/fastbind/guard/internal/revoked"
	"github.com/fastbind/fastbind/internal/jose"
)

// A Policy says what to do with a token that verifies while the view of
// revocations is older than [Config].MaxStaleness.
type Policy int

// The policies.
const (
	// Default is Introspect, and Deny where no credentials are configured; in
	// a [Rule] it is the policy of the guard.
	Default Policy = iota
	// Deny answers 503.
	Deny
	// Introspect asks the issuer about the token (RFC 7662). If the issuer
	// does not answer, it is as Deny.
	Introspect
	// InsecureAllow lets the token through until it expires, revoked or not.
	InsecureAllow
)

const (
	defaultStaleness = 5 * time.Second
	minStaleness     = 2 * time.Second // the issuer confirms the view once a second
	defaultLeeway    = time.Minute
	dialTimeout      = 5 * time.Second

	// NoLeeway is a [Config].Leeway of none at all.
	NoLeeway time.Duration = -1
)

// Config says whose tokens a [Guard] accepts, and for whom.
type Config struct {
	// Issuer is the issuer identifier, exactly as in its metadata. Required.
	// It has to begin with https, unless it is a loopback address.
	Issuer string
	// Audience is the name of this API, which has to be among the audiences of
	// a token. Required.
	Audience string

	// ClientID and ClientSecret are the credentials of this API at the issuer.
	// Without them there is no view of revocations, no introspection and no
	// report of use.
	ClientID, ClientSecret string

	// MaxStaleness is how old the view of revocations may be; 0 means 5 s, and
	// less than 2 s is refused.
	MaxStaleness time.Duration
	// WhenStale is the policy of rules that do not name one.
	WhenStale Policy

	// Leeway is for how far apart the clocks of issuer and API may be, at both
	// ends of a token's life; 0 means 60 s, which is the most, and NoLeeway none.
	Leeway time.Duration
	// Algorithms are the accepted signature algorithms, of ES256, EdDSA (also
	// named Ed25519) and RS256; empty means all of them.
	Algorithms []string

	// Realm is named in challenges; empty means Audience.
	Realm string
	// ResourceMetadata is the address of the protected resource metadata (RFC
	// 9728), named in challenges unless empty.
	ResourceMetadata string

	// DPoP is about tokens that are bound to a key.
	DPoP DPoP

	// CacheEntries and CacheBytes bound the cache of verified tokens; 0 means
	// 65,536 entries and 64 MiB.
	CacheEntries int
	CacheBytes   int64

	// InsecureHTTP accepts an Issuer without https that is not a loopback
	// address.
	InsecureHTTP bool

	// HTTPClient asks the issuer; nil means a client of its own. Redirects are
	// never followed, and its Timeout is not used.
	HTTPClient *http.Client
	// Log gets what the guard has to say; nil means nobody does. No token and no
	// secret is ever in it.
	Log *slog.Logger
	// Now returns the time; nil means time.Now.
	Now func() time.Time
}

// A Guard checks access tokens. It is made by [New] and safe for concurrent
// use. It works while [Guard.Run] runs.
type Guard struct {
	config     Config
	algorithms []jose.Algorithm
	log        *slog.Logger
	now        func() time.Time

	issuer  *issuer.Issuer
	seen    *cache
	revoked *revoked.Set
	proofs  *proof.Checker // nil: tokens that are bound to a key are refused
	refused [len(reasons)]atomic.Int64
	running atomic.Bool
}

// New checks the configuration and returns a guard. It uses no network.
func New(c Config) (*Guard, error) {
	address, err := parseIssuer(c)
	if err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	g := &Guard{
		config: c, log: c.Log, now: c.Now,
		seen: newCache(c.CacheEntries, c.CacheBytes), revoked: revoked.New(c.Leeway),
	}
	if g.algorithms, err = algorithms(c.Algorithms); err != nil {
		return nil, err
	}
	if g.proofs, err = g.config.proofs(); err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout:   dialTimeout,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   8,
		IdleConnTimeout:       time.Minute,
		ResponseHeaderTimeout: 2 * dialTimeout, // the feed answers at once, too
	}}
	if c.HTTPClient != nil {
		client = *c.HTTPClient
	}
	client.Timeout = 0 // would cut the stream of revocations
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	g.issuer = issuer.New(issuer.Config{
		Name: c.Issuer, URL: address, ClientID: c.ClientID, ClientSecret: c.ClientSecret,
		HTTP: &client, Log: c.Log, Now: c.Now, Revoked: g.revoked,
	})
	return g, nil
}

// complete fills in the defaults and returns what is wrong with c, or nil.
func (c *Config) complete() error {
	known := c.ClientID != "" && c.ClientSecret != ""
	switch {
	case c.Audience == "":
		return errors.New("guard: Audience is missing")
	case (c.ClientID != "") != (c.ClientSecret != ""):
		return errors.New("guard: ClientID and ClientSecret go together")
	case c.MaxStaleness != 0 && c.MaxStaleness < minStaleness:
		return fmt.Errorf("guard: MaxStaleness is less than %v", minStaleness)
	case c.Leeway != NoLeeway && c.Leeway < 0 || c.Leeway > defaultLeeway:
		return fmt.Errorf("guard: Leeway is not between 0 and %v", defaultLeeway)
	case c.WhenStale < Default || c.WhenStale > InsecureAllow:
		return errors.New("guard: WhenStale is none of the policies")
	case c.WhenStale == Introspect && !known:
		return errors.New("guard: Introspect needs ClientID and ClientSecret")
	case c.CacheEntries < 0 || c.CacheBytes < 0:
		return errors.New("guard: CacheEntries or CacheBytes is negative")
	case !credentials.Quotable(c.Realm) || !credentials.Quotable(c.ResourceMetadata) || c.Realm == "" && !credentials.Quotable(c.Audience):
		return errors.New("guard: Realm, Audience or ResourceMetadata cannot stand in a header")
	}
	if c.MaxStaleness == 0 {
		c.MaxStaleness = defaultStaleness
	}
	if c.WhenStale == Default {
		c.WhenStale = Deny
		if known {
			c.WhenStale = Introspect
		}
	}
	switch c.Leeway {
	case 0:
		c.Leeway = defaultLeeway
	case NoLeeway:
		c.Leeway = 0
	}
	if c.Realm == "" {
		c.Realm = c.Audience
	}
	if c.CacheEntries == 0 {
		c.CacheEntries = 1 << 16
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = 64 << 20
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return nil
}

// RFC 8414, section 2: https, neither query nor fragment.
func parseIssuer(c Config) (*url.URL, error) {
	u, err := url.Parse(c.Issuer)
	switch {
	case c.Issuer == "":
		return nil, errors.New("guard: Issuer is missing")
	case err != nil || u.Host == "" || u.User != nil || strings.ContainsAny(c.Issuer, "?#"):
		return nil, errors.New("guard: Issuer is not an address without query and fragment")
	case u.Scheme == "https", u.Scheme == "http" && (c.InsecureHTTP || loopback(u.Hostname())):
		return u, nil
	}
	return nil, errors.New("guard: Issuer does not begin with https")
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func algorithms(names []string) ([]jose.Algorithm, error) {
	known := []jose.Algorithm{jose.ES256, jose.EdDSA, jose.Ed25519, jose.RS256}
	if len(names) == 0 {
		return known, nil
	}
	var list []jose.Algorithm
	for _, name := range names {
		a := jose.Algorithm(name)
		if !slices.Contains(known, a) {
			return nil, fmt.Errorf("guard: unknown algorithm %q", name)
		}
		list = append(list, a)
		switch a { // RFC 9864, section 2.2: two names of one algorithm.
		case jose.EdDSA:
			list = append(list, jose.Ed25519)
		case jose.Ed25519:
			list = append(list, jose.EdDSA)
		default: // the others have one name
		}
	}
	return list, nil
}

// Run keeps keys and revocations up to date and reports the use of tokens,
// until ctx ends; then it returns nil. It is an error to run a guard twice at
// the same time. Until Run has been started, checks answer 503.
func (g *Guard) Run(ctx context.Context) error {
	if !g.running.CompareAndSwap(false, true) {
		return errors.New("guard: runs already")
	}
	defer g.running.Store(false)
	var parts sync.WaitGroup
	parts.Go(func() { g.issuer.KeepKeys(ctx) })
	parts.Go(func() { g.sweep(ctx) })
	if g.config.ClientID == "" {
		if g.config.WhenStale == Deny {
			g.log.WarnContext(ctx, "no credentials: revocations cannot be known and requests are refused")
		}
	} else {
		parts.Go(func() { g.issuer.KeepRevoked(ctx) })
		parts.Go(func() { g.issuer.KeepReporting(ctx) })
	}
	parts.Wait()
	return nil
}

// Ready waits until the guard has keys and, where it has credentials and the
// issuer offers it, a complete view of revocations. It returns an error only
// when ctx ends before.
func (g *Guard) Ready(ctx context.Context) error {
	wait := []<-chan struct{}{g.issuer.Keys.Loaded()}
	if g.config.ClientID != "" {
		wait = append(wait, g.revoked.Known())
	}
	for _, c := range wait {
		select {
		case <-c:
		case <-ctx.Done():
			return fmt.Errorf("guard: not ready: %w", context.Cause(ctx))
		}
	}
	return nil
}

// sweepEvery is how often memory is freed of what has expired.
const sweepEvery = 15 * time.Second

func (g *Guard) sweep(ctx context.Context) {
	ticks := time.NewTicker(sweepEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
			now := g.now()
			g.revoked.Drop(now)
			g.seen.drop(now)
			if g.proofs != nil {
				g.proofs.Drop(ctx, now)
			}
		}
	}
}
