#!/usr/bin/env bash
# vulnerable.sh GOVULNCHECK looks for known vulnerabilities in what the server
# links. Where their database cannot be reached it says so and succeeds.
set -euo pipefail
report=$(mktemp)
trap 'rm -f "$report"' EXIT
status=0
timeout 300 "$1" ./... >"$report" 2>&1 || status=$?
if [ $status -ne 0 ] && ! grep -q '^Vulnerability #' "$report" &&
	grep -qiE 'fetching vulnerabilities|dial tcp|no such host|connection refused|proxyconnect|i/o timeout|unexpected status|Forbidden' "$report"; then
	echo 'vulnerable.sh: the vulnerability database cannot be reached from here: nothing was checked'
	exit 0
fi
cat "$report"
exit $status
