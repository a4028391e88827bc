package revoke_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/reach"
	"github.com/fastbind/fastbind/internal/revoke"
)

// A feedPage is what the feed answers to those who ask for pages.
type feedPage struct {
	status  int
	Entries []struct{ Seq int64 }
	More    bool
	Reset   bool
	Seq     int64
	size    int
}

func (w *feedWorld) page(t *testing.T, after int64) (p feedPage) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("%s?after=%d", revoke.FeedPath, after), nil)
	r.SetBasicAuth("api", w.secret.Reveal())
	rec := httptest.NewRecorder()
	w.feed.ServeHTTP(rec, r)
	p.status, p.size = rec.Code, rec.Body.Len()
	if p.status == http.StatusOK {
		if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// runClock lets the clock of the node go by itself.
func (w *feedWorld) runClock() {
	from, began := w.time(), time.Now()
	w.core.Now = func() time.Time { return from.Add(time.Millisecond + time.Since(began)) }
}

// TestFeedPagesAreBounded: a long feed comes in pages of bounded size, and none
// of it is left out.
func TestFeedPagesAreBounded(t *testing.T) {
	t.Parallel()
	const many, most = 2_500, 256 << 10
	w := newFeedWorld()
	w.log.write(many, w.time().Add(time.Hour))
	w.pass(t, 0)
	var got int64
	for pages := 0; ; pages++ {
		p := w.page(t, got)
		if p.status != http.StatusOK || p.size > most || p.Seq != many {
			t.Fatalf("page after %d: status %d, %d bytes, seq %d", got, p.status, p.size, p.Seq)
		}
		for _, e := range p.Entries {
			if e.Seq != got+1 {
				t.Fatalf("after %d came %d", got, e.Seq)
			}
			got = e.Seq
		}
		if !p.More {
			break
		}
		if pages > 10 {
			t.Fatal("there is no end")
		}
	}
	if got != many {
		t.Errorf("%d entries, want %d", got, many)
	}
}

// TestFeedAheadOfThisNode: a verifier that comes from another node may know more
// than this one has read yet. That is no lost history: nothing is told again.
func TestFeedAheadOfThisNode(t *testing.T) {
	t.Parallel()
	w := newFeedWorld()
	w.log.write(10, w.time().Add(time.Hour))
	w.pass(t, 0)
	w.log.write(5, w.time().Add(time.Hour)) // another node has told of these
	w.runClock()
	var work sync.WaitGroup
	t.Cleanup(work.Wait)
	work.Go(func() {
		if err := w.core.Run(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if p := w.page(t, 15); p.status != http.StatusOK || p.Reset || len(p.Entries) != 0 || p.Seq != 15 {
		t.Errorf("page after 15: %+v", p)
	}
	if p := w.page(t, 16); p.status != http.StatusOK || !p.Reset || len(p.Entries) != 15 {
		t.Errorf("page after a number that there never was: %+v", p)
	}
}

// TestFeedThatIsNotReadSaysSo: a node that cannot read what a verifier knows
// already says that it does not know, and not that history was lost.
func TestFeedThatIsNotReadSaysSo(t *testing.T) {
	t.Parallel()
	w := newFeedWorld()
	w.log.write(10, w.time().Add(time.Hour))
	w.pass(t, 0)
	w.runClock()
	if p := w.page(t, 11); p.status != http.StatusServiceUnavailable {
		t.Errorf("status %d, want 503", p.status)
	}
}

// TestFeedIsSharedByAllReaders: what a reader costs does not depend on how many
// entries there are, nor what an entry costs on how many read.
func TestFeedIsSharedByAllReaders(t *testing.T) {
	const entries, readers = 20_000, 50
	w := newFeedWorld()
	w.log.write(entries, w.time().Add(time.Hour))
	before := heap()
	w.pass(t, 0)
	held := heap()
	if each := (held - before) / entries; each > 300 {
		t.Errorf("%d bytes for each entry", each)
	}
	for range readers {
		r := newReader(t)
		ended := w.open(t, r)
		for range 1_500 { // stands still within the second part of the snapshot
			if kind, _ := r.next(ended); kind != "entry" {
				t.Fatalf("%s in the snapshot", kind)
			}
		}
	}
	after := heap()
	if each := (after - held) / readers; each > 100<<10 {
		t.Errorf("%d bytes for each reader", each)
	}
	t.Logf("%d bytes for each entry, %d for each reader", (held-before)/entries, (after-held)/readers)
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestFeedDropsWhoDoesNotRead: a verifier that takes nothing more holds nobody
// up, is dropped, and gets what it missed when it comes back.
func TestFeedDropsWhoDoesNotRead(t *testing.T) {
	t.Parallel()
	w := newFeedWorld()
	w.feed.Readers = &reach.Readers{}
	w.log.write(100_000, w.time().Add(time.Hour)) // more than buffers hold
	w.pass(t, 0)
	server := httptest.NewServer(w.feed)
	t.Cleanup(server.Close)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+revoke.FeedPath, nil)
	r.Header.Set("Accept", "text/event-stream")
	r.SetBasicAuth("api", w.secret.Reveal())
	if err := r.Write(conn); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(15 * time.Second); ; {
		if n, dropped := w.feed.Readers.Count(); n == 0 && dropped == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("not dropped within 15 s")
		}
		<-time.After(50 * time.Millisecond)
	}
	if p := w.page(t, 99_990); len(p.Entries) != 10 {
		t.Errorf("%d entries after its return, want 10", len(p.Entries))
	}
}

// TestFeedResumesAfterNumbersThatAreGone: a number older than all that is kept
// gets everything that is of use.
func TestFeedResumesAfterNumbersThatAreGone(t *testing.T) {
	t.Parallel()
	w := newFeedWorld()
	w.log.write(40, w.time().Add(10*time.Second))
	w.log.write(20, w.time().Add(time.Hour))
	w.pass(t, 0)
	w.pass(t, time.Minute)
	w.log.write(1, w.time().Add(time.Hour))
	w.pass(t, 0)
	p := w.page(t, 7)
	var got []string
	for _, e := range p.Entries {
		got = append(got, fmt.Sprint(e.Seq))
	}
	if len(got) != 21 || got[0] != "41" || got[20] != "61" {
		t.Errorf("after 7 came %s, want 41 to 61", strings.Join(got, " "))
	}
}

// TestFeedWakesNobodyForNothing: between two heartbeats streams wake for entries
// only, however often the feed is read.
func TestFeedWakesNobodyForNothing(t *testing.T) {
	t.Parallel()
	w := newFeedWorld()
	w.pass(t, 0)
	r := newReader(t)
	ended := w.open(t, r)
	if kind, _ := r.next(ended); kind != "complete" {
		t.Fatalf("first came %s", kind)
	}
	for range 4 {
		w.pass(t, 100*time.Millisecond)
		select {
		case e := <-r.events:
			t.Fatalf("within a heartbeat came %q", e)
		case <-time.After(20 * time.Millisecond):
		}
	}
	w.pass(t, 600*time.Millisecond)
	want := fmt.Sprintf(`"time":%d`, w.time().UnixMilli())
	if e := <-r.events; !strings.Contains(e, want) {
		t.Errorf("at the heartbeat came %q, want %s", e, want)
	}
}
