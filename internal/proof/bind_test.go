package proof_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/apptest"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/revoke"
)

// TestAskD1NonceRoundTripConsumesNothing: who is asked for a nonce comes again
// with the same code, refresh token or request, and it is good.
func TestAskD1NonceRoundTripConsumesNothing(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, o apptest.Options) {
		w := open(t, o)
		for _, c := range []apptest.App{w.spa, w.web} {
			c.Prover = apptest.NewProver(t)
			round := func(what string, next apptest.Call, good int) *apptest.Answer {
				t.Helper()
				fresh := &apptest.Prover{Key: c.Prover.Key} // of the same key, and without a nonce
				for range 3 {
					want(t, c.ID+" "+what+" without a nonce", w.Send(w.Proof(fresh, next), next), 400, "use_dpop_nonce")
				}
				a := w.Prove(fresh, next)
				want(t, c.ID+" "+what, a, good, "")
				return a
			}
			v, verifier := c.Request()
			push := apptest.Call{Method: http.MethodPost, Path: "/par", Form: v, Header: c.Header()}
			uri, _ := round("push", push, 201).JSON(t)["request_uri"].(string) //nolint:errcheck // the status says that it is there
			got := w.Browser().Code(url.Values{"client_id": {c.ID}, "request_uri": {uri}}, "ada")
			redeem := form(c, "grant_type", "authorization_code", "code", got.Get("code"), "redirect_uri", c.Redirect, "code_verifier", verifier)
			held := round("code", call(c, redeem), 200).JSON(t)
			first, _ := held["refresh_token"].(string) //nolint:errcheck // the status says that it is there
			next := round("refresh", call(c, refreshing(c, first)), 200).JSON(t)
			if kept := next["refresh_token"] == held["refresh_token"]; kept != (c.Secret != "") {
				t.Errorf("%s: the refresh token stays: %v", c.ID, kept)
			}
		}
	})
}

// TestD02RequiredMeansRequired: a client that has to show proofs gets nothing
// without one, and what it lacks is told before anything is consumed.
func TestD02RequiredMeansRequired(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	phone := w.register(t, "phone", client.DPoPRequired, false)
	vault := w.register(t, "vault", client.DPoPRequired, true)
	robot := apptest.App{ID: "robot", Prover: apptest.NewProver(t)}
	robot.Secret = w.Register("robot", true, client.Meta{GrantTypes: []string{"client_credentials"}, Scopes: []string{"orders:read"}, DPoP: client.DPoPRequired})
	for i, c := range []apptest.App{phone, vault} {
		redeem := w.code(t, c)
		wantWords(t, c.ID+" code", w.Token(bearer(c), redeem, c.Header()), 400, "no DPoP proof")
		a := w.Token(c, redeem, c.Header())
		want(t, c.ID+" code with a proof", a, 200, "")
		m := a.JSON(t)
		if m["token_type"] != "DPoP" {
			t.Errorf("%s: token_type %v, want DPoP", c.ID, m["token_type"])
		}
		token, _ := m["refresh_token"].(string) //nolint:errcheck // the status says that it is there
		wantWords(t, c.ID+" refresh", w.Refresh(bearer(c), token, ""), 400, "no DPoP proof")
		told, err := w.App.DB.Events(t.Context(), app.EventQuery{Kind: audit.ForeignKey})
		if err != nil || len(told) != i+1 || told[0].Client != c.ID {
			t.Errorf("%s: somebody without the key showed the refresh token, and %d events tell of such (%v)", c.ID, len(told), err)
		}
		want(t, c.ID+" refresh with a proof", w.Refresh(c, token, ""), 200, "")
	}
	own := form(robot, "grant_type", "client_credentials")
	want(t, "client credentials", w.Token(bearer(robot), own, robot.Header()), 400, "invalid_dpop_proof")
	a := w.Token(robot, own, robot.Header())
	want(t, "client credentials with a proof", a, 200, "")
	if got := a.JSON(t)["token_type"]; got != "DPoP" {
		t.Errorf("client credentials: token_type %v, want DPoP", got)
	}
	if plain := w.Browser().Tokens(bearer(w.spa), "ada"); plain.Raw["token_type"] != "Bearer" {
		t.Errorf("without a proof: token_type %v, want Bearer", plain.Raw["token_type"])
	}
}

