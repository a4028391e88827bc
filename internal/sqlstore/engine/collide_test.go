package engine_test

import (
	"context"
	"os"
	"sync"
	"testing"

	"github.com/fastbind/fastbind/internal/pgtest"
	"github.com/fastbind/fastbind/internal/sqlstore/engine"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// openPostgres opens a database with two rows to fight about.
func openPostgres(t *testing.T) *engine.DB {
	t.Helper()
	db, err := engine.Open(t.Context(), pgtest.URL(t), engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	for key := range byte(2) {
		if err := db.Transact(t.Context(), insert(key)); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

func raise(key byte) func(ctx context.Context, q engine.Querier) error {
	return func(ctx context.Context, q engine.Querier) error {
		_, err := engine.Exec(ctx, q, "update once set until = until + 1 where key = $1", []byte{key})
		return err
	}
}

// TestCollisionsAreTriedAgain: a deadlock and a serialization failure are nobody's
// business but the engine's.
func TestCollisionsAreTriedAgain(t *testing.T) {
	t.Parallel()
	for name, collide := range map[string]func(t *testing.T, db *engine.DB) (tries int, err error){
		"Deadlock": deadlock, "Serialization": serialization,
	} {
		if !pgtest.Enabled() {
			continue // SQLite has one writer
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := openPostgres(t)
			tries, err := collide(t, db)
			if err != nil {
				t.Error(err)
			}
			if tries < 3 {
				t.Errorf("%d tries of two transactions: they did not collide", tries)
			}
			sum, err := engine.One(t.Context(), db.Reader, engine.Int, "select cast(sum(until) as bigint) from once")
			if err != nil || sum != 2+4 && name == "Deadlock" || sum != 2+2 && name == "Serialization" {
				t.Errorf("sum %d, %v: not each transaction happened once", sum, err)
			}
		})
	}
}

// deadlock runs two transactions that lock the same rows in opposite order.
func deadlock(t *testing.T, db *engine.DB) (tries int, err error) {
	var both, callers sync.WaitGroup
	both.Add(2)
	var mu sync.Mutex
	for i := range byte(2) {
		first := sync.OnceFunc(func() {
			both.Done()
			both.Wait()
		})
		callers.Go(func() {
			told := db.Transact(t.Context(), func(ctx context.Context, q engine.Querier) error {
				mu.Lock()
				tries++
				mu.Unlock()
				if err := raise(i)(ctx, q); err != nil {
					return err
				}
				first()
				return raise(1-i)(ctx, q)
			})
			mu.Lock()
			defer mu.Unlock()
			if told != nil {
				err = told
			}
		})
	}
	callers.Wait()
	return tries, err
}

// serialization runs a transaction on a snapshot that another one outdates.
func serialization(t *testing.T, db *engine.DB) (tries int, err error) {
	err = db.Transact(t.Context(), func(ctx context.Context, q engine.Querier) error {
		tries++
		if _, err := engine.Exec(ctx, q, "set transaction isolation level repeatable read"); err != nil {
			return err
		}
		if _, err := engine.List(ctx, q, engine.Int, "select until from once"); err != nil {
			return err
		}
		if tries == 1 {
			if err := db.Write(ctx, raise(0)); err != nil {
				return err
			}
		}
		return raise(0)(ctx, q)
	})
	return tries + 1, err // with the one inside
}
