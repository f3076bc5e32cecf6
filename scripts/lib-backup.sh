# shellcheck shell=bash disable=SC2034 # openway is for those who source this
# What backup.sh and restore.sh have in common. It is sourced, in the root of the repository.

die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# find_openway sets openway to the command.
find_openway() {
	if [ -n "${OPENWAY_BIN:-}" ]; then
		openway=("$OPENWAY_BIN")
	elif [ -x bin/openway ]; then
		openway=(bin/openway)
	elif [ -x ./openway ]; then
		openway=(./openway)
	elif command -v openway >/dev/null; then
		openway=(openway)
	elif command -v go >/dev/null; then
		openway=(go run ./cmd/openway)
	else
		die "there is no openway: put it on PATH, or name it in OPENWAY_BIN"
	fi
}

# on_postgres: is the database PostgreSQL?
on_postgres() {
	case "${OPENWAY_DATABASE:-}" in
	postgres://* | postgresql://*) ;;
	'') [ -n "${POSTGRES_DB:-}${DB_HOST:-}" ] ;;
	*) false ;;
	esac
}

# reach TOOL...: what is not on this machine runs in the container of the database; then the database is there too, unless DB_HOST says otherwise. Without
# containers it is on this machine.
reach() {
	on_postgres || return 0
	local tool setting address
	for tool; do
		setting=OPENWAY_${tool^^}
		if [ -n "${!setting:-}" ] || command -v "$tool" >/dev/null; then
			continue
		fi
		command -v docker >/dev/null ||
			die "there is no $tool on this machine, and no docker to run it in: install PostgreSQL's client (Debian: apt-get install postgresql-client)"
		export "$setting=docker compose exec -T db $tool"
		if [ -z "${OPENWAY_DATABASE:-}" ] && [ "${DB_HOST:-db}" = db ]; then
			address=$(docker compose exec -T db hostname -i) || die "the container of the database does not run: docker compose up -d db"
			export DB_HOST=${address%% *}
		fi
	done
	if [ -z "${OPENWAY_DATABASE:-}" ]; then
		export DB_HOST=${DB_HOST:-localhost}
	fi
}
