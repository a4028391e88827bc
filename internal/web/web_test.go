package web_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/web"
	"github.com/fastbind/fastbind/oauth"
)

func TestFields(t *testing.T) {
	t.Parallel()
	p := web.NewParams(url.Values{"scope": {" b a  b c a "}})
	if d := cmp.Diff([]string{"b", "a", "c"}, p.Fields("scope")); d != "" {
		t.Errorf("fields (-want +got):\n%s", d)
	}
	words := make([]string, 200_000)
	for i := range words {
		words[i] = strconv.Itoa(i + 100_000)
	}
	began := time.Now()
	if got := web.NewParams(url.Values{"scope": {strings.Join(words, " ")}}).Fields("scope"); len(got) != len(words) {
		t.Errorf("%d fields, want %d", len(got), len(words))
	}
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("%d fields took %s", len(words), d)
	}
}

// TestN29FormParameters: a repeated parameter, and one in the URL, refuse a form;
// an empty one counts as absent.
func TestN29FormParameters(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		query, kind, body string
		status            int // 0: taken
	}{
		{"", "application/x-www-form-urlencoded", "a=1&other=2&other=3", 0},
		{"", "application/x-www-form-urlencoded; charset=UTF-8", "a=1", 0},
		{"lang=de", "application/x-www-form-urlencoded", "a=1", 0},
		{"", "application/x-www-form-urlencoded", "a=1&a=2", 400},
		{"", "application/x-www-form-urlencoded", "a=1&a=", 400},
		{"a=1", "application/x-www-form-urlencoded", "", 400},
		{"%61=1", "application/x-www-form-urlencoded", "", 400},
		{"", "application/x-www-form-urlencoded", "a=%zz", 400},
		{"", "application/x-www-form-urlencoded", "a=1;b=2", 400},
		{"", "application/x-www-form-urlencoded; charset=utf-16", "a=1", 415},
		{"", "application/json", `{"a":1}`, 415},
		{"", "", "a=1", 415},
		{"", "application/x-www-form-urlencoded", "a=" + strings.Repeat("1", 2_000), 413},
		{"", "application/x-www-form-urlencoded", strings.Repeat("b=&", 501), 413},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/?"+tt.query, strings.NewReader(tt.body))
		r.Header.Set("Content-Type", tt.kind)
		p, err := web.Form(httptest.NewRecorder(), r, 1_000, []string{"a"})
		if tt.status == 0 {
			if err != nil || p.Get("a") != "1" {
				t.Errorf("%q %q: %v, a is %q", tt.query, tt.body, err, p.Get("a"))
			}
			continue
		}
		if e := oauth.ErrorFor(err); err == nil || e.HTTPStatus() != tt.status {
			t.Errorf("%q %q %.20q: %v, want status %d", tt.query, tt.kind, tt.body, err, tt.status)
		}
	}
	if p := web.NewParams(url.Values{"a": {""}}); p.Has("a") || len(p.All("a")) > 0 {
		t.Error("an empty parameter is there")
	}
}

// TestSealer: what was sealed for one purpose opens for that one only, and not
// when anything in it was changed.
func TestSealer(t *testing.T) {
	t.Parallel()
	s := web.Sealer{Keys: opaque.NewSecrets().Keys(web.SealPurpose)}
	text, err := s.Seal(web.ConsentPurpose, "yes")
	if err != nil {
		t.Fatal(err)
	}
	var got string
	if err := s.Open(web.ConsentPurpose, text, &got); err != nil || got != "yes" {
		t.Errorf("%q, %v", got, err)
	}
	for name, open := range map[string]func() error{
		"OtherPurpose": func() error { return s.Open(web.ResumePurpose, text, &got) },
		"OtherKeys": func() error {
			return web.Sealer{Keys: opaque.NewSecrets().Keys(web.SealPurpose)}.Open(web.ConsentPurpose, text, &got)
		},
		"Shorter":  func() error { return s.Open(web.ConsentPurpose, text[:len(text)-1], &got) },
		"Padded":   func() error { return s.Open(web.ConsentPurpose, text+"=", &got) },
		"TornLine": func() error { return s.Open(web.ConsentPurpose, text[:4]+"\n"+text[4:], &got) },
		"Nothing":  func() error { return s.Open(web.ConsentPurpose, "", &got) },
	} {
		if err := open(); !errors.Is(err, opaque.ErrMalformed) {
			t.Errorf("%s: %v, want malformed", name, err)
		}
	}
}

