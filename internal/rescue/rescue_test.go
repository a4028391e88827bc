package rescue_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fastbind/fastbind/guard"
	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/apptest"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/history"
	"github.com/fastbind/fastbind/internal/pgtest"
	"github.com/fastbind/fastbind/internal/rescue"
	"github.com/fastbind/fastbind/internal/revoke"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// A house is an installation whose server comes and goes at one address.
type house struct {
	*apptest.Server
	t       *testing.T
	options apptest.Options

	spa, shop, service, api apptest.App
}

func (w *house) config() app.Config {
	return app.Config{Issuer: w.Issuer, Data: w.Data, DatabaseURL: w.options.DatabaseURL}
}

// start starts the server, again at the same address.
func (w *house) start() {
	w.t.Helper()
	w.Server = apptest.Start(w.t, w.options)
	w.options.Data, w.options.Listen = w.Data, strings.TrimPrefix(w.URL, "http://")
}

func open(t *testing.T, o apptest.Options) *house {
	t.Helper()
	w := &house{t: t, options: o}
	w.start()
	for _, name := range []string{"ada", "bob"} {
		w.Person(name)
	}
	meta := client.Meta{
		Name: "App", RedirectURIs: []string{"http://127.0.0.1/callback"}, GrantTypes: []string{"authorization_code", "refresh_token"},
		Scopes: []string{"openid", "orders:read", "offline_access"}, Audiences: []string{"orders"}, Policy: "spa",
	}
	w.Register("shop", false, meta)
	meta.Trusted = true
	w.Register("spa", false, meta)
	w.spa = apptest.App{ID: "spa", Redirect: apptest.Redirect, Scope: "openid orders:read"}
	w.shop = apptest.App{ID: "shop", Redirect: apptest.Redirect, Scope: "openid orders:read offline_access"}
	w.service = apptest.App{ID: "service", Secret: w.Register("service", true, client.Meta{
		GrantTypes: []string{"client_credentials"}, Scopes: []string{"orders:read"}, Audiences: []string{"orders"},
	})}
	w.api = apptest.App{ID: "orders-api", Secret: w.Register("orders-api", true, client.Meta{ResourceServer: true, Audiences: []string{"orders"}})}
	return w
}

// guard returns a guard that follows the server until the test ends.
func (w *house) guard() *guard.Guard {
	w.t.Helper()
	g, err := guard.New(guard.Config{Issuer: w.Issuer, Audience: "orders", ClientID: w.api.ID, ClientSecret: w.api.Secret})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	var work sync.WaitGroup
	work.Go(func() { g.Run(ctx) }) //nolint:errcheck // it ends with the test
	w.t.Cleanup(func() { cancel(); work.Wait() })
	if err := g.Ready(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return g
}

func accepts(t *testing.T, g *guard.Guard, token string) bool {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/orders", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	_, err := g.Check(r)
	return err == nil
}

// robot returns an access token that belongs to no person.
func (w *house) robot() string {
	w.t.Helper()
	a := w.Post("/token", url.Values{"grant_type": {"client_credentials"}}, w.service.Header())
	token, ok := a.JSON(w.t)["access_token"].(string)
	if !ok {
		w.t.Fatalf("client credentials: %d %s", a.Status, a.Body)
	}
	return token
}

// push pushes an authorization request and returns its name.
func (w *house) push() url.Values {
	w.t.Helper()
	v, _ := w.spa.Request()
	uri, ok := w.Post("/par", v, nil).JSON(w.t)["request_uri"].(string)
	if !ok {
		w.t.Fatal("the request was not pushed")
	}
	return url.Values{"client_id": {w.spa.ID}, "request_uri": {uri}}
}

// signedIn reports whether a browser gets a code without a form.
func (w *house) signedIn(b *apptest.Browser) bool {
	w.t.Helper()
	v, _ := w.spa.Request()
	v.Set("prompt", "none")
	return b.Open(w.Path(v)).Location(w.t).Query().Get("code") != ""
}

// eventually polls until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); !ok(); <-tick.C {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func onEach(t *testing.T, test func(t *testing.T, o apptest.Options)) {
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		test(t, apptest.Options{})
	})
	if pgtest.Enabled() {
		t.Run("PostgreSQL", func(t *testing.T) {
			t.Parallel()
			test(t, apptest.Options{DatabaseURL: pgtest.URL(t)})
		})
	}
}

// backup makes a backup of the running installation, with the tool of its engine,
// and returns how to restore it.
func (w *house) backup() (restore func()) {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "backup")
	if w.options.DatabaseURL != "" {
		tool(w.t, "pg_dump", "--dbname", w.options.DatabaseURL, "--clean", "--if-exists", "--file", file)
		return func() {
			tool(w.t, "psql", "--dbname", w.options.DatabaseURL, "--quiet", "--single-transaction", "--set", "ON_ERROR_STOP=1", "--file", file)
		}
	}
	done, err := rescue.Backup(w.t.Context(), w.config(), w.App.DB, file, io.Discard)
	if err != nil || done.Fsck.Broken > 0 {
		w.t.Fatalf("backup: %+v, %v", done, err)
	}
	return func() {
		name := filepath.Join(w.Data, "fastbind.db")
		for _, old := range []string{name + "-wal", name + "-shm"} {
			if err := os.Remove(old); err != nil && !errors.Is(err, os.ErrNotExist) {
				w.t.Fatal(err)
			}
		}
		b, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(name, b, 0o600)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

func tool(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), pgtest.Tool(t, name), args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}

