package revoke

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/reach"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/web"
	"github.com/fastbind/fastbind/oauth"
)

// Paths of the endpoints, below the issuer.
const (
	FeedPath       = "/revocations"
	UsePath        = "/token-use"
	RevokePath     = "/revoke"
	IntrospectPath = "/introspect"
)

// A Feed serves the revocation feed to resource servers (docs/revocation.md):
// as an event stream, or page by page.
type Feed struct {
	Core *Core
	Auth *client.Authenticator
	Log  *slog.Logger
	// Readers knows who reads a stream; nil: nobody wants to know.
	Readers *reach.Readers
	// Done ends the streams when it is closed; nil: never.
	Done <-chan struct{}
}

// writeTimeout is how long a verifier may take to read what was written. One
// that is slower is dropped, and catches up by number.
const writeTimeout = 5 * time.Second

func (f *Feed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	web.NoStore(w)
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", "GET")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	api, err := resourceServer(r, f.Auth, "", "")
	if err != nil {
		web.Refuse(w, r, f.Log, "revocations", err)
		return
	}
	if strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
		err = f.stream(w, r, api.ID)
	} else {
		err = f.page(w, r)
	}
	if err != nil {
		web.Refuse(w, r, f.Log, "revocations", err)
	}
}

// page writes a part of the feed, whose size is bounded.
func (f *Feed) page(w http.ResponseWriter, r *http.Request) error {
	after, err := number(r.URL.Query().Get("after"))
	if err != nil {
		return err
	}
	v, err := f.Core.resume(r.Context(), after)
	if err != nil {
		return err
	}
	if v.complete.IsZero() {
		return ErrNotRead
	}
	reset := after > v.newest // the database has lost history: all that there is
	if reset {
		v = f.Core.after(0)
	}
	entries := make([]json.RawMessage, len(v.lines))
	for i, l := range v.lines {
		entries[i] = l.json()
	}
	b, err := json.Marshal(struct {
		Entries []json.RawMessage `json:"entries"`
		Reset   bool              `json:"reset,omitempty"`
		More    bool              `json:"more,omitempty"`
		Number  int64             `json:"seq"`
		Time    int64             `json:"time"` // unix milliseconds up to which the list is complete
		Age     int64             `json:"age"`  // how many milliseconds ago that was
	}{entries, reset, v.more, v.newest, v.complete.UnixMilli(), max(0, f.Core.now().Sub(v.complete).Milliseconds())})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(b) //nolint:errcheck // the client is gone: it can ask again
	return nil
}

func number(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, oauth.Refuse(oauth.InvalidRequest, "not a number of the feed")
	}
	return n, nil
}

// stream writes entries as they come. The first answer is a snapshot; after it,
// and each second from then on, a complete event says up to when the list is
// complete. While the database cannot be read there is none, so that verifiers
// know that their view grows old.
func (f *Feed) stream(w http.ResponseWriter, r *http.Request, api string) error {
	last, err := number(r.Header.Get("Last-Event-ID"))
	if err != nil {
		return err
	}
	v, err := f.Core.resume(r.Context(), last)
	if err != nil {
		return err
	}
	reader := f.Readers.Join(api, web.Network(r), last)
	defer reader.Leave()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	s := &stream{w: w, c: http.NewResponseController(w)}
	for history := v.history; ; {
		s.limit()
		if (last > v.newest || history != v.history) && !v.complete.IsZero() {
			s.write([]byte("event: reset\ndata: {}\n\n"))
			last, history = 0, v.history
			v = f.Core.after(last)
			continue
		}
		for _, l := range v.lines {
			s.write(l.event)
			last = l.number
		}
		if !v.more && v.complete.After(s.complete) {
			if !f.welcome(r) {
				return nil
			}
			s.complete, last = v.complete, max(last, v.newest)
			s.write(v.beat)
		}
		if !s.flush() {
			if errors.Is(s.err, os.ErrDeadlineExceeded) {
				reader.Drop()
			}
			return nil
		}
		reader.Told(last)
		if !v.more && !f.wait(r, v.changed) {
			return nil
		}
		v = f.Core.after(last)
	}
}

// wait waits until there is more to know, and reports false at the end of the
// stream.
func (f *Feed) wait(r *http.Request, changed <-chan struct{}) bool {
	select {
	case <-changed:
		return true
	case <-r.Context().Done():
	case <-f.Done:
	}
	return false
}

// welcome reports whether whoever reads a stream may go on: it ends when the
// resource server is disabled or its secret is not valid any more. A fault ends
// nothing.
func (f *Feed) welcome(r *http.Request) bool {
	_, err := resourceServer(r, f.Auth, "", "")
	_, refused := errors.AsType[*oauth.Error](err)
	return !refused
}

// A stream writes events until the first error.
type stream struct {
	w        http.ResponseWriter
	c        *http.ResponseController
	complete time.Time // of the last complete event
	err      error
}

func (s *stream) write(event []byte) {
	if s.err == nil {
		_, s.err = s.w.Write(event)
	}
}

// limit gives the verifier time to read what is written from now on.
func (s *stream) limit() {
	s.c.SetWriteDeadline(time.Now().Add(writeTimeout)) //nolint:errcheck // not every writer has deadlines
}

func (s *stream) flush() bool {
	if s.err == nil {
		s.limit()
		s.err = s.c.Flush()
	}
	return s.err == nil
}

// Uses takes reports of first use from resource servers (POST, JSON).
type Uses struct {
	Core *Core
	Auth *client.Authenticator
	Log  *slog.Logger
}

// Limits of one report.
const (
	maxReport = 256 << 10
	maxUses   = 1_000
)

func (u *Uses) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	web.NoStore(w)
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if err := u.serve(w, r); err != nil {
		web.Refuse(w, r, u.Log, "token-use", err)
	}
}

func (u *Uses) serve(w http.ResponseWriter, r *http.Request) error {
	if _, err := resourceServer(r, u.Auth, "", ""); err != nil {
		return err
	}
	var report struct {
		Uses []struct {
			Family     string `json:"family"`
			Generation int64  `json:"generation"`
		} `json:"uses"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxReport)).Decode(&report); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return &oauth.Error{Code: oauth.InvalidRequest, Description: "the report is too large", Status: http.StatusRequestEntityTooLarge}
		}
		return &oauth.Error{Code: oauth.InvalidRequest, Description: "not a report of uses", Cause: err}
	}
	if len(report.Uses) > maxUses {
		return oauth.Refuse(oauth.InvalidRequest, "too many uses in one report")
	}
	uses := make([]refresh.Use, 0, len(report.Uses))
	for _, v := range report.Uses {
		if id := refresh.FamilyID(v.Family); id.Valid() && v.Generation > 0 {
			uses = append(uses, refresh.Use{Family: id, Generation: v.Generation})
		}
	}
	if err := u.Core.Confirm(r.Context(), uses); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// resourceServer returns the client that sent a request, which must be a
// resource server.
func resourceServer(r *http.Request, a *client.Authenticator, id, secret string) (client.Client, error) {
	cred, err := client.CredentialsOf(r.Header, id, secret, web.Network(r))
	if err != nil {
		return client.Client{}, err
	}
	c, err := a.Authenticate(r.Context(), cred)
	if err != nil {
		return client.Client{}, err
	}
	if !c.ResourceServer {
		return client.Client{}, oauth.Refuse(oauth.AccessDenied, "this is for resource servers")
	}
	return c, nil
}

// serves reports whether a token is meant for the resource server c.
func serves(c client.Client, audience []string) bool {
	return slices.ContainsFunc(audience, func(a string) bool { return slices.Contains(c.Audiences, a) })
}
