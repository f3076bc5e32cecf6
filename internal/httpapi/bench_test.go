package httpapi

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/eventlog"
	"github.com/openway-access/openway/internal/gatekeeper"
	"github.com/openway-access/openway/internal/server"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
	"github.com/openway-access/openway/internal/throttle"
)

// BenchmarkVerify is all that is ours on the way from net/http's request to its answer, log line included, with a database that takes everything at once.
func BenchmarkVerify(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(map[int]string{1: "callers=1", 64: "callers=64"}[callers], func(b *testing.B) {
			front := newFront(b)
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					c := newController()
					defer func() {
						if !bytes.Contains(c.answer, []byte("ALLOW")) {
							b.Errorf("answered %s", c.answer)
						}
					}()
					for range b.N/callers + 1 {
						c.ask(front)
					}
				})
			}
			wg.Wait()
		})
	}
}

// nowhere writes nothing.
type nowhere struct{ *store.Store }

func (nowhere) AppendBatch(context.Context, int64, int64, *access.EventBatch) (bool, error) {
	return true, nil
}

// newFront is the whole server but for net/http and the database's writing, on the site of testdata/site.yaml.
func newFront(t testing.TB) http.Handler {
	t.Helper()
	database, err := seeded()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "openway.db")
	if err := os.WriteFile(path, database, 0o600); err != nil {
		t.Fatal(err)
	}
	s := storetest.OpenWith(t, store.Options{Database: path})
	keys, err := credential.NewKeyring([]byte(secretKey))
	if err != nil {
		t.Fatal(err)
	}
	lines := server.NewLogWriter(io.Discard, server.JSONLog)
	t.Cleanup(func() { lines.Close(time.Second) })
	log := slog.New(server.NewLogHandler(lines, server.JSONLog, slog.LevelInfo))
	keeper := gatekeeper.New(gatekeeper.Config{
		Source: s, Keys: keys, IdleDays: 90, VerifyRate: throttle.Rate{N: 1_000_000, Per: time.Second}, Events: eventlog.Config{Appender: nowhere{s}}, Logger: log,
	})
	if err := keeper.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := keeper.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	api := New(Config{Gatekeeper: keeper, Logger: log})
	front, err := server.New(server.Config{Handler: api, Allowed: api.Methods, Error: api.Error, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	return front
}

// controller asks the same again and again, with no memory but its own: what it costs is not net/http's.
type controller struct {
	header http.Header
	url    *url.URL
	body   bytes.Reader
	req    http.Request
	answer []byte
}

const controllerAsks = `{"gate_id":"gate-01","token":"d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2"}`

func newController() *controller {
	return &controller{header: make(http.Header), url: &url.URL{Path: "/api/v1/access/verify"}}
}

func (c *controller) Header() http.Header { return c.header }
func (c *controller) Write(p []byte) (int, error) {
	c.answer = append(c.answer[:0], p...)
	return len(p), nil
}
func (c *controller) WriteHeader(int)            {}
func (c *controller) Read(p []byte) (int, error) { return c.body.Read(p) }
func (c *controller) Close() error               { return nil }

func (c *controller) ask(front http.Handler) {
	clear(c.header)
	c.body.Reset([]byte(controllerAsks))
	if c.req.Header == nil {
		c.req.Header = make(http.Header)
	}
	clear(c.req.Header)
	c.req.Header["Content-Type"] = jsonHeader
	c.req.Method, c.req.URL, c.req.Host, c.req.RemoteAddr = "POST", c.url, "access.example.org", "192.0.2.7:4711"
	c.req.Body, c.req.ContentLength = c, int64(len(controllerAsks))
	front.ServeHTTP(c, &c.req)
}

var jsonHeader = []string{"application/json"}
