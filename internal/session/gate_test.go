package session_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/account"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/revoke"
	"github.com/fastbind/fastbind/internal/session"
	"github.com/fastbind/fastbind/internal/sqlstore"
)

// between is a store where something happens between the decision to renew a
// session and the renewal, once.
type between struct {
	session.Store
	happens func()
}

func (b *between) Renew(ctx context.Context, s session.Session, e ...audit.Event) error {
	if f := b.happens; f != nil && len(e) > 0 {
		b.happens = nil
		f()
	}
	return b.Store.Renew(ctx, s, e...)
}

// TestN81OldCookie: whatever happens meanwhile, the cookie that the browser held
// before an authentication is worth nothing after it.
func TestN81OldCookie(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, happens := range map[string]func(t *testing.T, db *sqlstore.DB, g *session.Gate, cookie opaque.Handle, s session.Session){
		"Nothing": func(*testing.T, *sqlstore.DB, *session.Gate, opaque.Handle, session.Session) {},
		"Visit": func(t *testing.T, _ *sqlstore.DB, g *session.Gate, cookie opaque.Handle, _ session.Session) {
			if _, err := g.Visit(t.Context(), cookie.Reveal()); err != nil {
				t.Error(err)
			}
		},
		"OtherTab": func(t *testing.T, _ *sqlstore.DB, g *session.Gate, _ opaque.Handle, s session.Session) {
			if _, _, err := g.Enter(t.Context(), session.Entry{Subject: s.Subject}, &s); err != nil {
				t.Error(err)
			}
		},
		"End": func(t *testing.T, db *sqlstore.DB, _ *session.Gate, _ opaque.Handle, s session.Session) {
			if _, err := db.Revocations().End(t.Context(), revoke.Order{Kind: revoke.Session, Value: s.ID, Reason: audit.Logout, At: now}); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, err := sqlstore.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "session.db"), sqlstore.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			})
			if _, err := db.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			a, err := (&account.Directory{Store: db.Accounts(), Hasher: &account.Hasher{}}).Create(t.Context(), account.Person{Username: "ada", Password: "marmot-lantern-quay-58"})
			if err != nil {
				t.Fatal(err)
			}
			clock := now
			store := &between{Store: db.Sessions()}
			g := &session.Gate{Store: store, Life: session.Life{Idle: time.Hour, Absolute: time.Hour}, Now: func() time.Time { return clock }}
			before, s, err := g.Enter(t.Context(), session.Entry{Subject: a.Subject}, nil)
			if err != nil {
				t.Fatal(err)
			}
			clock = clock.Add(5 * time.Minute)
			store.happens = func() { happens(t, db, g, before, s) }
			after, renewed, err := g.Enter(t.Context(), session.Entry{Subject: a.Subject, ACR: "2"}, &s)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := g.Visit(t.Context(), before.Reveal()); !errors.Is(err, session.ErrNone) {
				t.Errorf("the old cookie: %v, want none", err)
			}
			if got, err := g.Visit(t.Context(), after.Reveal()); err != nil || got.ID != renewed.ID || got.Version != renewed.Version || got.ACR != "2" {
				t.Errorf("the new cookie leads to %+v, %v, want %+v", got, err, renewed)
			}
		})
	}
}
