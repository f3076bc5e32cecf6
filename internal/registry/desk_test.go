package registry_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// desk is a registry on a fresh database with a clock of its own.
type desk struct {
	*registry.Registry
	t         *testing.T
	s         *store.Store
	db        storetest.Database
	micros    *atomic.Int64 // the clock
	announced atomic.Int64  // times that Changed was called
	looked    chan struct{} // holds a token when a transaction has looked at the clock since it was last taken out

	policy *policy // as a replica knows it that follows the feed
	line   int64   // last audit line that was looked at
}

var clerk = access.Actor{Kind: "cli", Label: "root@host"}

var (
	oldKey = bytes.Repeat([]byte("old key "), 4)
	newKey = bytes.Repeat([]byte("new key "), 4)
)

func keys(t *testing.T, primary []byte, fallbacks ...[]byte) *credential.Keyring {
	t.Helper()
	k, err := credential.NewKeyring(primary, fallbacks...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// each runs fn on both engines.
func each(t *testing.T, fn func(t *testing.T, d *desk)) {
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			d := open(t, storetest.New(t, engine), registry.Config{})
			fn(t, d)
		})
	}
}

// open makes a desk on a database, as another process would. Without Keys it has the old one.
func open(t *testing.T, db storetest.Database, c registry.Config) *desk {
	t.Helper()
	d := &desk{t: t, db: db, micros: &atomic.Int64{}, looked: make(chan struct{}, 1)}
	d.micros.Store(time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC).UnixMicro())
	now := func() time.Time { return time.UnixMicro(d.micros.Load()) }
	d.s = storetest.OpenWith(t, store.Options{Database: db.DSN, Now: func() time.Time {
		select {
		case d.looked <- struct{}{}:
		default:
		}
		return now()
	}})
	c.Store, c.Now = d.s, now
	if c.Keys == nil {
		c.Keys = keys(t, oldKey)
	}
	if c.IdleDays == 0 {
		c.IdleDays = 90
	}
	if c.LoginFloor == 0 {
		c.LoginFloor = time.Millisecond
	}
	c.Changed = func() { d.announced.Add(1) }
	c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	d.Registry = registry.New(c)
	t.Cleanup(func() {
		if err := d.Close(context.Background()); err != nil {
			t.Errorf("close the desk: %v", err)
		}
	})
	d.policy = d.load()
	d.audit()
	return d
}

func (d *desk) advance(by time.Duration) { d.micros.Add(by.Microseconds()) }

// must stops the test at an error of what is only its preparation.
func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (d *desk) user(name string) access.User {
	d.t.Helper()
	return must(d.CreateUser(d.t.Context(), clerk, access.User{Username: name, Active: true}, registry.Password{}))(d.t)
}

// token gives a user a fixed token and returns them as a caller of the API.
func (d *desk) token(u access.User, token string) registry.Caller {
	d.t.Helper()
	must(d.AddToken(d.t.Context(), clerk, u.ID, token, ""))(d.t)
	return d.caller(token)
}

func (d *desk) caller(token string) registry.Caller {
	d.t.Helper()
	return must(d.Authenticate(d.t.Context(), token))(d.t)
}

// audit returns the audit lines since it was last asked, oldest first: "gate 1 change -name=was +name=is".
func (d *desk) audit() []string {
	d.t.Helper()
	changes := must(d.Changes(d.t.Context(), registry.ChangeFilter{Limit: 1000}))(d.t)
	var lines []string
	for _, c := range slices.Backward(changes) {
		if c.ID <= d.line {
			continue
		}
		d.line = c.ID
		line := fmt.Sprintf("%s %d %s", c.Object, c.ObjectID, c.Action)
		for _, k := range slices.Sorted(maps.Keys(c.Before)) {
			line += fmt.Sprintf(" -%s=%s", k, c.Before[k])
		}
		for _, k := range slices.Sorted(maps.Keys(c.After)) {
			line += fmt.Sprintf(" +%s=%s", k, c.After[k])
		}
		lines = append(lines, line)
	}
	return lines
}

func (d *desk) wantAudit(what string, want ...string) {
	d.t.Helper()
	if diff := cmp.Diff(want, d.audit()); diff != "" {
		d.t.Errorf("%s: audit: %s", what, diff)
	}
}

// policy is the whole policy in maps: a sink of the load, and a follower of the feed.
type policy struct {
	Mark        access.PolicyMark
	OfSite      access.PolicySite
	Gates       map[int64]access.PolicyGate
	Users       map[int64]access.PolicyUser
	Permissions map[int64]access.PolicyPermission
	Credentials map[int64]access.PolicyCredential
	Members     map[int64][]int64 // until load has given them to the users
}

