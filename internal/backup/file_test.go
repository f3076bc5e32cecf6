package backup_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/backup"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/store"
)

func zipped(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := io.WriteString(z, text)
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Each bad file is refused in one line that says what is wrong with it, and the database stays as it is.
func TestBadFilesAreRefused(t *testing.T) {
	each(t, func(t *testing.T, x *site) {
		x.addGates("front")
		x.addUsers("ann")
		good := read(t, x.take().Path)
		x.addUsers("ben")
		plain := made[*gzip.Reader](t)(gzip.NewReader(bytes.NewReader(good)))
		contents := made[[]byte](t)(io.ReadAll(plain))
		// damaged turns a bit from at on that matters: deflate has many ways to say the same.
		damaged := func(at int) []byte {
			for ; ; at++ {
				b := bytes.Clone(good)
				b[at] ^= 0x10
				z, err := gzip.NewReader(bytes.NewReader(b))
				if err != nil {
					return b
				}
				if says, err := io.ReadAll(z); err != nil || !bytes.Equal(says, contents) {
					return b
				}
			}
		}
		// The file without its manifest, as if gzip had made it.
		bare := zipped(t, string(contents))
		for _, tt := range []struct {
			name string
			file []byte
			want string
		}{
			{"empty", nil, "is empty"},
			{"text", []byte("this is no backup"), "neither compressed by gzip nor encrypted by age"},
			{"first byte", good[:1], "cut off"},
			{"cut off at the beginning", good[:20], "cut off"},
			{"cut off in the middle", good[:len(good)/2], "cut off"},
			{"cut off near the end", good[:len(good)-300], "cut off"},
			{"last byte missing", good[:len(good)-1], "cut off"},
			{"damaged in the middle", damaged(len(good) / 3), "damaged"},
			{"something behind", append(bytes.Clone(good), "more"...), "cut off"},
			{"much behind", append(bytes.Clone(good), strings.Repeat("more", 100)...), "damaged"},
			{"without manifest", bare, "has no manifest"},
			{"foreign dump", zipped(t, "--\n-- PostgreSQL database dump\n--\nCREATE TABLE public.auth_user (id integer);\n-- PostgreSQL database dump complete\n"), "openway import django"},
			{"contents exchanged", append(zipped(t, "other"), good[bytes.LastIndex(good, []byte{0x1f, 0x8b, 8, 4}):]...), "checksum differs"},
			{"contents twice", append(bytes.Clone(bare), good...), "checksum differs"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "bad"+x.ext())
				x.must(os.WriteFile(path, tt.file, 0o600))
				before := x.facts()
				_, err := backup.Restore(t.Context(), x.restoring(path))
				if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("restore = %v, want one line with %q", err, tt.want)
				}
				if _, err := backup.Verify(t.Context(), x.restoring(path)); err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("verify = %v, want %q", err, tt.want)
				}
				if d := cmp.Diff(before, x.facts()); d != "" {
					t.Errorf("the database changed:\n%s", d)
				}
			})
		}
	})
}

// Wherever a file is cut or a bit is turned, it is refused, unless it says the same all the same: deflate has many ways to say a thing, and
// the time in gzip's header says nothing about what is in it.
func TestNoBitIsWithoutMeaning(t *testing.T) {
	x := open(t, storeFor(t, store.SQLite))
	x.addUsers("ann")
	path := x.take().Path
	good := read(t, path)
	var contents bytes.Buffer
	manifest := made[*backup.Manifest](t)(backup.Read(t.Context(), path, nil, &contents, nil))
	path = filepath.Join(t.TempDir(), "bad.db.gz")
	refused := 0
	for at := 0; at < len(good); at += 97 {
		for what, b := range map[string][]byte{"cut off": good[:at], "turned": append(append(bytes.Clone(good[:at]), good[at]^0x04), good[at+1:]...)} {
			x.must(os.WriteFile(path, b, 0o600))
			var got bytes.Buffer
			m, err := backup.Read(t.Context(), path, nil, &got, nil)
			if err != nil {
				refused++
			} else if what == "cut off" || !bytes.Equal(got.Bytes(), contents.Bytes()) || !cmp.Equal(m, manifest) {
				t.Errorf("%s at byte %d of %d: read as %+v", what, at, len(good), m)
			}
		}
	}
	if all := len(good) / 97; refused < all {
		t.Errorf("%d files were refused, of %d that were cut and as many with a bit turned", refused, all)
	}
}

