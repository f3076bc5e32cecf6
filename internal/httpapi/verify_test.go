package httpapi

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/gatekeeper"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
	"github.com/openway-access/openway/internal/throttle"
)

const (
	invalidAnswer = `{"decision":"DENY","reason":"INVALID_REQUEST"}`
	unknownGate   = `{"decision":"DENY","reason":"UNKNOWN_GATE"}`
	tokenInvalid  = `{"decision":"DENY","reason":"TOKEN_INVALID"}`
	allowAnswer   = `{"decision":"ALLOW","duration_ms":800,"reason":"OK"}`
)

// What the golden corpus has no line for.
func TestVerifyBodies(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	good := `{"gate_id":"gate-01","token":"` + demoToken + `"}`
	for _, c := range []struct {
		name, contentType, body, want string
	}{
		{"as the firmware sends it", jsonType, good, allowAnswer},
		{"form", formType, "gate_id=gate-01&token=" + demoToken, allowAnswer},
		{"form in Cyrillic", formType, "gate_id=%D0%BA%D0%B0%D0%BB%D0%B8%D1%82%D0%BA%D0%B0-1&token=" + demoToken, allowAnswer},
		{"form with an empty token", formType, "gate_id=gate-01&token=", invalidAnswer},
		{"form, last wins", formType, "gate_id=x&gate_id=gate-01&token=" + demoToken, allowAnswer},
		{"multipart", multiType, multi(`name="gate_id"|gate-01`, `name="token"|`+demoToken), allowAnswer},
		{"token of 7 characters", jsonType, `{"gate_id":"gate-01","token":"xxxxxxx"}`, invalidAnswer},
		{"token of 7 emoji", jsonType, `{"gate_id":"gate-01","token":"😀😀😀😀😀😀😀"}`, invalidAnswer},
		{"token of 129 characters", jsonType, `{"gate_id":"gate-01","token":"` + strings.Repeat("ж", 129) + `"}`, invalidAnswer},
		{"lone surrogate in the gate", jsonType, `{"gate_id":"gate-01\ud800","token":"` + demoToken + `"}`, invalidAnswer},
		{"lone surrogate in the token", jsonType, `{"gate_id":"gate-01","token":"` + demoToken + `\udc00"}`, invalidAnswer},
		{"lone surrogate elsewhere", jsonType, `{"gate_id":"gate-01","token":"` + demoToken + `","x":"\udc00"}`, allowAnswer},
		{"NUL in the token", jsonType, `{"gate_id":"gate-01","token":"` + demoToken + `\u0000"}`, invalidAnswer},
		{"NUL elsewhere", jsonType, `{"gate_id":"gate-01","token":"` + demoToken + `","x":"\u0000"}`, allowAnswer},
		{"invalid UTF-8", jsonType, `{"gate_id":"gate-01","token":"` + demoToken + `","x":"` + "\xff" + `"}`, invalidAnswer},
		{"separators around", jsonType, `{"gate_id":"\u001c gate-01\u001f","token":"\u2028` + demoToken + `\u0085"}`, allowAnswer},
		{"64 KiB", jsonType, `{"x":"` + strings.Repeat("x", maxBody-len(good)-7) + `",` + good[1:], allowAnswer},
		{"a byte more", jsonType, `{"x":"` + strings.Repeat("x", maxBody-len(good)-6) + `",` + good[1:], invalidAnswer},
		{"a list of them", jsonType, "[" + good + "]", invalidAnswer},
		{"brackets", jsonType, strings.Repeat("[", 60000), invalidAnswer},
		{"nothing", jsonType, "", invalidAnswer},
		{"nothing at all", "", "", invalidAnswer},
		{"a long gate", jsonType, `{"gate_id":"` + strings.Repeat("g", 5000) + `","token":"` + demoToken + `"}`, unknownGate},
		{"fraction", jsonType, `{"gate_id":1.5,"token":"` + demoToken + `"}`, allowAnswer},
		{"number as the token", jsonType, `{"gate_id":"gate-01","token":12345678}`, tokenInvalid},
	} {
		w := s.ask("POST", "/api/v1/access/verify", c.body, "Content-Type: "+c.contentType)
		if w.Code != 200 || w.Body.String() != c.want {
			t.Errorf("%s: %d %s, want %s", c.name, w.Code, w.Body, c.want)
		}
		if w.Header().Get("Content-Length") != fmt.Sprint(w.Body.Len()) || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: headers %v", c.name, w.Header())
		}
	}
}

