#!/usr/bin/env bash
# Runs every test with the race detector, on SQLite and on a real PostgreSQL.
#
#   ./scripts/test.sh                 all packages, and how much of the code they ran (scripts/coverage.sh)
#   ./scripts/test.sh ./internal/...  some of them; any other arguments go to `go test` as they are
#
# PostgreSQL's server programs come from this machine, else (on Debian, as root) from Debian's packages. A private server is started on a free port and
# removed at the end, unless OPENWAY_TEST_POSTGRES names one (the URL of a superuser) for most tests.
# Without PostgreSQL nothing is skipped: the run fails. So it is with Chromium, which looks at the admin pages (OPENWAY_SCREENS=1 draws them to
# reports/screens/), and with axe-core, which judges how accessible they are: npm fetches it once; it is checked, and kept.
set -euo pipefail
cd "$(dirname "$0")/.."

die() { printf 'test.sh: %s\n' "$*" >&2; exit 1; }

command -v go >/dev/null || die "Go is not here: install Go $(sed -n 's/^go //p' go.mod) or newer from https://go.dev/dl and put it on PATH"

# install PACKAGE...: what is missing, from Debian. The package lists are fetched only if the first try fails.
install() {
	[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
	printf 'test.sh: installing %s\n' "$*" >&2
	# No cluster of Debian's own: only the binaries are wanted.
	mkdir -p /etc/postgresql-common
	[ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
	# Nor any service that begins to run: policy-rc.d(8) says so while the packages are set up.
	local policy=/usr/sbin/policy-rc.d ours='' status=0
	if [ ! -e $policy ]; then
		ours=yes
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod 755 $policy
	fi
	export DEBIAN_FRONTEND=noninteractive
	if ! apt-get install -y -qq --no-install-recommends "$@" >&2; then
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"; } >&2 || status=1
	fi
	[ -z "$ours" ] || rm $policy
	return $status
}

# The race detector needs a C compiler.
command -v "$(go env CC)" >/dev/null || install gcc libc6-dev ||
	die "no C compiler for the race detector: install gcc (Debian: apt-get install gcc libc6-dev)"

# systemd itself says whether the units are sound.
command -v systemd-analyze >/dev/null || install systemd || die "no systemd-analyze: install systemd"

# The line that the demo prints is pasted, as its reader would.
if ! command -v curl >/dev/null || [ ! -e "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" ]; then
	install curl ca-certificates || die "no curl, or no root certificates: install them (Debian: apt-get install curl ca-certificates)"
fi

# Backups are made by PostgreSQL's own pg_dump, restored by its psql, and read by age. (The server's package brings the client of its version.)
for tool in pg_dump psql; do
	command -v "$tool" >/dev/null || install postgresql-client || die "no $tool: install PostgreSQL's client (Debian: apt-get install postgresql-client)"
done
command -v age-keygen >/dev/null || install age || die "no age: install it (Debian: apt-get install age)"

# What stands in front of the server, what reads its metrics and logs, and what reads our scripts.
wanted=()
for need in /usr/sbin/nginx:nginx promtool:prometheus jq:jq shellcheck:shellcheck /sbin/mkfs.ext4:e2fsprogs; do
	command -v "${need%%:*}" >/dev/null || command -v "$(basename "${need%%:*}")" >/dev/null || wanted+=("${need#*:}")
done
[ ${#wanted[@]} -eq 0 ] || install "${wanted[@]}" || die "these are missing: install ${wanted[*]} (Debian: apt-get install --no-install-recommends ${wanted[*]})"

command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || install chromium ||
	die "no Chromium: install it (Debian: apt-get install chromium)"

# axe-core is used as it is, at test time only: none of it is in the repository or in the binary.
axe_version=4.14.1
axe_sum=29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c
if [ -z "${OPENWAY_TEST_AXE:-}" ]; then
	export OPENWAY_TEST_AXE="${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/openway-test/axe-$axe_version.js"
	if [ ! -e "$OPENWAY_TEST_AXE" ]; then
		mkdir -p "$(dirname "$OPENWAY_TEST_AXE")"
		command -v npm >/dev/null || install npm || die "no npm to fetch axe-core with: install it (Debian: apt-get install npm), or set OPENWAY_TEST_AXE to an axe.min.js"
		packed=$(mktemp -d)
		npm pack --silent --pack-destination "$packed" "axe-core@$axe_version" >/dev/null || die "axe-core $axe_version cannot be fetched: set OPENWAY_TEST_AXE to its axe.min.js"
		tar -xzOf "$packed"/axe-core-*.tgz package/axe.min.js >"$OPENWAY_TEST_AXE.$$"
		rm -rf "$packed"
		mv "$OPENWAY_TEST_AXE.$$" "$OPENWAY_TEST_AXE"
	fi
	echo "$axe_sum  $OPENWAY_TEST_AXE" | sha256sum --check --status || die "$OPENWAY_TEST_AXE is not axe-core $axe_version: delete it"
fi

server_binaries() {
	local dir
	for dir in $(printf '%s\n' /usr/lib/postgresql/*/bin /usr/local/pgsql/bin /opt/homebrew/opt/postgresql*/bin | sort -Vr) \
		"$(command -v pg_config >/dev/null && pg_config --bindir)" "$(dirname "$(command -v initdb || echo /none/x)")"; do
		if [ -x "$dir/initdb" ] && [ -x "$dir/pg_ctl" ]; then
			echo "$dir"
			return
		fi
	done
	return 1
}

state='' fast='' as=()
clean_up() {
	if [ -n "$state" ]; then
		"${as[@]}" "$bin/pg_ctl" -D "$state/data" -m immediate stop >/dev/null 2>&1 ||
			printf 'test.sh: PostgreSQL in %s had stopped already\n' "$state" >&2
		rm -rf "$state"
	fi
	rm -rf "$fast"
}
trap clean_up EXIT

# Databases in memory where there is room: the tests' need not outlive the machine. Long drills measure, on a real disk.
room=$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1) || room=0
if [ "${room:-0}" -gt 3000000 ] && [ -w /dev/shm ] && [ "${OPENWAY_TEST_DRILL:-}" != long ]; then
	export GOTMPDIR="${TMPDIR:-/tmp}"
	fast=$(mktemp -d /dev/shm/openway-test-XXXXXX)
	chmod 711 "$fast"
	export TMPDIR="$fast"
fi

# Drills start servers of their own, whatever OPENWAY_TEST_POSTGRES names.
bin=$(server_binaries) || { install postgresql && bin=$(server_binaries); } ||
	die "no PostgreSQL: install its server (Debian: apt-get install postgresql)"

if [ -z "${OPENWAY_TEST_POSTGRES:-}" ]; then
	state=$(mktemp -d "${TMPDIR:-/tmp}/openway-test-XXXXXX")
	if [ "$(id -u)" = 0 ]; then # initdb refuses to run as root
		as=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
		chown nobody:nogroup "$state"
	fi

	# fsync is off: these servers are killed as processes, never as machines.
	(cd "$state" && "${as[@]}" "$bin/initdb" -D "$state/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$state/initdb.log" 2>&1) ||
		{ cat "$state/initdb.log" >&2; die "initdb failed"; }
	for attempt in 1 2 3 4 5 6 7 8; do
		port=$((15000 + RANDOM % 15000)) # below the range that connections take theirs from
		if (cd "$state" && "${as[@]}" "$bin/pg_ctl" -D "$state/data" -w -t 60 -l "$state/server.log" start \
			-o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories='$state' -c max_connections=400 -c fsync=off -c shared_buffers=128MB" >"$state/pg_ctl.log" 2>&1); then
			break
		fi
		[ "$attempt" -lt 8 ] || { cat "$state/server.log" >&2; die "PostgreSQL does not start"; }
	done
	export OPENWAY_TEST_POSTGRES="postgres://postgres@127.0.0.1:$port/postgres?sslmode=disable"
fi

mkdir -p reports
if [ $# -gt 0 ]; then
	go test -race -timeout 20m "$@" 2>&1 | tee reports/test.txt
else
	# What runs the binary as a process of its own, and would hear from it where its coverage data went, is run apart: it does not count.
	mapfile -t apart < <(go list ./... | grep -E '/(cmd|bench)(/|$)|test$|/(drill|arrows)$')
	mapfile -t counted < <(go list ./... | grep -vE '/(cmd|bench)(/|$)|test$|/(drill|arrows)$')
	status=0
	# A statement counts whoever's tests run it: backups and imports run much of the store.
	go test -race -timeout 20m -covermode atomic -coverpkg "$(IFS=, && echo "${counted[*]}")" -coverprofile reports/coverage.out "${counted[@]}" 2>&1 | tee reports/test.txt || status=$?
	go test -race -timeout 20m "${apart[@]}" 2>&1 | tee -a reports/test.txt || status=$?
	[ "$status" -eq 0 ] || exit "$status"
	./scripts/coverage.sh
fi
