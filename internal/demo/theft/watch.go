package theft

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/fastbind/fastbind/internal/demo/party"
)

const (
	pollEvery  = 2 * time.Millisecond
	watchLimit = 5 * time.Second
	openLimit  = 2 * time.Second
)

// open opens the event stream of a party, unless it is open, and waits for its
// first event.
func (s *Page) open(ctx context.Context, v *visitor, p side) error {
	v.mu.Lock()
	h := &v.hold[p]
	if h.stream != nil && h.stream.ended.IsZero() {
		v.mu.Unlock()
		return nil
	}
	st := &stream{opened: make(chan struct{}), over: make(chan struct{})}
	h.stream = st
	access := h.access
	v.version++
	v.mu.Unlock()
	if err := s.spawn(ctx, func(ctx context.Context) { s.follow(ctx, v, p, st, access) }); err != nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		h.stream = nil
		return fmt.Errorf("open stream: %w", err)
	}
	limit := time.NewTimer(openLimit)
	defer limit.Stop()
	select {
	case <-st.opened:
	case <-limit.C:
	case <-ctx.Done():
	}
	return nil
}

// follow reads a stream until it ends.
func (s *Page) follow(ctx context.Context, v *visitor, p side, st *stream, access party.Bearer) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begun := sync.OnceFunc(func() { close(st.opened) })
	defer close(st.over)
	defer begun()
	v.mu.Lock()
	st.cancel = cancel
	closed := st.closed
	v.mu.Unlock()
	if closed {
		return
	}
	err := s.hands[p].Listen(ctx, s.URL+"/stream", access, func(name, data string) {
		now := time.Now()
		v.mu.Lock()
		defer v.mu.Unlock()
		if name == "tick" {
			st.ticks++
		} else {
			var end struct {
				Reason string `json:"reason"`
			}
			if json.Unmarshal([]byte(data), &end) == nil {
				st.ended, st.reason = now, end.Reason
			}
		}
		begun()
	})
	now := time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	if st.ended.IsZero() {
		st.ended, st.reason = now, "closed"
	}
	if err != nil && ctx.Err() != nil {
		return // nobody wants it any more
	}
	v.note(entry{at: st.ended, who: p.String(), text: v.called(p) + "’s open stream ends.", answer: st.reason, tone: bad})
}

// watch finds out how long whatever the parties hold goes on working after an
// old token was shown, and notes it.
func (s *Page) watch(ctx context.Context, v *visitor, a party.Reply) error {
	v.mu.Lock()
	end := *v.end
	hold := v.hold
	v.mu.Unlock()
	rows := []trace{{who: end.by, what: "refresh token, generation " + ordinal(hold[end.by].claims.Generation), answer: a.String(), after: end.noticed}}
	var found [sides][]trace
	var work sync.WaitGroup
	for p := range sides {
		if !hold[p].access.None() {
			work.Go(func() { found[p] = s.fade(ctx, v, p, end.shown) })
		}
	}
	work.Wait()
	for _, traces := range found {
		for _, t := range traces {
			end.gone = max(end.gone, t.after)
			rows = append(rows, t)
		}
	}
	other := victim + thief - end.by
	if h := hold[other]; !h.refresh.None() && h.refused == "" {
		b, err := s.present(ctx, other, h.refresh)
		if err != nil {
			return err
		}
		rows = append(rows, trace{who: other, what: "refresh token, generation " + ordinal(h.claims.Generation), answer: b.String(), late: b.OK()})
		v.mu.Lock()
		if !b.OK() {
			v.hold[other].refused = b.String()
		}
		v.note(entry{at: time.Now(), who: other.String(), text: v.called(other) + " renews as well: " + outcome(b) + ".", answer: b.String(), tone: bad})
		v.mu.Unlock()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	end.rows = rows
	v.end = &end
	v.version++
	return nil
}

// fade waits until what a party holds has stopped working, or watchLimit has
// passed, and returns when that was, counted from shown.
func (s *Page) fade(ctx context.Context, v *visitor, p side, shown time.Time) []trace {
	h := v.held(p)
	ctx, cancel := context.WithTimeout(ctx, watchLimit)
	defer cancel()
	traces := make([]trace, 0, 3)
	for _, path := range []string{"/orders", "/me"} {
		traces = append(traces, s.poll(ctx, p, path, h.access, shown))
	}
	if h.stream == nil {
		return traces
	}
	t := trace{who: p, what: "open stream", answer: "still open", late: true}
	select {
	case <-h.stream.over:
		v.mu.Lock()
		t.answer, t.after, t.late = "ended: "+h.stream.reason, h.stream.ended.Sub(shown), false
		v.mu.Unlock()
	case <-ctx.Done():
		t.after = time.Since(shown)
	}
	return append(traces, t)
}

// poll calls a path of the API until it refuses the token.
func (s *Page) poll(ctx context.Context, p side, path string, access party.Bearer, shown time.Time) trace {
	t := trace{who: p, what: "access token at " + path, answer: "no answer", late: true}
	again := time.NewTicker(pollEvery)
	defer again.Stop()
	for {
		status, code, err := s.hands[p].Call(ctx, s.URL+path, access)
		t.after = time.Since(shown)
		if err == nil {
			t.answer = party.Reply{Status: status, Code: code}.String()
		}
		if err == nil && status == http.StatusUnauthorized {
			t.late = false
			return t
		}
		select {
		case <-ctx.Done():
			return t
		case <-again.C:
		}
	}
}

func outcome(r party.Reply) string {
	if r.OK() {
		return "that still works"
	}
	return "refused"
}
