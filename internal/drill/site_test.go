package drill

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/processtest"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

func TestMain(m *testing.M) { os.Exit(processtest.Main(m)) }

// long is how much of something there is: more when the drills are run for themselves.
func long[T any](inTests, alone T) T {
	if os.Getenv("OPENWAY_TEST_DRILL") == "long" {
		return alone
	}
	return inTests
}

// measuring has a test run by itself when it is long: it compares rates then. In short it only sees that all goes well.
func measuring(t *testing.T) {
	t.Helper()
	if long(true, false) {
		t.Parallel()
	}
}

// until polls a condition, and fails when it does not come true in time.
func until(t testing.TB, patience time.Duration, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("after %v still not: %s", patience, what)
		}
	}
}

// rest lets the load go on for a while. It is no wait for anything: what follows holds however much was done meanwhile.
func rest(d time.Duration) { <-time.After(d) }

const door = "door"

// person is somebody whose right to pass the door is taken away once.
type person struct {
	name  string
	token string
	id    int64
}

// people makes a site of one gate and n people who may each pass by a permission of their own.
func people(t testing.TB, database string, n int) []*person {
	t.Helper()
	var b strings.Builder
	list := make([]*person, n)
	b.WriteString("gates:\n  - code: " + door + "\nusers:\n")
	for i := range list {
		p := &person{name: fmt.Sprintf("person-%04d", i), token: tokenOf(i)}
		fmt.Fprintf(&b, "  - username: %s\n    password_hash: \"!\"\n    tokens: [%q]\n", p.name, p.token)
		list[i] = p
	}
	b.WriteString("permissions:\n")
	for _, p := range list {
		fmt.Fprintf(&b, "  - gate: %s\n    user: %s\n", door, p.name)
	}
	file := filepath.Join(t.TempDir(), "site.yaml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	processtest.Run(t, database, "apply", "-f", file)
	d := openDesk(t, database)
	defer d.close(t)
	for _, p := range list {
		u, err := d.registry.UserByName(t.Context(), p.name)
		if err != nil {
			t.Fatal(err)
		}
		p.id = u.ID
	}
	return list
}

func tokenOf(i int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "drill %d", i))
	return hex.EncodeToString(sum[:20])
}

// desk is an administrator in a process beside the servers: this one.
type desk struct {
	store    *store.Store
	registry *registry.Registry
	gate     int64
}

var actor = access.Actor{Kind: "cli", Label: "drill"}

func openDesk(t testing.TB, database string) *desk {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Database: database})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := credential.NewKeyring([]byte(processtest.SecretKey))
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{store: s, registry: registry.New(registry.Config{Store: s, Keys: keys, Logger: slog.New(slog.DiscardHandler)})}
	g, err := d.registry.GateByCode(t.Context(), door)
	if err != nil {
		t.Fatal(err)
	}
	d.gate = g.ID
	return d
}

func (d *desk) remove(ctx context.Context, p *person) error {
	_, err := d.registry.RevokePermissions(ctx, actor, d.gate, p.id, 0)
	return err
}

func (d *desk) close(t testing.TB) {
	t.Helper()
	if err := d.registry.Close(context.Background()); err != nil {
		t.Errorf("close the desk: %v", err)
	}
	if err := d.store.Close(); err != nil {
		t.Errorf("close the desk's database: %v", err)
	}
}

// empty makes a fresh database of an engine on the servers of the test run.
func empty(t testing.TB, engine string) string { return storetest.New(t, engine).DSN }