// TestAskD7NothingUnboundIsLeft: once a client has to show proofs, what it was
// issued before without one is of no use: a public client signs in again, and a
// confidential one goes on, for it proves who it is.
func TestAskD7NothingUnboundIsLeft(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	public := w.Browser().Tokens(bearer(w.spa), "ada")
	confidential := w.Browser().Tokens(bearer(w.web), "ada")
	a := w.Refresh(w.spa, public.Refresh, "")
	want(t, "a proof with what was issued without one", a, 200, "")
	if got := a.JSON(t)["token_type"]; got != "DPoP" {
		t.Errorf("token_type %v, want DPoP: the access token is bound in any case", got)
	}
	public.Refresh, _ = a.JSON(t)["refresh_token"].(string) //nolint:errcheck // the status says that it is there
	w.step(t, "spa", client.DPoPRequired)
	w.step(t, "web", client.DPoPRequired)
	want(t, "public", w.Refresh(w.spa, public.Refresh, ""), 400, "invalid_grant")
	want(t, "confidential", w.Refresh(w.web, confidential.Refresh, ""), 200, "")
	h := w.Browser().Tokens(w.spa, "ada")
	want(t, "after another sign-in", w.Refresh(w.spa, h.Refresh, ""), 200, "")
}

// step changes what a client owes in proofs.
func (w *world) step(t *testing.T, id, dpop string) {
	t.Helper()
	c, err := w.App.Clients.Client(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	c.DPoP = dpop
	if err := w.App.Clients.Put(t.Context(), c, audit.Event{Time: time.Now(), Kind: audit.ClientChanged, Client: id}); err != nil {
		t.Fatal(err)
	}
}

// TestAskD8Ladder: before proofs are required somebody can see what would break:
// an event, once in an hour, with how often.
func TestAskD8Ladder(t *testing.T) {
	t.Parallel()
	c := apptest.NewClock()
	w := open(t, apptest.Options{Now: c.Now})
	told := func() []audit.Event {
		t.Helper()
		all, err := w.App.DB.Events(t.Context(), app.EventQuery{Kind: audit.Unbound})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	h := w.Browser().Tokens(bearer(w.spa), "ada")
	if got := told(); len(got) != 0 {
		t.Fatalf("events of a client that owes nothing: %v", got)
	}
	w.step(t, "spa", client.DPoPReport)
	w.spa.Prover.Now = c.Now
	w.Browser().Tokens(w.spa, "ada")
	if got := told(); len(got) != 0 {
		t.Fatalf("events of a client that shows a proof: %v", got)
	}
	for range 5 {
		h.App = bearer(w.spa)
		h = w.Renew(h)
	}
	if got := told(); len(got) != 1 || got[0].Client != "spa" || len(got[0].Parties) != 1 || got[0].Parties[0].Network == "" {
		t.Fatalf("events: %v, want one that names client and party", got)
	}
	c.Add(time.Hour)
	h.App = w.spa // a proof now, but the refresh token is bound to nothing
	w.Renew(h)
	if got := told(); len(got) != 2 || !strings.HasPrefix(got[0].Note, "5 token answers") {
		t.Errorf("events an hour later: %v, want one more, of five answers", got)
	}
}

// TestD03PublicClientIsBoundToItsKey and its like: a refresh token of a public
// client is of use with its key only; a confidential client proves who it is, and
// may change its key, but not go back to none.
func TestD03PublicClientIsBoundToItsKey(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, o apptest.Options) {
		w := open(t, o)
		h := w.Browser().Tokens(w.spa, "ada")
		other := w.spa
		other.Prover = apptest.NewProver(t)
		want(t, "other key", w.Refresh(other, h.Refresh, ""), 400, "invalid_grant")
		want(t, "no key", w.Refresh(bearer(w.spa), h.Refresh, ""), 400, "invalid_grant")
		events, err := w.App.DB.Events(t.Context(), app.EventQuery{Kind: audit.ForeignKey})
		if err != nil || len(events) != 2 || events[0].Parties[0].Key != w.spa.Prover.Key.Thumbprint() {
			t.Errorf("events: %v (%v), want two that name the key of the holder", events, err)
		}
		want(t, "its key", w.Refresh(w.spa, h.Refresh, ""), 200, "")
	})
}

