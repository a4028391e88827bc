#!/usr/bin/env bash
# bench.sh runs the benchmarks that the README quotes and prints what they
# measured, with what is to know of the machine. BENCHTIME is for each, COUNT how
# often, REFRESHES how many the longest makes.
set -euo pipefail
cd "$(dirname "$0")/.."
export FASTBIND_TEST_POSTGRES=1

postgres() {
	local newest=initdb
	command -v initdb >/dev/null || newest=$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -V | tail -1)
	"$newest" --version | awk '{ print $3 }'
}

echo "date: $(date -u +%F)"
echo "go: $(go env GOVERSION)"
echo "postgresql: $(postgres)"
measure() {
	go test -run '^$' -timeout 60m "$@"
}

measure -bench . -benchtime "$BENCHTIME" -count "$COUNT" ./guard
measure -bench . -skip '^Benchmark(Rows|Pool)' -benchtime "$BENCHTIME" -count "$COUNT" ./bench
# Of these one run is long enough.
measure -bench '^BenchmarkRows$/PostgreSQL' -benchtime 1x ./bench -refreshes "$REFRESHES"
measure -bench '^BenchmarkPool$' -benchtime 1x ./bench -refreshes "$REFRESHES"
measure -bench . -benchtime 1x ./bench/fanout
