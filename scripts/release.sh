#!/usr/bin/env bash
# Static Linux binaries of a release and their checksums, in dist/.
#
#   ./scripts/release.sh v1.2.3
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1:?the version, such as v1.2.3}
rm -rf dist
mkdir dist
for target in amd64 arm64 arm:7; do
	arch=${target%:*} arm=''
	[ "$arch" = "$target" ] || arm=${target#*:}
	out="dist/openway-linux-$arch${arm:+v$arm}"
	echo "$out"
	CGO_ENABLED=0 GOOS=linux GOARCH=$arch GOARM=$arm \
		go build -trimpath -ldflags "-s -w -X main.version=$version" -o "$out" ./cmd/openway
done
cd dist
sha256sum openway-* >SHA256SUMS
sha256sum --check --quiet SHA256SUMS
