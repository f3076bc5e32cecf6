package metrics_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/eventlog"
	"github.com/openway-access/openway/internal/gatekeeper"
	"github.com/openway-access/openway/internal/metrics"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// page is what /metrics shows.
func page(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func has(t *testing.T, page string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(page, "\n"+line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
}

func TestRequestsAreCountedByRoute(t *testing.T) {
	m := metrics.New("/verify", "/login")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /page/{name}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/exact/{$}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) {})
	for _, tt := range []struct {
		path   string
		status int
	}{
		{"/verify", 200},
		{"/verify", 200},
		{"/verify", 503},
		{"/verify", 405},
		{"/login", 200},
		{"/login", 429},
		{"/login", 429},
		{"/page/a", 200},
		{"/page/b", 404},
		{"/exact/", 200},
		{"/a", 404},
		{"/b", 404},
		{"/readyz", 200},
	} {
		r := httptest.NewRequest("GET", tt.path, nil)
		mux.ServeHTTP(httptest.NewRecorder(), r)
		if tt.path == "/verify" || tt.path == "/login" {
			r.Pattern = tt.path
		}
		if tt.path == "/readyz" {
			r.Pattern = "" // answered before any route
		}
		m.Observe(r, tt.status, 3*time.Millisecond)
	}
	m.Committed(3, 4*time.Millisecond)
	m.Committed(300, 40*time.Millisecond)
	has(t, page(t, m),
		`openway_http_requests_total{code="200",route="/verify"} 2`, `openway_http_requests_total{code="503",route="/verify"} 1`,
		`openway_http_requests_total{code="405",route="/verify"} 1`, `openway_verify_duration_seconds_count 4`,
		`openway_verify_duration_seconds_bucket{le="0.0025"} 0`, `openway_verify_duration_seconds_bucket{le="0.005"} 4`,
		`openway_http_requests_total{code="200",route="/page/{name}"} 1`, `openway_http_requests_total{code="404",route="/page/{name}"} 1`,
		`openway_http_requests_total{code="200",route="/exact/"} 1`, `openway_http_requests_total{code="404",route="other"} 2`,
		`openway_http_requests_total{code="200",route="/readyz"} 1`, `openway_http_request_duration_seconds_count{route="other"} 2`,
		`openway_logins_throttled_total 2`,
		`openway_commit_batch_events_bucket{le="4"} 1`, `openway_commit_batch_events_sum 303`, `openway_commit_duration_seconds_count 2`,
	)
}

// What the parts know is shown as they know it, on both engines.
func TestSourcesAreAsked(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		keys, err := credential.NewKeyring([]byte(strings.Repeat("k", 32)))
		if err != nil {
			t.Fatal(err)
		}
		desk := registry.New(registry.Config{Store: s, Keys: keys, LoginFloor: time.Millisecond})
		if err := desk.CheckKey(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := desk.CreateGate(ctx, access.Actor{Kind: "cli", Label: "test"}, access.Gate{Code: `north "1"`}); err != nil {
			t.Fatal(err)
		}
		m := metrics.New("/verify", "/login")
		keeper := gatekeeper.New(gatekeeper.Config{Source: s, Keys: keys, Events: eventlog.Config{Appender: s, Committed: m.Committed}})
		if err := keeper.Start(ctx); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := errors.Join(keeper.Close(context.Background()), desk.Close(context.Background())); err != nil {
				t.Error(err)
			}
		}()
		for i := range 30 {
			keeper.Verify(ctx, gatekeeper.Request{Gate: fmt.Sprint("invented ", i), Token: "some-token"})
		}
		keeper.Verify(ctx, gatekeeper.Request{Gate: `north "1"`, Token: "some-token"})
		keeper.Verify(ctx, gatekeeper.Request{Malformed: true})
		if _, _, err := desk.Login(ctx, access.Actor{}, "nobody", "a password", ""); err == nil {
			t.Fatal("nobody signs in")
		}
		m.Watch(metrics.Sources{
			Gatekeeper: keeper, Registry: desk, Size: s.Size, Pool: s.Pool, Dropped: func() int64 { return 7 },
			Expires: func() time.Time { return time.Unix(1_800_000_000, 0) }, Version: "v1.2.3", Engine: s.Engine(),
		})
		got := page(t, m)
		has(t, got,
			`openway_decisions_total{decision="DENY",gate="north \"1\"",reason="TOKEN_INVALID"} 1`,
			`openway_decisions_total{decision="DENY",gate="",reason="UNKNOWN_GATE"} 30`,
			`openway_decisions_total{decision="DENY",gate="",reason="INVALID_REQUEST"} 1`,
			`openway_decisions_total{decision="ALLOW",gate="",reason="OK"} 0`,
			`openway_logins_total{result="failed"} 1`, `openway_logins_total{result="ok"} 0`, `openway_logins_total{result="busy"} 0`,
			`openway_database_up 1`, `openway_log_lines_dropped_total 7`, `openway_certificate_expires_timestamp_seconds 1.8e+09`,
			`openway_snapshot_objects{kind="gate"} 1`, `openway_eventlog_queue 0`,
			`openway_build_info{engine="`+s.Engine()+`",go="",revision="",version="v1.2.3"} 1`,
		)
		if strings.Contains(got, "invented") {
			t.Error("a gate that does not exist has series of its own")
		}
		if t.Failed() {
			t.Log(got)
		}
	})
}

// A database that hangs holds up a scrape for two seconds, and the rest is shown.
func TestADatabaseThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := metrics.New("/verify", "/login")
		m.Watch(metrics.Sources{
			Size: func(ctx context.Context) (int64, error) { <-ctx.Done(); return 0, ctx.Err() },
			Pool: func() sql.DBStats {
				return sql.DBStats{MaxOpenConnections: 9, InUse: 9, WaitCount: 2, WaitDuration: 1500 * time.Millisecond}
			},
			Expires: func() time.Time { return time.Time{} },
		})
		began := time.Now()
		got := page(t, m)
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("the scrape took %s, want 2 s", took)
		}
		has(t, got, `openway_database_up 0`, `openway_database_connections{state="used"} 9`, `openway_database_waits_total 2`, `openway_database_waited_seconds_total 1.5`,
			`openway_certificate_expires_timestamp_seconds 0`)
		if strings.Contains(got, "openway_database_size_bytes") {
			t.Error("a size is shown that nobody knows")
		}
	})
}
