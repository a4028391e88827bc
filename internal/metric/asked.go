package metric

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fastbind/fastbind/dpop"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/refresh"
)

// asked collects what is asked for when somebody looks.
type asked struct{ s Sources }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

type descriptions struct{ feedAge, guards, dropped, sweepLag, keyAge *prometheus.Desc }

func described() descriptions {
	return descriptions{
		feedAge:  desc("revocation_feed_age_seconds", "How old this node's view of the revocation feed is."),
		guards:   desc("guards_connected", "Verifiers that read the revocation feed at this node."),
		dropped:  desc("guards_dropped_total", "Verifiers that were dropped because they read too slowly."),
		sweepLag: desc("cleanup_lag_seconds", "For how long cleaning up has not come to its end."),
		keyAge:   desc("signing_key_age_seconds", "How old the key is that signs.", "alg"),
	}
}

// Describe names what there is.
func (a *asked) Describe(to chan<- *prometheus.Desc) {
	d := described()
	for _, d := range []*prometheus.Desc{d.feedAge, d.guards, d.dropped, d.sweepLag, d.keyAge} {
		to <- d
	}
}

// Collect asks.
func (a *asked) Collect(to chan<- prometheus.Metric) {
	d := described()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	if age, ok := a.s.FeedAge(); ok {
		gauge(d.feedAge, age.Seconds())
	}
	connected, dropped := a.s.Guards()
	gauge(d.guards, float64(connected))
	to <- prometheus.MustNewConstMetric(d.dropped, prometheus.CounterValue, float64(dropped))
	gauge(d.sweepLag, a.s.SweepLag().Seconds())
	for alg, age := range a.s.KeyAges() {
		gauge(d.keyAge, age.Seconds(), alg)
	}
}

const refused = "refused"

func answerOf(a refresh.Answer) string {
	switch a {
	case refresh.Refused:
		return refused
	case refresh.Rotated:
		return "rotated"
	case refresh.Repeated:
		return "repeated"
	case refresh.Kept:
		return "kept"
	}
	return other
}

func answers() []string {
	all := []refresh.Answer{refresh.Refused, refresh.Rotated, refresh.Repeated, refresh.Kept}
	names := make([]string, len(all))
	for i, a := range all {
		names[i] = answerOf(a)
	}
	return names
}

// causes are why refresh tokens are refused. A family that has ended is refused
// with the reason for which it did.
func causes() []string {
	return append(words(
		refresh.Unknown, refresh.WrongClient, refresh.WrongKey, refresh.WrongScope, refresh.WrongTarget,
		refresh.Replayed, refresh.MissingProof, refresh.Unbound,
	), reasons()...)
}

// A flaw is what can be wrong with a proof of possession.
type flaw struct {
	err  error
	word string
}

func allFlaws() []flaw {
	return []flaw{
		{dpop.ErrNone, "none"},
		{dpop.ErrSeveral, "several"},
		{dpop.ErrMalformed, "malformed"},
		{dpop.ErrType, "type"},
		{dpop.ErrAlgorithm, "algorithm"},
		{dpop.ErrKey, "key"},
		{dpop.ErrSignature, "signature"},
		{dpop.ErrID, "id"},
		{dpop.ErrMethod, "method"},
		{dpop.ErrURL, "url"},
		{dpop.ErrToken, "token"},
		{dpop.ErrNonce, "nonce"},
		{dpop.ErrTime, "time"},
		{dpop.ErrReplayed, "replayed"},
	}
}

func flawOf(err error) string {
	for _, f := range allFlaws() {
		if errors.Is(err, f.err) {
			return f.word
		}
	}
	return other
}

func flaws() []string {
	var words []string
	for _, f := range allFlaws() {
		words = append(words, f.word)
	}
	return words
}

func alarms() []string { return words(audit.Theft, audit.ForeignKey, audit.Replay) }

func reasons() []string {
	return words(
		audit.Logout, audit.RPLogout, audit.BackchannelLogout, audit.RevokedByUser, audit.RevokedByAdmin,
		audit.RevokedByClient, audit.TokenTheft, audit.SessionReplaced, audit.IdleTimeout, audit.AbsoluteTimeout,
		audit.PasswordChanged, audit.FactorReset, audit.UserDisabled, audit.UserDeleted, audit.ClientDisabled,
		audit.KeyRevoked, audit.Epoch,
	)
}

func words[T ~string](all ...T) []string {
	out := make([]string, len(all))
	for i, v := range all {
		out[i] = string(v)
	}
	return out
}
