package proof

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fastbind/fastbind/dpop"
)

// Config is what a [Checker] needs.
type Config struct {
	// URLs are origins, and what of the path is taken away on the way, without
	// a slash at the end: see [ParseURL].
	URLs []string
	// Secret is that of the nonces; nil means one of its own.
	Secret        []byte
	NonceOptional bool
	ClockError    time.Duration // 0: see [dpop.Expect]

	// Once remembers proofs together with other guards; nil means that the
	// checker remembers them alone, at most Most of them.
	Once func(ctx context.Context, digest [sha256.Size]byte, until time.Time) (first bool, err error)
	Most int

	Log *slog.Logger
}

// A Checker checks proofs, and that each is used only once. It is made by [New]
// and safe for concurrent use.
type Checker struct {
	config Config
	nonces atomic.Pointer[dpop.Nonces]
	latest atomic.Int64 // the clock, unix seconds, since it last was set back
	memory memory
}

// A Shown is a proof that was checked.
type Shown struct {
	dpop.Proof
	nonces *dpop.Nonces // with which it was checked
}

// ParseURL returns a public address as a [Config] has it.
func ParseURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Opaque != "" || strings.ContainsAny(s, "?#") {
		return "", errors.New("not an address with scheme and host, and without query and fragment")
	}
	return strings.TrimRight(s, "/"), nil
}

// New returns a checker that begins at now: it has seen nothing, but may have
// been preceded by one that has.
func New(c Config, now time.Time) (*Checker, error) {
	if c.Secret == nil {
		c.Secret = newSecret()
	}
	nonces, err := dpop.NewNonces(c.Secret)
	if err != nil {
		return nil, err
	}
	p := &Checker{config: c}
	p.latest.Store(now.Unix())
	p.nonces.Store(nonces)
	p.memory = memory{most: c.Most, nonces: nonces}
	if c.Once == nil {
		p.memory.forget(now)
	}
	return p, nil
}

func newSecret() []byte {
	b := make([]byte, sha256.Size)
	rand.Read(b)
	return b
}

// Nonce returns the newest nonce.
func (c *Checker) Nonce(now time.Time) string { return c.nonces.Load().Issue(now) }

// Check checks the proof of a request that shows the access token. It uses
// nothing up. sender may be that of an earlier proof, or nil.
func (c *Checker) Check(r *http.Request, token string, sender *dpop.Sender, now time.Time) (Shown, error) {
	text, err := dpop.Header(r.Header)
	if err != nil {
		return Shown{}, err
	}
	c.watch(r.Context(), now)
	var space [4]string
	urls, path := space[:0], pathOf(r)
	for _, u := range c.config.URLs {
		urls = append(urls, u+path)
	}
	nonces := c.nonces.Load()
	p, err := dpop.Check(text, dpop.Expect{
		Method: r.Method, URLs: urls, AccessToken: token, Now: now, Sender: sender,
		Nonces: nonces, NonceOptional: c.config.NonceOptional, ClockError: c.config.ClockError,
	})
	return Shown{p, nonces}, err
}

// pathOf returns the path of a request as it arrived, whatever was made of it
// since. Of a whole address (RFC 9112, section 3.2.2) only the path counts.
func pathOf(r *http.Request) string {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if !strings.HasPrefix(path, "/") {
		path = r.URL.EscapedPath()
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return path
}

// watch notices that the clock was set back further than clocks may differ. Then
// proofs whose time is over would be taken again, and so nonces begin anew.
func (c *Checker) watch(ctx context.Context, now time.Time) {
	t, latest := now.Unix(), c.latest.Load()
	switch {
	case t > latest:
		c.latest.CompareAndSwap(latest, t)
	case latest-t > int64(dpop.ClockDifference/time.Second) && c.latest.CompareAndSwap(latest, t):
		c.config.Log.WarnContext(ctx, "the clock was set back: proofs need new nonces", slog.Int64("seconds", latest-t))
		nonces, err := dpop.NewNonces(newSecret())
		if err != nil {
			panic(err) // the secret is long enough
		}
		c.memory.restart(nonces, time.Unix(latest+1, 0))
		c.nonces.Store(nonces)
	}
}

// Use uses a proof up, which [Checker.Check] has returned. An error that is not
// one of package dpop says that nobody knows whether it was used before.
func (c *Checker) Use(ctx context.Context, p *Shown, now time.Time) error {
	if c.config.Once == nil {
		return c.memory.use(p, now)
	}
	if !c.memory.knows(p) {
		return dpop.ErrNonce
	}
	first, err := c.config.Once(ctx, p.Digest, p.Until)
	switch {
	case err != nil:
		return fmt.Errorf("remember proof: %w", err)
	case !first:
		return dpop.ErrReplayed
	}
	return nil
}

// Drop frees the memory of proofs that nobody accepts any more. It looks at the
// clock as [Checker.Check] does: what is forgotten by a clock that is wrong must
// not be taken again by the right one.
func (c *Checker) Drop(ctx context.Context, now time.Time) {
	c.watch(ctx, now)
	c.memory.drop(now)
}

// Proofs returns how many proofs are remembered.
func (c *Checker) Proofs() int { return c.memory.entries() }