func TestVerify(t *testing.T) {
	each(t, func(t *testing.T, x *site) {
		x.addGates("front")
		x.addUsers("ann", "ben")
		lane := made[int64](t)(x.s.ClaimWriter(t.Context()))
		x.record(lane, 1, 20)
		facts := x.facts()
		taken := x.take()
		m := made[*backup.Manifest](t)(backup.Verify(t.Context(), x.restoring(taken.Path)))
		if d := cmp.Diff(facts.Rows, m.Rows); d != "" {
			t.Errorf("rows in the manifest (-want +got):\n%s", d)
		}
		if m.Instance != facts.Instance.UUID || m.Engine != x.db.Engine || m.Policy != facts.Policy.Version {
			t.Errorf("the manifest is %+v, the database %+v", m, facts)
		}
		lines := made[[]access.Change](t)(x.desk.Changes(t.Context(), registry.ChangeFilter{Object: access.ObjectBackup}))
		if len(lines) != 1 || lines[0].After["file"] != filepath.Base(taken.Path) || lines[0].After["verified"] != "true" || lines[0].After["size"] != strconv.FormatInt(taken.Size, 10) || lines[0].Mark != facts.Policy {
			t.Errorf("the audit's lines about backups: %+v; want one, about %s, that did not move the policy", lines, taken.Path)
		}
	})
}

func TestEncrypted(t *testing.T) {
	each(t, func(t *testing.T, x *site) {
		x.addUsers("ann")
		id, to := identity(t)
		stranger, _ := identity(t)
		cfg := x.config()
		cfg.Key = func(check string) (string, string) {
			if check != x.keys.Check() {
				t.Errorf("asked for the key of %q", check)
			}
			return x.keys.ID(), secret
		}
		plain := made[*backup.Taken](t)(backup.Take(t.Context(), x.s, cfg))
		x.clock = x.clock.Add(time.Minute)
		cfg.Recipients = []age.Recipient{to}
		sealed := made[*backup.Taken](t)(backup.Take(t.Context(), x.s, cfg))
		if !strings.HasSuffix(sealed.Path, x.ext()+".age") {
			t.Errorf("the encrypted backup is called %s", sealed.Path)
		}
		if got, want := made[string](t)(os.Readlink(filepath.Join(x.dir, "latest"+x.ext()+".age"))), filepath.Base(sealed.Path); got != want {
			t.Errorf("the latest backup is %s, want %s", got, want)
		}
		if _, err := os.Lstat(filepath.Join(x.dir, "latest"+x.ext())); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the link to the plain backup: %v; want it gone: it is not the latest any more", err)
		}
		if m := plain.Manifest; m.SecretKey != "" || m.KeyID != x.keys.ID() || bytes.Contains(read(t, plain.Path), []byte(secret)) {
			t.Errorf("the plain backup's manifest is %+v; want the key's id and not the key", m)
		}
		for _, tt := range []struct {
			name       string
			identities []age.Identity
			file       []byte
			want       string
		}{
			{"no identity", nil, read(t, sealed.Path), "--identity"},
			{"a stranger's identity", []age.Identity{stranger}, read(t, sealed.Path), "another identity"},
			{"cut off", []age.Identity{id}, read(t, sealed.Path)[:sealed.Size-200], "damaged"},
			{"head cut off", []age.Identity{id}, read(t, sealed.Path)[:100], "cut off"},
			{"damaged", []age.Identity{id}, append(append([]byte{}, read(t, sealed.Path)[:sealed.Size-20]...), make([]byte, 20)...), "damaged"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "x"+x.ext()+".age")
				x.must(os.WriteFile(path, tt.file, 0o600))
				before := x.facts()
				_, err := backup.Restore(t.Context(), x.restoring(path, func(r *backup.Restoring) { r.Identities = tt.identities }))
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("restore = %v, want %q", err, tt.want)
				}
				if d := cmp.Diff(before, x.facts()); d != "" {
					t.Errorf("the database changed:\n%s", d)
				}
			})
		}
		with := func(r *backup.Restoring) { r.Identities = []age.Identity{stranger, id} }
		if m := made[*backup.Manifest](t)(backup.Verify(t.Context(), x.restoring(sealed.Path, with))); m.SecretKey != secret {
			t.Errorf("the encrypted backup holds the key %q, want %q", m.SecretKey, secret)
		}
		r := x.restore(sealed.Path, with)
		if r.Manifest.SecretKey != "" {
			t.Error("what a restore reports holds the secret key")
		}
		lines := made[[]access.Change](t)(x.desk.Changes(t.Context(), registry.ChangeFilter{}))
		for _, l := range lines {
			for k, v := range l.After {
				if strings.Contains(v, secret) {
					t.Errorf("the audit has the secret key in %s", k)
				}
			}
		}
	})
}

