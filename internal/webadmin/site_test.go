package webadmin

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/eventlog"
	"github.com/openway-access/openway/internal/gatekeeper"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/server"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// site is the admin pages in front of the real thing: a database, a desk, a gatekeeper, and the server's own front.
type site struct {
	t      testing.TB
	admin  *Admin
	desk   *registry.Registry
	keeper *gatekeeper.Gatekeeper
	store  *store.Store
	url    string
}

// password is that of every user of a test site.
const password = "a long enough door"

var setup = access.Actor{Kind: "system", Label: "test"}

// newSite makes one with the users viewer, manager and owner, who have these roles, and nobody, who has none. change may change the settings.
func newSite(t testing.TB, engine string, change func(*Config)) *site {
	t.Helper()
	s := storetest.Open(t, engine)
	keys, err := credential.NewKeyring([]byte("a key of thirty-two bytes or more"))
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	x := &site{t: t, store: s}
	x.desk = registry.New(registry.Config{Store: s, Keys: keys, Logger: quiet, LoginFloor: time.Nanosecond, Changed: func() { x.keeper.Changed() }})
	feed := eventlog.NewFeed(eventlog.FeedConfig{Reader: s})
	x.keeper = gatekeeper.New(gatekeeper.Config{Source: s, Keys: keys, Events: eventlog.Config{Appender: s, Landed: feed.Wake}, Logger: quiet})
	if err := x.keeper.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = x.keeper.Close(ctx) // fails where a test has cut the database off
		_ = x.desk.Close(ctx)
	})
	running, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); feed.Run(running) }()
	t.Cleanup(func() { stop(); <-done })
	c := Config{Gatekeeper: x.keeper, Registry: x.desk, Feed: feed, Version: "test", Logger: quiet}
	if change != nil {
		change(&c)
	}
	if x.admin, err = New(c); err != nil {
		t.Fatal(err)
	}
	front, err := server.New(server.Config{Handler: x.admin, Error: x.admin.Error, Allowed: x.admin.Methods})
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(front)
	t.Cleanup(h.Close)
	x.url = h.URL
	hash, err := passwordHash()
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []access.User{
		{Username: "viewer", FirstName: "Vera", LastName: "Sight", Roles: []access.RoleGrant{{Role: access.Viewer}}},
		{Username: "manager", FirstName: "Max", LastName: "Handy", Roles: []access.RoleGrant{{Role: access.Manager}}},
		{Username: "owner", FirstName: "Olga", LastName: "Holder", Roles: []access.RoleGrant{{Role: access.Owner}}},
		{Username: "nobody", FirstName: "Nobody"},
	} {
		u.Active = true
		if _, err := x.desk.CreateUser(t.Context(), setup, u, registry.Password{Hash: hash}); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

// passwordHash is the hash of password: hashing takes long.
func passwordHash() (string, error) { return credential.HashPassword(password) }

// must ends the test at an error of what is only its preparation.
func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (x *site) gate(code, name string) access.Gate {
	x.t.Helper()
	return must(x.desk.CreateGate(x.t.Context(), setup, access.Gate{Code: code, Name: name}))(x.t)
}

func (x *site) group(name string) access.Group {
	x.t.Helper()
	return must(x.desk.CreateGroup(x.t.Context(), setup, access.Group{Name: name}))(x.t)
}

func (x *site) user(name string) access.User {
	x.t.Helper()
	return must(x.desk.CreateUser(x.t.Context(), setup, access.User{Username: name, Active: true}, registry.Password{}))(x.t)
}

// device is a phone with a token that nobody knows.
func (x *site) device(owner access.User, name string) access.Device {
	x.t.Helper()
	d, _, err := x.desk.CreateDevice(x.t.Context(), setup, access.Device{UserID: owner.ID, Name: name, Active: true}, "")
	return must(d, err)(x.t)
}

func (x *site) grant(p access.Permission) access.Permission {
	x.t.Helper()
	return must(x.desk.GrantPermission(x.t.Context(), setup, p))(x.t)
}

// browser is a client with cookies that does not follow redirects by itself.
type browser struct {
	x      *site
	client *http.Client
	header http.Header
}

func (x *site) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		x.t.Fatal(err)
	}
	return &browser{x: x, header: http.Header{"Accept-Language": {"en"}, "User-Agent": {"Mozilla/5.0 (X11; Linux x86_64) Chrome/141.0"}}, client: &http.Client{
		Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// as is a browser in which a user has signed in.
func (x *site) as(username string) *browser {
	x.t.Helper()
	b := x.browser()
	if p := b.post("/admin/login/", "username", username, "password", password); p.status != http.StatusSeeOther {
		x.t.Fatalf("sign in as %s: status %d, want 303\n%s", username, p.status, p.body)
	}
	return b
}

// answer is what a browser got.
type answer struct {
	status   int
	location string
	header   http.Header
	body     string
}

func (b *browser) do(method, path string, body io.Reader) answer {
	b.x.t.Helper()
	r, err := http.NewRequestWithContext(b.x.t.Context(), method, b.x.url+path, body)
	if err != nil {
		b.x.t.Fatal(err)
	}
	for name, values := range b.header {
		r.Header[name] = values
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := b.client.Do(r)
	if err != nil {
		b.x.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.x.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{resp.StatusCode, resp.Header.Get("Location"), resp.Header, string(text)}
}

func (b *browser) get(path string) answer {
	b.x.t.Helper()
	return b.do(http.MethodGet, path, nil)
}

// post sends a form of names and values.
func (b *browser) post(path string, form ...string) answer {
	b.x.t.Helper()
	return b.do(http.MethodPost, path, strings.NewReader(values(form...).Encode()))
}

func values(form ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(form); i += 2 {
		v.Add(form[i], form[i+1])
	}
	return v
}

// want ends the test unless an answer has a status.
func (a answer) want(t testing.TB, what string, status int) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("%s: status %d, want %d\n%s", what, a.status, status, a.body)
	}
	return a
}

// shows reports whether a page has a text, as HTML writes it.
func (a answer) shows(text string) bool { return strings.Contains(a.body, text) }

// town fills a site with real-sized data: long names, many gates, people in every state.
func (x *site) town() access.Gate {
	t, ctx := x.t, x.t.Context()
	t.Helper()
	staff, lab := x.group("Staff"), x.group("Лаборатория и мастерская второго этажа")
	cleaning := x.group("Cleaning")
	front := must(x.desk.CreateGate(ctx, setup, access.Gate{Code: "front-door", Name: "Front door", Location: "Ground floor"}))(t)
	for i := range 40 {
		g := access.Gate{Code: fmt.Sprintf("gate-%02d", i), Name: fmt.Sprintf("Corridor %d, east wing", i), Location: "Second floor", ReleaseMS: 500 + 100*i}
		if i%7 == 0 {
			g.Name, g.Location = "Дверь в серверную на цокольном этаже, рядом с архивом и складом", "Цокольный этаж, корпус 2"
		}
		must(x.desk.CreateGate(ctx, setup, g))(t)
	}
	now := time.Now()
	x.grant(access.Permission{GateID: front.ID, GroupID: staff.ID})
	x.grant(access.Permission{GateID: front.ID, GroupID: lab.ID})
	off := x.grant(access.Permission{GateID: front.ID, GroupID: cleaning.ID})
	must(x.desk.SuspendPermission(ctx, setup, off))(t)
	x.grant(access.Permission{GateID: front.ID + 3, GroupID: staff.ID})
	x.grant(access.Permission{GateID: front.ID + 2, GroupID: staff.ID, ValidUntil: now.Add(72 * time.Hour)})
	for i, u := range []access.User{
		{Username: "anna.petrova", FirstName: "Анна", LastName: "Петрова", Active: true},
		{Username: "ben.okafor", FirstName: "Ben", LastName: "Okafor", Active: true},
		{Username: "maximiliane.von.hohenstein-wittgenstein", FirstName: "Maximiliane Friederike", LastName: "von Hohenstein-Wittgenstein", Active: true},
		{Username: "felix.novak", FirstName: "Felix", LastName: "Novák"},
		{Username: "grace.lee", FirstName: "Grace", LastName: "Lee", Active: true},
	} {
		u = must(x.desk.CreateUser(ctx, setup, u, registry.Password{}))(t)
		p := access.Permission{GateID: front.ID, UserID: u.ID}
		switch i {
		case 1:
			p.ValidFrom = now.Add(48 * time.Hour)
		case 2:
			p.ValidFrom, p.ValidUntil = now.Add(-time.Hour), now.Add(72*time.Hour)
		case 4:
			p.ValidFrom, p.ValidUntil = now.Add(-72*time.Hour), now.Add(-time.Hour)
		}
		x.grant(p)
		if i == 0 {
			if err := x.desk.AddMember(ctx, setup, staff.ID, u.ID); err != nil {
				t.Fatal(err)
			}
		}
		d := x.device(u, []string{"Pixel 9", "", "Samsung Galaxy S25 Ultra Enterprise Edition", "Служебный телефон", "Mobile device"}[i])
		d.AndroidDeviceID = fmt.Sprintf("9774d56d682e549%x", i)
		must(x.desk.UpdateDevice(ctx, setup, d))(t)
		if i == 3 {
			must(x.desk.SetDeviceActive(ctx, setup, d.ID, false))(t)
		}
	}
	for _, token := range []string{"a stranger's token", "another token of nobody", "a third one"} {
		x.keeper.Verify(ctx, gatekeeper.Request{Gate: front.Code, Token: token})
	}
	for _, name := range []string{"anna.petrova", "ben.okafor", "maximiliane.von.hohenstein-wittgenstein", "felix.novak"} {
		u := must(x.desk.UserByName(ctx, name))(t)
		must(x.desk.AddToken(ctx, setup, u.ID, "the phone of "+name, "Pixel 9"))(t)
	}
	for _, ask := range []gatekeeper.Request{
		{Gate: "front-door", Token: "the phone of anna.petrova"},
		{Gate: "front-door", Token: "the phone of ben.okafor"},
		{Gate: "gate-00", Token: "the phone of anna.petrova"},
		{Gate: "front-door", Token: "the phone of maximiliane.von.hohenstein-wittgenstein"},
		{Gate: "front-door", Token: "the phone of felix.novak"},
		{Gate: "back-door", Token: "the phone of anna.petrova"},
		{Malformed: true},
		{Gate: "front-door", Token: "the phone of anna.petrova"},
	} {
		ask.At, ask.RequestID, ask.Address = time.Now(), "town", netip.MustParseAddr("10.0.0.7")
		x.keeper.Verify(ctx, ask)
	}
	for {
		_, more, err := x.store.CountEvents(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			return front
		}
	}
}
