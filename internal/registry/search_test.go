package registry_test

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// naiveUsers are the users that hold all words, ordered by how well the first one fits, then by id.
func naiveUsers(all []access.User, query string) (ids []int64) {
	words := strings.Fields(access.Fold(query))
	type hit struct {
		fit int
		id  int64
	}
	var hits []hit
	for _, u := range all {
		texts := []string{u.Username, strings.TrimSpace(u.FirstName + " " + u.LastName), u.Email}
		joined := access.Fold("\n" + strings.Join(texts, "\n"))
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(joined, w) }) {
			h := hit{0, u.ID}
			if len(words) > 0 && !strings.Contains(joined, "\n"+words[0]) {
				h.fit = 2
				for _, c := range " .-_@+/('" {
					if strings.Contains(joined, string(c)+words[0]) {
						h.fit = 1
					}
				}
			}
			hits = append(hits, h)
		}
	}
	slices.SortFunc(hits, func(a, b hit) int { return cmp.Or(cmp.Compare(a.fit, b.fit), cmp.Compare(a.id, b.id)) })
	for _, h := range hits {
		ids = append(ids, h.id)
	}
	return ids
}

// findAll reads every page of a search.
func findAll(t *testing.T, r *registry.Registry, s registry.UserSearch) (ids []int64) {
	t.Helper()
	for {
		page, err := r.FindUsers(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range page.List {
			ids = append(ids, u.ID)
		}
		if s.After = page.Next; s.After == "" {
			return ids
		}
	}
}

// While users come, change and go, at this desk and at another one, the search finds what a look at each of them would.
func TestFindUsersFollowsChanges(t *testing.T) {
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			db := storetest.New(t, engine)
			d, other := open(t, db, registry.Config{}), open(t, db, registry.Config{})
			rnd := rand.New(rand.NewPCG(1, 2))
			parts := []string{"Anna", "anna", "Фёдор", "федор", "ÅSA", "o'Neil", "van", "der", "straße", "Ян", "x", "an"}
			text := func() string {
				n := parts[rnd.IntN(len(parts))]
				if rnd.IntN(2) == 0 {
					n += " " + parts[rnd.IntN(len(parts))]
				}
				return n
			}
			desks := []*desk{d, other}
			var ids []int64
			for i := range 40 {
				u := must(d.CreateUser(t.Context(), clerk, access.User{Username: fmt.Sprint(text(), i), FirstName: text(), LastName: text(), Active: rnd.IntN(3) > 0}, registry.Password{}))(t)
				ids = append(ids, u.ID)
			}
			group := must(d.CreateGroup(t.Context(), clerk, access.Group{Name: "Ann's people"}))(t)
			for round := range 60 {
				at := desks[rnd.IntN(2)]
				id := ids[rnd.IntN(len(ids))]
				switch rnd.IntN(5) {
				case 0:
					u := must(at.CreateUser(t.Context(), clerk, access.User{Username: fmt.Sprint("new", round), FirstName: text(), Email: fmt.Sprintf("a%d@anna.example", round), Active: true}, registry.Password{}))(t)
					ids = append(ids, u.ID)
				case 1:
					if err := at.DeleteUser(t.Context(), clerk, id, 0); err != nil && !errors.Is(err, access.ErrNotFound) {
						t.Fatal(err)
					}
				case 2:
					u, err := at.User(t.Context(), id)
					if err == nil {
						u.LastName, u.Active = text(), !u.Active
						must(at.UpdateUser(t.Context(), clerk, u))(t)
					}
				case 3:
					if err := at.AddMember(t.Context(), clerk, group.ID, id); err != nil && !errors.As(err, new(access.Invalid)) {
						t.Fatal(err)
					}
				}
				all := must(d.Users(t.Context(), registry.UserFilter{Limit: store.All}))(t)
				query := []string{"ann", "ФЕД", "фёд", "åsa", "neil", "der v", "straẞe", "a", "@anna", "", "nobody", "x an"}[rnd.IntN(12)]
				for _, at := range desks {
					s := registry.UserSearch{Search: registry.Search{Query: query, Limit: 1 + rnd.IntN(9)}}
					if diff := gocmp.Diff(naiveUsers(all, query), findAll(t, at.Registry, s)); diff != "" {
						t.Fatalf("round %d, %q: want (-), got (+):\n%s", round, query, diff)
					}
					s.Inactive, s.GroupID = true, group.ID
					members := must(d.Users(t.Context(), registry.UserFilter{Limit: store.All, GroupID: group.ID, Inactive: true}))(t)
					if diff := gocmp.Diff(naiveUsers(members, query), findAll(t, at.Registry, s)); diff != "" {
						t.Fatalf("round %d, inactive members, %q: want (-), got (+):\n%s", round, query, diff)
					}
				}
			}
		})
	}
}

