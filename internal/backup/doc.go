// Package backup takes backups of a database, verifies, lists and rotates them, and restores them, on both engines.
//
// It imports store and access. It promises:
//   - A file bears the name of a backup only when it is whole, on the disk, and was read again and compared with what was counted in the
//     database; what was there before is deleted only after that, and never the newest one.
//   - The server's secret key is in a backup only when that is encrypted.
//   - A restore replaces the database whole or not at all, only after the file was verified and what is replaced was backed up, and does
//     not bring back what was revoked since, unless it is asked to.
//
// A backup is the engine's own format (an SQLite file, pg_dump's plain text) compressed by gzip, so that it is of use without this program,
// and after it a second, empty gzip member whose header bears the manifest: gunzip, zcat and psql do not see it, and it cannot get
// lost as a file beside would. An encrypted backup is all of that inside an age file.
package backup
