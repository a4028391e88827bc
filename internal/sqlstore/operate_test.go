package sqlstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fastbind/fastbind/internal/account"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/authorize"
	"github.com/fastbind/fastbind/internal/code/codetest"
	"github.com/fastbind/fastbind/internal/limit"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/pgtest"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/revoke"
	"github.com/fastbind/fastbind/internal/sqlstore"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestMigrateTwice(t *testing.T) {
	t.Parallel()
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			db := open(t, e.empty(t))
			pending, err := db.Pending(t.Context())
			if err != nil || pending == 0 {
				t.Fatalf("%d steps pending, %v, want some", pending, err)
			}
			if applied, err := db.Migrate(t.Context()); err != nil || applied != pending {
				t.Errorf("%d steps applied, %v, want %d", applied, err, pending)
			}
			if applied, err := db.Migrate(t.Context()); err != nil || applied != 0 {
				t.Errorf("again: %d steps applied, %v, want 0", applied, err)
			}
			if pending, err := db.Pending(t.Context()); err != nil || pending != 0 {
				t.Errorf("%d steps pending afterwards, %v, want 0", pending, err)
			}
		})
	}
}

// TestMigrateOnAllNodes starts many nodes at once on one empty database, some
// of them other processes.
func TestMigrateOnAllNodes(t *testing.T) {
	t.Parallel()
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			url := e.empty(t)
			var nodes sync.WaitGroup
			var mu sync.Mutex
			total := 0
			for range 6 {
				db := open(t, url)
				nodes.Go(func() {
					applied, err := db.Migrate(t.Context())
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					total += applied
				})
			}
			for range 2 {
				nodes.Go(func() {
					out, err := child(t, "migrate", url).CombinedOutput()
					var applied int
					if _, scan := fmt.Sscanf(string(out), "applied %d", &applied); err != nil || scan != nil {
						t.Errorf("another process: %v: %s", err, out)
					}
					mu.Lock()
					defer mu.Unlock()
					total += applied
				})
			}
			nodes.Wait()
			db := open(t, url)
			if pending, err := db.Pending(t.Context()); err != nil || pending != 0 {
				t.Errorf("%d steps pending, %v", pending, err)
			}
			if total == 0 {
				t.Error("nobody applied a step")
			}
			if err := db.Accounts().Put(t.Context(), account.Account{Subject: "1", Username: "a"}); err != nil {
				t.Error(err)
			}
		})
	}
}

// child returns a command that runs this test program as something else; see
// TestMain.
func child(t *testing.T, role, url string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0], role, url)
	cmd.Env = append(os.Environ(), "FASTBIND_TEST_CHILD=1")
	return cmd
}

// runChild is what the test program does as another process.
func runChild(role, url string) error {
	ctx := context.Background()
	db, err := sqlstore.Open(ctx, url, sqlstore.Options{})
	if err != nil {
		return err
	}
	switch role {
	case "migrate":
		applied, err := db.Migrate(ctx)
		fmt.Println("applied", applied)
		return errors.Join(err, db.Close())
	case "rotate":
		return rotateForEver(ctx, db)
	case "revoke":
		_, err := db.Revocations().End(ctx, revoke.Order{Kind: revoke.Token, Value: "v", At: epoch})
		return errors.Join(err, db.Close())
	}
	return errors.New("unknown role " + role)
}

// rotateForEver rotates all families that it finds and says so on its standard
// output once that is durable.
func rotateForEver(ctx context.Context, db *sqlstore.DB) error {
	families, err := db.FamiliesOf(ctx, sqlstore.FamilyQuery{Session: "s"})
	if err != nil {
		return err
	}
	var workers sync.WaitGroup
	for _, f := range families {
		workers.Go(func() {
			for {
				n := f.State
				n.Generation++
				ok, err := db.Families().Swap(ctx, []refresh.Change{{ID: f.ID, Version: f.Version, State: n}})
				if err != nil || !ok[0] {
					fmt.Println("failed", ok, err)
					return
				}
				f.State, f.Version = n, f.Version+1
				fmt.Println(string(f.ID), n.Generation)
			}
		})
	}
	workers.Wait()
	return nil
}

