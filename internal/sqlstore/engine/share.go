package engine

import (
	"cmp"
	"context"
	"sync"
	"time"
)

// A Shared does a kind of work for many callers at once: calls that arrive while
// a batch is under way share the next one. When idle a call waits for nobody.
// Set the fields before the first call; it is safe for concurrent use.
type Shared[In, Out any] struct {
	// Do does the work of a batch and returns as many answers, in order. An
	// error is one of the whole batch: nothing of it is known to be done.
	Do func(ctx context.Context, batch []In) ([]Out, error)
	// Within bounds one batch; 0 means 10 seconds.
	Within time.Duration

	mu      sync.Mutex
	pending []*sharedCall[In, Out]
	running bool // whether a goroutine works off what is pending
	batches sync.WaitGroup
}

type sharedCall[In, Out any] struct {
	ctx  context.Context //nolint:containedctx // says whether anybody still waits
	in   In
	out  Out
	err  error
	done chan struct{} // closed once out and err are set
}

const (
	// maxShared is the most calls that share a batch.
	maxShared = 512
	// sharedTime bounds one batch, where nothing else is said.
	sharedTime = 10 * time.Second
)

// Call does the work for in and returns when that is done. A call whose context
// ends before its batch begins does nothing; the batch belongs to many and is not
// cancelled.
func (s *Shared[In, Out]) Call(ctx context.Context, in In) (Out, error) {
	var none Out
	if ctx.Err() != nil {
		return none, context.Cause(ctx)
	}
	c := &sharedCall[In, Out]{ctx: ctx, in: in, done: make(chan struct{})}
	s.mu.Lock()
	s.pending = append(s.pending, c)
	if !s.running {
		s.running = true
		s.batches.Go(func() { s.run(context.WithoutCancel(ctx)) })
	}
	s.mu.Unlock()
	select {
	case <-c.done:
		return c.out, c.err
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

// Wait returns when no batch is under way any more. Call it when nobody calls
// Call any more.
func (s *Shared[In, Out]) Wait() { s.batches.Wait() }

// run works off what is pending, batch after batch, until nothing is.
func (s *Shared[In, Out]) run(ctx context.Context) {
	for {
		s.mu.Lock()
		batch := s.next()
		s.running = len(batch) > 0
		s.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		s.work(ctx, batch)
	}
}

// next takes the calls of the next batch off what is pending; s.mu is held.
func (s *Shared[In, Out]) next() []*sharedCall[In, Out] {
	var batch []*sharedCall[In, Out]
	for i, c := range s.pending {
		if len(batch) == maxShared {
			s.pending = s.pending[i:]
			return batch
		}
		if c.ctx.Err() == nil {
			batch = append(batch, c)
		}
	}
	s.pending = nil
	return batch
}

func (s *Shared[In, Out]) work(ctx context.Context, batch []*sharedCall[In, Out]) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(s.Within, sharedTime))
	defer cancel()
	in := make([]In, len(batch))
	for i, c := range batch {
		in[i] = c.in
	}
	out, err := s.Do(ctx, in)
	for i, c := range batch {
		if err != nil {
			c.err = err
		} else {
			c.out = out[i]
		}
		close(c.done)
	}
}
