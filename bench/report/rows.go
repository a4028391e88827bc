package main

import "slices"

// A row is something that is measured, and what it has to reach.
type row struct {
	name string
	of   source
	as   string // unit that the figure is shown in; empty: that of the source

	// Floor was measured in the same run: what nobody can do without. Paired is
	// the benchmark's own ratio to it, of turns close together; none: the ratio
	// is made of the two.
	floor     source
	floorName string
	paired    source
	// Peer is what the best of others reached on a machine of the same kind,
	// in another run; 0: no figure.
	peer     float64
	peerName string

	bar bar
	// above says what the time above the floor is spent on, as the profile shows
	// it; empty: nothing to say.
	above string
}

// A source is a benchmark, without "Benchmark", and one of its units.
type source struct{ benchmark, unit string }

// A bar is what a row has to reach: its value, or its ratio to the floor or
// peer. The zero value is none.
type bar struct {
	rule  rule
	limit float64
	ratio bool
}

// A rule says how a value is compared with a limit.
type rule string

const (
	atMost  rule = "≤"
	atLeast rule = "≥"
	exactly rule = "="
)

const (
	swap   = "bare durable compare-and-swap"
	signed = "bare ES256 signature, all processors"
	proved = "bare check of the signature"
)

// rows returns the table: what the promise of speed is made of.
func rows() []row {
	return slices.Concat(guardRows(), revocationRows(), refreshRows(), tokenRows(), processRows())
}

func guardRows() []row {
	all := []row{
		{
			name: "guard: token seen before, 1,000,000 revocations loaded", of: source{"Seen/OneToken", "ns/op"}, as: "ns",
			floor: source{"Seen/Floor", "ns/op"}, floorName: "bare cache, 10,000 tokens in turn", bar: bar{rule: atMost, limit: 300},
			above: "The text of the token is compared, and its key, its end and the state of the revocations are looked at again.",
		},
		{name: "guard: token seen before, allocations", of: source{"Seen/OneToken", "allocs/op"}, bar: bar{rule: exactly}},
	}
	for _, alg := range []string{"ES256", "EdDSA"} {
		all = append(all, row{
			name: "guard: token new, " + alg, of: source{"New/" + alg + "/Token", "ns/op"}, as: "ns",
			floor: source{"New/" + alg + "/Bare", "ns/op"}, floorName: proved,
			paired: source{"New/" + alg + "/Ratio", "x-bare"}, bar: bar{rule: atMost, limit: 1.08, ratio: true},
			above: "Besides the signature the header and the claims are read, strictly, and the token is kept for the next time.",
		})
	}
	return append(all, row{
		name: "guard: bound token seen before, with a new proof (DPoP)", of: source{"Bound", "x-bare"}, as: "× one ES256 check",
		bar: bar{rule: atMost, limit: 1.12},
	})
}

func revocationRows() []row {
	const last = "revocation to the last of 200 guards, p99, "
	return []row{
		{name: last + "one node on SQLite", of: source{"Revocation/OneNode/SQLite", "p99-ms"}, as: "ms", bar: bar{rule: atMost, limit: 100}},
		{name: last + "one node on PostgreSQL", of: source{"Revocation/OneNode/PostgreSQL", "p99-ms"}, as: "ms", bar: bar{rule: atMost, limit: 100}},
		{name: last + "three nodes, two of them failing in turn", of: source{"Revocation/ThreeNodes", "p99-ms"}, as: "ms", bar: bar{rule: atMost, limit: 1000}},
	}
}