// TestKilledWhileRotating kills a process that rotates on SQLite: the file is
// whole, and all that was reported as written is there.
func TestKilledWhileRotating(t *testing.T) {
	t.Parallel()
	url := sqliteURL(t)
	db := open(t, url)
	for range 8 {
		begin(db)(t, codetest.Family())
	}
	for round := range 4 {
		reported := killWhileRotating(t, url, 200)
		found, err := db.FamiliesOf(t.Context(), sqlstore.FamilyQuery{Session: "s"})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			if f.Generation < reported[string(f.ID)] {
				t.Errorf("round %d: generation %d was reported, %d is stored", round, reported[string(f.ID)], f.Generation)
			}
			if f.Version != f.Generation {
				t.Errorf("round %d: generation %d in version %d", round, f.Generation, f.Version)
			}
		}
	}
	if got := pragma(t, url, "integrity_check"); got != "ok" {
		t.Errorf("integrity check: %s", got)
	}
}

// killWhileRotating kills the child after so many lines, and returns the newest
// generation that it reported of each family.
func killWhileRotating(t *testing.T, url string, lines int) map[string]int64 {
	t.Helper()
	cmd := child(t, "rotate", url)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	reported := map[string]int64{}
	in := bufio.NewScanner(out)
	for n := 0; in.Scan(); n++ {
		var id string
		var generation int64
		if _, err := fmt.Sscan(in.Text(), &id, &generation); err != nil {
			t.Errorf("the child says %q", in.Text())
			break
		}
		reported[id] = max(reported[id], generation)
		if n == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the child ended by itself")
	}
	if len(reported) == 0 {
		t.Fatal("the child reported nothing")
	}
	return reported
}

func TestWakesOtherHandles(t *testing.T) {
	t.Parallel()
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			url := e.url(t)
			writer, listener := open(t, url), open(t, url)
			woken := make(chan time.Time, 1)
			var listening sync.WaitGroup
			ctx, cancel := context.WithCancel(t.Context())
			defer listening.Wait()
			defer cancel()
			listening.Go(func() {
				_ = listener.Revocations().Wake(ctx, func() { // it ends with ctx
					select {
					case woken <- time.Now():
					default:
					}
				})
			})
			<-woken // it listens
			fastest := time.Hour
			for i := range 5 {
				began := time.Now()
				if i == 4 {
					if out, err := child(t, "revoke", url).CombinedOutput(); err != nil {
						t.Fatalf("another process: %v: %s", err, out)
					}
				} else if _, err := writer.Revocations().End(t.Context(), revoke.Order{Kind: revoke.Token, Value: "v", At: epoch}); err != nil {
					t.Fatal(err)
				}
				for {
					at := <-woken
					if _, newest, err := listener.Revocations().Since(t.Context(), 0, epoch, 1); err != nil {
						t.Fatal(err)
					} else if newest == int64(i)+1 {
						fastest = min(fastest, at.Sub(began))
						break
					}
				}
			}
			// The best of several: the machine may be busy, the design may not be slow.
			if fastest > 100*time.Millisecond {
				t.Errorf("woken after %v at best, want at most 100ms", fastest)
			}
		})
	}
}