func TestD03ConfidentialClientMayChangeItsKey(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, o apptest.Options) {
		w := open(t, o)
		h := w.Browser().Tokens(w.web, "ada")
		want(t, "no key: it does not go back to bearer tokens", w.Refresh(bearer(w.web), h.Refresh, ""), 400, "invalid_grant")
		other := w.web
		other.Prover = apptest.NewProver(t)
		a := w.Refresh(other, h.Refresh, "")
		want(t, "other key", a, 200, "")
		access, _ := a.JSON(t)["access_token"].(string) //nolint:errcheck // the status says that it is there
		want(t, "the access token with the key that was proven last", w.Prove(other.Prover, userinfo(access)), 200, "")
		wantWords(t, "the access token with the first key", w.Prove(w.web.Prover, userinfo(access)), 401, "key")
		next, _ := a.JSON(t)["refresh_token"].(string) //nolint:errcheck // the status says that it is there
		want(t, "the first key again", w.Refresh(w.web, next, ""), 200, "")
	})
}

// TestD04Confirmation: token and introspection name the key.
func TestD04Confirmation(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	bound := w.Browser().Tokens(w.spa, "ada")
	plain := w.Browser().Tokens(bearer(w.spa), "ada")
	look := func(access string) map[string]any {
		t.Helper()
		a := w.Post("/introspect", url.Values{"token": {access}}, w.api.Header())
		if a.Status != 200 {
			t.Fatalf("introspection: %d %s", a.Status, a.Body)
		}
		return a.JSON(t)
	}
	key := w.spa.Prover.Key.Thumbprint()
	if m := look(bound.Access); m["active"] != true || m["token_type"] != "DPoP" || jkt(m) != key {
		t.Errorf("introspection of a bound token: %v, want the key %s", m, key)
	}
	if m := look(plain.Access); m["active"] != true || m["token_type"] != "Bearer" || m["cnf"] != nil {
		t.Errorf("introspection of a bearer token: %v", m)
	}
	if m := claimsOf(t, bound.Access); jkt(m) != key {
		t.Errorf("claims of a bound token: %v, want the key %s", m, key)
	}
}

func jkt(m map[string]any) string {
	cnf, _ := m["cnf"].(map[string]any) //nolint:errcheck // absent is empty
	s, _ := cnf["jkt"].(string)         //nolint:errcheck // absent is empty
	return s
}

// TestN64OtherKey: a code that was bound at the authorization endpoint or by a
// pushed request, and an access token, are of use with their key only.
func TestN64OtherKey(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	other := apptest.NewProver(t)
	for _, c := range []apptest.App{w.spa, w.web} {
		wrong := c
		wrong.Prover = other
		for how, redeem := range map[string]url.Values{
			"dpop_jkt":        w.code(t, c, "dpop_jkt", c.Prover.Key.Thumbprint()),
			"proof with PAR":  w.pushedCode(t, c, ""),
			"dpop_jkt at PAR": w.pushedCode(t, c, c.Prover.Key.Thumbprint()),
		} {
			for range 2 { // nothing is consumed
				want(t, c.ID+" "+how+" other key", w.Token(wrong, redeem, c.Header()), 400, "invalid_grant")
				want(t, c.ID+" "+how+" no key", w.Token(bearer(c), redeem, c.Header()), 400, "invalid_grant")
			}
			a := w.Token(c, redeem, c.Header())
			want(t, c.ID+" "+how, a, 200, "")
			access, _ := a.JSON(t)["access_token"].(string) //nolint:errcheck // the status says that it is there
			wantWords(t, c.ID+" "+how+" userinfo", w.Prove(other, userinfo(access)), 401, "key")
			// Who holds code and verifier, but not the key, ends nothing by a replay.
			want(t, c.ID+" "+how+" replay by another", w.Token(wrong, redeem, c.Header()), 400, "invalid_grant")
			want(t, c.ID+" "+how+" userinfo afterwards", w.Prove(c.Prover, userinfo(access)), 200, "")
		}
	}
}

