// Package importer moves a site over from the Django service that this one replaces: its people with their passwords, its phones with their tokens,
// its gates with their rights, its log with its history.
//
// It imports access, credential, decide and store. It reads the original's tables from a dump or from the live database, always twice: first all that
// is small, with a look at each event, so that every mistake is found before anything is written; then the events, one by one. It promises:
//   - What is wrong in the source is one error that names the place, and nothing was written then.
//   - What is not carried over one to one stands in the Report, with counts and examples. No token and no password does.
//   - Before anything counts, the original's rule is held against ours for the tokens and gates of the site (prove.go).
package importer