func TestSearchAnywhere(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		d.user("yardman")
		must(d.CreateGate(ctx, clerk, access.Gate{Code: "g-1", Name: "Back door", Location: "Yard"}))(t)
		must(d.CreateGate(ctx, clerk, access.Gate{Code: "yard", Name: "Gate"}))(t)
		g := must(d.CreateGroup(ctx, clerk, access.Group{Name: "Backyard"}))(t)
		found := must(d.SearchAnywhere(ctx, "YARD", 10))(t)
		if len(found.Users) != 1 || len(found.Gates) != 2 || len(found.Groups) != 1 || found.Groups[0].ID != g.ID {
			t.Errorf("got %+v, want a user, two gates, a group", found)
		}
		if err := d.DeleteGroup(ctx, clerk, g.ID, 0); err != nil {
			t.Fatal(err)
		}
		if found := must(d.SearchAnywhere(ctx, "yard", 1))(t); len(found.Gates) != 1 || len(found.Groups) != 0 {
			t.Errorf("after the group went, one of each: got %+v", found)
		}
		if found := must(d.SearchAnywhere(ctx, " \t", 10))(t); len(found.Users)+len(found.Gates)+len(found.Groups) != 0 {
			t.Errorf("an empty search found %+v", found)
		}
		for _, after := range []string{"x", "1", "1.x", "7.1", "1.-2", "0.1 and more"} {
			if _, err := d.FindUsers(ctx, registry.UserSearch{Search: registry.Search{After: after}}); !errors.As(err, new(access.Invalid)) {
				t.Errorf("after %q: %v, want Invalid", after, err)
			}
		}
	})
}

// crowd fills a database with users in one statement.
func crowd(b *testing.B, n int) *registry.Registry {
	b.Helper()
	db := storetest.New(b, store.SQLite)
	s := storetest.OpenWith(b, store.Options{Database: db.DSN})
	raw, err := sql.Open("sqlite", "file:"+db.DSN)
	if err != nil {
		b.Fatal(err)
	}
	defer raw.Close()
	if _, err := raw.Exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
		INSERT INTO users (username, first_name, last_name, email, language, password, is_active, is_staff, is_superuser, version, created_at)
		SELECT 'user' || i, 'First' || (i * 7919 % 5003), 'Фамилия' || (i * 104729 % 100003), 'user' || i || '@example.com', '', '!', 1, 0, 0, 1, 1 FROM n`, n); err != nil {
		b.Fatal(err)
	}
	return registry.New(registry.Config{Store: s})
}

// BenchmarkFindUsers is a search for what is rare, frequent and nowhere, and what the directory costs.
func BenchmarkFindUsers(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		r := crowd(b, n)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		if _, err := r.FindUsers(b.Context(), registry.UserSearch{}); err != nil {
			b.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		for _, query := range []string{"user", "амилия77", "i77 user7", "nowhere"} {
			b.Run(fmt.Sprintf("%d/%s", n, strings.ReplaceAll(query, " ", "+")), func(b *testing.B) {
				for b.Loop() {
					if _, err := r.FindUsers(b.Context(), registry.UserSearch{Search: registry.Search{Query: query, Limit: 20}}); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/float64(n), "B/user")
			})
		}
	}
}
