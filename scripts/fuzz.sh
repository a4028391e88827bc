#!/usr/bin/env bash
# fuzz.sh TIME runs every fuzz target of the module for TIME.
set -euo pipefail
grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sort | while IFS=: read -r file func; do
	case $file in ./interop/* | ./.cache/*) continue ;; esac
	echo "== $(dirname "$file") ${func#func }"
	go test "$(dirname "$file")" -run '^$' -fuzz "^${func#func }\$" -fuzztime "$1" </dev/null
done
