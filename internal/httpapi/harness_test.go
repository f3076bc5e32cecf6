package httpapi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/eventlog"
	"github.com/openway-access/openway/internal/gatekeeper"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/sitefile"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// Tokens of testdata/site.yaml.
const (
	demoToken  = "d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2"
	carolToken = "c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5"
)

// site is the API in front of the real thing: a store, a desk and a gatekeeper on the site of testdata/site.yaml.
type site struct {
	*Handler
	attrs *attrs // of the last request
}

// newSite makes one on SQLite; change may change its settings.
func newSite(t testing.TB, change func(*Config)) *site {
	t.Helper()
	database, err := seeded()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "openway.db")
	if err := os.WriteFile(path, database, 0o600); err != nil {
		t.Fatal(err)
	}
	return serve(t, storetest.OpenWith(t, store.Options{Database: path}), change)
}

// seeded is an SQLite database that holds testdata/site.yaml.
var seeded = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "openway-httpapi")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "openway.db")
	ctx := context.Background()
	s, err := store.Open(ctx, store.Options{Database: path})
	if err != nil {
		return nil, err
	}
	if _, err := s.Migrate(ctx); err != nil {
		return nil, err
	}
	keys, err := credential.NewKeyring([]byte(secretKey))
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile("../../testdata/site.yaml")
	if err != nil {
		return nil, err
	}
	declared, err := sitefile.Parse("site.yaml", data)
	if err != nil {
		return nil, err
	}
	desk := registry.New(registry.Config{Store: s, Keys: keys})
	if _, err := desk.Apply(ctx, access.Actor{Kind: "system"}, declared, registry.ApplyOptions{}); err != nil {
		return nil, err
	}
	if err := errors.Join(desk.Close(ctx), s.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

const secretKey = "a key of thirty-two bytes or more"

// serve puts the API in front of a store.
func serve(t testing.TB, s *store.Store, change func(*Config)) *site {
	t.Helper()
	keys, err := credential.NewKeyring([]byte(secretKey))
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	desk := registry.New(registry.Config{Store: s, Keys: keys, Logger: quiet, LoginFloor: time.Nanosecond})
	ctx := context.Background()
	keeper := gatekeeper.New(gatekeeper.Config{Source: s, Keys: keys, Events: eventlog.Config{Appender: s, MaxWait: 500 * time.Millisecond}, Logger: quiet})
	if err := keeper.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = keeper.Close(ctx) // fails where a test has cut the database off
		_ = desk.Close(ctx)
	})
	c := Config{Gatekeeper: keeper, Registry: desk, Logger: quiet}
	if change != nil {
		change(&c)
	}
	return &site{Handler: New(c)}
}

// attrs gathers what a handler adds to the access log.
type attrs struct {
	http.ResponseWriter
	mu  sync.Mutex
	got map[string]string
}

func (a *attrs) AddLogAttrs(more ...slog.Attr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range more {
		a.got[m.Key] = m.Value.String()
	}
}

// ask sends a request; header is "Name: value" lines.
func (s *site) ask(method, path, body string, header ...string) *httptest.ResponseRecorder {
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, path, reader)
	r.Header.Set("X-Request-Id", "test-1")
	r.RemoteAddr = "192.0.2.7:0"
	for _, h := range header {
		name, v, _ := strings.Cut(h, ": ")
		if name == "From" {
			r.RemoteAddr = v
			continue
		}
		r.Header.Add(name, v)
	}
	w := httptest.NewRecorder()
	s.attrs = &attrs{ResponseWriter: w, got: map[string]string{}}
	s.ServeHTTP(s.attrs, r)
	return w
}

const (
	asJSON = "Content-Type: application/json"
	asDemo = "Authorization: Token " + demoToken
)

func (s *site) askRequest(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// chunked is a sign-in whose body does not say how long it is.
func chunked(body string) *http.Request {
	r := httptest.NewRequest("POST", "/api/v1/auth/token", io.NopCloser(strings.NewReader(body)))
	r.ContentLength = -1
	r.Header.Set("Content-Type", "application/json")
	return r
}

// askError has the handler render an error of the server's.
func (s *site) askError(status int) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("X-Request-Id", "test-1")
	w := httptest.NewRecorder()
	s.Error(w, r, status)
	return w
}
