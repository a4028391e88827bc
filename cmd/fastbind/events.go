package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/revoke"
)

// eventView is a security event as it is printed.
type eventView struct {
	Time    string        `json:"time"`
	Kind    string        `json:"kind"`
	Reason  string        `json:"reason,omitempty"`
	Subject string        `json:"subject,omitempty"`
	Session string        `json:"session,omitempty"`
	Family  string        `json:"family,omitempty"`
	Client  string        `json:"client_id,omitempty"`
	Note    string        `json:"note,omitempty"`
	Parties []audit.Party `json:"parties,omitempty"`
}

type events struct {
	User    string `placeholder:"NAME" help:"Of this user."`
	Subject string `placeholder:"ID" help:"Of this subject; also of users that are gone."`
	Session string `placeholder:"ID" help:"Of this session."`
	Family  string `placeholder:"ID" help:"Of this family of refresh tokens."`
	Kind    string `placeholder:"KIND" help:"Of this kind, such as theft or session_ended."`
	Limit   int    `default:"100" help:"At most so many."`
}

// Run lists security events, newest first.
func (e *events) Run(ctx context.Context, c *console) error {
	return c.with(ctx, func(a *app.App) error {
		q := app.EventQuery{Subject: e.Subject, Session: e.Session, Family: e.Family, Kind: audit.Kind(e.Kind), Limit: e.Limit}
		if e.User != "" {
			u, err := findUser(ctx, a, e.User)
			if err != nil {
				return err
			}
			q.Subject = u.Subject
		}
		all, err := a.DB.Events(ctx, q)
		if err != nil {
			return err
		}
		views, rows := make([]eventView, 0, len(all)), make([][]string, 0, len(all))
		for _, v := range all {
			views = append(views, eventView{
				stamp(v.Time), string(v.Kind), string(v.Reason), v.Subject, v.Session, v.Family, v.Client, v.Note, v.Parties,
			})
			rows = append(rows, []string{when(v.Time), string(v.Kind), orDash(string(v.Reason)), orDash(clean(v.Client)), orDash(v.Session), detail(v)})
		}
		return c.print(views, table("TIME KIND REASON CLIENT SESSION DETAIL", rows))
	})
}

// detail says what else is known of an event.
func detail(v audit.Event) string {
	var parts []string
	if v.Note != "" {
		parts = append(parts, v.Note)
	}
	for _, p := range v.Parties {
		who := strings.TrimSpace(p.Network + " " + p.Agent)
		if who != "" {
			parts = append(parts, who)
		}
	}
	return orDash(clean(strings.Join(parts, "; ")))
}

// consentView is a consent as it is printed.
type consentView struct {
	Subject  string   `json:"subject"`
	Username string   `json:"username,omitempty"`
	Client   string   `json:"client_id"`
	Scope    []string `json:"scope"`
	Given    string   `json:"given"`
}

type consentList struct {
	User   string `placeholder:"NAME" help:"Of this user."`
	Client string `placeholder:"ID" help:"Given to this client."`
}

// Run lists consents, newest first.
func (l *consentList) Run(ctx context.Context, c *console) error {
	return c.with(ctx, func(a *app.App) error {
		q := app.ConsentQuery{Client: l.Client}
		if l.User != "" {
			u, err := findUser(ctx, a, l.User)
			if err != nil {
				return err
			}
			q.Subject = u.Subject
		}
		all, err := a.DB.Consents(ctx, q)
		if err != nil {
			return err
		}
		who := names{store: a.DB.Accounts(), known: map[string]string{}}
		views, rows := make([]consentView, 0, len(all)), make([][]string, 0, len(all))
		for _, k := range all {
			name, err := who.of(ctx, k.Subject)
			if err != nil {
				return err
			}
			scope := k.Scope
			if scope == nil {
				scope = []string{}
			}
			views = append(views, consentView{k.Subject, name, k.Client, scope, stamp(k.Given)})
			rows = append(rows, []string{orDash(clean(name)), k.Client, when(k.Given), orDash(strings.Join(k.Scope, " "))})
		}
		return c.print(views, table("USER CLIENT GIVEN SCOPE", rows))
	})
}

type consentWithdraw struct {
	User   string `required:"" placeholder:"NAME" help:"Who gave it."`
	Client string `required:"" placeholder:"ID" help:"The client that it was given to."`
}

// Run takes the consent back and ends what the client holds of the user.
func (l *consentWithdraw) Run(ctx context.Context, c *console) error {
	return c.with(ctx, func(a *app.App) error {
		u, err := findUser(ctx, a, l.User)
		if err != nil {
			return err
		}
		if _, err := findClient(ctx, a, l.Client); err != nil {
			return err
		}
		given, err := a.DB.Consents(ctx, app.ConsentQuery{Subject: u.Subject, Client: l.Client})
		if err != nil {
			return err
		}
		ended, err := a.Revoke.End(ctx, revoke.Order{
			Kind: revoke.Subject, Value: u.Subject, Client: l.Client, Reason: audit.RevokedByAdmin,
		})
		if err != nil {
			return err
		}
		if len(given) == 0 && ended.Families == 0 {
			return fmt.Errorf("user %q has given client %q nothing", l.User, l.Client)
		}
		return c.printEnded(ended)
	})
}
