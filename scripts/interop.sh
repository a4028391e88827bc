#!/usr/bin/env bash
# interop.sh runs the tests with other people's clients and a browser. They
# are a module of their own, so that what they need stays out of ours.
set -euo pipefail
cd "$(dirname "$0")/../interop"
FASTBIND_TEST_POSTGRES=1 go test -timeout 20m ./...
