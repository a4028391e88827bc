package refresh

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A Rotator turns shown tokens into answers. Requests that arrive while a batch
// is under way share the next one: one load and one swap for all of them. When
// idle a request waits for nobody.
//
// A Rotator is safe for concurrent use. Set the fields before the first call.
type Rotator struct {
	Store Store
	// Now returns the time; nil means time.Now.
	Now func() time.Time
	// Timeout bounds one batch; 0 means 10 seconds.
	Timeout time.Duration
	// Parallel is the number of batches that may be under way at once; 0 means 1.
	Parallel int
	// Observe gets each verdict that was handed out, and Batch how many
	// requests shared a load and a swap. Neither may block; both may be nil.
	Observe func(Verdict)
	Batch   func(int)

	mu      sync.Mutex
	pending []*request
	running int
	batches sync.WaitGroup
}

// A Result is the verdict on a shown token and the family as the verdict left
// it. Several results may share the slices of one family: do not change them.
type Result struct {
	Verdict
	Family Family
}

type request struct {
	id    FamilyID
	rules Rules
	shown Shown
	tries int
	gone  atomic.Bool   // nobody waits for the answer any more
	done  chan struct{} // closed once result and err are set
	result
}

type result struct {
	Result
	err error
}

// maxTries bounds how often a request is judged anew because somebody else
// changed its family first.
const maxTries = 50

// maxBatch bounds the requests of one batch, and with them what a store is
// given at once.
const maxBatch = 512

// Rotate judges the token of family id that was shown as s, and returns when
// the verdict is durable. An error is a fault: nothing is known to have been
// consumed, and the same call may be made again. A call whose context ends
// before its batch begins consumes nothing.
func (r *Rotator) Rotate(ctx context.Context, id FamilyID, rules Rules, s Shown) (Result, error) {
	if ctx.Err() != nil {
		return Result{}, context.Cause(ctx)
	}
	q := &request{id: id, rules: rules, shown: s, done: make(chan struct{})}
	// The batches belong to many callers; none of them may cancel one.
	r.enqueue(context.WithoutCancel(ctx), q)
	select {
	case <-q.done:
		if q.err == nil && r.Observe != nil {
			r.Observe(q.Verdict)
		}
		return q.Result, q.err
	case <-ctx.Done():
		q.gone.Store(true)
		return Result{}, context.Cause(ctx)
	}
}

// Wait returns when no batch is under way any more. Call it when nobody calls
// Rotate any more.
func (r *Rotator) Wait() { r.batches.Wait() }

func (r *Rotator) enqueue(ctx context.Context, q *request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending = append(r.pending, q)
	if r.running < max(r.Parallel, 1) {
		r.running++
		r.batches.Go(func() { r.run(ctx) })
	}
}

// run works off what is pending, batch after batch, until nothing is.
func (r *Rotator) run(ctx context.Context) {
	for {
		r.mu.Lock()
		batch := r.next()
		if len(batch) == 0 {
			r.running--
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		if again := r.work(ctx, batch); len(again) > 0 {
			r.mu.Lock()
			r.pending = append(again, r.pending...)
			r.mu.Unlock()
		}
	}
}

// next takes the requests of the next batch off what is pending; r.mu is held.
func (r *Rotator) next() []*request {
	var batch []*request
	for i, q := range r.pending {
		if len(batch) == maxBatch {
			r.pending = r.pending[i:]
			return batch
		}
		if !q.gone.Load() {
			batch = append(batch, q)
		}
	}
	r.pending = nil
	return batch
}

// work judges a batch and returns those of it that must be judged anew.
func (r *Rotator) work(ctx context.Context, batch []*request) (again []*request) {
	timeout := r.Timeout
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	if r.Batch != nil {
		r.Batch(len(batch))
	}
	families, err := r.load(ctx, batch)
	if err != nil {
		fail(batch, err)
		return nil
	}
	changes, judged := r.judge(batch, families)
	if len(changes) == 0 {
		return nil
	}
	written, err := r.Store.Swap(ctx, changes)
	if err != nil {
		for _, c := range changes {
			fail(judged[c.ID], fmt.Errorf("swap families: %w", err))
		}
		return nil
	}
	for i, c := range changes {
		if written[i] {
			for _, q := range judged[c.ID] {
				q.Family.Version = c.Version + 1
			}
			finish(judged[c.ID])
			continue
		}
		for _, q := range judged[c.ID] {
			if q.tries++; q.tries >= maxTries {
				fail([]*request{q}, ErrUnavailable)
				continue
			}
			again = append(again, q)
		}
	}
	return again
}

func (r *Rotator) load(ctx context.Context, batch []*request) (map[FamilyID]*Family, error) {
	families := make(map[FamilyID]*Family, len(batch))
	ids := make([]FamilyID, 0, len(batch))
	for _, q := range batch {
		if _, ok := families[q.id]; !ok {
			families[q.id] = nil
			ids = append(ids, q.id)
		}
	}
	loaded, err := r.Store.Load(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("load families: %w", err)
	}
	for i := range loaded {
		families[loaded[i].ID] = &loaded[i]
	}
	return families, nil
}

// judge decides the requests of a batch one after the other, each on the state
// that the one before it left. It finishes those that need no write and returns
// one change for each family that the others changed, with the requests that
// wait for it.
func (r *Rotator) judge(batch []*request, families map[FamilyID]*Family) ([]Change, map[FamilyID][]*request) {
	now := time.Now()
	if r.Now != nil {
		now = r.Now()
	}
	var changes []Change
	at := make(map[FamilyID]int, len(families)) // where in changes
	judged := make(map[FamilyID][]*request, len(families))
	for _, q := range batch {
		f := families[q.id]
		if f == nil {
			q.Result = Result{Verdict: Verdict{Answer: Refused, Why: Unknown}}
			finish([]*request{q})
			continue
		}
		v := Judge(q.rules, *f, q.shown, now)
		f.State = v.State
		q.Result = Result{Verdict: v, Family: *f}
		i, waits := at[q.id]
		if !v.Changed && !waits {
			finish([]*request{q})
			continue
		}
		if !waits {
			i = len(changes)
			at[q.id] = i
			changes = append(changes, Change{ID: q.id, Version: f.Version})
		}
		c := &changes[i]
		c.State = v.State
		c.EndSession = c.EndSession || v.EndSession
		c.Events = append(c.Events, v.Events...)
		judged[q.id] = append(judged[q.id], q)
	}
	return changes, judged
}

func finish(batch []*request) {
	for _, q := range batch {
		close(q.done)
	}
}

func fail(batch []*request, err error) {
	for _, q := range batch {
		select {
		case <-q.done: // needed no write
		default:
			q.Result, q.err = Result{}, err
			close(q.done)
		}
	}
}
