package engine_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/fastbind/fastbind/internal/sqlstore/engine"
)

func open(t *testing.T, path string) *engine.DB {
	t.Helper()
	db, err := engine.Open(t.Context(), "sqlite://"+path, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

func insert(key byte) func(ctx context.Context, q engine.Querier) error {
	return func(ctx context.Context, q engine.Querier) error {
		_, err := engine.Exec(ctx, q, "insert into once (key, until) values ($1, 1)", []byte{key})
		return err
	}
}

func stored(t *testing.T, db *engine.DB) int64 {
	t.Helper()
	n, err := engine.One(t.Context(), db.Reader, engine.Int, "select count(*) from once")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// inOneBatch holds the writer until all of fns wait for it, and returns what
// each was told.
func inOneBatch(t *testing.T, db *engine.DB, fns ...func(ctx context.Context, q engine.Querier) error) []error {
	t.Helper()
	running, release := make(chan struct{}), make(chan struct{})
	told := make([]error, len(fns))
	var callers sync.WaitGroup
	callers.Go(func() {
		if err := db.Transact(t.Context(), func(context.Context, engine.Querier) error {
			close(running)
			<-release
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
	<-running
	for i, fn := range fns {
		callers.Go(func() { told[i] = db.Transact(t.Context(), fn) })
	}
	synctest.Wait()
	close(release)
	callers.Wait()
	return told
}

// TestFailureInABatch: a transaction that fails after it has written leaves
// nothing, and those beside it are whole.
func TestFailureInABatch(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	synctest.Test(t, func(t *testing.T) {
		db := open(t, path)
		defer db.Close()
		refused := errors.New("refused")
		var fns []func(ctx context.Context, q engine.Querier) error
		for i := range byte(20) {
			fns = append(fns, insert(2*i), func(ctx context.Context, q engine.Querier) error {
				return errors.Join(insert(2*i+1)(ctx, q), refused)
			})
		}
		for i, err := range inOneBatch(t, db, fns...) {
			if want := i%2 == 1; errors.Is(err, refused) != want || (err == nil) == want {
				t.Errorf("transaction %d: %v", i, err)
			}
		}
		if n := stored(t, db); n != 20 {
			t.Errorf("%d rows are stored, want 20", n)
		}
	})
}

// TestBatchThatCannotCommit: when the common commit fails nobody is told of a
// success, nor of a refusal that was decided on what is not stored.
func TestBatchThatCannotCommit(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	synctest.Test(t, func(t *testing.T) {
		db := open(t, path)
		defer db.Close()
		refused := errors.New("refused")
		told := inOneBatch(t, db, insert(1),
			func(context.Context, engine.Querier) error { return refused },
			func(ctx context.Context, q engine.Querier) error {
				_, err := q.ExecContext(ctx, "rollback") // as a full disk does
				return err
			},
			insert(2))
		for i, err := range told {
			if err == nil || errors.Is(err, refused) {
				t.Errorf("transaction %d: %v, want a fault", i, err)
			}
		}
		if n := stored(t, db); n != 0 {
			t.Errorf("%d rows are stored, want none", n)
		}
		if err := db.Transact(t.Context(), insert(3)); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// TestGivenUpWhileWaiting: a transaction whose caller has gone before it began
// does not begin.
func TestGivenUpWhileWaiting(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	synctest.Test(t, func(t *testing.T) {
		db := open(t, path)
		defer db.Close()
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("gone")
		told := make(chan error, 1)
		inOneBatch(t, db, func(context.Context, engine.Querier) error {
			go func() { told <- db.Transact(ctx, insert(1)) }()
			cancel(gone)
			return nil
		})
		if err := <-told; !errors.Is(err, gone) {
			t.Errorf("got %v, want %v", err, gone)
		}
		if n := stored(t, db); n != 0 {
			t.Errorf("%d rows are stored, want none", n)
		}
	})
}

// TestWaitsForAnotherHandle: a writer elsewhere delays, it does not fail.
func TestWaitsForAnotherHandle(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	db := open(t, path)
	defer db.Close()
	other, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan error, 1)
	go func() { told <- db.Transact(t.Context(), insert(1)) }()
	select {
	case err := <-told:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-told; err != nil {
		t.Error(err)
	}
	if n := stored(t, db); n != 1 {
		t.Errorf("%d rows are stored, want 1", n)
	}
}

// TestSettings: what durability and the order of transactions rest on.
func TestSettings(t *testing.T) {
	t.Parallel()
	db := open(t, filepath.Join(t.TempDir(), "db"))
	defer db.Close()
	err := db.Transact(t.Context(), func(ctx context.Context, q engine.Querier) error {
		for name, want := range map[string]string{
			"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "5000",
		} {
			got, err := engine.One(ctx, q, engine.String, "pragma "+name)
			if err != nil || got != want {
				t.Errorf("%s is %q, %v, want %q", name, got, err, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Reader.ExecContext(t.Context(), "delete from once"); err == nil || !strings.Contains(err.Error(), "readonly") {
		t.Errorf("a reader may write: %v", err)
	}
}
