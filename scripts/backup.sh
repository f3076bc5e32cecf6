#!/usr/bin/env bash
# Takes a backup of the database, reads it again, and only then gives it its name and deletes those that are too many.
#
#   ./scripts/backup.sh                     into ops/backups
#   ./scripts/backup.sh --encrypt-to age1…  arguments go to openway backup as they are
#
# Variables: POSTGRES_DB, POSTGRES_USER, POSTGRES_PASSWORD, DB_HOST (localhost), DB_PORT, BACKUP_DIR (ops/backups), KEEP_BACKUPS (7), or
# OPENWAY_DATABASE and the others of openway. OPENWAY_BIN names the program when it is neither ./bin/openway, ./openway nor on PATH.
# Without pg_dump on this machine the one in the container of `docker compose` is run. The exit status is that of the backup.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib-backup.sh
. scripts/lib-backup.sh

find_openway
reach pg_dump
exec "${openway[@]}" backup "$@"
