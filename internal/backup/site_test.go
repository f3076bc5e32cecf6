package backup_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	_ "modernc.org/sqlite"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/backup"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/decide"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

var clerk = access.Actor{Kind: "cli", Label: "root@host"}

const secret = "0123456789abcdef0123456789abcdef"

// site is an installation with people and gates in it, and a directory for its backups.
type site struct {
	t      *testing.T
	db     storetest.Database
	s      *store.Store
	desk   *registry.Registry
	keys   *credential.Keyring
	dir    string
	clock  time.Time
	gates  map[string]access.Gate
	users  map[string]access.User
	groups map[string]access.Group
	tokens map[string]access.Credential // a token for each user, of the text tokenOf
}

// each runs fn with an empty site on both engines.
func each(t *testing.T, fn func(t *testing.T, x *site)) {
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			fn(t, open(t, storetest.New(t, engine)))
		})
	}
}

func open(t *testing.T, db storetest.Database) *site {
	t.Helper()
	keys, err := credential.NewKeyring([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	x := &site{
		t: t, db: db, s: storetest.OpenWith(t, store.Options{Database: db.DSN}), keys: keys, dir: filepath.Join(t.TempDir(), "backups"),
		clock: time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC),
		gates: map[string]access.Gate{}, users: map[string]access.User{}, groups: map[string]access.Group{}, tokens: map[string]access.Credential{},
	}
	x.desk = registry.New(registry.Config{Store: x.s, Keys: keys})
	x.must(x.desk.CheckKey(t.Context()))
	return x
}

func (x *site) must(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

// made is the result of a call that makes something.
func made[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func tokenOf(user string) string { return fmt.Sprintf("%040x", user) }

func (x *site) addGates(codes ...string) {
	x.t.Helper()
	for _, code := range codes {
		x.gates[code] = made[access.Gate](x.t)(x.desk.CreateGate(x.t.Context(), clerk, access.Gate{Code: code, Name: code}))
	}
}

// addUsers makes users who have a token each.
func (x *site) addUsers(names ...string) {
	x.t.Helper()
	for _, name := range names {
		u := made[access.User](x.t)(x.desk.CreateUser(x.t.Context(), clerk, access.User{Username: name, Active: true}, registry.Password{}))
		x.users[name] = u
		x.tokens[name] = made[access.Credential](x.t)(x.desk.AddToken(x.t.Context(), clerk, u.ID, tokenOf(name), "phone of "+name))
	}
}

func (x *site) addGroup(name string, members ...string) {
	x.t.Helper()
	g := made[access.Group](x.t)(x.desk.CreateGroup(x.t.Context(), clerk, access.Group{Name: name}))
	x.groups[name] = g
	for _, m := range members {
		x.must(x.desk.AddMember(x.t.Context(), clerk, g.ID, x.users[m].ID))
	}
}

func (x *site) grant(gate, user, group string) access.Permission {
	x.t.Helper()
	return made[access.Permission](x.t)(x.desk.GrantPermission(x.t.Context(), clerk, access.Permission{
		GateID: x.gates[gate].ID, UserID: x.users[user].ID, GroupID: x.groups[group].ID, Allow: true,
	}))
}

// allowed lists who passes where now, as "user@gate", by the users' tokens.
func (x *site) allowed() map[string]bool {
	x.t.Helper()
	b := decide.NewBuilder(0)
	mark := made[access.PolicyMark](x.t)(x.s.LoadPolicy(x.t.Context(), b))
	snapshot := b.Snapshot(mark)
	all := map[string]bool{}
	for name := range x.users {
		for code := range x.gates {
			lookups := []access.Lookup{x.keys.Lookup(tokenOf(name), access.SchemeSHA256), x.keys.Lookup(tokenOf(name), access.SchemeHMAC)}
			if d := snapshot.Decide(decide.Request{Gate: code, Lookups: lookups, At: time.Now().UnixMicro()}); d.Outcome == access.Allow {
				all[name+"@"+code] = true
			}
		}
	}
	return all
}

// record writes a batch of n events as a lane does.
func (x *site) record(lane, seq int64, n int) {
	x.t.Helper()
	mark := made[access.PolicyMark](x.t)(x.s.PolicyMark(x.t.Context()))
	b := &access.EventBatch{Policy: mark}
	for i := range n {
		b.Events = append(b.Events, &access.Event{
			Kind: access.DecisionEvent, At: time.Now(), PolicyVersion: mark.Version, Decision: access.Allow, Reason: access.OK, Count: 1,
			RequestID: fmt.Sprintf("lane-%d-%d-%d", lane, seq, i),
		})
	}
	if landed, err := x.s.AppendBatch(x.t.Context(), lane, seq, b); err != nil || !landed {
		x.t.Fatalf("AppendBatch(%d, %d) = %v, %v; want it to land", lane, seq, landed, err)
	}
}

func (x *site) facts() store.Facts {
	x.t.Helper()
	return made[store.Facts](x.t)(x.s.Facts(x.t.Context()))
}

// config is how the tests take backups: each a minute after the one before.
func (x *site) config() backup.Config {
	c := backup.Config{Dir: x.dir, Database: "site", Keep: 7, Program: "test", Actor: clerk, Now: func() time.Time { return x.clock }}
	if x.db.Engine == store.Postgres {
		c.URL = x.db.DSN
	}
	return c
}

func (x *site) take() *backup.Taken {
	x.t.Helper()
	taken := made[*backup.Taken](x.t)(backup.Take(x.t.Context(), x.s, x.config()))
	x.clock = x.clock.Add(time.Minute)
	return taken
}

func (x *site) restoring(file string, more ...func(*backup.Restoring)) backup.Restoring {
	r := backup.Restoring{Config: x.config(), File: file, Into: store.Options{Database: x.db.DSN}}
	for _, m := range more {
		m(&r)
	}
	x.clock = x.clock.Add(time.Minute)
	return r
}

func (x *site) restore(file string, more ...func(*backup.Restoring)) *backup.Restored {
	x.t.Helper()
	return made[*backup.Restored](x.t)(backup.Restore(x.t.Context(), x.restoring(file, more...)))
}

// ext is what names of this engine's backups end with.
func (x *site) ext() string {
	if x.db.Engine == store.Postgres {
		return ".sql.gz"
	}
	return ".db.gz"
}

// raw runs a statement beside the store.
func (x *site) raw(statements ...string) {
	x.t.Helper()
	driver := map[string]string{store.SQLite: "sqlite", store.Postgres: "pgx"}[x.db.Engine]
	db, err := sql.Open(driver, x.db.DSN)
	x.must(err)
	defer db.Close()
	for _, s := range statements {
		_, err := db.ExecContext(x.t.Context(), s)
		x.must(err)
	}
}

// destroy leaves nothing of the database. (The store of the test is closed on SQLite: its process would not outlive that either.)
func (x *site) destroy() {
	x.t.Helper()
	if x.db.Engine == store.Postgres {
		x.raw(`DROP SCHEMA public CASCADE`, `CREATE SCHEMA public`)
		return
	}
	x.must(x.s.Close())
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(x.db.DSN + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			x.t.Fatal(err)
		}
	}
}

func identity(t *testing.T) (age.Identity, age.Recipient) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id, id.Recipient()
}

func names(t *testing.T, dir string) string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range files {
		all = append(all, f.Name())
	}
	return strings.Join(all, " ")
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(b)
}
