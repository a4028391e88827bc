package guardtest

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fastbind/fastbind/internal/jose"
)

// An Entry is one line of the revocation feed.
type Entry struct {
	Number int64  `json:"seq"`
	Kind   string `json:"kind"`
	Value  string `json:"value,omitempty"`
	Before int64  `json:"before,omitempty"` // unix seconds
	Reason string `json:"reason"`
	At     int64  `json:"at"`  // unix milliseconds
	Until  int64  `json:"exp"` // unix seconds
}

// ServeHTTP answers for the issuer.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e, ok := map[string]Endpoint{
		"/.well-known/oauth-authorization-server": Metadata, "/keys": Keys, "/introspect": Introspection,
		"/revocations": Pages, "/token-use": TokenUse,
	}[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	if e == Pages && r.Header.Get("Accept") == "text/event-stream" {
		e = Stream
	}
	i.change(func() { i.requests[e]++ })
	switch fault := i.fault(e); fault {
	case 0:
	case Silent:
		i.Wait(r.Context(), func() bool { return i.faults[e] != Silent })
		panic(http.ErrAbortHandler)
	default:
		w.WriteHeader(fault)
		return
	}
	id, secret, _ := r.BasicAuth()
	if e != Metadata && e != Keys && (id != i.ClientID || subtle.ConstantTimeCompare([]byte(secret), []byte(i.ClientSecret)) != 1) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	switch e {
	case Metadata:
		answer(w, map[string]string{
			"issuer": i.URL, "jwks_uri": i.URL + "/keys", "introspection_endpoint": i.URL + "/introspect",
			"revocations_endpoint": i.URL + "/revocations", "token_use_endpoint": i.URL + "/token-use",
		})
	case Keys:
		i.serveKeys(w)
	case Stream:
		i.serveStream(w, r)
	case Pages:
		i.servePage(w, r)
	case Introspection:
		i.serveIntrospection(w, r)
	case TokenUse:
		i.serveUse(w, r)
	}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		panic(http.ErrAbortHandler) // nobody reads on
	}
}

func (i *Issuer) fault(e Endpoint) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.faults[e]
}

func (i *Issuer) serveKeys(w http.ResponseWriter) {
	i.mu.Lock()
	keys := make([]*jose.Key, 0, len(i.signers))
	for _, s := range i.signers {
		keys = append(keys, s.Key())
	}
	age := i.keyAge
	i.mu.Unlock()
	if age > 0 {
		w.Header().Set("Cache-Control", "public, max-age="+strconv.Itoa(int(age/time.Second)))
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Write(jose.NewKeySet(keys...).JSON()) //nolint:errcheck // nobody reads on
}

// after returns the entries after number that are still of use, the newest
// number, and the time up to which they are complete, in unix milliseconds.
func (i *Issuer) after(number int64) (entries []Entry, newest, at int64, changed <-chan struct{}) {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := time.Now()
	n, _ := slices.BinarySearchFunc(i.entries, number+1, func(e Entry, n int64) int { return int(e.Number - n) })
	for _, e := range i.entries[n:] {
		if now.Unix() <= e.Until {
			entries = append(entries, e)
		}
	}
	if !i.stuck.IsZero() {
		now = i.stuck
	}
	return entries, i.number, now.Add(i.skew).UnixMilli(), i.changed
}

const heartbeat = time.Second

func (i *Issuer) serveStream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	last, _ := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64) // 0 is the beginning
	if _, newest, _, _ := i.after(last); last > newest {
		last = 0
		fmt.Fprint(w, "event: reset\ndata: {}\n\n")
	}
	beats := time.NewTicker(heartbeat)
	defer beats.Stop()
	for {
		entries, newest, at, changed := i.after(last)
		for _, e := range entries {
			data, err := json.Marshal(e)
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			fmt.Fprintf(w, "event: entry\nid: %d\ndata: %s\n\n", e.Number, data)
		}
		last = newest
		fmt.Fprintf(w, ": all of it\nevent: complete\ndata: {\"seq\":%d,\"time\":%d}\n\n", newest, at)
		if out.Flush() != nil {
			return
		}
		for waiting := true; waiting; {
			select {
			case <-r.Context().Done():
				return
			case <-beats.C:
				waiting = false
			case <-changed:
				switch _, newest, _, changed = i.after(last); {
				case i.fault(Stream) == Silent:
					i.Wait(r.Context(), func() bool { return i.faults[Stream] != Silent })
					return
				case i.fault(Stream) != 0, newest < last:
					return
				case newest > last:
					waiting = false
				}
			}
		}
	}
}

