package listen_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fastbind/fastbind/internal/listen"
)

// pipes is a listener inside the process, so that time can be a bubble's.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func newPipes() *pipes { return &pipes{accepted: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accepted:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

func (p *pipes) dial(t *testing.T) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	select {
	case p.accepted <- server:
	case <-p.closed:
		t.Fatal("nobody accepts any more")
	}
	return client
}

// journal is what happened, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) index(line string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Index(j.lines, line)
}

// start runs a server until stop is called, which returns its error.
func start(t *testing.T, ln net.Listener, h http.Handler, drain func(), jobs ...func(context.Context) error) (stop func() error) {
	t.Helper()
	s := &listen.Server{
		Sites: []listen.Site{{Listener: ln, Handler: h, Drain: drain}},
		Jobs:  jobs,
		Log:   slog.New(slog.DiscardHandler),
	}
	ctx, cancel := context.WithCancel(t.Context())
	started, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.Run(ctx, func() error { close(started); return nil }) }()
	select {
	case <-started:
	case err := <-done:
		t.Fatalf("run: %v", err)
	}
	return func() error { cancel(); return <-done }
}

// TestN112SlowConnections lets headers and bodies never arrive. Both are cut
// off; a stream that has no body to wait for is not.
func TestN112SlowConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ln, streams := newPipes(), make(chan struct{})
		mux := http.NewServeMux()
		bodies := make(chan error, 1)
		mux.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
			_, err := io.ReadAll(r.Body)
			bodies <- err
		})
		mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
			for n := range 60 {
				fmt.Fprintf(w, "data: %d\n\n", n)
				http.NewResponseController(w).Flush()
				if n == 59 {
					return
				}
				select {
				case <-r.Context().Done():
					t.Errorf("the stream was cut after %d minutes", n)
					return
				case <-streams:
					return
				case <-time.After(time.Minute):
				}
			}
		})
		stop := start(t, ln, mux, func() { close(streams) })

		begun := time.Now()
		c := ln.dial(t)
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nX-Never: ")
		if _, err := io.ReadAll(c); err != nil {
			t.Errorf("read: %v", err)
		}
		if d := time.Since(begun); d != 10*time.Second {
			t.Errorf("slow headers were cut after %s, want 10s", d)
		}

		begun = time.Now()
		c = ln.dial(t)
		io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nnever")
		if err := <-bodies; err == nil {
			t.Error("a body that did not arrive was read")
		}
		if d := time.Since(begun); d != 30*time.Second {
			t.Errorf("a slow body was cut after %s, want 30s", d)
		}
		c.Close()

		c = ln.dial(t)
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		last := ""
		for lines := bufio.NewScanner(c); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "data: ") {
				last = lines.Text()
			}
			if last == "data: 59" {
				break
			}
		}
		if last != "data: 59" {
			t.Errorf("the last line of the stream is %q", last)
		}
		c.Close()
		if err := stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
}

// TestOrderOfShutdown stops a server while a request and a stream are under way.
func TestOrderOfShutdown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var j journal
		ln, drained := newPipes(), make(chan struct{})
		mux := http.NewServeMux()
		mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(5 * time.Second)
			if err := r.Context().Err(); err != nil {
				t.Errorf("the request was cut: %v", err)
			}
			j.add("answered")
			io.WriteString(w, "done")
		})
		mux.HandleFunc("GET /stream", func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).Flush()
			<-drained
			j.add("stream ended")
		})
		stop := start(t, ln, mux, func() { j.add("drained"); close(drained) }, func(ctx context.Context) error {
			<-ctx.Done()
			j.add("work ended")
			return nil
		})
		answers := make(chan string, 2)
		for _, path := range []string{"/slow", "/stream"} {
			c := ln.dial(t)
			go func() {
				io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
				b, _ := io.ReadAll(c)
				answers <- string(b)
			}()
		}
		synctest.Wait()
		if err := stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		for range 2 {
			if a := <-answers; !strings.HasPrefix(a, "HTTP/1.1 200 OK\r\n") {
				t.Errorf("answer %q", a)
			}
		}
		if j.index("drained") > j.index("answered") || j.index("answered") > j.index("work ended") || j.index("stream ended") > j.index("work ended") {
			t.Errorf("in the wrong order: %q", j.lines)
		}
		select {
		case <-ln.closed:
		default:
			t.Error("the listener is still open")
		}
	})
}

// TestStuckRequest stops a server of which one request never ends.
func TestStuckRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ln := newPipes()
		stop := start(t, ln, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), func() {})
		c := ln.dial(t)
		go io.Copy(io.Discard, c)
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		synctest.Wait()
		begun := time.Now()
		if err := stop(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stop: %v, want a deadline", err)
		}
		if d := time.Since(begun); d != 15*time.Second {
			t.Errorf("stopped after %s, want 15s", d)
		}
	})
}

// TestFailingWork ends everything when a part of it fails.
func TestFailingWork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		s := &listen.Server{
			Sites: []listen.Site{{Listener: newPipes(), Handler: http.NotFoundHandler(), Drain: func() {}}},
			Jobs: []func(context.Context) error{
				func(context.Context) error { time.Sleep(time.Minute); return broken },
				func(ctx context.Context) error { <-ctx.Done(); return nil },
			},
			Log: slog.New(slog.DiscardHandler),
		}
		if err := s.Run(t.Context(), func() error { return nil }); !errors.Is(err, broken) {
			t.Errorf("run: %v, want %v", err, broken)
		}
	})
}

// TestNotReady ends a server whose preparation fails or is interrupted.
func TestNotReady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		for name, wait := range map[string]func(context.Context) error{
			"broken":      func(context.Context) error { return broken },
			"interrupted": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		} {
			s := &listen.Server{
				Sites: []listen.Site{{Listener: newPipes(), Handler: http.NotFoundHandler(), Drain: func() {}}},
				Wait:  wait,
				Log:   slog.New(slog.DiscardHandler),
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			err := s.Run(ctx, func() error { t.Errorf("%s: called ready", name); return nil })
			cancel()
			if want := map[string]error{"broken": broken}[name]; !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
		}
	})
}
