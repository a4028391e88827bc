package login_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/jose"
	"github.com/fastbind/fastbind/internal/login"
)

// idToken returns an ID token of ours that has expired.
func (s *site) idToken(t *testing.T, key *jose.Signer, sub, sid, aud string) string {
	t.Helper()
	payload, err := json.Marshal(map[string]any{
		"iss": issuer, "sub": sub, "aud": aud, "sid": sid,
		"iat": s.now.Add(-48 * time.Hour).Unix(), "exp": s.now.Add(-47 * time.Hour).Unix(),
	})
	if err != nil {
		t.Fatal(err)
	}
	v, err := key.Sign("JWT", payload)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func logoutURL(v url.Values) string { return login.LogoutPath + "?" + v.Encode() }

// TestL01LogoutWithHint: an app that shows the ID token of this very session,
// expired or not, signs the person out at once and gets them back.
func TestL01LogoutWithHint(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method string
		extra  url.Values
		want   string
	}{
		"Get":       {http.MethodGet, nil, appURI},
		"State":     {http.MethodGet, url.Values{"state": {"a b&c=d"}}, appURI + "&state=a+b%26c%3Dd"},
		"ClientID":  {http.MethodGet, url.Values{"client_id": {"app"}, "logout_hint": {"x"}, "ui_locales": {"fr"}}, appURI},
		"Post":      {http.MethodPost, nil, appURI},
		"PostState": {http.MethodPost, url.Values{"state": {"xyz"}}, appURI + "&state=xyz"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			b := s.browser()
			b.signIn(t, "ada", password, "")
			who := b.who(t)
			b.site = "cross-site"
			v := url.Values{"id_token_hint": {s.idToken(t, s.key, who.Subject, who.ID, "app")}, "post_logout_redirect_uri": {appURI}}
			maps.Copy(v, c.extra)
			var res *http.Response
			if c.method == http.MethodPost {
				cookies := b.cookies
				b.cookies = map[string]string{} // SameSite=Lax: not sent
				res = b.send(t, http.MethodPost, login.LogoutPath, v)
				b.cookies = cookies
				wantStatus(t, res, http.StatusSeeOther)
				res = b.send(t, http.MethodGet, res.Header.Get("Location"), nil)
			} else {
				res = b.send(t, http.MethodGet, logoutURL(v), nil)
			}
			wantRedirect(t, res, c.want)
			if b.who(t) != nil || b.cookies[sessionCookie] != "" {
				t.Error("still signed in")
			}
			s.wantEnd(t, who.ID, audit.RPLogout)
			wantRedirect(t, b.send(t, http.MethodGet, logoutURL(v), nil), c.want) // again, signed out
		})
	}
}