// maxPage is how many entries a page has.
const maxPage = 1000

func (i *Issuer) servePage(w http.ResponseWriter, r *http.Request) {
	after, err := strconv.ParseInt(r.FormValue("after"), 10, 64)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	entries, newest, at, _ := i.after(after)
	answer(w, map[string]any{"entries": entries[:min(len(entries), maxPage)], "seq": newest, "time": at})
}

// serveIntrospection answers by what was revoked (RFC 7662). It takes only
// tokens of its own, and does not verify them.
func (i *Issuer) serveIntrospection(w http.ResponseWriter, r *http.Request) {
	var claims struct {
		ID      string `json:"jti"`
		Family  string `json:"family"`
		Session string `json:"sid"`
		Subject string `json:"sub"`
		Client  string `json:"client_id"`
		Issued  int64  `json:"iat"`

		Confirmation *struct {
			Key string `json:"jkt"`
		} `json:"cnf"`
	}
	active := false
	if m, err := jose.Parse(r.FormValue("token")); err == nil {
		i.mu.Lock()
		signers := i.signers
		i.mu.Unlock()
		for _, s := range signers {
			if payload, err := m.Verify(s.Key()); err == nil && json.Unmarshal(payload, &claims) == nil {
				active = true
			}
		}
		values := map[string]string{
			"jti": claims.ID, "family": claims.Family, "sid": claims.Session, "sub": claims.Subject,
			"client": claims.Client, "kid": m.Header().KeyID, "epoch": "",
		}
		if claims.Confirmation != nil {
			values["jkt"] = claims.Confirmation.Key
		}
		entries, _, _, _ := i.after(0)
		for _, e := range entries {
			if v, ok := values[e.Kind]; ok && v == e.Value && (e.Before == 0 || claims.Issued <= e.Before) {
				active = false
			}
		}
	}
	out := map[string]any{"active": active}
	if active && claims.Confirmation != nil { // RFC 9449, section 6.2.
		out["cnf"] = claims.Confirmation
	}
	answer(w, out)
}

func (i *Issuer) serveUse(w http.ResponseWriter, r *http.Request) {
	var report struct {
		Uses []Use `json:"uses"`
	}
	if err := json.NewDecoder(r.Body).Decode(&report); err != nil || len(report.Uses) > 500 {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	i.change(func() {
		for _, u := range report.Uses {
			i.uses[u]++
		}
	})
	w.WriteHeader(http.StatusNoContent)
}

// memory is a connection to an issuer without sockets.
type memory struct{ i *Issuer }

// RoundTrip lets the issuer answer, and returns with the first of the answer.
func (m memory) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	body, writer := io.Pipe()
	w := &response{
		pipe: writer, begun: make(chan struct{}),
		Response: http.Response{ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: body, Request: r},
	}
	in := r.Clone(ctx)
	in.RequestURI, in.RemoteAddr = strings.TrimPrefix(r.URL.String(), r.URL.Scheme+"://"+r.URL.Host), "memory"
	if in.Body == nil {
		in.Body = http.NoBody
	}
	stop := context.AfterFunc(r.Context(), func() { writer.CloseWithError(context.Cause(r.Context())) })
	go func() {
		defer cancel(nil)
		defer stop()
		defer func() {
			if recover() != nil {
				writer.CloseWithError(io.ErrUnexpectedEOF)
			}
			w.WriteHeader(http.StatusOK)
			writer.Close()
		}()
		m.i.ServeHTTP(w, in)
	}()
	select {
	case <-w.begun:
		w.Body = answerBody{body, cancel}
		return &w.Response, nil
	case <-r.Context().Done():
		return nil, context.Cause(r.Context())
	}
}

// An answerBody tells who answers when nobody reads on.
type answerBody struct {
	*io.PipeReader
	cancel context.CancelCauseFunc
}

// Close ends the request.
func (b answerBody) Close() error {
	b.cancel(nil)
	return b.PipeReader.Close()
}

// A response is one that begins to be read while it is still written.
type response struct {
	http.Response
	pipe  *io.PipeWriter
	begun chan struct{}
	sent  bool
}

func (w *response) Header() http.Header { return w.Response.Header }

func (w *response) WriteHeader(status int) {
	if !w.sent {
		w.sent, w.StatusCode = true, status
		w.Status = strconv.Itoa(status) + " " + http.StatusText(status)
		close(w.begun)
	}
}

func (w *response) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.pipe.Write(b)
}

func (w *response) Flush() {}
