package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestAccessLog(t *testing.T) {
	log := new(bytes.Buffer)
	at := time.Date(2026, 11, 23, 17, 30, 0, 123_456_789, time.FixedZone("", 3*60*60))
	calls := 0
	s := try(t, Config{
		Logger: slog.New(NewLogHandler(log, JSONLog, slog.LevelInfo)),
		Now:    func() time.Time { calls++; return at.Add(time.Duration(calls) * 3 * time.Millisecond) },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.(interface{ AddLogAttrs(...slog.Attr) }).AddLogAttrs(slog.Int64("user_id", 7), slog.String("gate", "front"))
			w.WriteHeader(http.StatusTeapot)
		}),
	})
	s.do("GET", "/door?token=secret", "X-Request-ID", "id-1", "Authorization", "Token secret")
	want := `{"ts":"2026-11-23T14:30:00.129456Z","level":"INFO","logger":"openway.request","message":"GET /door 418 3ms",` +
		`"request_id":"id-1","method":"GET","path":"/door","status":418,"duration_ms":3,"user_id":7,"gate":"front"}` + "\n"
	if log.String() != want {
		t.Errorf("the line is\n%swant\n%s", log, want)
	}
	log.Reset()
	s.do("GET", "/health")
	if log.Len() > 0 {
		t.Errorf("a health probe is logged at INFO: %s", log)
	}
}

// What one request added must not show in the next one's line.
func TestLogAttrsDoNotLeak(t *testing.T) {
	s := try(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/first" {
			w.(interface{ AddLogAttrs(...slog.Attr) }).AddLogAttrs(slog.String("gate", "front"))
			w.WriteHeader(403)
		}
	})})
	for range 20 {
		s.do("GET", "/first")
		s.do("GET", "/second")
	}
	if rec := s.recorder(nil); len(rec.attrs) != 0 || rec.status != 0 {
		t.Errorf("a recorder from the pool holds %v, %d", rec.attrs, rec.status)
	}
	for _, l := range s.lines(t) {
		if l["path"] == "/second" && (l["gate"] != nil || l["status"] != 200.0) {
			t.Fatalf("the second request's line is %v", l)
		}
	}
}

type stringer struct{}

func (stringer) String() string { return "a stringer" }

func TestLogHandler(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(NewLogHandler(&out, JSONLog, slog.LevelInfo))
	log.Debug("not shown")
	log.With("logger", "openway.x", "a", 1).WithGroup("g").With("b", true).Warn("hello \"you\"\n\x1b[31m\xff\u2028",
		"c", 1.5, "d", errors.New("bad\x00"), "e", stringer{}, "f", []string{"x", "y"}, "g", time.Second, "h", math.NaN(), slog.Group("i", "j", uint64(1)), "k", nil)
	var m map[string]any
	if err := json.Unmarshal(out.Bytes(), &m); err != nil {
		t.Fatalf("%s: %v", &out, err)
	}
	for key, want := range map[string]any{
		"level": "WARN", "logger": "openway.x", "message": "hello \"you\"\n\x1b[31m\ufffd\u2028", "a": 1.0, "g.b": true, "g.c": 1.5, "g.d": "bad\x00", "g.e": "a stringer", "g.g": "1s", "g.h": "NaN", "g.i.j": 1.0, "g.k": nil,
	} {
		if m[key] != want {
			t.Errorf("%s is %#v, want %#v", key, m[key], want)
		}
	}
	if strings.Count(out.String(), "\n") != 1 || !strings.Contains(out.String(), `"g.f":["x","y"]`) {
		t.Errorf("the line is %q", &out)
	}

	out.Reset()
	log = slog.New(NewLogHandler(&out, TextLog, slog.LevelDebug))
	log.Debug("hello\n\x1b[31m", "logger", "l", "a", "one two", "b", "plain", "c", "", "d", "\x1b")
	if got, want := out.String(), " DEBUG l hello\\n\\x1b[31m a=\"one two\" b=plain c=\"\" d=\"\\x1b\"\n"; !strings.HasSuffix(got, want) {
		t.Errorf("the text is %q, want it to end with %q", got, want)
	}
}

func TestInstantsOfLines(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 10_000 {
		at := time.UnixMicro(rnd.Int64N(300_000_000_000_000_000) - 70_000_000_000_000_000).In(time.FixedZone("", 3*60*60)) // 249 BC to 9475, and some beyond
		if i%10 == 0 {
			at = at.Truncate(24 * time.Hour).Add(time.Duration(rnd.IntN(3)-1) * time.Microsecond)
		}
		if got, want := string(appendInstant(nil, at)), at.UTC().Format("2006-01-02T15:04:05.000000Z07:00"); got != want {
			t.Fatalf("appendInstant(%v) = %s, want %s", at, got, want)
		}
	}
}