// TestN87Logout: whatever does not prove that it comes from an app the person
// uses asks the person, ends nothing by itself, and sends nobody anywhere that
// is not registered.
func TestN87Logout(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	foreign, err := jose.Generate("key", jose.ES256)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(t *testing.T, v func(b *browser) url.Values) (asked string, b *browser) {
		t.Helper()
		b = s.browser()
		wantRedirect(t, b.signIn(t, "ada", password, ""), login.Path)
		b.site = "cross-site"
		res := b.send(t, http.MethodGet, logoutURL(v(b)), nil)
		wantStatus(t, res, http.StatusOK)
		if b.who(t) == nil {
			t.Fatal("signed out without being asked")
		}
		b.site = "same-origin"
		return body(t, res), b
	}
	hint := func(b *browser, key *jose.Signer, aud string) string {
		who := b.who(t)
		return s.idToken(t, key, who.Subject, who.ID, aud)
	}
	const page = "" // stays on a page of ours after the person has said yes
	for name, c := range map[string]struct {
		params func(b *browser) url.Values
		want   string
	}{
		"Nothing":   {func(*browser) url.Values { return nil }, page},
		"OnlyState": {func(*browser) url.Values { return url.Values{"state": {"s"}} }, page},
		"NoHint":    {func(*browser) url.Values { return url.Values{"post_logout_redirect_uri": {appURI}} }, page},
		"ClientOnly": {func(*browser) url.Values {
			return url.Values{"client_id": {"app"}, "post_logout_redirect_uri": {appURI}}
		}, appURI},
		"UnknownClient": {func(*browser) url.Values {
			return url.Values{"client_id": {"nobody"}, "post_logout_redirect_uri": {appURI}}
		}, page},
		"Unregistered": {func(b *browser) url.Values {
			return url.Values{"id_token_hint": {hint(b, s.key, "app")}, "post_logout_redirect_uri": {"https://evil.example/"}}
		}, page},
		"QueryAdded": {func(b *browser) url.Values {
			return url.Values{"id_token_hint": {hint(b, s.key, "app")}, "post_logout_redirect_uri": {appURI + "&more=1"}}
		}, page},
		"OtherClientsAddress": {func(b *browser) url.Values {
			return url.Values{"id_token_hint": {hint(b, s.key, "other")}, "post_logout_redirect_uri": {appURI}}
		}, page},
		"ClientIDDiffers": {func(b *browser) url.Values {
			return url.Values{"id_token_hint": {hint(b, s.key, "app")}, "client_id": {"other"}, "post_logout_redirect_uri": {appURI}}
		}, page},
		"ForeignKey": {func(b *browser) url.Values {
			return url.Values{"id_token_hint": {hint(b, foreign, "app")}, "post_logout_redirect_uri": {appURI}}
		}, page},
		"Unsigned": {func(b *browser) url.Values {
			parts := strings.Split(hint(b, s.key, "app"), ".")
			return url.Values{"id_token_hint": {"eyJhbGciOiJub25lIn0." + parts[1] + "."}, "post_logout_redirect_uri": {appURI}}
		}, page},
		"Rubbish": {func(*browser) url.Values {
			return url.Values{"id_token_hint": {"rubbish"}, "post_logout_redirect_uri": {appURI}}
		}, page},
		"OtherSession": {func(b *browser) url.Values {
			return url.Values{"id_token_hint": {s.idToken(t, s.key, b.who(t).Subject, "another", "app")}, "post_logout_redirect_uri": {appURI}}
		}, appURI},
		"NoSession": {func(b *browser) url.Values {
			return url.Values{"id_token_hint": {s.idToken(t, s.key, b.who(t).Subject, "", "app")}}
		}, page},
	} {
		t.Run(name, func(t *testing.T) {
			asked, b := ask(t, c.params)
			form := url.Values{"transaction": {transactionOn(t, asked)}}
			b.site = "cross-site"
			wantStatus(t, b.send(t, http.MethodPost, login.LogoutPath, form), http.StatusForbidden)
			if b.who(t) == nil {
				t.Fatal("another site could say yes")
			}
			b.site = "same-origin"
			who := b.who(t)
			res := b.send(t, http.MethodPost, login.LogoutPath, form)
			if c.want != page {
				wantRedirect(t, res, c.want)
			} else {
				wantStatus(t, res, http.StatusOK)
				if html := body(t, res); !strings.Contains(html, "You are signed out") || strings.Contains(html, "evil.example") {
					t.Errorf("page after the person said yes: %s", html)
				}
			}
			if b.who(t) != nil {
				t.Error("still signed in after the person said yes")
			}
			list := s.recorded(t, audit.SessionEnded)
			if len(list) == 0 || list[0].Session != who.ID {
				t.Errorf("events %+v, want the end of %s", list, who.ID)
			}
		})
	}
}

// TestLogoutForgedByImage: a request without the session cookie ends nothing,
// whoever's ID token it shows.
func TestLogoutForgedByImage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser()
	b.signIn(t, "ada", password, "")
	who := b.who(t)
	image := s.browser()
	image.site = "cross-site"
	v := url.Values{"id_token_hint": {s.idToken(t, s.key, who.Subject, who.ID, "app")}}
	res := image.send(t, http.MethodGet, logoutURL(v), nil)
	wantStatus(t, res, http.StatusOK)
	if len(res.Cookies()) != 0 || b.who(t) == nil {
		t.Errorf("cookies %v, session %v: want none touched", res.Cookies(), b.who(t))
	}
}

// TestLogoutConfirmsWhatWasShown: a page that asked about one session does not
// end that of somebody who has signed in since.
func TestLogoutConfirmsWhatWasShown(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser()
	b.signIn(t, "ada", password, "")
	asked := body(t, b.send(t, http.MethodGet, login.LogoutPath, nil))
	b.signIn(t, "bob", password, "")
	res := b.send(t, http.MethodPost, login.LogoutPath, url.Values{"transaction": {transactionOn(t, asked)}})
	wantStatus(t, res, http.StatusOK)
	if page := body(t, res); !strings.Contains(page, "Sign out?") || !strings.Contains(page, "bob") || b.who(t) == nil {
		t.Errorf("page %s, session %v: want to be asked as bob", page, b.who(t))
	}
	wantRedirect(t, b.send(t, http.MethodPost, login.LogoutPath, url.Values{"transaction": {"rubbish"}}), login.LogoutPath)
	if b.who(t) == nil {
		t.Error("rubbish signed somebody out")
	}
}

func TestLogoutPageEscapes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser()
	b.signIn(t, "ada", password, "")
	res := b.send(t, http.MethodGet, logoutURL(url.Values{"client_id": {"app"}, "post_logout_redirect_uri": {appURI}}), nil)
	if page := body(t, res); strings.Contains(page, "<b>") || !strings.Contains(page, "Orchard") {
		t.Errorf("the name of the client is not escaped: %s", page)
	}
	if csp := res.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self' https:") {
		t.Errorf("policy %q does not let the answer go on to the app", csp)
	}
}
