package main_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/apptest"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/pgtest"
)

// tests runs the tests of this package and stops the PostgreSQL that they shared.
type tests struct{ m *testing.M }

// Run is for package testscript.
func (r tests) Run() int { return pgtest.Main(r.m) }

// An operator runs commands on the database of a server.
type operator struct {
	*apptest.Server
	t        *testing.T
	database string
	app      apptest.App
}

// onEach runs a test with a server on each engine.
func onEach(t *testing.T, test func(*operator)) {
	t.Helper()
	begin := func(t *testing.T, database string) {
		o := &operator{Server: apptest.Start(t, apptest.Options{DatabaseURL: database}), t: t, database: database}
		o.Person("ada")
		o.app = apptest.App{ID: "shop", Redirect: apptest.Redirect, Scope: "openid offline_access"}
		o.Register("shop", false, client.Meta{
			Name: "The Shop", RedirectURIs: []string{apptest.Redirect}, Scopes: []string{"openid", "offline_access"},
			GrantTypes: []string{"authorization_code", "refresh_token"},
		})
		test(o)
	}
	t.Run("SQLite", func(t *testing.T) { t.Parallel(); begin(t, "") })
	if pgtest.Enabled() {
		t.Run("PostgreSQL", func(t *testing.T) { t.Parallel(); begin(t, pgtest.URL(t)) })
	}
}