func TestNewerAndOtherBackupsAreRefused(t *testing.T) {
	each(t, func(t *testing.T, x *site) {
		x.raw(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, TRUE)`)
		newer := x.take()
		x.raw(`DELETE FROM goose_db_version WHERE version_id = 9999`)
		before := x.facts()
		_, err := backup.Restore(t.Context(), x.restoring(newer.Path))
		if !errors.Is(err, store.ErrTooNew) || !strings.Contains(err.Error(), "9999") {
			t.Errorf("restoring a backup of a newer schema = %v, want it refused", err)
		}
		if d := cmp.Diff(before, x.facts()); d != "" {
			t.Errorf("the database changed:\n%s", d)
		}
		other := open(t, storeFor(t, map[string]string{store.SQLite: store.Postgres, store.Postgres: store.SQLite}[x.db.Engine]))
		taken := x.take()
		if _, err := backup.Restore(t.Context(), other.restoring(taken.Path)); err == nil || !strings.Contains(err.Error(), "is a backup of") {
			t.Errorf("restoring into the other engine = %v, want it refused", err)
		}
	})
}

// Another program's tables are never replaced.
func TestForeignDatabase(t *testing.T) {
	each(t, func(t *testing.T, x *site) {
		taken := x.take()
		x.destroy()
		if x.db.Engine == store.SQLite {
			x.raw(`CREATE TABLE bookmark (id INTEGER)`)
		} else {
			x.raw(`CREATE TABLE users (id INTEGER)`, `INSERT INTO users VALUES (7)`)
		}
		_, err := backup.Restore(t.Context(), x.restoring(taken.Path))
		if !errors.Is(err, store.ErrForeign) {
			t.Errorf("restoring over another program's tables = %v, want it refused", err)
		}
		if x.db.Engine == store.SQLite {
			x.raw(`INSERT INTO bookmark VALUES (1)`)
		} else {
			x.raw(`UPDATE users SET id = 8 WHERE id = 7`, `DROP TABLE users`, `CREATE TABLE theirs (id INTEGER)`, `CREATE VIEW all_theirs AS SELECT * FROM theirs`)
			// Beside tables that are none of ours there is room.
			x.restore(taken.Path)
			x.raw(`INSERT INTO theirs SELECT COUNT(*) FROM all_theirs`)
			// But not where something needs our tables.
			x.raw(`CREATE VIEW reports AS SELECT COUNT(*) FROM events`)
			before := x.facts()
			if _, err := backup.Restore(t.Context(), x.restoring(taken.Path)); err == nil || !strings.Contains(err.Error(), "reports") {
				t.Errorf("restoring where somebody's view needs a table = %v, want it refused", err)
			}
			before.Rows["change"]++ // the safety backup
			if d := cmp.Diff(before, x.facts()); d != "" {
				t.Errorf("the database changed:\n%s", d)
			}
		}
	})
}
