package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/fastbind/fastbind/internal/account"
	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/listing"
	"github.com/fastbind/fastbind/internal/revoke"
)

type userCreate struct {
	Username      string            `arg:""`
	PasswordStdin bool              `name:"password-stdin" xor:"password" help:"Read the password from standard input."`
	HashStdin     bool              `name:"password-hash-stdin" xor:"password" help:"Read the hash of the password from standard input: argon2id, bcrypt, scrypt or PBKDF2 of another system."`
	NoPassword    bool              `name:"no-password" xor:"password" help:"Create the user without a password."`
	Claim         map[string]string `placeholder:"NAME=VALUE" mapsep:"none" help:"OpenID Connect claim, JSON or text; may be repeated."`
}

// Run creates the user.
func (u *userCreate) Run(ctx context.Context, c *console) error {
	p := account.Person{Username: u.Username, Claims: map[string]any{}}
	for name, text := range u.Claim {
		var v any
		if json.Unmarshal([]byte(text), &v) != nil {
			v = text
		}
		p.Claims[name] = v
	}
	var err error
	switch {
	case u.HashStdin:
		p.Hash, err = c.password(true)
	case !u.NoPassword:
		p.Password, err = c.password(u.PasswordStdin)
	}
	if err != nil {
		return err
	}
	return c.with(ctx, func(a *app.App) error {
		made, err := a.Accounts.Create(ctx, p)
		if errors.Is(err, account.ErrTaken) {
			return fmt.Errorf("there is a user %q already", u.Username)
		}
		if err != nil {
			return err
		}
		return c.print(listing.OfUser(made), func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "user %s has subject %s\n", listing.Clean(made.Display), made.Subject)
			return err
		})
	})
}

// password reads a new password, from standard input as it is or from the
// terminal, twice.
func (c *console) password(stdin bool) (string, error) {
	if stdin {
		line, err := bufio.NewReader(c.in).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read password: %w", err)
		}
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if line == "" {
			return "", errors.New("standard input holds no password")
		}
		return line, nil
	}
	f, ok := c.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return "", usageError{"standard input is not a terminal: use --password-stdin"}
	}
	var typed [2]string
	for i, ask := range []string{"Password: ", "Again: "} {
		fmt.Fprint(c.err, ask)
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(c.err)
		if err != nil {
			return "", fmt.Errorf("read password: %w", err)
		}
		typed[i] = string(b)
	}
	if typed[0] != typed[1] {
		return "", errors.New("the two passwords differ")
	}
	return typed[0], nil
}

type userList struct {
	After string `placeholder:"NAME" help:"Begin after this user."`
	Limit int    `default:"1000" help:"At most so many."`
}

// Run lists users by name.
func (l *userList) Run(ctx context.Context, c *console) error {
	return c.with(ctx, func(a *app.App) error {
		all, err := a.Accounts.List(ctx, l.After, l.Limit)
		if err != nil {
			return err
		}
		views, t := listing.OfUsers(all)
		return c.print(views, t.Write)
	})
}

type userDisable struct {
	Username string `arg:""`
}

// Run disables the user and ends all that they have.
func (u *userDisable) Run(ctx context.Context, c *console) error {
	return c.endUser(ctx, u.Username, revoke.Order{Reason: audit.UserDisabled, Disable: true})
}

type userDelete struct {
	Username string `arg:""`
}

// Run removes the user and ends all that they have.
func (u *userDelete) Run(ctx context.Context, c *console) error {
	return c.endUser(ctx, u.Username, revoke.Order{Reason: audit.UserDeleted, Delete: true})
}

// endUser ends all of a user as o says.
func (c *console) endUser(ctx context.Context, username string, o revoke.Order) error {
	return c.with(ctx, func(a *app.App) error {
		found, err := findUser(ctx, a, username)
		if err != nil {
			return err
		}
		o.Kind, o.Value = revoke.Subject, found.Subject
		ended, err := a.Revoke.End(ctx, o)
		if err != nil {
			return err
		}
		return c.printEnded(ended)
	})
}

type userEnable struct {
	Username string `arg:""`
}

// Run lets the user sign in again. What has ended stays so.
func (u *userEnable) Run(ctx context.Context, c *console) error {
	return c.with(ctx, func(a *app.App) error {
		found, err := findUser(ctx, a, u.Username)
		if err != nil {
			return err
		}
		_, err = a.DB.Enable(ctx, found.Subject, audit.Event{
			Time: time.Now(), Kind: audit.AccountChanged, Subject: found.Subject, Note: "enabled",
		})
		if err != nil {
			return err
		}
		if err := a.Attempts.Forgive(ctx, found.Username); err != nil {
			return err
		}
		found.Disabled = time.Time{}
		return c.print(listing.OfUser(found), func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "user %s may sign in\n", listing.Clean(found.Display))
			return err
		})
	})
}

type userPassword struct {
	Username      string `arg:""`
	PasswordStdin bool   `name:"password-stdin" help:"Read the password from standard input."`
}

// Run sets the password, and then ends what was begun with the old one.
func (u *userPassword) Run(ctx context.Context, c *console) error {
	password, err := c.password(u.PasswordStdin)
	if err != nil {
		return err
	}
	return c.with(ctx, func(a *app.App) error {
		found, err := findUser(ctx, a, u.Username)
		if err != nil {
			return err
		}
		if err := a.Accounts.SetPassword(ctx, found.Subject, password); err != nil {
			return err
		}
		ended, err := a.Revoke.End(ctx, revoke.Order{Kind: revoke.Subject, Value: found.Subject, Reason: audit.PasswordChanged})
		if err != nil {
			return fmt.Errorf("the password is set, but sessions go on; end them with fastbind session end --user: %w", err)
		}
		// Whoever locked the account by guessing has guessed another password.
		if err := a.Attempts.Forgive(ctx, found.Username); err != nil {
			return err
		}
		return c.printEnded(ended)
	})
}

func findUser(ctx context.Context, a *app.App, username string) (account.Account, error) {
	found, err := a.Accounts.ByName(ctx, username)
	if errors.Is(err, account.ErrNone) {
		return found, fmt.Errorf("there is no user %q", username)
	}
	return found, err
}
