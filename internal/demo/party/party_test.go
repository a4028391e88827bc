package party_test

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/fastbind/fastbind/internal/demo/party"
)

const secret = "fbr_thisIsASecretThatNobodyMaySee"

func TestBearerPrintsAsNothing(t *testing.T) {
	t.Parallel()
	b := party.NewBearer(secret)
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "bearer", b, "reply", party.Reply{Refresh: b})
	hidden := struct{ b party.Bearer }{b}
	for _, text := range []string{
		log.String(), fmt.Sprint(b), fmt.Sprintf("%+v %#v %s %q", b, b, b, b), fmt.Sprintf("%v %+v %#v", hidden, hidden, hidden),
		fmt.Sprintf("%v %+v", party.Reply{Refresh: b}, []party.Bearer{b}),
	} {
		if strings.Contains(text, secret[4:12]) {
			t.Errorf("the token is in %s", text)
		}
	}
	if b.Reveal() != secret || b.None() || !party.NewBearer("").None() {
		t.Error("the token itself is not kept")
	}
	if p := b.Prefix(); p != secret[:8]+"…" {
		t.Errorf("prefix %s", p)
	}
	if p := party.NewBearer("abc").Prefix(); p != "…" {
		t.Errorf("prefix of a short token: %s", p)
	}
}

func jwt(claims string) party.Bearer {
	return party.NewBearer("eyJ9." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln")
}

func TestDecode(t *testing.T) {
	t.Parallel()
	c, err := party.Decode(jwt(`{"family":"f","generation":3,"aud":["a","b"]}`))
	if err != nil || c.Family != "f" || c.Generation != 3 {
		t.Errorf("claims %+v, %v", c, err)
	}
	for _, bad := range []string{"", "a.b", "a.b.c.d", "a.!.c", "a.bm90IEpTT04.c", "a.WzFd.c"} {
		if _, err := party.Decode(party.NewBearer(bad)); err == nil || strings.Contains(err.Error(), "JSON") {
			t.Errorf("%q: error %v", bad, err)
		}
	}
}

func TestIDTokenFits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, claims string
		fits         bool
	}{
		{"Right", `{"iss":"i","aud":"c","nonce":"n"}`, true},
		{"OtherIssuer", `{"iss":"x","aud":"c","nonce":"n"}`, false},
		{"OtherClient", `{"iss":"i","aud":"x","nonce":"n"}`, false},
		{"MoreAudiences", `{"iss":"i","aud":["c","x"],"nonce":"n"}`, false},
		{"OtherNonce", `{"iss":"i","aud":"c","nonce":"x"}`, false},
		{"NoNonce", `{"iss":"i","aud":"c"}`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if err := (party.Reply{ID: jwt(c.claims)}).Fits("i", "c", "n"); (err == nil) != c.fits {
				t.Errorf("error %v, want fits %v", err, c.fits)
			}
		})
	}
	if (party.Reply{}).Fits("", "", "") == nil {
		t.Error("no ID token fits")
	}
}

func TestHandHasItsOwnNameAndAddress(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			t.Error(err)
		}
		if strings.Contains(r.URL.String(), secret) {
			t.Error("the token is in the address")
		}
		fmt.Fprintf(w, "%s %s %s", host, r.UserAgent(), strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	}))
	t.Cleanup(s.Close)
	second := net.IPv4(127, 0, 0, 2)
	want := "127.0.0.1" // where the machine has no other loopback address
	if ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: second}); err == nil {
		want = second.String()
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		hand party.Hand
		want string
	}{
		{party.New("Victim/1.0", nil), "127.0.0.1 Victim/1.0 " + secret},
		{party.New("Thief/1.0", second), want + " Thief/1.0 " + secret},
		{party.New("Lost/1.0", net.IPv4(192, 0, 2, 1)), "127.0.0.1 Lost/1.0 " + secret}, // not an address of any machine
	} {
		a, err := c.hand.Ask(t.Context(), http.MethodGet, s.URL+"/", nil, party.NewBearer(secret))
		if err != nil {
			t.Fatal(err)
		}
		if string(a.Body) != c.want {
			t.Errorf("the server sees %q, want %q", a.Body, c.want)
		}
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, body string
		status     int
		want       string // empty: an error
	}{
		{"Tokens", `{"access_token":"a","refresh_token":"r"}`, 200, "200"},
		{"Refusal", `{"error":"invalid_grant"}`, 400, "400 invalid_grant"},
		{"Away", `{"error":"temporarily_unavailable"}`, 503, "503 temporarily_unavailable"},
		{"NoRefreshToken", `{"access_token":"a"}`, 200, ""},
		{"NoTokens", `{}`, 200, ""},
		{"NoJSON", `<html>`, 502, ""},
		{"Redirect", `moved`, 302, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/token" || r.PostFormValue("x") != "y" {
					t.Errorf("asked for %s with %v", r.URL, r.PostForm)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			}))
			t.Cleanup(s.Close)
			r, err := party.New("A/1.0", nil).Token(t.Context(), s.URL+"/token", url.Values{"x": {"y"}})
			if (err == nil) != (c.want != "") {
				t.Fatalf("error %v", err)
			}
			if err == nil && r.String() != c.want {
				t.Errorf("reply %s, want %s", r, c.want)
			}
		})
	}
}
