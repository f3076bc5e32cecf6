package webadmin

import (
	"bufio"
	"context"
	"errors"
	"html"
	"io"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/gatekeeper"
	"github.com/openway-access/openway/internal/store"
)

// Whoever is signed out sees nothing more of the gates, also where there is always something to see.
func TestFeedEndsWithItsSession(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	x.gate("front-door", "Front door")
	b := x.as("viewer")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	path := regexp.MustCompile(`/admin/events/stream/\?after=[^"]+`).FindString(b.get("/admin/").want(t, "the overview", http.StatusOK).body)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, x.url+html.UnescapeString(path), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := b.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	// next is the name of the next thing that the stream says.
	next := func() string {
		t.Helper()
		for {
			line, err := lines.ReadString('\n')
			if errors.Is(err, io.EOF) {
				return "EOF"
			}
			if err != nil {
				t.Fatal(err)
			}
			if name, is := strings.CutPrefix(line, "event: "); is {
				return strings.TrimSpace(name)
			}
		}
	}
	atTheGate := func(id string) {
		x.keeper.Verify(ctx, gatekeeper.Request{Gate: "front-door", Token: "nobody's phone", At: time.Now(), RequestID: id, Address: netip.MustParseAddr("10.0.0.7")})
	}
	if got := next(); got != "open" {
		t.Fatalf("it begins with %q", got)
	}
	atTheGate("one")
	if got := next(); got != "rows" {
		t.Fatalf("an event at the gate: %q, want rows", got)
	}
	viewer := must(x.desk.UserByName(ctx, "viewer"))(t)
	must(x.desk.SignOutEverywhere(ctx, setup, viewer.ID))(t)
	atTheGate("two")
	if got := next(); got != "end" {
		t.Errorf("an event after the session ended: %q, want end", got)
	}
}
