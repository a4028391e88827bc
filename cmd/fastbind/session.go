package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/listing"
	"github.com/fastbind/fastbind/internal/revoke"
	"github.com/fastbind/fastbind/internal/session"
)

type sessionList struct {
	User string `placeholder:"NAME" help:"Of one user only."`
}

// Run lists sessions that have not ended, newest first.
func (l *sessionList) Run(ctx context.Context, c *console) error {
	return c.with(ctx, func(a *app.App) error {
		subject := ""
		if l.User != "" {
			u, err := findUser(ctx, a, l.User)
			if err != nil {
				return err
			}
			subject = u.Subject
		}
		all, err := a.Sessions.Sessions(ctx, subject)
		if err != nil {
			return err
		}
		who := listing.Names{Store: a.DB.Accounts()}
		views, t := make([]listing.Session, 0, len(all)), listing.SessionTable()
		for _, s := range all {
			name, err := who.Of(ctx, s.Subject)
			if err != nil {
				return err
			}
			views = append(views, listing.OfSession(s, name))
			t.AddSession(s, name)
		}
		return c.print(views, t.Write)
	})
}

type sessionShow struct {
	ID string `arg:"" name:"id"`
}

// Run shows a session that has not ended, and its families.
func (l *sessionShow) Run(ctx context.Context, c *console) error {
	return c.with(ctx, func(a *app.App) error {
		families, err := a.DB.FamiliesOf(ctx, app.FamilyQuery{Session: l.ID})
		if err != nil {
			return err
		}
		s, err := findSession(ctx, a, l.ID)
		if err != nil {
			return err
		}
		who := listing.Names{Store: a.DB.Accounts()}
		name, err := who.Of(ctx, s.Subject)
		if err != nil {
			return err
		}
		v := listing.OfSession(s, name).With(families)
		return c.print(v, v.Write)
	})
}

// findSession returns a session that has not ended. Whose it is, the event of
// its beginning says.
func findSession(ctx context.Context, a *app.App, id string) (session.Session, error) {
	begun, err := a.DB.Events(ctx, app.EventQuery{Session: id, Kind: audit.SessionBegun, Limit: 1})
	if err != nil {
		return session.Session{}, err
	}
	if len(begun) == 1 {
		live, err := a.Sessions.Sessions(ctx, begun[0].Subject)
		if err != nil {
			return session.Session{}, err
		}
		for _, s := range live {
			if s.ID == id {
				return s, nil
			}
		}
		return session.Session{}, fmt.Errorf("session %s has ended; fastbind events --session %s says why", id, id)
	}
	return session.Session{}, fmt.Errorf("there is no session %q", id)
}

type sessionEnd struct {
	Session string `xor:"what" required:"" placeholder:"ID" help:"This session and what belongs to it."`
	Family  string `xor:"what" required:"" placeholder:"ID" help:"This family of refresh tokens."`
	User    string `xor:"what" required:"" placeholder:"NAME" help:"Everything of a user."`
	Client  string `xor:"what" required:"" placeholder:"ID" help:"Everything that a client holds."`
	All     bool   `xor:"what" required:"" help:"Everything of everybody."`

	Except  string `placeholder:"ID" help:"With --user: a session to spare."`
	Offline bool   `help:"With --session: also what was granted offline access."`
	Note    string `help:"Goes into the security events."`
}

// Run ends what was named.
func (e *sessionEnd) Run(ctx context.Context, c *console) error {
	if e.Except != "" && e.User == "" {
		return usageError{"--except goes with --user"}
	}
	if e.Offline && e.Session == "" {
		return usageError{"--offline goes with --session"}
	}
	return c.with(ctx, func(a *app.App) error {
		o := revoke.Order{Reason: audit.RevokedByAdmin, Note: listing.Clean(e.Note), Except: e.Except, Offline: e.Offline}
		switch {
		case e.Session != "":
			o.Kind, o.Value = revoke.Session, e.Session
		case e.Family != "":
			o.Kind, o.Value = revoke.Family, e.Family
		case e.User != "":
			u, err := findUser(ctx, a, e.User)
			if err != nil {
				return err
			}
			o.Kind, o.Value = revoke.Subject, u.Subject
		case e.Client != "":
			if _, err := findClient(ctx, a, e.Client); err != nil {
				return err
			}
			o.Kind, o.Value = revoke.Client, e.Client
		default:
			o.Kind, o.Reason, o.At = revoke.Epoch, audit.Epoch, time.Now()
		}
		ended, err := a.Revoke.End(ctx, o)
		if err != nil {
			return err
		}
		if (e.Session != "" || e.Family != "") && ended.Sessions+ended.Families == 0 {
			return errors.New("nothing was live under that id")
		}
		return c.printEnded(ended)
	})
}

// printEnded says what an order ended.
func (c *console) printEnded(e revoke.Ended) error {
	v := struct {
		Sessions int `json:"sessions"`
		Families int `json:"families"`
	}{e.Sessions, e.Families}
	return c.print(v, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "ended: sessions %d, families %d\n", e.Sessions, e.Families)
		return err
	})
}
