package rescue_test

import (
	"database/sql"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/fastbind/fastbind/guard"
	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/apptest"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/pgtest"
	"github.com/fastbind/fastbind/internal/rescue"
)

// raw opens the database beside the server.
func (w *house) raw() *sql.DB {
	w.t.Helper()
	driver, name := "sqlite", "file:"+filepath.Join(w.Data, "fastbind.db")+"?_pragma=busy_timeout(5000)&_txlock=immediate"
	if w.options.DatabaseURL != "" {
		driver, name = "pgx", w.options.DatabaseURL
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { db.Close() })
	return db
}

// keep returns how to put the database back to what it is now, at once and under
// a server that runs: as a standby that takes over does.
func (w *house) keep() (back func()) {
	w.t.Helper()
	db := w.raw()
	tables := []string{
		"client", "account", "session", "family", "code", "pushed", "consent", "key_set", "signing_key", "rate", "once",
		"feed_counter", "feed", "audit_event", "history",
	}
	exec := func(run interface {
		Exec(query string, args ...any) (sql.Result, error)
	}, text string,
	) {
		w.t.Helper()
		if _, err := run.Exec(text); err != nil {
			w.t.Fatalf("%s: %v", text, err)
		}
	}
	for _, table := range tables {
		exec(db, "create table kept_"+table+" as select * from "+table)
	}
	return func() {
		w.t.Helper()
		tx, err := db.Begin()
		if err != nil {
			w.t.Fatal(err)
		}
		for _, table := range tables {
			exec(tx, "delete from "+table)
			into := "insert into " + table
			if table == "audit_event" && w.options.DatabaseURL != "" {
				into += " overriding system value"
			}
			exec(tx, into+" select * from kept_"+table)
		}
		if err := tx.Commit(); err != nil {
			w.t.Fatal(err)
		}
	}
}

// TestLastMomentsLost takes the last moments from the database of a server that
// runs. What was revoked in them is carried out again, and nobody else is signed
// out.
func TestLastMomentsLost(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, o apptest.Options) {
		w := open(t, o)
		w.ExpectFaults()
		guards := map[string]*guard.Guard{"a guard that was there": w.guard()}
		h := w.live()
		kept, browser := h.tokens["kept"], h.browsers["kept"]
		back := w.keep()
		w.lose(h)
		back()
		eventually(t, "the loss is noticed", func() bool {
			events, err := w.App.DB.Events(t.Context(), app.EventQuery{Kind: audit.HistoryLost})
			return err == nil && len(events) > 0 && w.App.Revoke.Refresh(t.Context()) == nil
		})
		guards["a fresh guard"] = w.guard()
		for _, name := range []string{"kept", "rotated", "rotated twice", "new", "of a new key"} {
			delete(h.tokens, name) // nobody ended these
			delete(h.browsers, name)
		}
		delete(h.browsers, "revoked") // only what the client held was
		delete(h.browsers, "consent")
		h.access = map[string]string{}
		w.dead(h, guards)
		if next := w.Renew(kept); !w.signedIn(browser) {
			t.Error("an honest person was signed out")
		} else {
			for name, g := range guards {
				eventually(t, name+" takes the token of an honest person", func() bool { return accepts(t, g, next.Access) })
			}
		}
	})
}

// TestHourLostWhileRunning restores an old state under a server that runs: it
// serves nothing until the restore is finished, and then nothing old is of use.
func TestHourLostWhileRunning(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, o apptest.Options) {
		var ahead atomic.Int64
		o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		w := open(t, o)
		w.ExpectFaults()
		h := w.live()
		back := w.keep()
		w.lose(h)
		ahead.Store(int64(time.Hour))
		eventually(t, "the server has noted that it ran an hour later", func() bool {
			m, err := w.App.DB.Histories().Mark(t.Context())
			return err == nil && time.UnixMilli(m.Seen).After(time.Now().Add(30*time.Minute))
		})
		back()
		eventually(t, "nothing is served", func() bool {
			return w.Do(http.MethodGet, "/readyz", nil, nil).Status == http.StatusServiceUnavailable
		})
		a := w.Refresh(w.spa, h.tokens["kept"].Refresh, "")
		if a.Status != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" || len(a.Header.Values("Set-Cookie")) > 0 {
			t.Errorf("refresh meanwhile: %d %v", a.Status, a.Header)
		}
		if a := w.Do(http.MethodGet, "/healthz", nil, nil); a.Status != http.StatusNoContent {
			t.Errorf("the process is well: %d", a.Status)
		}
		w.finish()
		eventually(t, "it serves again", func() bool { return w.Do(http.MethodGet, "/readyz", nil, nil).Status == http.StatusNoContent })
		w.dead(h, nil)
		if b := w.Browser(); b.Tokens(w.spa, "ada").Refresh == "" || !w.signedIn(b) {
			t.Error("nobody can sign in")
		}
	})
}

// TestBackupWhileWritten makes a backup while sessions begin: it is a whole.
func TestBackupWhileWritten(t *testing.T) {
	t.Parallel()
	w := open(t, apptest.Options{})
	end := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		b := w.Browser()
		h := b.Tokens(w.spa, "ada")
		for {
			select {
			case <-end:
				return
			default:
				h = w.Renew(h)
			}
		}
	})
	file := filepath.Join(t.TempDir(), "backup")
	var said strings.Builder
	done, err := rescue.Backup(t.Context(), w.config(), w.App.DB, file, &said)
	close(end)
	work.Wait()
	if err != nil || done.Fsck.Broken > 0 || done.Bytes == 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() != done.Bytes {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := rescue.Backup(t.Context(), w.config(), w.App.DB, file, &said); err == nil || !strings.Contains(err.Error(), "never replaces") {
		t.Errorf("a second backup to the same file: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*"))
	if hidden, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); err != nil || len(left) != 1 || len(hidden) > 0 {
		t.Errorf("left over: %v %v, %v", left, hidden, err)
	}
}

// TestBackupOfPostgreSQL says what to use instead.
func TestBackupOfPostgreSQL(t *testing.T) {
	t.Parallel()
	if !pgtest.Enabled() {
		return // the other engine has its own test
	}
	w := open(t, apptest.Options{DatabaseURL: pgtest.URL(t)})
	dir := t.TempDir()
	_, err := rescue.Backup(t.Context(), w.config(), w.App.DB, filepath.Join(dir, "backup"), &strings.Builder{})
	if err == nil || !strings.Contains(err.Error(), "pg_dump") {
		t.Errorf("%v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}