// TestN83Cookies: two cookies with the name are none, and the flags are those
// that keep others from setting or reading one.
func TestN83Cookies(t *testing.T) {
	t.Parallel()
	for secure, name := range map[bool]string{true: "__Host-fastbind-session", false: "fastbind-session-8080"} {
		c := web.Cookies{Secure: secure, Port: "8080"}
		w := httptest.NewRecorder()
		c.SetSession(w, opaque.New(opaque.Session), time.Now().Add(time.Hour), true)
		k := w.Result().Cookies()[0]
		if k.Name != name || k.Secure != secure || !k.HttpOnly || k.SameSite != http.SameSiteLaxMode || k.Path != "/" || k.Domain != "" {
			t.Errorf("cookie %v", k)
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.AddCookie(k)
		if c.Session(r) != k.Value {
			t.Errorf("session %q, want %q", c.Session(r), k.Value)
		}
		r.AddCookie(&http.Cookie{Name: name, Value: "tossed"})
		if got := c.Session(r); got != "" {
			t.Errorf("of two cookies %q is taken", got)
		}
	}
}

// TestN94Forwarded: X-Forwarded-For counts only as far as configured proxies
// wrote it, from the right.
func TestN94Forwarded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ peer, forwarded, want string }{
		{"192.0.2.9:1", "203.0.113.1", "192.0.2.9"},
		{"10.0.0.1:1", "203.0.113.1", "203.0.113.1"},
		{"10.0.0.1:1", "198.51.100.1, 203.0.113.1", "203.0.113.1"},
		{"10.0.0.1:1", "198.51.100.1, 203.0.113.1, 10.0.0.2", "203.0.113.1"},
		{"10.0.0.1:1", "203.0.113.1, nonsense", "10.0.0.1"},
		{"10.0.0.1:1", "", "10.0.0.1"},
		{"[::ffff:10.0.0.1]:1", "::ffff:203.0.113.1", "203.0.113.1"},
	} {
		var got string
		e := &web.Edge{Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Log: slog.New(slog.DiscardHandler)}
		h := e.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = web.Network(r) }))
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.RemoteAddr = tt.peer
		r.Header.Set("X-Forwarded-For", tt.forwarded)
		if h.ServeHTTP(httptest.NewRecorder(), r); got != tt.want {
			t.Errorf("%s for %q: %s, want %s", tt.peer, tt.forwarded, got, tt.want)
		}
	}
}

// TestPanic: a panic is an answer of 500; one in the middle of an answer ends the
// connection, so that nobody takes half of it for all.
func TestPanic(t *testing.T) {
	t.Parallel()
	e := &web.Edge{Log: slog.New(slog.DiscardHandler)}
	s := httptest.NewServer(e.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/half" {
			w.Write([]byte(strings.Repeat("half", 10_000))) //nolint:errcheck // the answer ends here
		}
		panic("x")
	})))
	t.Cleanup(s.Close)
	for path, status := range map[string]int{"/": 500, "/half": 0} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := s.Client().Do(r)
		if err != nil {
			if status != 0 {
				t.Errorf("%s: %v", path, err)
			}
			continue
		}
		var b strings.Builder
		_, err = io.Copy(&b, res.Body)
		res.Body.Close() //nolint:errcheck // it was read as far as it goes
		if status == 0 && err == nil {
			t.Errorf("%s: half an answer of %d bytes ends like a whole one", path, b.Len())
		}
		if status != 0 && (err != nil || res.StatusCode != status || !strings.Contains(b.String(), "server_error")) {
			t.Errorf("%s: %d %s %v", path, res.StatusCode, b.String(), err)
		}
	}
}

// TestClientLeaves: what was cancelled because the client left is no fault of the
// server. Another fault is one, whether somebody still waits or not.
func TestClientLeaves(t *testing.T) {
	t.Parallel()
	fault := errors.New("the store does not answer")
	for name, c := range map[string]struct {
		leaves  bool
		err     error
		status  int
		isFault bool
	}{
		"stays":              {false, fault, http.StatusServiceUnavailable, true},
		"stays, cancelled":   {false, context.Canceled, http.StatusServiceUnavailable, true},
		"leaves, cancelled":  {true, fmt.Errorf("load: %w", context.Canceled), 0, false},
		"leaves, fault":      {true, fault, 0, true},
		"leaves, refused":    {true, oauth.Refuse(oauth.InvalidGrant, "no"), http.StatusBadRequest, false},
		"leaves, then panic": {true, nil, http.StatusInternalServerError, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log strings.Builder
			logger := slog.New(slog.NewTextHandler(&log, nil))
			seen := -1
			e := &web.Edge{Log: logger, Observe: func(_ string, status int, _ time.Duration) { seen = status }}
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/token", nil)
			e.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if c.leaves {
					leave()
				}
				if c.err == nil {
					panic("x")
				}
				web.Refuse(w, r, logger, "token", c.err)
			})).ServeHTTP(httptest.NewRecorder(), r)
			if seen != c.status || strings.Contains(log.String(), "level=ERROR") != c.isFault {
				t.Errorf("status %d, log: %s", seen, log.String())
			}
		})
	}
}