func TestVerifyLogs(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	for _, c := range []struct{ body, gate, decision, reason, user string }{
		{`{"gate_id":" gate-01 ","token":"` + demoToken + `"}`, "gate-01", "ALLOW", "OK", "2"},
		{`{"gate_id":"gate-empty","token":"` + demoToken + `"}`, "gate-empty", "DENY", "NO_PERMISSION", "2"},
		{`{"gate_id":"gate-01","token":"` + strings.Repeat("f", 40) + `"}`, "gate-01", "DENY", "TOKEN_INVALID", ""},
		{`{"gate_id":"gate-01"}`, "gate-01", "DENY", "INVALID_REQUEST", ""},
		{`{`, "", "DENY", "INVALID_REQUEST", ""},
		{`{"gate_id":"` + demoToken + `","token":"gate-0001"}`, "d2d2…d2d2", "DENY", "UNKNOWN_GATE", ""},
		{`{"gate_id":"` + strings.Repeat("ж", 65) + `","token":"` + demoToken + `"}`, strings.Repeat("ж", 64), "DENY", "UNKNOWN_GATE", ""},
	} {
		s.ask("POST", "/api/v1/access/verify", c.body, asJSON)
		got := s.attrs.got
		want := map[string]string{"gate": c.gate, "decision": c.decision, "reason": c.reason}
		if c.user != "" {
			want["user_id"] = c.user
		}
		if !maps.Equal(got, want) {
			t.Errorf("%.60s: logged %v, want %v", c.body, got, want)
		}
	}
}

func TestGateAnswers(t *testing.T) {
	t.Parallel()
	h := New(Config{})
	for _, c := range []struct {
		answer gatekeeper.Answer
		status int
		body   string
		retry  string
	}{
		{gatekeeper.Answer{Outcome: access.Allow, Reason: access.OK, ReleaseMS: 60000}, 200, `{"decision":"ALLOW","duration_ms":60000,"reason":"OK"}`, ""},
		{gatekeeper.Answer{Outcome: access.Deny, Reason: access.NoPermission}, 200, `{"decision":"DENY","reason":"NO_PERMISSION"}`, ""},
		{gatekeeper.Answer{Outcome: access.Deny, Reason: access.RateLimit, RetryAfter: 1001 * time.Millisecond}, 200, `{"decision":"DENY","reason":"RATE_LIMIT"}`, "2"},
		{gatekeeper.Answer{Outcome: access.Deny, Reason: access.Unavailable, RetryAfter: time.Second}, 503, `{"decision":"DENY","reason":"UNAVAILABLE"}`, "1"},
		{gatekeeper.Answer{Outcome: access.Deny, Reason: access.Unavailable}, 503, `{"decision":"DENY","reason":"UNAVAILABLE"}`, "1"},
	} {
		w := httptest.NewRecorder()
		h.answerGate(w, c.answer, new(turn))
		if w.Code != c.status || w.Body.String() != c.body || w.Header().Get("Retry-After") != c.retry || w.Header().Get("Content-Length") != strconv.Itoa(len(c.body)) {
			t.Errorf("%+v: %d %s, Retry-After %q", c.answer, w.Code, w.Body, w.Header().Get("Retry-After"))
		}
	}
}