func refreshRows() []row {
	const pg, lite = "Refresh/PostgreSQL/64", "Refresh/SQLite/64"
	return []row{
		{
			name: "refresh, PostgreSQL, 64 at once", of: source{pg, "op/s"}, as: "/s",
			floor: source{"BareSwap/PostgreSQL/64", "op/s"}, floorName: swap, paired: source{pg, "x-bare"},
			bar:   bar{rule: atLeast, limit: 0.5, ratio: true},
			above: "A refresh is an HTTP request, two ES256 signatures and the load of the family besides the swap; the swap itself it shares with all refreshes under way.",
		},
		{
			name: "refresh, PostgreSQL, against the fastest other", of: source{pg, "op/s"}, as: "/s",
			peer: 362, peerName: "supabase/auth, tuned", bar: bar{rule: atLeast, limit: 10, ratio: true},
		},
		{
			name: "refresh, processor time of server and PostgreSQL", of: source{pg, "cpu-ms/op"}, as: "ms",
			floor: source{"BareSwap/PostgreSQL/64", "cpu-ms/op"}, floorName: swap + ", with its driver", bar: bar{rule: atMost, limit: 0.35},
		},
		{
			name: "refresh, SQLite, 64 at once", of: source{lite, "op/s"}, as: "/s",
			floor: source{pg, "op/s"}, floorName: "refresh, PostgreSQL", bar: bar{rule: atLeast, limit: 1, ratio: true},
			above: "SQLite, translated to Go, takes more processor time for a refresh than PostgreSQL, which shares a statement between all families of a batch.",
		},
		{name: "refresh, SQLite, 64 at once, p99", of: source{lite, "p99-ms"}, as: "ms", bar: bar{rule: atMost, limit: 50}},
		{name: "refresh, PostgreSQL, write-ahead log", of: source{"Work", "wal-bytes/op"}, as: "bytes", bar: bar{rule: atMost, limit: 400}},
		{name: "refresh, PostgreSQL, rows left behind", of: source{"Work", "rows-left/op"}, as: "rows", bar: bar{rule: exactly}},
		{
			name: "families stored after 1,000,000 refreshes of 1,000, PostgreSQL", of: source{"Rows/PostgreSQL", "families"}, as: "rows",
			bar: bar{rule: exactly, limit: 1000},
		},
		{
			name: "other rows left by these 1,000,000, less those that were cleaned up", of: source{"Rows/PostgreSQL", "rows-left"}, as: "rows",
			bar: bar{rule: atMost}, // fewer than before where the server has cleaned up meanwhile
		},
		{
			name: "dead families after 100,000 refreshes, one connection", of: source{"Pool/1", "dead-families"}, as: "families", bar: bar{rule: exactly},
		},
		{
			name: "dead families after 100,000 refreshes, 60 connections", of: source{"Pool/60", "dead-families"}, as: "families", bar: bar{rule: exactly},
		},
	}
}

func tokenRows() []row {
	const (
		credentials, introspection = "Credentials/PostgreSQL", "Introspection/PostgreSQL/"
		seen, fresh                = introspection + "Seen", introspection + "New"
		answer                     = "bare net/http answer of that size"
	)
	return []row{
		{
			name: "client credentials, 64 at once", of: source{credentials, "op/s"}, as: "/s",
			floor: source{credentials, "floor-op/s"}, floorName: signed, paired: source{credentials, "x-floor"},
			above: "A quarter of the time is the signature; the rest is net/http, system calls and the load driver on the same processors.",
		},
		{
			name: "client credentials, against Ory Hydra", of: source{credentials, "op/s"}, as: "/s",
			peer: 812, peerName: "Ory Hydra, tuned", bar: bar{rule: atLeast, limit: 12, ratio: true},
		},
		{
			name: "client credentials, against node-oidc-provider", of: source{credentials, "op/s"}, as: "/s",
			peer: 2340, peerName: "node-oidc-provider, in memory", bar: bar{rule: atLeast, limit: 4, ratio: true},
		},
		{
			name: "introspection, 64 at once, tokens seen before", of: source{seen, "op/s"}, as: "/s",
			floor: source{seen, "floor-op/s"}, floorName: answer, paired: source{seen, "x-floor"},
			above: "Each answer knows the secret of who asks, and what the database says of the token after the question; many questions share a statement.",
		},
		{
			name: "introspection, 64 at once, tokens never seen", of: source{fresh, "op/s"}, as: "/s",
			floor: source{fresh, "floor-op/s"}, floorName: answer, paired: source{fresh, "x-floor"},
			above: "Besides, the signature of each token is checked, and that its generation was seen in use is written.",
		},
		{
			name: "introspection of tokens seen before, against Ory Hydra", of: source{seen, "op/s"}, as: "/s",
			peer: 823, peerName: "Ory Hydra, tuned", bar: bar{rule: atLeast, limit: 10, ratio: true},
		},
	}
}

func processRows() []row {
	return []row{
		{name: "ready after the start", of: source{"Start/SQLite", "ready-ms"}, as: "ms", bar: bar{rule: atMost, limit: 100}},
		{name: "memory when idle", of: source{"Start/SQLite", "idle-MB"}, as: "MB", bar: bar{rule: atMost, limit: 30}},
		{name: "binary", of: source{"Start/SQLite", "binary-MB"}, as: "MB", bar: bar{rule: atMost, limit: 45}},
	}
}
