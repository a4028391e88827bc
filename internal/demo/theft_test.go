package demo_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/apptest"
	"github.com/fastbind/fastbind/internal/audit"
)

// spa is the demo client as any other app would use it.
func spa() apptest.App {
	return apptest.App{ID: "demo-spa", Redirect: "http://127.0.0.1:49152/callback", Scope: "openid profile orders:read"}
}

// tokens signs ada in to a client, in a browser of its own.
func (w whole) tokens(t *testing.T, c apptest.App) apptest.Tokens {
	t.Helper()
	b := w.Browser()
	v, verifier := c.Request()
	a := b.Submit(b.Open(w.Path(v)), map[string]string{"username": "ada", "password": w.password("ada")})
	return w.held(t, c, w.Redeem(c, a.Location(t).Query().Get("code"), verifier))
}

func (w whole) held(t *testing.T, c apptest.App, a *apptest.Answer) apptest.Tokens {
	t.Helper()
	if a.Status != http.StatusOK {
		t.Fatalf("token endpoint: %d %s", a.Status, a.Body)
	}
	m := a.JSON(t)
	access, _ := m["access_token"].(string)   // absent is empty
	refresh, _ := m["refresh_token"].(string) // absent is empty
	w.Secret(access)
	w.Secret(refresh)
	return apptest.Tokens{App: c, Access: access, Refresh: refresh, Raw: m}
}

// holder is one of the two who hold a family.
type holder struct {
	apptest.Tokens
	stream <-chan [2]string
}

// theft plays both stories from outside: whoever is second is noticed, and
// within a second whatever either party holds is refused by every part of the
// API.
func theft(t *testing.T, w whole) {
	for name, thiefFirst := range map[string]bool{"VictimFirst": false, "ThiefFirst": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stolen := w.tokens(t, spa())
			first, second := &holder{Tokens: stolen}, &holder{Tokens: stolen}
			for range 2 {
				first.Tokens = w.held(t, spa(), w.Refresh(spa(), first.Refresh, ""))
			}
			if thiefFirst {
				if res := get(t, w.demo.URL+"/orders", first.Access); res.StatusCode != http.StatusOK {
					t.Fatalf("the thief has not been noticed yet, but /orders answers %d", res.StatusCode)
				}
			}
			for _, h := range []*holder{first, second} {
				for _, path := range []string{"/orders", "/me"} {
					if res := get(t, w.demo.URL+path, h.Access); res.StatusCode != http.StatusOK {
						t.Fatalf("before: %s answers %d", path, res.StatusCode)
					}
				}
				h.stream = events(get(t, w.demo.URL+"/stream", h.Access))
				if _, ok := next(t, h.stream); !ok {
					t.Fatal("before: the stream does not tick")
				}
			}

			shown := time.Now()
			if a := w.Refresh(spa(), second.Refresh, ""); a.Code() != "invalid_grant" {
				t.Fatalf("an ancestor is answered %d %s", a.Status, a.Code())
			}
			for _, h := range []*holder{first, second} {
				for _, path := range []string{"/orders", "/me", "/stream"} {
					for get(t, w.demo.URL+path, h.Access).StatusCode != http.StatusUnauthorized {
						if time.Since(shown) > time.Second {
							t.Fatalf("%s still answers after a second", path)
						}
					}
				}
				for {
					e, ok := next(t, h.stream)
					if !ok {
						t.Fatal("the stream ended without saying why")
					}
					if e[0] == "end" {
						break
					}
				}
				if took := time.Since(shown); took > time.Second {
					t.Errorf("gone only after %v", took)
				}
				if a := w.Refresh(spa(), h.Refresh, ""); a.Code() != "invalid_grant" {
					t.Errorf("afterwards a refresh token is answered %d %s", a.Status, a.Code())
				}
			}
			w.checkEvent(t, stolen.Access)
		})
	}
}

// checkEvent checks that the theft was recorded once, with both parties.
func (w whole) checkEvent(t *testing.T, access string) {
	t.Helper()
	family := claim(t, access, "family")
	events, err := w.App.DB.Events(t.Context(), app.EventQuery{Family: family, Kind: audit.Theft})
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != 1 || events[0].Reason != audit.TokenTheft || len(events[0].Parties) != 2 {
		t.Fatalf("events of the theft: %+v", events)
	}
	if p := events[0].Parties; p[0].Generation != 3 || p[1].Generation != 1 {
		t.Errorf("generations %d and %d, want 3 and 1", p[0].Generation, p[1].Generation)
	}
}

// serviceReadsOrders: client credentials are good for the API too.
func serviceReadsOrders(t *testing.T, w whole) {
	for _, c := range w.demo.Facts.Clients {
		if c.ID != "demo-service" {
			continue
		}
		a := w.Post("/token", url.Values{"grant_type": {"client_credentials"}}, apptest.Basic(c.ID, c.Secret))
		access, _ := a.JSON(t)["access_token"].(string) // absent is empty
		if res := get(t, w.demo.URL+"/orders", access); res.StatusCode != http.StatusOK {
			t.Errorf("/orders answers %d", res.StatusCode)
		}
	}
}

// claim reads a claim that is a string from a JWT, without verifying it.
func claim(t *testing.T, token, name string) string {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatal("not a JWT")
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal("not a JWT")
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal("not a JWT")
	}
	v, _ := m[name].(string) // absent is empty
	return v
}
