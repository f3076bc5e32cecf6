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

# name_database: the variables of the Django service name a PostgreSQL on this machine unless DB_HOST says where.
name_database() {
	if [ -n "${POSTGRES_DB:-}" ] && [ -z "${OPENWAY_DATABASE:-}" ]; then
		export DB_HOST="${DB_HOST:-localhost}"
	fi
}

# on_postgres: is the database PostgreSQL?
on_postgres() {
	case "${OPENWAY_DATABASE:-}" in
	postgres://* | postgresql://*) return 0 ;;
	'') [ -n "${DB_HOST:-}" ] ;;
	*) return 1 ;;
	esac
}

# use_container TOOL SETTING: where the tool is not on this machine, has openway run the one in the database's container.
use_container() {
	if ! on_postgres || [ -n "${!2:-}" ] || command -v "$1" >/dev/null || compgen -G "/usr/lib/postgresql/*/bin/$1" >/dev/null; then
		return
	fi
	command -v docker >/dev/null || die "there is no $1 on this machine, and no docker to run it in: install PostgreSQL's client (Debian: apt-get install postgresql-client)"
	export "$2=docker compose exec -T db $1"
}
