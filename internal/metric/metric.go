// Package metric counts what the server does, in the form of Prometheus.
//
// It owns the names and the labels; what happens it is told by functions, so
// that no other package knows of it. The invariant: no secret, no name of a
// person and nothing that a request can choose is ever a label.
package metric

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/refresh"
)

// Sources are asked when somebody looks. All are required.
type Sources struct {
	// FeedAge returns how old the view of the revocation feed is; false: there
	// never was one.
	FeedAge func() (time.Duration, bool)
	// Guards returns how many verifiers are connected, and how many were
	// dropped because they read too slowly.
	Guards func() (connected int, dropped int64)
	// SweepLag returns for how long cleaning up has not come to its end.
	SweepLag func() time.Duration
	// KeyAges returns how old the signing keys are, by algorithm.
	KeyAges func() map[string]time.Duration
}

// other is the label of what this package does not know.
const other = "other"

// A Set is all metrics of a server. It is safe for concurrent use.
type Set struct {
	registry *prometheus.Registry

	refreshes   counters // by answer
	refusals    counters // of refresh tokens, by cause
	proofs      counters // refused, by cause
	events      counters // by kind
	alarms      counters // by kind
	sessions    counters // ended, by reason
	families    counters // ended, by reason
	propagation prometheus.Histogram
	refreshed   prometheus.Histogram // requests in a batch
	committed   prometheus.Histogram // transactions in a commit of SQLite
	faults      prometheus.Counter

	requests  *prometheus.CounterVec   // by route and class of status
	durations *prometheus.HistogramVec // by route
	routes    sync.Map                 // pattern -> *route
}

// A route is the metrics of one route.
type route struct {
	classes [6]prometheus.Counter // by the first digit of the status
	took    prometheus.Observer
}

// counters are resolved children of one vector.
type counters map[string]prometheus.Counter

func (c counters) inc(value string) {
	child, ok := c[value]
	if !ok {
		child = c[other]
	}
	child.Inc()
}

// New returns a set in which nothing has happened.
func New(s Sources) *Set {
	m := &Set{registry: prometheus.NewRegistry()}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.refreshes = m.counters("refreshes_total", "Refresh tokens that were shown, by what they meant.", "verdict", answers()...)
	m.refusals = m.counters("refresh_refusals_total", "Refresh tokens that were refused, by cause.", "cause", causes()...)
	m.proofs = m.counters("dpop_refusals_total", "Proofs of possession that were refused, by cause; nonce is the usual first answer.", "cause", flaws()...)
	m.events = m.counters("events_total", "Security events, by kind.", "kind", words(audit.Kinds()...)...)
	m.alarms = m.counters("alarms_total", "Signs of a stolen refresh token or code, by kind.", "kind", alarms()...)
	ended := m.vector("logouts_total", "Sessions and families that ended, by reason: why was I logged out?", "what", "reason")
	m.sessions, m.families = children(ended, reasons(), "session"), children(ended, reasons(), "family")
	m.propagation = m.histogram("revocation_propagation_seconds",
		"From the decision to revoke until the entry was written to the last connected verifier.",
		0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
	m.refreshed = m.histogram("refresh_batch_size", "Refreshes that shared a load and a write.", powers()...)
	m.committed = m.histogram("commit_batch_size", "Transactions that shared a commit of SQLite.", powers()...)
	m.faults = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: namespace, Name: "store_faults_total", Help: "Statements and transactions that the database failed.",
	})
	m.requests = m.vector("http_requests_total", "Requests that were answered, by route and class of status.", "route", "class")
	m.durations = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: "http_request_seconds", Help: "Time until a request was answered, event streams left out.",
		Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10},
	}, []string{"route"})
	m.registry.MustRegister(m.faults, m.durations, &asked{s})
	return m
}

const namespace = "fastbind"

func (m *Set) vector(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	m.registry.MustRegister(v)
	return v
}

func (m *Set) counters(name, help, label string, values ...string) counters {
	return children(m.vector(name, help, label), values)
}

// children resolves the child of each value, and of those that are not known.
// The value is the last of the labels.
func children(v *prometheus.CounterVec, values []string, labels ...string) counters {
	c := make(counters, len(values)+1)
	for _, value := range append(values, other) {
		c[value] = v.WithLabelValues(append(labels[:len(labels):len(labels)], value)...)
	}
	return c
}

func (m *Set) histogram(name, help string, buckets ...float64) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets})
	m.registry.MustRegister(h)
	return h
}

func powers() []float64 { return prometheus.ExponentialBuckets(1, 2, 10) }

// Handler answers a scrape.
func (m *Set) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// Refreshed counts what a refresh token meant.
func (m *Set) Refreshed(v refresh.Verdict) {
	answer := answerOf(v.Answer)
	m.refreshes.inc(answer)
	if answer == refused {
		m.refusals.inc(string(v.Why))
	}
}

// ProofRefused counts a proof of possession with the flaw err.
func (m *Set) ProofRefused(err error) { m.proofs.inc(flawOf(err)) }

// Batch counts how many refreshes shared a load and a write.
func (m *Set) Batch(n int) { m.refreshed.Observe(float64(n)) }

// Commit counts how many transactions shared a commit.
func (m *Set) Commit(n int) { m.committed.Observe(float64(n)) }

// Events counts events that are durable.
func (m *Set) Events(all []audit.Event) {
	for _, e := range all {
		m.events.inc(string(e.Kind))
		if _, ok := m.alarms[string(e.Kind)]; ok {
			m.alarms.inc(string(e.Kind))
		}
		switch {
		case e.Kind == audit.SessionEnded:
			m.sessions.inc(string(e.Reason))
		case e.Family != "" && (e.Kind == audit.FamilyEnded || e.Kind == audit.Theft && e.Reason != ""):
			m.families.inc(string(e.Reason))
		}
	}
}

// Propagated counts how long a revocation took to the last connected verifier.
func (m *Set) Propagated(d time.Duration) { m.propagation.Observe(d.Seconds()) }

// Fault counts something that the database failed.
func (m *Set) Fault() { m.faults.Inc() }

// Request counts an answered request. The pattern is that of the route, never
// the path; took 0 or less: how long it took means nothing.
func (m *Set) Request(pattern string, status int, took time.Duration) {
	v, ok := m.routes.Load(pattern)
	if !ok {
		v, _ = m.routes.LoadOrStore(pattern, m.route(pattern))
	}
	r, ok := v.(*route)
	if !ok {
		return // there is nothing else in it
	}
	class := status / 100
	if class < 1 || class >= len(r.classes) {
		class = 0 // nothing was answered
	}
	r.classes[class].Inc()
	if took > 0 {
		r.took.Observe(took.Seconds())
	}
}

func (m *Set) route(pattern string) *route {
	name := pattern
	if name == "" {
		name = other
	}
	r := &route{took: m.durations.WithLabelValues(name)}
	for i := range r.classes {
		class := "none"
		if i > 0 {
			class = strconv.Itoa(i) + "xx"
		}
		r.classes[i] = m.requests.WithLabelValues(name, class)
	}
	return r
}