// finish finishes a restore as the command does, while no server runs or while
// one does.
func (w *house) finish() rescue.Outcome {
	w.t.Helper()
	cfg := w.config()
	db, err := app.OpenDatabase(w.t.Context(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	secrets, err := cfg.Secrets()
	if err != nil {
		w.t.Fatal(err)
	}
	done, err := rescue.Finish(w.t.Context(), cfg, db, secrets, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return done
}

// belongings are what somebody holds who could use it after the restore.
type belongings struct {
	tokens   map[string]apptest.Tokens
	browsers map[string]*apptest.Browser
	access   map[string]string // besides those of tokens
}

// live lets a bit of everything begin before the backup.
func (w *house) live() *belongings {
	h := &belongings{map[string]apptest.Tokens{}, map[string]*apptest.Browser{}, map[string]string{}}
	for _, name := range []string{"revoked", "rotated", "robbed", "signed out", "of bob", "kept"} {
		who := "ada"
		if name == "of bob" {
			who = "bob"
		}
		b := w.Browser()
		h.tokens[name], h.browsers[name] = b.Tokens(w.spa, who), b
	}
	b := w.Browser()
	h.tokens["consent"], h.browsers["consent"] = b.Tokens(w.shop, "ada"), b
	h.access["robot"] = w.robot()
	return h
}

// lose lets everything end, rotate and be stolen that the backup does not know
// of, and lets new things begin.
func (w *house) lose(h *belongings) {
	w.t.Helper()
	form := url.Values{"token": {h.tokens["revoked"].Refresh}, "client_id": {w.spa.ID}}
	if a := w.Post("/revoke", form, nil); a.Status != http.StatusOK {
		w.t.Fatalf("revoke: %d", a.Status)
	}
	h.tokens["rotated twice"] = w.Renew(w.Renew(h.tokens["rotated"]))
	w.Renew(w.Renew(h.tokens["robbed"]))
	if a := w.Refresh(w.spa, h.tokens["robbed"].Refresh, ""); a.Code() != "invalid_grant" {
		w.t.Fatalf("the theft was not noticed: %d %s", a.Status, a.Body)
	}
	b := h.browsers["signed out"]
	if a := b.Submit(b.Open("/logout"), nil); a.Status != http.StatusOK {
		w.t.Fatalf("sign-out: %d %s", a.Status, a.Body)
	}
	bob, err := w.App.DB.Accounts().ByUsername(w.t.Context(), "bob")
	if err != nil {
		w.t.Fatal(err)
	}
	var kid string
	for _, k := range w.App.Keys.KeySet().Keys() {
		if k.Algorithm == "ES256" {
			kid = k.ID
		}
	}
	for _, o := range []revoke.Order{
		{Kind: revoke.Subject, Value: bob.Subject, Reason: audit.UserDisabled, Disable: true},
		{Kind: revoke.Subject, Value: claim(w, h.tokens["consent"], "sub"), Client: "shop", Reason: audit.RevokedByUser},
	} {
		if _, err := w.App.Revoke.End(w.t.Context(), o); err != nil {
			w.t.Fatal(err)
		}
	}
	fresh := w.Browser()
	h.tokens["new"], h.browsers["new"] = fresh.Tokens(w.spa, "ada"), fresh
	h.access["new robot"] = w.robot()
	if err := w.App.Keys.Revoke(w.t.Context(), kid); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.App.Revoke.End(w.t.Context(), revoke.Order{Kind: revoke.Key, Value: kid, Reason: audit.KeyRevoked}); err != nil {
		w.t.Fatal(err)
	}
	fresh = w.Browser()
	h.tokens["of a new key"], h.browsers["of a new key"] = fresh.Tokens(w.spa, "ada"), fresh
	h.access["robot with a new key"] = w.robot()
}

// claim returns a claim of an access token, as introspection says it.
func claim(w *house, h apptest.Tokens, name string) string {
	w.t.Helper()
	s, ok := w.Post("/introspect", url.Values{"token": {h.Access}}, w.api.Header()).JSON(w.t)[name].(string)
	if !ok {
		w.t.Fatalf("no claim %s", name)
	}
	return s
}

// dead wants that nothing of h is of any use.
func (w *house) dead(h *belongings, guards map[string]*guard.Guard) {
	w.t.Helper()
	for name, v := range h.tokens {
		h.access["of "+name] = v.Access
		if a := w.Refresh(v.App, v.Refresh, ""); a.Status != 400 || a.Code() != "invalid_grant" {
			w.t.Errorf("refresh token %s: %d %s", name, a.Status, a.Body)
		}
		q := url.Values{"id_token_hint": {v.ID}, "prompt": {"none"}}
		p, _ := v.App.Request()
		for k := range q {
			p[k] = q[k]
		}
		if a := w.Browser().Open(w.Path(p)); a.Status == http.StatusFound && a.Location(w.t).Query().Get("code") != "" {
			w.t.Errorf("hint %s: a code", name)
		}
	}
	for name, token := range h.access {
		for which, g := range guards {
			if accepts(w.t, g, token) {
				w.t.Errorf("%s: accepts the access token %s", which, name)
			}
		}
		if m := w.Post("/introspect", url.Values{"token": {token}}, w.api.Header()).JSON(w.t); m["active"] != false {
			w.t.Errorf("introspection of the access token %s: %v", name, m)
		}
		if a := w.Do(http.MethodGet, "/userinfo", nil, apptest.Bearer(token)); a.Status != http.StatusUnauthorized {
			w.t.Errorf("userinfo with the access token %s: %d", name, a.Status)
		}
	}
	for name, b := range h.browsers {
		if w.signedIn(b) {
			w.t.Errorf("browser %s: signed in", name)
		}
	}
}

// TestRestore loses an hour, in which all sorts of things ended, by a restore
// from a backup: nothing of it lives again.
func TestRestore(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, o apptest.Options) {
		w := open(t, o)
		guards := map[string]*guard.Guard{"a guard that was there": w.guard()}
		h := w.live()
		v, verifier := w.spa.Request()
		b := w.Browser()
		code := b.Code(v, "ada").Get("code")
		h.browsers["code"] = b
		pushed := w.push()
		restore := w.backup()

		w.lose(h)
		if a := w.Redeem(w.spa, code, verifier); a.Status != http.StatusOK {
			t.Fatalf("redeem: %d %s", a.Status, a.Body)
		}
		if got := w.Browser().Code(pushed, "ada"); got.Get("code") == "" {
			t.Fatalf("the pushed request is of no use: %v", got)
		}
		before := w.App.Keys.KeySet().Keys()
		eventually(t, "the note outside of the database is up to date", func() bool {
			noted, err := history.In(w.Data).Read()
			found, errMark := w.App.DB.Histories().Mark(t.Context())
			return err == nil && errMark == nil && noted.Number == found.Number
		})

		w.Stop()
		restore()
		cfg := w.config()
		_, err := app.Open(t.Context(), cfg, quiet(), app.Options{})
		if _, ok := errors.AsType[*history.LostError](err); !ok || !strings.Contains(err.Error(), "fastbind restore finish") {
			t.Fatalf("a server starts on a database that has lost history: %v", err)
		}
		done := w.finish()
		if done.Ended.Epoch != 1 || done.Ended.Sessions == 0 || done.Ended.Families == 0 || done.Ended.Codes == 0 ||
			done.Ended.Pushed == 0 || done.Ended.Consents == 0 || done.Ended.Keys == 0 || len(done.LookAt) == 0 {
			t.Errorf("finish: %+v", done)
		}
		w.start()
		if m, err := w.App.DB.Histories().Mark(t.Context()); err != nil || m.Number < time.Now().Add(-time.Hour).Unix()*revoke.Leap {
			t.Errorf("the numbers of the feed go on within what guards may have seen: %+v, %v", m, err)
		}

		guards["a fresh guard"] = w.guard()
		again := w.Browser()
		fresh := again.Tokens(w.spa, "ada")
		for name, g := range guards {
			eventually(t, name+" takes what is issued now", func() bool { return accepts(t, g, fresh.Access) })
		}
		for _, k := range before {
			if len(w.App.Keys.KeySet().Find(k.ID, k.Algorithm)) > 0 {
				t.Errorf("the key %s counts again", k.ID)
			}
		}
		if a := w.Redeem(w.spa, code, verifier); a.Code() != "invalid_grant" {
			t.Errorf("the code: %d %s", a.Status, a.Body)
		}
		if a := w.Browser().Open(w.Path(pushed)); a.Status < 400 && a.Header.Get("Location") == "" || strings.Contains(a.Body, `name="password"`) {
			t.Errorf("the pushed request: %d", a.Status)
		}
		w.dead(h, guards)
		if a := w.Browser().Open(w.Path(consentless(w.shop))); a.Status != http.StatusOK {
			t.Errorf("sign-in page: %d", a.Status)
		}
		if a := again.Open(w.Path(consentless(w.shop))); !strings.Contains(a.Body, `name="decision"`) {
			t.Errorf("the consent that was withdrawn is back: %d %s", a.Status, a.Header.Get("Location"))
		}
		w.Renew(fresh)
		if !w.signedIn(again) {
			t.Error("who signed in after the restore is signed out")
		}
		for name, g := range guards {
			if !accepts(t, g, fresh.Access) {
				t.Errorf("%s: refuses what was issued after the restore", name)
			}
		}
	})
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func consentless(c apptest.App) url.Values {
	v, _ := c.Request()
	return v
}
