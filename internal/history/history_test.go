package history_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/history"
)

// TestAfter: what is behind the note has lost history, but for the last moments
// of which no revocation is known.
func TestAfter(t *testing.T) {
	t.Parallel()
	noted := history.Mark{Installation: "a", Epoch: 2, Number: 10, Seen: 1_000_000_000}
	tolerated := history.Tolerated.Milliseconds()
	for name, test := range map[string]struct {
		change func(*history.Mark)
		lost   bool
	}{
		"Same":             {func(*history.Mark) {}, false},
		"Later":            {func(m *history.Mark) { m.Number++; m.Seen++ }, false},
		"EntryMissing":     {func(m *history.Mark) { m.Number--; m.Seen++ }, true},
		"AtTolerance":      {func(m *history.Mark) { m.Seen -= tolerated }, false},
		"BeyondTolerance":  {func(m *history.Mark) { m.Seen -= tolerated + 1 }, true},
		"EpochMissing":     {func(m *history.Mark) { m.Epoch--; m.Number++ }, true},
		"Finished":         {func(m *history.Mark) { m.Epoch++; m.Number = 0; m.Seen = 0 }, false},
		"AnotherDatabase":  {func(m *history.Mark) { m.Installation = "b"; m.Number = 0; m.Epoch = 0 }, false},
		"NothingIsNoted":   {func(m *history.Mark) { *m = history.Mark{Installation: "b"} }, false},
		"EntryAndEpochNow": {func(m *history.Mark) { m.Epoch++; m.Number-- }, false},
	} {
		found := noted
		test.change(&found)
		err := found.After(noted)
		if _, lost := errors.AsType[*history.LostError](err); lost != test.lost {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFile(t *testing.T) {
	t.Parallel()
	f := history.In(t.TempDir())
	if m, err := f.Read(); err != nil || m != (history.Mark{}) {
		t.Errorf("nothing noted: %+v, %v", m, err)
	}
	want := history.Mark{Installation: "a", Epoch: 1, Begun: 2, Number: 3, Seen: 4}
	for range 2 {
		if err := f.Write(want); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := f.Read(); err != nil || m != want {
		t.Errorf("%+v, %v", m, err)
	}
	if info, err := os.Stat(string(f)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if all, err := os.ReadDir(filepath.Dir(string(f))); err != nil || len(all) != 1 {
		t.Errorf("left over: %v, %v", all, err)
	}
	if err := os.WriteFile(string(f), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Read(); err == nil {
		t.Error("what cannot be read is taken for nothing")
	}
	if m, err := history.In("").Read(); err != nil || m != (history.Mark{}) || history.In("").Write(want) != nil {
		t.Errorf("no folder: %+v, %v", m, err)
	}
}

// A fake is a database whose history the test moves.
type fake struct {
	mark history.Mark
	err  error
}

func (f *fake) Mark(context.Context) (history.Mark, error) { return f.mark, f.err }

func (f *fake) Seen(_ context.Context, now time.Time) error {
	f.mark.Seen = max(f.mark.Seen, now.UnixMilli())
	return f.err
}

// TestKeeper follows a database through a fault, a loss and the end of it.
func TestKeeper(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	db := &fake{mark: history.Mark{Installation: "a", Number: 5}}
	k := &history.Keeper{Store: db, File: history.In(t.TempDir()), Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }}
	served := func() bool {
		w := httptest.NewRecorder()
		k.Guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })).
			ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
		return w.Code == http.StatusOK
	}
	step := func(what string, want bool) {
		t.Helper()
		if err := k.Look(t.Context()); err != nil && db.err == nil {
			t.Errorf("%s: %v", what, err)
		}
		if served() != want {
			t.Errorf("%s: serves %v", what, !want)
		}
	}
	if err := k.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	step("at first", true)
	if noted, err := k.File.Read(); err != nil || noted != db.mark || noted.Seen != now.UnixMilli() {
		t.Errorf("noted %+v, %v, want %+v", noted, err, db.mark)
	}
	backup := db.mark
	now = now.Add(time.Minute)
	db.mark.Number = 9
	step("a minute later", true)
	db.err = errors.New("down")
	step("the database is down", true)
	db.err = nil
	db.mark.Number = 7
	step("a standby that lacks two entries", true)
	if noted, err := k.File.Read(); err != nil || noted.Number != 9 {
		t.Errorf("noted %d, %v: forgotten before the entries are told again", noted.Number, err)
	}
	now = now.Add(time.Hour)
	step("an hour later", true)
	db.mark = backup
	step("restored", false)
	if err := (&history.Keeper{Store: db, File: k.File}).Check(t.Context()); err == nil {
		t.Error("a server starts on it")
	}
	now = now.Add(time.Hour)
	step("still", false)
	if db.mark.Seen != backup.Seen {
		t.Error("a server that serves nothing says that it was there")
	}
	db.mark.Epoch, db.mark.Number = 1, 1<<40
	step("finished", true)
}