// When nothing can be recorded the gate is told so, and everybody else gets a 503 to try again.
func TestDatabaseGone(t *testing.T) {
	t.Parallel()
	database := storetest.New(t, store.Postgres)
	u, err := url.Parse(database.DSN)
	if err != nil {
		t.Fatal(err)
	}
	line := newLine(t, u.Host)
	u.Host = line.address()
	s := serve(t, storetest.OpenWith(t, store.Options{Database: u.String()}), nil)
	if w := s.ask("GET", "/api/v1/devices/me", "", asDemo); w.Code != 401 {
		t.Fatalf("before: %d %s", w.Code, w.Body)
	}
	line.cut()
	w := s.ask("POST", "/api/v1/access/verify", `{"gate_id":"gate-01","token":"`+demoToken+`"}`, asJSON)
	if w.Code != 503 || w.Body.String() != `{"decision":"DENY","reason":"UNAVAILABLE"}` || w.Header().Get("Retry-After") == "" {
		t.Errorf("verify: %d %s, Retry-After %q", w.Code, w.Body, w.Header().Get("Retry-After"))
	}
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/api/v1/auth/token", `{"username":"demo","password":"StrongPass_123"}`},
		{"GET", "/api/v1/devices/me", ""},
		{"POST", "/api/v1/devices/register", "{}"},
	} {
		w := s.ask(c.method, c.path, c.body, asJSON, asDemo, "Accept-Language: ru")
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" ||
			w.Body.String() != `{"detail":"Сервис сейчас недоступен. Повторите попытку немного позже."}` {
			t.Errorf("%s: %d %s, Retry-After %q; want 503", c.path, w.Code, w.Body, w.Header().Get("Retry-After"))
		}
	}
}

func TestVerifyRateLimit(t *testing.T) {
	t.Parallel()
	k := gatekeeper.New(gatekeeper.Config{VerifyRate: throttle.Rate{N: 1, Per: time.Hour}})
	h := New(Config{Gatekeeper: k})
	if _, ok := k.Admit(netip.MustParseAddr("192.0.2.1"), "x"); !ok {
		t.Fatal("the first request was refused")
	}
	r := httptest.NewRequest("POST", "/api/v1/access/verify", panicReader{})
	r.RemoteAddr = "192.0.2.1:0"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != 200 || w.Body.String() != `{"decision":"DENY","reason":"RATE_LIMIT"}` || w.Header().Get("Retry-After") != "3600" {
		t.Errorf("over the limit: %d %s, Retry-After %q", w.Code, w.Body, w.Header().Get("Retry-After"))
	}
}

// panicReader is a body that must not be read.
type panicReader struct{}

func (panicReader) Read([]byte) (int, error) { panic("the body was read") }

// line is a way to a database that can be cut.
type line struct {
	listener net.Listener
	mu       sync.Mutex
	conns    []net.Conn
}

func newLine(t *testing.T, target string) *line {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &line{listener: l}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target)
			if err != nil {
				in.Close()
				return
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			go func() { _, _ = io.Copy(in, out) }()
			go func() { _, _ = io.Copy(out, in) }()
		}
	}()
	t.Cleanup(p.cut)
	return p
}

func (p *line) address() string { return p.listener.Addr().String() }

func (p *line) cut() {
	p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
}

// BenchmarkReadVerify reads the body that the firmware sends.
func BenchmarkReadVerify(b *testing.B) {
	h := New(Config{})
	body := `{"gate_id":"gate-01","token":"` + demoToken + `"}`
	reader := strings.NewReader("")
	r := httptest.NewRequest("POST", "/api/v1/access/verify", nil)
	r.Header.Set("Content-Type", jsonType)
	r.Body, r.ContentLength = io.NopCloser(reader), int64(len(body))
	t := new(turn)
	b.ReportAllocs()
	for b.Loop() {
		reader.Reset(body)
		if ask := h.readVerify(r, t); ask.Malformed {
			b.Fatal("malformed")
		}
	}
}