// TestSweep fills every table with what has expired and what has not, and looks
// what is left.
func TestSweep(t *testing.T) {
	onEach(t, func(t *testing.T, db *sqlstore.DB) {
		ctx := t.Context()
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		// Each pair: what is swept at now, and what just is not.
		now := epoch.Add(1000 * 24 * time.Hour)
		const day = 24 * time.Hour
		gone, kept := opaque.Digest{1}, opaque.Digest{2}

		f := codetest.Family()
		begin(db)(t, f) // its code has expired at epoch
		fresh := codetest.Family()
		fresh.Session = "fresh"
		begin(db)(t, fresh)
		must(db.Requests().Push(ctx, authorize.Pushed{Digest: gone, Expires: now.Add(-time.Hour)}, epoch, 9))
		must(db.Requests().Push(ctx, authorize.Pushed{Digest: kept, Expires: now.Add(-time.Hour + time.Second)}, epoch, 9))
		for d, at := range map[opaque.Digest]time.Time{gone: now.Add(-time.Minute), kept: now} {
			_, err := db.Limits().Take(ctx, d, limit.Rate{Burst: 1, Every: time.Minute}, at)
			must(err)
			_, err = db.Limits().Once(ctx, d, epoch, at.Add(time.Minute))
			must(err)
		}
		_, err := db.Revocations().End(ctx, revoke.Order{
			Kind: revoke.Session, Value: "s", Reason: audit.Logout, At: now.Add(-30 * day), Until: now.Add(-time.Second),
		})
		must(err)
		_, err = db.Revocations().End(ctx, revoke.Order{
			Kind: revoke.Session, Value: "fresh", Reason: audit.Logout, At: now.Add(-30*day + time.Second), Until: now,
		})
		must(err)
		must(db.Record(ctx, audit.Event{Time: now.Add(-400 * day), Kind: audit.SignInFailed, Note: "gone"}))
		must(db.Record(ctx, audit.Event{Time: now.Add(-400*day + time.Second), Kind: audit.SignInFailed, Note: "kept"}))

		for n := 1; n > 0; {
			n, err = db.Sweep(ctx, now, 1)
			must(err)
			if n > 8 {
				t.Errorf("%d rows in one sweep of one row of each kind", n)
			}
		}

		left, err := db.Families().Load(ctx, []refresh.FamilyID{f.ID, fresh.ID})
		must(err)
		if len(left) != 1 || left[0].ID != fresh.ID {
			t.Errorf("%d families are left", len(left))
		}
		if _, err := db.Requests().Pushed(ctx, gone); !errors.Is(err, authorize.ErrNone) {
			t.Errorf("pushed request: %v", err)
		}
		_, err = db.Requests().Pushed(ctx, kept)
		must(err)
		if first, err := db.Limits().Once(ctx, kept, now, now.Add(time.Hour)); err != nil || first {
			t.Errorf("a key that has not expired is forgotten: %v, %v", first, err)
		}
		if wait, err := db.Limits().Take(ctx, kept, limit.Rate{Burst: 1, Every: time.Minute}, now); err != nil || wait == 0 {
			t.Errorf("a limit that is in use is forgotten: %v, %v", wait, err)
		}
		entries, newest, err := db.Revocations().Since(ctx, 0, epoch, 10)
		must(err)
		if len(entries) != 1 || entries[0].Number != 2 || newest != 2 {
			t.Errorf("the feed has %v up to %d", entries, newest)
		}
		var notes []string
		for _, e := range events(db)(t) {
			if e.Kind == audit.SignInFailed {
				notes = append(notes, e.Note)
			}
		}
		if diff := cmp.Diff([]string{"kept"}, notes); diff != "" {
			t.Error(diff)
		}
	})
}

func TestSweepOnAllNodes(t *testing.T) {
	t.Parallel()
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			url := e.url(t)
			first := open(t, url)
			const keys = 200
			for i := range keys {
				if _, err := first.Limits().Once(t.Context(), opaque.Digest{byte(i)}, epoch, epoch.Add(time.Minute)); err != nil {
					t.Fatal(err)
				}
			}
			var nodes sync.WaitGroup
			var mu sync.Mutex
			total := 0
			for range 4 {
				db := open(t, url)
				nodes.Go(func() {
					for {
						n, err := db.Sweep(t.Context(), epoch.Add(time.Hour), 7)
						if err != nil {
							t.Error(err)
						}
						if n == 0 {
							return
						}
						mu.Lock()
						total += n
						mu.Unlock()
					}
				})
			}
			nodes.Wait()
			n, err := first.Sweep(t.Context(), epoch.Add(time.Hour), 0) // what others had locked
			if err != nil || total+n != keys {
				t.Errorf("%d and %d rows were swept, %v, want %d in all", total, n, err, keys)
			}
		})
	}
}

