package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/listing"
	"github.com/fastbind/fastbind/internal/revoke"
)

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
	if all := audit.Kinds(); e.Kind != "" && !slices.Contains(all, audit.Kind(e.Kind)) {
		return usageError{fmt.Sprintf("there is no kind %q; there are %v", e.Kind, all)}
	}
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
		views, t := listing.OfEvents(all)
		return c.print(views, t.Write)
	})
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
		who, known := listing.Names{Store: a.DB.Accounts()}, map[string]string{}
		for _, k := range all {
			if known[k.Subject], err = who.Of(ctx, k.Subject); err != nil {
				return err
			}
		}
		views, t := listing.OfConsents(all, known)
		return c.print(views, t.Write)
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
