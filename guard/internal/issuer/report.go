package issuer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"hash/maphash"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	reportEvery = 200 * time.Millisecond
	maxReport   = 500
	maxReports  = 8192
	maxTries    = 10
	lastReport  = 2 * time.Second // for what is left when the guard stops
)

// A use is the first sight of a generation of a family.
type use struct {
	Family     string `json:"family"`
	Generation int64  `json:"generation"`
}

// A reporter tells the issuer which generations were seen in use. It never
// blocks who reports: what does not fit into the queue is counted and gone. A
// use may be told twice.
type reporter struct {
	queue  chan use
	seed   maphash.Seed
	recent [4096]atomic.Uint64 // by hash, the last one told of each slot
}

func newReporter() *reporter {
	return &reporter{queue: make(chan use, maxReports), seed: maphash.MakeSeed()}
}

// Report queues the first use of a generation of a family, and never waits.
func (i *Issuer) Report(family string, generation int64) {
	u := use{family, generation}
	h := maphash.Comparable(i.reporter.seed, u) | 1
	slot := &i.reporter.recent[h>>1%uint64(len(i.reporter.recent))]
	if slot.Load() == h {
		return
	}
	select {
	case i.reporter.queue <- u:
		slot.Store(h)
	default:
		i.counts.dropped.Add(1)
	}
}

// KeepReporting sends reports until ctx ends, and then, briefly, the rest.
func (i *Issuer) KeepReporting(ctx context.Context) {
	for ctx.Err() == nil {
		if batch := i.reporter.batch(ctx); len(batch) > 0 {
			i.send(ctx, batch)
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastReport)
	defer cancel()
	for len(i.reporter.queue) > 0 && ctx.Err() == nil {
		batch := i.reporter.take(nil)
		if err := i.post(ctx, batch); err != nil {
			i.counts.dropped.Add(int64(len(batch)))
			i.Log.WarnContext(ctx, "use not reported", slog.Any("err", err))
			break
		}
	}
	i.counts.dropped.Add(int64(len(i.reporter.queue)))
}

// batch waits for a first use and then a little for others, asleep, so that of
// those who report only the first wakes anybody. The queue holds what is reported
// meanwhile: 40,000 a second.
func (r *reporter) batch(ctx context.Context) []use {
	select {
	case <-ctx.Done():
		return nil
	case u := <-r.queue:
		if len(r.queue) < maxReport {
			pause(ctx, reportEvery)
		}
		return r.take([]use{u})
	}
}

// take adds to batch what is queued, without waiting.
func (r *reporter) take(batch []use) []use {
	for len(batch) < maxReport {
		select {
		case u := <-r.queue:
			batch = append(batch, u)
		default:
			return batch
		}
	}
	return batch
}

// send sends a batch, some times if it has to.
func (i *Issuer) send(ctx context.Context, batch []use) {
	var err error
	for try := range maxTries {
		if err = i.post(context.WithoutCancel(ctx), batch); err == nil {
			return
		}
		if status, ok := errors.AsType[statusError](err); ok && (status == http.StatusBadRequest || status == http.StatusRequestEntityTooLarge) {
			break // it will not be better next time
		}
		if ctx.Err() != nil {
			break
		}
		pause(ctx, backoff(try, time.Second, 30*time.Second))
	}
	i.counts.dropped.Add(int64(len(batch)))
	i.Log.WarnContext(ctx, "use not reported", slog.Any("err", err), slog.Int("count", len(batch)))
}

// post sends a batch once. An issuer that does not want to know gets nothing.
func (i *Issuer) post(ctx context.Context, batch []use) error {
	e := i.endpoints.Load()
	if e == nil || e.use == "" || len(batch) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lastReport)
	defer cancel()
	body, err := json.Marshal(struct {
		Uses []use `json:"uses"`
	}{batch})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.use, bytes.NewReader(body))
	if err != nil {
		return err
	}
	i.authenticate(r)
	r.Header.Set("Content-Type", "application/json")
	resp, err := i.HTTP.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return statusError(resp.StatusCode)
	}
	i.counts.reported.Add(int64(len(batch)))
	return nil
}
