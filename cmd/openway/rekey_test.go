package main

import (
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// A token whose key is gone can be neither given again nor brought under another one.
func TestCheckNamesAKeyThatIsMissing(t *testing.T) {
	in := install(t, "sqlite")
	in.must("", "user", "create", "anna")
	in.must("", "device", "create", "anna")
	db, err := sql.Open("sqlite", filepath.Join(in.dir, "data", "openway.db"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), `UPDATE credential SET sealed = CAST(x'01c0ffee00' || substr(sealed, 6) AS BLOB)`)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	out, err := in.command("check").Output()
	const want = "1 token sealed with another key, c0ffee00, which is not configured"
	if err == nil || !strings.Contains(string(out), want) {
		t.Errorf("check: %v, got\n%s\nwant a failure with %q", err, out, want)
	}
}
