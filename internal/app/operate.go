package app

import (
	"context"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/metric"
	"github.com/fastbind/fastbind/internal/reach"
	"github.com/fastbind/fastbind/internal/revoke"
	"github.com/fastbind/fastbind/internal/sqlstore"
	"github.com/fastbind/fastbind/internal/trail"
)

// An insight is what an operator sees of a node.
type insight struct {
	readers reach.Readers // of the revocation feed
	metrics *metric.Set
	trail   *trail.Trail // nil: no audit log is written
	swept   atomic.Int64 // when cleaning up last came to its end, in unix nanoseconds
}

// Values of [Config].AuditLog that are not the name of a file.
const (
	auditOff    = "off"
	auditStderr = "stderr"
)

// look prepares what an operator sees; the database may not be open yet.
func (a *App) look(stderr io.Writer) {
	s := &a.insight
	s.metrics = metric.New(metric.Sources{
		FeedAge: func() (time.Duration, bool) { return a.Revoke.Age() },
		Guards:  s.readers.Count,
		SweepLag: func() time.Duration {
			return max(0, a.now().Sub(time.Unix(0, s.swept.Load())))
		},
		KeyAges: func() map[string]time.Duration { return a.Keys.Ages() },
	})
	s.readers.Reached, s.readers.Now = s.metrics.Propagated, a.now
	s.swept.Store(a.now().UnixNano())
	if to := a.Config.AuditLog; to != "" && to != auditOff {
		s.trail = &trail.Trail{
			File: to, Log: a.log.With("component", "trail"),
			Events: func(ctx context.Context, after int64, limit int) ([]audit.Event, error) {
				return a.DB.EventsAfter(ctx, after, limit)
			},
		}
		if to == auditStderr {
			s.trail.File, s.trail.Out = "", stderr
			if stderr == nil {
				s.trail.Out = os.Stderr
			}
		}
	}
}

// watch returns what the database is to tell.
func (a *App) watch() sqlstore.Watch {
	return sqlstore.Watch{
		Committed: func(events []audit.Event) {
			a.insight.metrics.Events(events)
			if a.insight.trail != nil {
				a.insight.trail.Add(events)
			}
		},
		Fault: a.insight.metrics.Fault,
		Batch: a.insight.metrics.Commit,
	}
}

// openTrail opens the audit log, once the database is open.
func (a *App) openTrail(ctx context.Context) error {
	if a.insight.trail == nil {
		return nil
	}
	return a.insight.trail.Open(ctx)
}

// closeTime is for how long the rest of the audit log may be written.
const closeTime = 5 * time.Second

func (a *App) closeTrail() error {
	if a.insight.trail == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	return a.insight.trail.Close(ctx)
}

// request counts an answered request. How long an event stream lasted says
// nothing.
func (a *App) request(pattern string, status int, took time.Duration) {
	if pattern == revoke.FeedPath {
		took = 0
	}
	a.insight.metrics.Request(pattern, status, took)
}

// Operator returns the handler of what only operators may see: /metrics, for
// Prometheus, and /connected, who reads the revocation feed. It asks nobody who
// they are: serve it where the public cannot reach it.
func (a *App) Operator() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.insight.metrics.Handler())
	mux.Handle("GET /connected", &a.insight.readers)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		io.WriteString(w, "/metrics\n/connected\n")
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	})
}
