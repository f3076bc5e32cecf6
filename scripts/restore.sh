#!/usr/bin/env bash
# Replaces the database by a backup, after it was verified and what is there was backed up. It asks; in production RESTORE PRODUCTION must be typed.
#
#   ./scripts/restore.sh                    lists the backups
#   ./scripts/restore.sh ops/backups/nfc_access_2025-10-04_1559.sql.gz
#   ./scripts/restore.sh --yes FILE         does not ask; arguments go to openway restore as they are
#
# Variables: as in backup.sh. Without psql on this machine the one in the container of `docker compose` is run.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib-backup.sh
. scripts/lib-backup.sh

find_openway
reach pg_dump psql
exec "${openway[@]}" restore "$@"