func TestEvents(t *testing.T) {
	onEach(t, func(t *testing.T, db *sqlstore.DB) {
		for i, e := range []audit.Event{
			{Kind: audit.SessionBegun, Subject: "1", Session: "s"},
			{Kind: audit.FamilyBegun, Subject: "1", Session: "s", Family: "f", Client: "c"},
			{Kind: audit.Theft, Subject: "1", Session: "s", Family: "f"},
			{Kind: audit.SessionBegun, Subject: "2", Session: "t"},
			{Kind: audit.SignInFailed},
		} {
			e.Time, e.Note = epoch.Add(time.Duration(i)*time.Millisecond), fmt.Sprint(i)
			if err := db.Record(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct {
			query sqlstore.EventQuery
			want  string
		}{
			{sqlstore.EventQuery{}, "43210"},
			{sqlstore.EventQuery{Limit: 2}, "43"},
			{sqlstore.EventQuery{Subject: "1"}, "210"},
			{sqlstore.EventQuery{Session: "s", Limit: 1}, "2"},
			{sqlstore.EventQuery{Family: "f"}, "21"},
			{sqlstore.EventQuery{Kind: audit.SessionBegun}, "30"},
			{sqlstore.EventQuery{Kind: audit.SessionBegun, Subject: "2"}, "3"},
			{sqlstore.EventQuery{Family: "f", Session: "s", Subject: "1", Kind: audit.Theft}, "2"},
			{sqlstore.EventQuery{Family: "f", Subject: "2"}, ""},
		} {
			found, err := db.Events(t.Context(), c.query)
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for _, e := range found {
				got.WriteString(e.Note)
			}
			if got.String() != c.want {
				t.Errorf("%+v: %q, want %q", c.query, got.String(), c.want)
			}
		}
	})
}

func TestFamiliesOf(t *testing.T) {
	onEach(t, func(t *testing.T, db *sqlstore.DB) {
		var all []string
		for i, session := range []string{"s", "s", "t"} {
			f := codetest.Family()
			f.Session, f.Begun = session, epoch.Add(time.Duration(i)*time.Second)
			begin(db)(t, f)
			all = append([]string{string(f.ID)}, all...)
		}
		if _, err := db.Revocations().End(t.Context(), revoke.Order{Kind: revoke.Session, Value: "s", At: epoch}); err != nil {
			t.Fatal(err)
		}
		for query, want := range map[sqlstore.FamilyQuery][]string{
			{Subject: "1"}: all, {Session: "s"}: all[1:], {Session: "t"}: all[:1], {Subject: "2"}: nil, {}: nil,
		} {
			found, err := db.FamiliesOf(t.Context(), query)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range found {
				got = append(got, string(f.ID))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%+v: %s", query, diff)
			}
		}
	})
}

func TestPingAndSkew(t *testing.T) {
	t.Parallel()
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			ahead := func() time.Time { return time.Now().Add(time.Hour) }
			db, err := sqlstore.Open(t.Context(), e.url(t), sqlstore.Options{Now: ahead})
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Ping(t.Context()); err != nil {
				t.Error(err)
			}
			want := -time.Hour
			if e.name == "SQLite" { // it has no clock of its own
				want = 0
			}
			if skew, err := db.Skew(t.Context()); err != nil || (skew-want).Abs() > time.Minute {
				t.Errorf("skew %v, %v, want about %v", skew, err, want)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
			if err := db.Ping(t.Context()); err == nil {
				t.Error("a closed database answers")
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"", "sqlite://", "mysql://user:hunter2@host/db", "/path", "sqlite:///does/not/exist/x.db",
		"postgres://user:hunter2@127.0.0.1:1/db?connect_timeout=2", "postgres://user:hunter2@[::1", "postgres://user:hunter2@h/db?sslmode=nonsense",
		"postgres://user:hunter2@h:port/db",
	} {
		db, err := sqlstore.Open(t.Context(), url, sqlstore.Options{})
		if err == nil {
			t.Errorf("%q was opened", url)
			db.Close()
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error for %q holds the password", url)
		}
	}
}

// TestFilesArePrivate: nobody but the owner reads the database, whatever the
// umask and whatever the file was before.
func TestFilesArePrivate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	db := open(t, "sqlite://"+path)
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.Record(t.Context(), audit.Event{Time: epoch, Kind: audit.SignInFailed}); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v", f.Name(), info.Mode())
		}
	}
	if len(files) < 4 {
		t.Errorf("%d files, want the database, its log, its index and the lock of migrations", len(files))
	}
}

