package authorize

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/limit"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/proof"
	"github.com/fastbind/fastbind/internal/web"
	"github.com/fastbind/fastbind/oauth"
)

const (
	// pushedLife is for how long a pushed request can be opened. Once it was
	// opened in time the person may take their time.
	pushedLife = 90 * time.Second
	// maxPushed bounds the pending requests of one client.
	maxPushed = 10_000
)

// pushRate bounds what one network may push for a client. Anybody can push for
// a public one: a network must be far from filling its [maxPushed].
func pushRate(c *client.Client) limit.Rate {
	if c.Public() {
		return limit.Rate{Burst: 100, Every: time.Second}
	}
	return limit.Rate{Burst: 300, Every: 20 * time.Millisecond}
}

// Push answers the pushed authorization request endpoint (RFC 9126).
func (h *Handler) Push(w http.ResponseWriter, r *http.Request) {
	web.NoStore(w)
	now := h.now()
	h.Proofs.Offer(w, now)
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if err := h.push(w, r, now); err != nil {
		if e, ok := errors.AsType[pageError](err); ok {
			err = e.refusal // there is no page here
		}
		web.Refuse(w, r, h.Log, "par", err)
	}
}

func (h *Handler) push(w http.ResponseWriter, r *http.Request, now time.Time) error {
	ctx := r.Context()
	p, err := web.Form(w, r, web.MaxBody, append(defined(), "client_secret"))
	if err != nil {
		return err
	}
	cred, err := client.CredentialsOf(r.Header, p.Get("client_id"), p.Get("client_secret"), web.Network(r))
	if err != nil {
		return err
	}
	cl, err := h.Auth.Authenticate(ctx, cred)
	if err != nil {
		return err
	}
	shown, err := h.Proofs.Check(r, proof.Target{Path: PushPath}, now)
	if err != nil {
		return err
	}
	if p.Has("request_uri") { // RFC 9126, section 2.1
		return oauth.Refuse(oauth.InvalidRequest, "request_uri cannot be pushed")
	}
	wait, err := h.Throttle.Take(ctx, opaque.KeyDigest("push", cl.ID, limit.Network(web.Network(r))), pushRate(&cl), now)
	if err != nil {
		return err
	}
	if wait > 0 {
		return tooMany(wait)
	}
	v := p.Values()
	v.Del("client_secret")
	v.Del(resumeParam)
	v.Set("client_id", cl.ID)
	if shown.Key != "" { // RFC 9449, section 10.1.
		if p.Has(jktParam) && p.Get(jktParam) != shown.Key {
			return proof.OtherKey()
		}
		v.Set(jktParam, shown.Key)
	}
	p = web.NewParams(v)
	q := &request{maxAge: -1, mode: modeQuery}
	if !cl.May(oauth.GrantAuthorizationCode) {
		return oauth.Refuse(oauth.UnauthorizedClient, "this client may not ask people to sign in")
	}
	if err := q.address(cl, p); err != nil {
		return err
	}
	if err := h.fill(ctx, q, p); err != nil {
		return err
	}
	if err := h.Proofs.Use(ctx, shown, now); err != nil {
		return err
	}
	uri := opaque.New(opaque.Request)
	err = h.Store.Push(ctx, Pushed{Digest: uri.Digest(), Client: cl.ID, Query: v.Encode(), Expires: now.Add(pushedLife)}, now, maxPushed)
	if errors.Is(err, ErrFull) {
		return tooMany(pushedLife)
	}
	if err != nil {
		return fmt.Errorf("store pushed request: %w", err)
	}
	b, err := json.Marshal(struct {
		URI     string `json:"request_uri"`
		Expires int    `json:"expires_in"`
	}{oauth.RequestURIPrefix + uri.Reveal(), int(pushedLife.Seconds())})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	w.Write(b) //nolint:errcheck // the client is gone: nobody to tell
	return nil
}

func tooMany(wait time.Duration) *oauth.Error {
	return &oauth.Error{
		Code: oauth.TemporarilyUnavailable, Description: "too many requests",
		Status: http.StatusTooManyRequests, RetryAfter: int(wait.Seconds()) + 1,
	}
}

// pulled returns the parameters of the pushed request that p refers to. What
// else p holds is not looked at, but for client_id (RFC 9126, section 4).
func (h *Handler) pulled(ctx context.Context, p web.Params, q *request, cl client.Client) (web.Params, error) {
	bad := func() (web.Params, error) {
		return p, onPage(oauth.InvalidRequestURI, "the request is unknown, has expired or was completed before: go back to the app and begin again")
	}
	uris := p.All("request_uri")
	uri, err := opaque.Parse(opaque.Request, strings.TrimPrefix(uris[0], oauth.RequestURIPrefix))
	if err != nil || len(uris) > 1 {
		return bad()
	}
	pushed, err := h.Store.Pushed(ctx, uri.Digest())
	switch {
	case errors.Is(err, ErrNone):
		return bad()
	case err != nil:
		return p, fmt.Errorf("load pushed request: %w", err)
	case pushed.Client != cl.ID, !pushed.Used.IsZero():
		return bad()
	}
	if !q.opened.Before(pushed.Expires) {
		return bad()
	}
	v, err := url.ParseQuery(pushed.Query)
	if err != nil {
		return p, fmt.Errorf("read pushed request: %w", err)
	}
	q.pushed = &pushed.Digest
	return web.NewParams(v), nil
}