// run runs a command that succeeds and decodes what it prints.
func (o *operator) run(into any, args ...string) {
	o.t.Helper()
	out, errs, err := o.try(args...)
	if err != nil {
		o.t.Fatalf("fastbind %s: %v\n%s", strings.Join(args, " "), err, errs)
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		o.t.Fatalf("fastbind %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (o *operator) try(args ...string) (out, errs string, err error) {
	o.t.Helper()
	cmd := exec.CommandContext(o.t.Context(), "fastbind", append(args, "--json", "--data", o.Data)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + o.t.TempDir()}
	if o.database != "" {
		cmd.Env = append(cmd.Env, "FASTBIND_DATABASE_URL="+o.database)
	}
	var outs, texts bytes.Buffer
	cmd.Stdout, cmd.Stderr = &outs, &texts
	err = cmd.Run()
	return outs.String(), texts.String(), err
}

// ends waits until the server refuses an access token, which takes less than a
// second, and checks that the refresh token is worth nothing.
func (o *operator) ends(what string, held apptest.Tokens) {
	o.t.Helper()
	begun := time.Now()
	for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
		if o.Do(http.MethodGet, "/userinfo", nil, apptest.Bearer(held.Access)).Status == http.StatusUnauthorized {
			tick.Stop()
			break
		}
		if time.Since(begun) > 5*time.Second {
			o.t.Fatalf("%s: the access token works on", what)
		}
	}
	if a := o.Refresh(held.App, held.Refresh, ""); a.Code() != "invalid_grant" {
		o.t.Errorf("%s: the refresh token got %d %s", what, a.Status, a.Body)
	}
}

// session returns the session that tokens belong to.
func (o *operator) session(held apptest.Tokens) string {
	o.t.Helper()
	parts := strings.Split(held.ID, ".")
	if len(parts) != 3 {
		o.t.Fatalf("%q is no ID token", held.ID)
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct{ Sid string }
	if err = errors.Join(err, json.Unmarshal(b, &claims)); err != nil || claims.Sid == "" {
		o.t.Fatalf("ID token: %v %s", err, b)
	}
	return claims.Sid
}

type shownSession struct {
	ID       string
	Username string
	Families []struct {
		Client  string `json:"client_id"`
		Offline bool
		Ended   string
	}
}

type ended struct{ Sessions, Families int }

// TestSessions shows and ends sessions of a server that runs.
func TestSessions(t *testing.T) {
	t.Parallel()
	onEach(t, func(o *operator) {
		t := o.t
		first, second := o.Browser().Tokens(o.app, "ada"), o.Browser().Tokens(o.app, "ada")
		var live []shownSession
		o.run(&live, "session", "list", "--user", "ada")
		if len(live) != 2 || live[0].Username != "ada" {
			t.Fatalf("sessions %+v, want two of ada", live)
		}
		a, b := o.session(first), o.session(second)
		var one shownSession
		o.run(&one, "session", "show", a)
		if one.ID != a || len(one.Families) != 1 || one.Families[0].Client != "shop" || !one.Families[0].Offline || one.Families[0].Ended != "" {
			t.Errorf("session %+v", one)
		}

		// What was granted offline access outlives the session unless it is named too.
		var got ended
		o.run(&got, "session", "end", "--session", a)
		if got != (ended{1, 0}) {
			t.Errorf("ended %+v, want one session", got)
		}
		o.run(&got, "session", "end", "--session", b, "--offline", "--note", "lost phone")
		if got != (ended{1, 1}) {
			t.Errorf("ended %+v, want one session and its family", got)
		}
		o.ends("session with offline access", second)
		if answer := o.Refresh(o.app, first.Refresh, ""); answer.Status != http.StatusOK {
			t.Errorf("offline access ended with the session: %d %s", answer.Status, answer.Body)
		}
		if _, errs, err := o.try("session", "show", b); err == nil || !strings.Contains(errs, "has ended; fastbind events --session") {
			t.Errorf("show of an ended session: %v %s", err, errs)
		}
		if _, errs, err := o.try("session", "end", "--session", b); err == nil || !strings.Contains(errs, "nothing was live") {
			t.Errorf("end of an ended session: %v %s", err, errs)
		}
		if _, errs, err := o.try("session", "show", "nobody"); err == nil || !strings.Contains(errs, `there is no session "nobody"`) {
			t.Errorf("show of no session: %v %s", err, errs)
		}

		// Why was I logged out?
		var why []struct{ Kind, Reason, Note string }
		o.run(&why, "events", "--session", b, "--kind", "session_ended")
		if len(why) != 1 || why[0].Reason != "revoked_by_admin" || why[0].Note != "lost phone" {
			t.Errorf("events %+v", why)
		}
	})
}

// TestEndsOfPeople ends people and what they have allowed, on a server that runs.
func TestEndsOfPeople(t *testing.T) {
	t.Parallel()
	onEach(t, func(o *operator) {
		t := o.t
		held := o.Browser().Tokens(o.app, "ada")
		var given []struct {
			Username string
			Client   string `json:"client_id"`
			Scope    []string
		}
		o.run(&given, "consent", "list", "--user", "ada")
		if len(given) != 1 || given[0].Username != "ada" || given[0].Client != "shop" || len(given[0].Scope) != 2 {
			t.Errorf("consents %+v", given)
		}
		var got ended
		o.run(&got, "consent", "withdraw", "--user", "ada", "--client", "shop")
		if got != (ended{0, 1}) {
			t.Errorf("withdrawn: ended %+v, want one family", got)
		}
		o.ends("consent", held)
		if _, errs, err := o.try("consent", "withdraw", "--user", "ada", "--client", "shop"); err == nil || !strings.Contains(errs, "has given") {
			t.Errorf("withdraw again: %v %s", err, errs)
		}

		held = o.Browser().Tokens(o.app, "ada")
		o.run(&got, "session", "end", "--user", "ada")
		if got.Sessions != 2 || got.Families != 1 {
			t.Errorf("ended %+v, want two sessions and a family", got)
		}
		o.ends("user", held)

		held = o.Browser().Tokens(o.app, "ada")
		o.run(&got, "user", "disable", "ada")
		if got != (ended{1, 1}) {
			t.Errorf("disabled: ended %+v", got)
		}
		o.ends("disabled user", held)
		v, _ := o.app.Request()
		b := o.Browser()
		if a := b.SignIn(b.Open(o.Path(v)), "ada"); a.Status < 400 && a.Header.Get("Location") != "" {
			t.Errorf("a disabled user signed in: %d to %s", a.Status, a.Header.Get("Location"))
		}
		var user struct{ Username string }
		o.run(&user, "user", "enable", "ada")
		held = o.Browser().Tokens(o.app, "ada")

		o.run(&got, "session", "end", "--all")
		if got != (ended{1, 1}) {
			t.Errorf("everything: ended %+v", got)
		}
		o.ends("everything", held)
	})
}