// pushedCode returns the form that redeems a code which was asked for by a pushed
// request with a proof.
func (w *world) pushedCode(t *testing.T, c apptest.App, jkt string) url.Values {
	t.Helper()
	v, verifier := c.Request()
	if jkt != "" {
		v.Set("dpop_jkt", jkt)
	}
	a := w.Prove(c.Prover, apptest.Call{Method: http.MethodPost, Path: "/par", Form: v, Header: c.Header()})
	if a.Status != 201 {
		t.Fatalf("push: %d %s", a.Status, a.Body)
	}
	uri, _ := a.JSON(t)["request_uri"].(string) //nolint:errcheck // the status says that it is there
	got := w.Browser().Code(url.Values{"client_id": {c.ID}, "request_uri": {uri}}, "ada")
	return form(c, "grant_type", "authorization_code", "code", got.Get("code"), "redirect_uri", c.Redirect, "code_verifier", verifier)
}

// TestD07BothWaysOfBindingAgree: dpop_jkt and the proof of a pushed request are of
// one key, and dpop_jkt is a thumbprint.
func TestD07BothWaysOfBindingAgree(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	v, _ := w.web.Request()
	v.Set("dpop_jkt", apptest.NewProver(t).Key.Thumbprint())
	push := apptest.Call{Method: http.MethodPost, Path: "/par", Form: v, Header: w.web.Header()}
	wantWords(t, "two keys", w.Prove(w.web.Prover, push), 400, "key")
	for _, bad := range []string{"x", strings.Repeat("A", 42), strings.Repeat("A", 44), strings.Repeat("=", 43), strings.Repeat("A", 42) + "B"} {
		v.Set("dpop_jkt", bad)
		want(t, "pushed "+bad, w.Post("/par", v, w.web.Header()), 400, "invalid_request")
		if got := w.Browser().Open(w.Path(v)).Location(t).Query().Get("error"); got != "invalid_request" {
			t.Errorf("%s: error %q, want invalid_request", bad, got)
		}
	}
}

// TestN43ReplayedCodeOfABoundFamily: who shows code, verifier and key a second
// time has copied all of it.
func TestN43ReplayedCodeOfABoundFamily(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	redeem := w.code(t, w.spa)
	a := w.Token(w.spa, redeem, w.spa.Header())
	want(t, "first", a, 200, "")
	want(t, "second", w.Token(w.spa, redeem, w.spa.Header()), 400, "invalid_grant")
	token, _ := a.JSON(t)["refresh_token"].(string) //nolint:errcheck // the status says that it is there
	want(t, "what it yielded", w.Refresh(w.spa, token, ""), 400, "invalid_grant")
}

// TestDeviceKeyIsRevoked: what is bound to a key that was revoked does not count
// any more, and the rest does.
func TestDeviceKeyIsRevoked(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, o apptest.Options) {
		w := open(t, o)
		lost := w.Browser().Tokens(w.spa, "ada")
		other := w.Browser().Tokens(w.web, "ada")
		key := w.spa.Prover.Key.Thumbprint()
		if _, err := w.App.Revoke.End(t.Context(), revoke.Order{Kind: revoke.Device, Value: key, Reason: audit.KeyRevoked}); err != nil {
			t.Fatal(err)
		}
		want(t, "the lost key", w.Prove(w.spa.Prover, userinfo(lost.Access)), 401, "invalid_token")
		want(t, "a refresh with the lost key", w.Refresh(w.spa, lost.Refresh, ""), 400, "invalid_grant")
		want(t, "another key", w.Prove(w.web.Prover, userinfo(other.Access)), 200, "")
	})
}
