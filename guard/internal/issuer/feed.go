package issuer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/fastbind/fastbind/guard/internal/revoked"
	"github.com/fastbind/fastbind/internal/jose"
)

const (
	// firstWord is how long the feed may take for its first event, and silence
	// for each one after: it sends one each second.
	firstWord = 10 * time.Second
	silence   = 3 * time.Second

	pollEvery = time.Second
	pollFor   = 15 * time.Second // then the stream is tried again

	maxEvent = 64 << 10
	maxPage  = 32 << 20
)

var (
	errSilent = errors.New("the feed went silent")
	errFull   = errors.New("the feed holds more than fits into memory")
	errFeed   = errors.New("malformed feed")
)

// A feed follows the revocation feed of the issuer into the set.
type feed struct {
	i    *Issuer
	last int64 // number of the last entry that is known
	time int64 // up to which the list was complete, on the clock of who told it; unix milliseconds
	live bool  // the snapshot is over: what comes now has just happened
}

// KeepRevoked keeps the set up to date, until ctx ends: by the stream, and by
// asking for pages while there is no stream to be had.
func (i *Issuer) KeepRevoked(ctx context.Context) {
	select {
	case <-i.Keys.loaded:
	case <-ctx.Done():
		return
	}
	f := &feed{i: i}
	for failures := 0; ctx.Err() == nil; {
		address := i.endpoints.Load().revocations
		if address == "" {
			i.Revoked.Settle()
			i.Log.WarnContext(ctx, "the issuer has no revocation feed")
			pause(ctx, metadataAge)
			continue
		}
		f.live = false
		err := f.stream(ctx, address)
		if ctx.Err() != nil {
			return
		}
		i.Log.WarnContext(ctx, "revocation feed interrupted", slog.Any("err", err))
		if f.live {
			failures = 0
			pause(ctx, rand.N(pollEvery/4)) // not all guards of a server at once
			continue
		}
		if failures++; failures > 1 {
			err = f.poll(ctx, address)
		}
		if err != nil {
			pause(ctx, backoff(failures-2, 2*time.Second)/2)
		}
	}
}

// stream follows the event stream until it breaks, and returns why.
func (f *feed) stream(ctx context.Context, address string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(firstWord, func() { cancel(errSilent) })
	defer watchdog.Stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	f.i.authenticate(r)
	r.Header.Set("Accept", "text/event-stream")
	if f.last > 0 {
		r.Header.Set("Last-Event-ID", strconv.FormatInt(f.last, 10))
	}
	resp, err := f.i.HTTP.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return statusError(resp.StatusCode)
	}
	if !isType(resp.Header, "text/event-stream") {
		return fmt.Errorf("%w: not an event stream", errFeed)
	}
	f.time = 0
	lines := bufio.NewReaderSize(resp.Body, maxEvent)
	var event string
	var data []byte
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return err
		}
		line = bytes.TrimRight(line, "\r\n")
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch {
		case len(line) == 0:
			if err := f.event(event, data); err != nil {
				return err
			}
			event, data = "", data[:0]
			watchdog.Reset(silence)
		case string(field) == "event":
			event = string(value)
		case string(field) == "data":
			if len(data)+len(value) > maxEvent {
				return fmt.Errorf("%w: event too long", errFeed)
			}
			data = append(data, value...)
		}
	}
}

// event takes one event of the stream.
func (f *feed) event(event string, data []byte) error {
	now := f.i.Now()
	switch event {
	case "entry":
		return f.entry(data, now)
	case "complete":
		var c struct{ Seq, Time int64 }
		if err := json.Unmarshal(data, &c); err != nil {
			return fmt.Errorf("%w: %w", errFeed, err)
		}
		f.complete(c.Seq, c.Time, now)
		f.live = true
	case "reset":
		// The numbers begin anew. What is known stays: an end is final.
		f.last = 0
	}
	return nil
}

// complete notes that the list was complete at the time now of this host. A
// server that has lost touch with its own list sends on the same time: that
// does not count.
func (f *feed) complete(seq, time int64, now time.Time) {
	f.last = seq
	if time > f.time {
		f.time = time
		f.i.Revoked.Complete(now)
	}
}

// entry takes one entry into the set and ends the requests that it names.
func (f *feed) entry(data []byte, now time.Time) error {
	var (
		e                  revoked.Ending
		word               string
		number, before, at int64
	)
	err := jose.Scan(data, func(member, v []byte) (err error) {
		switch string(member) {
		case "seq":
			number, err = jose.Time(v)
		case "kind":
			word, err = jose.String(v)
		case "value":
			e.Value, err = jose.String(v)
		case "before":
			before, err = jose.Time(v)
		case "at":
			at, err = jose.Time(v)
		case "exp":
			e.Until, err = jose.Time(v)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("%w: %w", errFeed, err)
	}
	f.last = max(f.last, number)
	var ok bool
	if e.Kind, ok = revoked.KindOf(word); !ok { // of a later server; the others still count
		f.i.counts.unknown.Add(1)
		return nil
	}
	e.Before = revoked.Always
	if before > 0 && before < revoked.Always &&
		(e.Kind == revoked.BySubject || e.Kind == revoked.ByClient || e.Kind == revoked.ByEpoch) {
		e.Before = uint32(before)
	}
	if e.Value == "" && e.Kind != revoked.ByEpoch {
		return fmt.Errorf("%w: entry without value", errFeed)
	}
	if !f.i.Revoked.Add(e, now) {
		return errFull
	}
	if f.live && e.Kind == revoked.ByKey { // the issuer signs with another key from now on
		f.i.Keys.refresh()
	}
	if f.live && at > 0 {
		f.i.counts.propagated(now.UnixMilli() - at)
	}
	return nil
}

// poll asks for pages for a while, and returns early if one cannot be had.
func (f *feed) poll(ctx context.Context, address string) error {
	end := time.After(pollFor)
	for {
		more, err := f.page(ctx, address)
		if err != nil {
			return err
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-end:
			return nil
		case <-time.After(pollEvery):
		}
	}
}

// page asks for what comes after the last known entry, and reports whether
// there is more to be had at once.
func (f *feed) page(ctx context.Context, address string) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	u, err := url.Parse(address)
	if err != nil {
		return false, err
	}
	q := u.Query()
	q.Set("after", strconv.FormatInt(f.last, 10))
	u.RawQuery = q.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return false, err
	}
	f.i.authenticate(r)
	r.Header.Set("Accept", "application/json")
	asked := f.i.Now() // the list is complete at least up to then
	body, _, err := f.i.do(r, maxPage)
	if err != nil {
		return false, err
	}
	var page struct {
		Entries   []json.RawMessage `json:"entries"`
		Seq, Time int64
	}
	page.Seq = math.MinInt64
	if err := json.Unmarshal(body, &page); err != nil || page.Seq == math.MinInt64 {
		return false, fmt.Errorf("%w: page", errFeed)
	}
	if page.Seq < f.last { // the numbers began anew
		f.last = 0
		return true, nil
	}
	before := f.last
	for _, e := range page.Entries {
		if err := f.entry(e, f.i.Now()); err != nil {
			return false, err
		}
	}
	if len(page.Entries) > 0 && f.last < page.Seq && f.last > before {
		return true, nil
	}
	f.complete(page.Seq, page.Time, asked)
	return false, nil
}