// TestServerRestarts: a stopped or killed PostgreSQL is a fault and nothing
// else, and what was reported before is there afterwards.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	for _, e := range engines() {
		if e.name == "PostgreSQL" {
			t.Run(e.name, serverRestarts)
		}
	}
}

func serverRestarts(t *testing.T) {
	t.Parallel()
	s := pgtest.New(t)
	db := open(t, s.URL(t))
	f := codetest.Family()
	begin(db)(t, f)
	for i, end := range []func(testing.TB){s.Stop, s.Kill} {
		n := f.State
		n.Generation++
		ok, err := db.Families().Swap(t.Context(), []refresh.Change{{ID: f.ID, Version: f.Version, State: n}})
		if err != nil || !ok[0] {
			t.Fatalf("swap: %v, %v", ok, err)
		}
		f.State, f.Version = n, f.Version+1
		end(t)
		if _, err := db.Families().Load(t.Context(), []refresh.FamilyID{f.ID}); err == nil {
			t.Error("a server that is down answers")
		}
		s.Start(t)
		found, err := db.Families().Load(t.Context(), []refresh.FamilyID{f.ID})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]refresh.Family{f}, found); diff != "" {
			t.Errorf("round %d: %s", i, diff)
		}
	}
}

// TestClean: however much has expired, all of it is deleted and nothing else, and
// somebody with little time stops before it is done.
func TestClean(t *testing.T) {
	onEach(t, func(t *testing.T, db *sqlstore.DB) {
		const keys = 700 // more than a few batches
		now := epoch.Add(time.Hour)
		for i := range keys {
			until := now
			if i%7 == 0 {
				until = now.Add(time.Second)
			}
			if _, err := db.Limits().Once(t.Context(), opaque.Digest{byte(i), byte(i >> 8)}, epoch, until); err != nil {
				t.Fatal(err)
			}
		}
		if done, err := db.Clean(t.Context(), now, time.Nanosecond); err != nil || done {
			t.Errorf("without time: %v, %v, want false", done, err)
		}
		if done, err := db.Clean(t.Context(), now, 0); err != nil || !done {
			t.Errorf("with all the time: %v, %v, want true", done, err)
		}
		if n, err := db.Sweep(t.Context(), now, 0); err != nil || n != 0 {
			t.Errorf("%d rows were left, %v", n, err)
		}
		if n, err := db.Sweep(t.Context(), now.Add(time.Second), 0); err != nil || n != keys/7 {
			t.Errorf("%d rows had not expired, %v, want %d", n, err, keys/7)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if done, err := db.Clean(ended, now, 0); err == nil || done {
			t.Errorf("in an ended context: %v, %v", done, err)
		}
	})
}
