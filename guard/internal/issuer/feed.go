package issuer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastbind/fastbind/guard/internal/revoked"
	"github.com/fastbind/fastbind/internal/jose"
)

const (
	// firstWord is how long the stream may take for its first event, and
	// silence for each one after: it sends one each second.
	firstWord = 10 * time.Second
	silence   = 3 * time.Second

	// quiet is after how much silence pages are asked for beside the stream, and
	// broken after how long without a stream: the next one may lead to a node
	// that does not answer yet.
	quiet     = 2 * time.Second
	broken    = 300 * time.Millisecond
	pollEvery = time.Second

	// When a stream breaks that was complete the next one begins within spread,
	// so that not all guards come at once; one that fails is tried again after
	// about firstPause, and twice as long each time up to lastPause.
	spread     = 100 * time.Millisecond
	firstPause = 200 * time.Millisecond
	lastPause  = 4 * time.Second

	maxEvent = 64 << 10
	maxPage  = 32 << 20

	maxAgeOfPage = 24 * 3600 * 1000 // milliseconds
)

var (
	errSilent = errors.New("the feed went silent")
	errFull   = errors.New("the feed holds more than fits into memory")
	errFeed   = errors.New("malformed feed")
)

// A feed follows the revocation feed of the issuer into the set.
type feed struct {
	i     *Issuer
	pages atomic.Pointer[time.Time] // from when on pages are asked for
	broke chan struct{}             // the stream has broken; one waits at most

	mu   sync.Mutex // held while an entry or the end of a list is taken
	last int64      // number of the last entry that is known
}

// KeepRevoked keeps the set up to date, until ctx ends: by the stream, and by
// asking for pages while the stream says nothing.
func (i *Issuer) KeepRevoked(ctx context.Context) {
	select {
	case <-i.Keys.loaded:
	case <-ctx.Done():
		return
	}
	f := &feed{i: i, broke: make(chan struct{}, 1)}
	f.hear(i.Now())
	var pages sync.WaitGroup
	pages.Go(func() { f.poll(ctx) })
	defer pages.Wait()
	for failures := 0; ctx.Err() == nil; {
		address := i.endpoints.Load().revocations
		if address == "" {
			i.Revoked.Settle()
			i.Log.WarnContext(ctx, "the issuer has no revocation feed")
			pause(ctx, metadataAge)
			continue
		}
		complete, err := f.stream(ctx, address)
		if ctx.Err() != nil {
			return
		}
		i.Log.WarnContext(ctx, "revocation feed interrupted", slog.Any("err", err))
		if complete {
			failures = 0
			f.lose(i.Now())
			pause(ctx, rand.N(spread)) // a node restarts: another one takes over, or it is back soon
			continue
		}
		pause(ctx, backoff(failures, firstPause, lastPause))
		failures++
	}
}

// hear notes that the stream says something.
func (f *feed) hear(now time.Time) {
	from := now.Add(quiet)
	f.pages.Store(&from)
}

// lose notes that there is no stream.
func (f *feed) lose(now time.Time) {
	from := now.Add(broken - rand.N(broken/2)) // not all guards at once
	f.pages.Store(&from)
	select {
	case f.broke <- struct{}{}:
	default: // it has not looked yet
	}
}

// stream follows the event stream until it breaks, and returns why, and whether
// the list was complete before.
func (f *feed) stream(ctx context.Context, address string) (complete bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(firstWord, func() { cancel(errSilent) })
	defer watchdog.Stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return false, err
	}
	f.i.authenticate(r)
	r.Header.Set("Accept", "text/event-stream")
	if last := f.known(); last > 0 {
		r.Header.Set("Last-Event-ID", strconv.FormatInt(last, 10))
	}
	resp, err := f.i.HTTP.Do(r)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return false, statusError(resp.StatusCode)
	}
	if !isType(resp.Header, "text/event-stream") {
		return false, fmt.Errorf("%w: not an event stream", errFeed)
	}
	s := stream{feed: f}
	err = s.read(bufio.NewReaderSize(resp.Body, maxEvent), func() { watchdog.Reset(silence) })
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return s.live, err
}

