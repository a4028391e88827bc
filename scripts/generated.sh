#!/usr/bin/env bash
# generated.sh check|write TEMPL says whether the Go files that templ makes are
# up to date, or writes them. To check it generates into a copy, so that it
# changes nothing.
set -euo pipefail
mode=$1 templ=$2

# roots lists the packages below which there are templates.
roots() { find internal -name '*.templ' | cut -d/ -f1-2 | sort -u; }

generate() { # in the current folder
	local root
	for root in $(roots); do
		"$templ" generate -path "$root" -log-level error
	done
}

if [ "$mode" = write ]; then
	generate
	exit
fi

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp go.mod "$copy"
find internal -name '*.templ' -exec cp --parents {} "$copy" \;
(cd "$copy" && generate)
stale=0
while read -r made; do
	if ! cmp -s "$made" "$copy/$made"; then
		echo "$made is out of date" >&2
		stale=1
	fi
done < <({ find internal -name '*_templ.go'; (cd "$copy" && find internal -name '*_templ.go'); } | sort -u)
if [ $stale -ne 0 ]; then
	echo 'run "make generate"' >&2
	exit 1
fi
