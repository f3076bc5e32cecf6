// Package goldentest holds the binary to the wire contract: it starts the real openway on SQLite and on PostgreSQL and talks to it over bare TCP, as
// clients in the field do. It has no code, only tests; testdata/golden.jsonl and testdata/site.yaml are its corpus.
package goldentest
