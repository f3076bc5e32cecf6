#!/usr/bin/env bash
# The long drills: what the tests do in short, at length, and what needs root or a machine to itself. Prints figures; exits 1 if any drill fails.
#
#   ./scripts/drill.sh             all of them, one after the other: about two hours
#   ./scripts/drill.sh NAME...     some of them
#   ./scripts/drill.sh --list      their names, and what they do
#
# PostgreSQL comes as it does for ./scripts/test.sh: with the servers' programs on this machine, else from Debian's packages (as root). Each
# drill's output is kept in reports/drill-NAME.txt. Nothing is left running.
set -euo pipefail
cd "$(dirname "$0")/.."

die() { printf 'drill.sh: %s\n' "$*" >&2; exit 1; }

# name: what it shows
drills() {
	cat <<-'END'
		strict    3,000 grants and revocations beside questions, two processes on PostgreSQL, one with commands beside it on SQLite; and the control without the check
		kill      200 SIGKILLs of a server under load, on each engine
		postgres  PostgreSQL is killed, crashed, stopped and restarted under load, 48 times
		cut       connections are cut in the middle of 360 commits
		stall     what writes is stopped for 15 s
		disk      the disk under the database hangs, fills, and forgets what was written (needs root: file systems of its own)
		failover  a primary dies and its streaming standby is promoted, synchronous and not
		overload  4 times the top rate is offered, where the processors are what bounds it, and where the disk is
		login     200 people guess passwords while gates ask
		slow      1,000 connections send a byte a second
		clock     clocks are set, and replicas stand 5 s apart
		leak      goroutines are counted after load and at the end
		flush     the database takes its log over into its files while gates ask
		purge     a million old events are deleted while gates ask
		soak      ten minutes of work; memory stays flat (OPENWAY_TEST_SOAK=1h for longer)
		million   a site of a million users: memory, start, decision, a change's way to its effect
		growth    ten million events: what an append and the admin's questions cost on the way (OPENWAY_TEST_GROWTH)
	END
}

names() { drills | while read -r name _; do echo "$name"; done; }

if [ "${1:-}" = --list ]; then
	drills
	exit
fi
mapfile -t all < <(names)
chosen=("$@")
if [ ${#chosen[@]} = 0 ]; then
	chosen=("${all[@]}")
fi
for name in "${chosen[@]}"; do # not by grep -q, which may leave before names has said all, and then names fails
	[[ " ${all[*]} " == *" $name "* ]] || die "there is no drill named $name; ./scripts/drill.sh --list names them"
done

# test_drill PATTERN: the tests of internal/drill that PATTERN selects, at length. They compare speeds: no race detector.
test_drill() {
	OPENWAY_TEST_DRILL=long ./scripts/test.sh -race=false -tags drill -count 1 -timeout 60m -v -run "$1" ./internal/drill
}

run() {
	case $1 in
	strict) test_drill '^TestStrictRevocation$' ;;
	kill) test_drill '^TestServerKilled$' ;;
	postgres) test_drill '^(TestPostgresKilled|TestSeveralHosts)$' ;;
	cut) test_drill '^TestCommitCut$' ;;
	stall) test_drill '^TestStalled$' ;;
	disk)
		[ "$(id -u)" = 0 ] || die "the drill disk makes file systems: run it as root"
		test_drill '^TestDisk'
		;;
	failover) test_drill '^TestFailover$' ;;
	overload) test_drill '^TestOverload' ;;
	login) test_drill '^TestLoginStorm$' ;;
	slow) test_drill '^TestSlowClients$' ;;
	clock) test_drill '^(TestClockIsSet|TestReplicasApart)$' ;;
	leak)
		test_drill '^TestGoroutinesDoNotLeak$'
		./scripts/test.sh -race=false -count 1 -v -run '^TestServingLeavesNothingBehind$' ./cmd/openway
		;;
	purge) test_drill '^TestPurgeBesideVerify$' ;;
	flush) test_drill '^TestCheckpointBesideVerify$' ;;
	soak) test_drill '^TestSoak$' ;;
	million) go run ./bench --million --check ;;
	growth)
		OPENWAY_TEST_DRILL=long OPENWAY_TEST_GROWTH="${OPENWAY_TEST_GROWTH:-10000000}" \
			./scripts/test.sh -race=false -count 1 -timeout 3h -v -run '^TestGrowth$' ./internal/store
		;;
	esac
}

mkdir -p reports
failed=()
for name in "${chosen[@]}"; do
	printf '\n== %s: %s\n' "$name" "$(drills | sed -n "s/^$name  *//p")"
	# In a shell of its own, so that set -e holds in it; what a test logs beside its figures stays in the report.
	set +e
	(set -e; run "$name") >"reports/drill-$name.txt" 2>&1
	status=$?
	set -e
	grep -vE '^(=== |[[:space:]]*\{"ts")' "reports/drill-$name.txt" | cut -c1-1000
	[ "$status" = 0 ] || failed+=("$name")
done
if [ ${#failed[@]} -gt 0 ]; then
	die "failed: ${failed[*]}"
fi
printf '\nall drills passed: %s\n' "${chosen[*]}"
