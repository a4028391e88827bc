package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
)

// A queue runs transactions on the one connection of SQLite that writes.
// Transactions that arrive while others are committed share the next commit;
// each is in a savepoint of its own, so that one that fails leaves the others
// as they are. Nobody is told anything, not even a refusal, before the commit.
type queue struct {
	conn  *sql.Conn
	batch func(int)            // gets how many share a commit; may be nil
	stmts map[string]*sql.Stmt // only the goroutine that runs batches uses it

	mu      sync.Mutex
	pending []*job
	running bool // whether a goroutine runs batches
	work    sync.WaitGroup
}

type job struct {
	run  func(q Querier) error
	err  error         // set when done is closed
	done chan struct{} // closed when the job is durable or has failed
}

// maxBatch is the most transactions that share a commit.
const maxBatch = 256

// transact runs fn in a transaction that is durable when it returns nil. Once
// it has begun fn runs to its end whatever happens to ctx: others share its fate.
func (w *queue) transact(ctx context.Context, fn func(ctx context.Context, q Querier) error) error {
	detached := context.WithoutCancel(ctx)
	j := &job{done: make(chan struct{}), run: func(q Querier) error {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		return fn(detached, q)
	}}
	w.mu.Lock()
	w.pending = append(w.pending, j)
	if !w.running {
		w.running = true
		w.work.Go(func() { w.run(detached) })
	}
	w.mu.Unlock()
	<-j.done
	return j.err
}

// run works off what is pending until nothing is.
func (w *queue) run(ctx context.Context) {
	for {
		w.mu.Lock()
		n := min(len(w.pending), maxBatch)
		batch := w.pending[:n:n]
		w.pending = w.pending[n:]
		w.running = n > 0
		w.mu.Unlock()
		if n == 0 {
			return
		}
		if err := w.commit(ctx, batch); err != nil {
			for _, j := range batch {
				j.err = err
			}
		}
		for _, j := range batch {
			close(j.done)
		}
	}
}

// commit runs a batch in one transaction. An error is one of the whole batch,
// of which then nothing is stored.
func (w *queue) commit(ctx context.Context, batch []*job) (err error) {
	if _, err := w.ExecContext(ctx, "begin immediate"); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	open := true
	defer func() {
		if open {
			_, rollback := w.ExecContext(ctx, "rollback")
			if err != nil {
				err = errors.Join(err, rollback)
			}
		}
	}()
	written := false
	for _, j := range batch {
		if err := w.savepoint(ctx, j, len(batch) == 1); err != nil {
			return err
		}
		written = written || j.err == nil
	}
	if !written {
		return nil
	}
	if _, err := w.ExecContext(ctx, "commit"); err != nil {
		return fmt.Errorf("commit transaction: %w", err)
	}
	open = false
	if w.batch != nil {
		w.batch(len(batch))
	}
	return nil
}

func (w *queue) savepoint(ctx context.Context, j *job, alone bool) error {
	if alone {
		j.err = j.run(w)
		return nil
	}
	if _, err := w.ExecContext(ctx, "savepoint job"); err != nil {
		return fmt.Errorf("begin savepoint: %w", err)
	}
	if j.err = j.run(w); j.err != nil {
		if _, err := w.ExecContext(ctx, "rollback to job"); err != nil {
			return fmt.Errorf("roll back savepoint: %w", err)
		}
	}
	if _, err := w.ExecContext(ctx, "release job"); err != nil {
		return fmt.Errorf("release savepoint: %w", err)
	}
	return nil
}

// close waits for what is pending and closes the connection.
func (w *queue) close() error {
	w.work.Wait()
	var errs []error
	for _, s := range w.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, w.conn.Close())...)
}

// ExecContext runs a statement in the transaction of the job that calls it.
func (w *queue) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	s, err := w.stmt(ctx, text)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(ctx, args...)
}

// QueryContext runs a query in the transaction of the job that calls it.
func (w *queue) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	s, err := w.stmt(ctx, text)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}

// stmt returns the prepared form of text. The texts are constants of this
// package, so there are not many.
func (w *queue) stmt(ctx context.Context, text string) (*sql.Stmt, error) {
	if s, ok := w.stmts[text]; ok {
		return s, nil
	}
	s, err := w.conn.PrepareContext(ctx, text)
	if err == nil {
		w.stmts[text] = s
	}
	return s, err
}

// prepared runs statements of a pool in prepared form.
type prepared struct {
	pool *sql.DB

	mu    sync.RWMutex
	stmts map[string]*sql.Stmt // under mu
}

// ExecContext runs a statement.
func (p *prepared) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	s, err := p.stmt(ctx, text)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(ctx, args...)
}

// QueryContext runs a query.
func (p *prepared) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	s, err := p.stmt(ctx, text)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}

func (p *prepared) stmt(ctx context.Context, text string) (*sql.Stmt, error) {
	p.mu.RLock()
	s, ok := p.stmts[text]
	p.mu.RUnlock()
	if ok {
		return s, nil
	}
	s, err := p.pool.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if first, ok := p.stmts[text]; ok { // somebody else was faster
		return first, s.Close()
	}
	p.stmts[text] = s
	return s, nil
}