// A stream is one connection to the feed.
type stream struct {
	*feed
	upTo int64 // up to when the list was complete, on the clock of who told it; unix milliseconds
	live bool  // the snapshot is over: what comes now has just happened
}

// read takes events, and calls heard after each of them, until there is an
// error. The form is that of server-sent events.
func (s *stream) read(lines *bufio.Reader, heard func()) error {
	var event string
	var data []byte
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return err
		}
		line = bytes.TrimRight(line, "\r\n")
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch {
		case len(line) == 0:
			if err := s.event(event, data); err != nil {
				return err
			}
			event, data = "", data[:0]
			heard()
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
func (s *stream) event(event string, data []byte) error {
	now := s.i.Now()
	s.hear(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch event {
	case "entry":
		return s.entry(data, now, s.live)
	case "complete":
		var c struct{ Seq, Time int64 }
		if err := json.Unmarshal(data, &c); err != nil {
			return fmt.Errorf("%w: %w", errFeed, err)
		}
		s.complete(c.Seq, c.Time, &s.upTo, now)
		s.live = true
	case "reset":
		// The numbers begin anew. What is known stays: an end is final.
		s.last = 0
	}
	return nil
}

// known returns the number of the last entry that is known.
func (f *feed) known() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// complete notes that the list was complete at the time now of this host. A
// server that has lost touch with its own list says the same time again: that
// does not count. Clocks of servers are compared with themselves only.
func (f *feed) complete(seq, time int64, upTo *int64, now time.Time) {
	f.last = seq
	if time > *upTo {
		*upTo = time
		f.i.Revoked.Complete(now)
	}
}

// entry takes one entry into the set and ends the requests that it names.
func (f *feed) entry(data []byte, now time.Time, live bool) error {
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
	if live && e.Kind == revoked.ByKey { // the issuer signs with another key from now on
		f.i.Keys.refresh()
	}
	if live && at > 0 {
		f.i.counts.propagated(now.UnixMilli() - at)
	}
	return nil
}

// poll asks for pages whenever the stream is quiet, until ctx ends.
func (f *feed) poll(ctx context.Context) {
	look := time.NewTimer(quiet)
	defer look.Stop()
	for upTo := int64(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-f.broke:
		case <-look.C:
		}
		wait := f.pages.Load().Sub(f.i.Now())
		if wait <= 0 {
			f.all(ctx, &upTo)
			wait = pollEvery
		}
		look.Reset(wait)
	}
}

// all asks for pages until there is no more, or the stream speaks again.
func (f *feed) all(ctx context.Context, upTo *int64) {
	address := f.i.endpoints.Load().revocations
	for more := address != ""; more && !f.i.Now().Before(*f.pages.Load()); {
		var err error
		if more, err = f.page(ctx, address, upTo); err != nil && ctx.Err() == nil {
			f.i.Log.WarnContext(ctx, "revocations not fetched", slog.Any("err", err))
		}
	}
}

// page asks for what comes after the last known entry, and reports whether
// there is more to be had at once.
func (f *feed) page(ctx context.Context, address string, upTo *int64) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	u, err := url.Parse(address)
	if err != nil {
		return false, err
	}
	after := f.known()
	q := u.Query()
	q.Set("after", strconv.FormatInt(after, 10))
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
		Age       *int64
	}
	page.Seq = -1
	if err := json.Unmarshal(body, &page); err != nil || page.Seq < 0 {
		return false, fmt.Errorf("%w: page", errFeed)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if page.Seq < after { // the numbers began anew
		f.last = 0
		return true, nil
	}
	for _, e := range page.Entries {
		if err := f.entry(e, f.i.Now(), false); err != nil {
			return false, err
		}
	}
	if len(page.Entries) > 0 && f.last < page.Seq && f.last > after {
		return true, nil
	}
	if page.Age != nil && *page.Age >= 0 {
		// It does not depend on clocks: the next page may come from another node.
		f.last = page.Seq
		f.i.Revoked.Complete(asked.Add(-time.Duration(min(*page.Age, maxAgeOfPage)) * time.Millisecond))
		return false, nil
	}
	f.complete(page.Seq, page.Time, upTo, asked)
	return false, nil
}
