#!/usr/bin/env bash
# Format, vet and staticcheck, scripts and workflows, with the tools pinned in go.mod, and whether it builds where no tests run. Prints what to
# mend; exits 1 if there is anything. shellcheck is Debian's; as root it is installed when missing.
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
go vet -tags drill ./internal/drill
go tool staticcheck -tags drill ./...
GOOS=darwin go build ./...

if ! command -v shellcheck >/dev/null; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		export DEBIAN_FRONTEND=noninteractive
		apt-get install -y -qq --no-install-recommends shellcheck >&2 ||
			{ apt-get update -qq >&2 && apt-get install -y -qq --no-install-recommends shellcheck >&2; }
	else
		echo 'lint.sh: no shellcheck: install it (Debian: apt-get install shellcheck)' >&2
		exit 1
	fi
fi
mapfile -t scripts < <(git ls-files -co --exclude-standard '*.sh' .ci/run)
shellcheck "${scripts[@]}"
go tool actionlint
