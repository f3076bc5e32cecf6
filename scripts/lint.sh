#!/usr/bin/env bash
# Format, vet and staticcheck, with the tools pinned in go.mod, and whether it builds where no tests run. Prints what to mend; exits 1 if there is anything.
set -euo pipefail
cd "$(dirname "$0")/.."

go mod verify >/dev/null
unformatted=$(git ls-files -co --exclude-standard '*.go' | xargs go tool gofumpt -l)
if [ -n "$unformatted" ]; then
	printf 'not formatted (make format mends it):\n%s\n' "$unformatted" >&2
	exit 1
fi
if ! go mod tidy -diff; then
	echo 'go.mod or go.sum is not tidy: run go mod tidy' >&2
	exit 1
fi
# The authority that the tests of ACME run has a module of its own, so that ours does not depend on it.
(cd cmd/openway/testdata/pebble && go mod verify >/dev/null && go mod tidy -diff)
go vet ./...
go tool staticcheck ./...
GOOS=darwin go build ./...