// On a busy site lines are written together; the first one does not wait for others, and none waits long.
func TestLinesAreGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := new(writes)
		w := NewLogWriter(out, JSONLog)
		_, _ = w.Write([]byte("first\n"))
		synctest.Wait()
		if got := out.take(); len(got) != 1 || got[0] != "first\n" {
			t.Errorf("at once: %q, want the first line", got)
		}
		for range 3 {
			_, _ = w.Write([]byte("more\n"))
		}
		synctest.Wait()
		if got := out.take(); len(got) != 0 {
			t.Errorf("before the time is up: %q, want nothing", got)
		}
		<-time.After(logGather)
		synctest.Wait()
		if got := out.take(); len(got) != 1 || got[0] != "more\nmore\nmore\n" {
			t.Errorf("then: %q, want three lines in one write", got)
		}
		<-time.After(time.Hour)
		_, _ = w.Write([]byte("rested\n"))
		synctest.Wait()
		if got := out.take(); len(got) != 1 || got[0] != "rested\n" {
			t.Errorf("after a rest: %q, want the line at once", got)
		}
		if !w.Close(time.Second) {
			t.Error("Close gave up")
		}
	})
}

// writes remembers each write.
type writes struct {
	mu  sync.Mutex
	got []string
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.got = append(w.got, string(p))
	return len(p), nil
}

func (w *writes) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	got := w.got
	w.got = nil
	return got
}

// The JSON must be what encoding/json reads, whatever the strings hold.
func FuzzLogStrings(f *testing.F) {
	f.Add("plain", "\"\\\n\r\t\x00\x7f")
	f.Add("\xff\xc0\xed\xa0\x80", "\u2028\u2029ю😀")
	f.Fuzz(func(t *testing.T, message, value string) {
		var out bytes.Buffer
		slog.New(NewLogHandler(&out, JSONLog, slog.LevelInfo)).Info(message, "value", value)
		var m map[string]any
		if err := json.Unmarshal(out.Bytes(), &m); err != nil {
			t.Fatalf("%q: %v", &out, err)
		}
		if want := strings.ToValidUTF8(value, "\ufffd"); len([]rune(m["value"].(string))) < len([]rune(want)) || (value == want && m["value"] != value) {
			t.Errorf("%q comes back as %q", value, m["value"])
		}
		if strings.Count(out.String(), "\n") != 1 {
			t.Errorf("more than one line: %q", &out)
		}
	})
}

// stalled is a pipe whose reader has stopped until it is let go.
type stalled struct {
	mu  sync.Mutex
	got bytes.Buffer
	go_ chan struct{}
}

func (s *stalled) Write(p []byte) (int, error) {
	<-s.go_
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.Write(p)
}

func TestStalledLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stalled{go_: make(chan struct{})}
		w := newLogWriter(out, JSONLog, 100)
		line := []byte(strings.Repeat("x", 9) + "\n")
		for range 100 {
			if n, err := w.Write(line); n != len(line) || err != nil { // must not block
				t.Fatal(n, err)
			}
		}
		synctest.Wait()
		if w.Close(time.Second) {
			t.Error("Close says that everything was written")
		}
		if d := w.Dropped(); d < 79 || d > 90 { // ten lines wait, ten may be in the writer's hands
			t.Errorf("%d lines dropped", d)
		}
		close(out.go_)
		<-w.done
		if got := out.got.String(); strings.Count(got, "\n") < 11 || !strings.Contains(got, `"dropped":`) {
			t.Errorf("when the reader came back it got %q", got)
		}
	})
}

func TestLogWriterKeepsOrderAndLosesNothing(t *testing.T) {
	var out bytes.Buffer
	w := NewLogWriter(&out, JSONLog)
	const n = 5000
	for i := range n {
		_, _ = w.Write([]byte{byte('0' + i%10), '\n'})
	}
	if !w.Close(10 * time.Second) {
		t.Fatal("Close gave up")
	}
	if want := strings.Repeat("0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n", n/10); out.String() != want {
		t.Errorf("%d bytes were written, want %d in order", out.Len(), len(want))
	}
	_, _ = w.Write([]byte("late\n"))
	if strings.Contains(out.String(), "late") {
		t.Error("a line after Close was written")
	}
}

func BenchmarkAccessLog(b *testing.B) {
	h := NewLogHandler(io.Discard, JSONLog, slog.LevelInfo)
	s, err := New(Config{Logger: slog.New(h), Handler: http.NotFoundHandler()})
	if err != nil {
		b.Fatal(err)
	}
	benchmarkChain(b, s)
}

func TestShownHasNoToken(t *testing.T) {
	token := strings.Repeat("d2", 20)
	for in, want := range map[string]string{
		"/api/v1/devices/me":           "/api/v1/devices/me",
		"/" + token:                    "/…",
		"/a/" + token + "/b/" + token:  "/a/…/b/…",
		"/" + token[:31]:               "/" + token[:31],
		"/" + strings.ToUpper(token):   "/…",
		"/" + strings.Repeat("x", 600): "/" + strings.Repeat("x", 511) + "…",
	} {
		if got := shown(in); got != want {
			t.Errorf("shown(%q): got %q, want %q", in, got, want)
		}
	}
}