func (p *policy) Site(s access.PolicySite)             { p.OfSite = s }
func (p *policy) Gate(g access.PolicyGate)             { p.Gates[g.ID] = g }
func (p *policy) User(u access.PolicyUser)             { p.Users[u.ID] = u }
func (p *policy) Permission(q access.PolicyPermission) { p.Permissions[q.ID] = q }
func (p *policy) Credential(c access.PolicyCredential) { p.Credentials[c.ID] = c }

func (p *policy) Member(userID, groupID int64) {
	p.Members[userID] = append(p.Members[userID], groupID)
}

func (p *policy) apply(d access.PolicyDelta) {
	p.Mark = d.Mark
	if d.Site != nil {
		p.OfSite = *d.Site
	}
	for _, g := range d.Gates {
		p.Gates[g.ID] = g
	}
	for _, u := range d.Users {
		p.Users[u.ID] = u
	}
	for _, q := range d.Permissions {
		p.Permissions[q.ID] = q
	}
	for _, c := range d.Credentials {
		p.Credentials[c.ID] = c
	}
	for _, id := range d.GoneGates {
		delete(p.Gates, id)
	}
	for _, id := range d.GoneUsers {
		delete(p.Users, id)
	}
	for _, id := range d.GonePermissions {
		delete(p.Permissions, id)
	}
	for _, id := range d.GoneCredentials {
		delete(p.Credentials, id)
	}
}

func (d *desk) load() *policy {
	d.t.Helper()
	p := &policy{
		Gates: map[int64]access.PolicyGate{}, Users: map[int64]access.PolicyUser{},
		Permissions: map[int64]access.PolicyPermission{}, Credentials: map[int64]access.PolicyCredential{},
		Members: map[int64][]int64{},
	}
	mark, err := d.s.LoadPolicy(d.t.Context(), p)
	if err != nil {
		d.t.Fatalf("load the policy: %v", err)
	}
	p.Mark = mark
	for id, groups := range p.Members {
		if u, ok := p.Users[id]; ok {
			u.Groups = groups
			p.Users[id] = u
		}
	}
	p.Members = nil
	return p
}

// follow brings the replica up to date by the feed and compares it with the policy loaded whole: a change that forgot to name
// an object shows here.
func (d *desk) follow(after string) {
	d.t.Helper()
	delta, err := d.s.PolicyChanges(d.t.Context(), d.policy.Mark)
	if err != nil {
		d.t.Fatalf("after %s: read the feed: %v", after, err)
	}
	if delta.Rebuild {
		d.t.Errorf("after %s: the feed asks for a rebuild", after)
		d.policy = d.load()
		return
	}
	d.policy.apply(delta)
	want := d.load()
	for _, p := range []*policy{d.policy, want} {
		for id, u := range p.Users {
			u.Groups = slices.Clone(u.Groups)
			slices.Sort(u.Groups)
			if len(u.Groups) == 0 {
				u.Groups = nil
			}
			p.Users[id] = u
		}
	}
	if diff := cmp.Diff(want, d.policy); diff != "" {
		d.t.Errorf("after %s: the replica that follows the feed differs (-loaded +followed): %s", after, diff)
	}
}

// contents is all that stands in the tables of the database, a row a line.
func (d *desk) contents() string {
	d.t.Helper()
	driver, tables := "sqlite", `SELECT name FROM sqlite_schema WHERE type = 'table'`
	if d.db.Engine == store.Postgres {
		driver, tables = "pgx", `SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'`
	}
	db := must(sql.Open(driver, d.db.DSN))(d.t)
	defer db.Close()
	var all strings.Builder
	for _, row := range rows(d.t, db, tables) {
		table := strings.TrimSpace(row)
		for _, r := range rows(d.t, db, `SELECT * FROM "`+table+`"`) {
			all.WriteString(table + ": " + r + "\n")
		}
	}
	return all.String()
}

func rows(t *testing.T, db *sql.DB, query string) []string {
	t.Helper()
	rs := must(db.QueryContext(t.Context(), query))(t)
	defer rs.Close()
	columns := must(rs.Columns())(t)
	var all []string
	for rs.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(sql.RawBytes)
		}
		if err := rs.Scan(values...); err != nil {
			t.Fatal(err)
		}
		var line strings.Builder
		for _, v := range values {
			line.Write(*v.(*sql.RawBytes))
			line.WriteByte(' ')
		}
		all = append(all, line.String())
	}
	if err := rs.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func wantKind(t *testing.T, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: got error %v, want one of kind %q", what, err, kind)
	}
}

// wantInvalid expects exactly this bad field.
func wantInvalid(t *testing.T, what string, err error, field string, code access.Code) {
	t.Helper()
	var bad access.Invalid
	if !errors.As(err, &bad) || len(bad) != 1 || bad[0].Field != field || bad[0].Code != code {
		t.Errorf("%s: got error %v, want field %q %s", what, err, field, code)
	}
}
