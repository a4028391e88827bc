#!/usr/bin/env bash
# need.sh NAME... finds or installs what the tests need from outside Go:
# gcc (for the race detector), postgresql, chromium, node. It installs with
# apt-get where it runs as root on Debian; elsewhere it says in one line what
# is missing.
set -euo pipefail

has() {
	case $1 in
	gcc) command -v gcc ;;
	postgresql) command -v initdb || ls /usr/lib/postgresql/*/bin/initdb ;;
	chromium) command -v chromium || command -v chromium-browser || command -v google-chrome ;;
	node) command -v node && command -v npm ;;
	*)
		echo "need.sh: unknown requirement: $1" >&2
		exit 2
		;;
	esac >/dev/null 2>&1
}

packages() {
	case $1 in
	gcc) echo gcc libc6-dev ;;
	postgresql) echo postgresql postgresql-client ;;
	chromium) echo chromium ;;
	node) echo nodejs npm ;;
	esac
}

missing=() install=()
for name in "$@"; do
	if ! has "$name"; then
		missing+=("$name")
		read -ra more <<<"$(packages "$name")"
		install+=("${more[@]}")
	fi
done
if [ ${#missing[@]} -eq 0 ]; then
	exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
	echo "need.sh: missing for the tests: ${missing[*]}; install it and try again (Debian: apt-get install ${install[*]})" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >&2
apt-get install -q -y --no-install-recommends "${install[@]}" >&2
for name in "${missing[@]}"; do
	if ! has "$name"; then
		echo "need.sh: $name is still missing after installing ${install[*]}" >&2
		exit 1
	fi
done
