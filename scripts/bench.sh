#!/usr/bin/env bash
# bench.sh runs the benchmarks that the README quotes and prints what they
# measured, with what is to know of the machine. BENCHTIME is for each, COUNT how
# often.
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
go test -run '^$' -bench . -benchtime "$BENCHTIME" -count "$COUNT" -timeout 60m ./guard
go test -run '^$' -bench . -benchtime "$BENCHTIME" -count "$COUNT" -timeout 60m ./bench
# Each run is a hundred revocations or more: one is enough.
go test -run '^$' -bench . -benchtime 1x -count 1 -timeout 30m ./bench/fanout
