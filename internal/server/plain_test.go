package server

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/net/http/httpguts"
)

const verifyPath = "/api/v1/access/verify"

// plainRequests are what controllers, phones and proxies send. All of them must be plain: else each costs what net/http costs.
func plainRequests() map[string]string {
	const body = `{"gate_id":"gate-01","token":"d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2"}`
	const line = "POST " + verifyPath + " HTTP/1.1\r\n"
	return map[string]string{
		"ESP32 HTTPClient": line + "Host: 192.0.2.1:8001\r\nUser-Agent: ESP32HTTPClient\r\nConnection: close\r\nAccept-Encoding: identity;q=1,chunked;q=0.1,*;q=0\r\n" +
			"Content-Type: application/json\r\nContent-Length: 72\r\n\r\n" + body,
		"ESP32, kept alive": line + "Host: 192.0.2.1:8001\r\nUser-Agent: ESP32HTTPClient\r\nConnection: keep-alive\r\nAccept-Encoding: identity;q=1,chunked;q=0.1,*;q=0\r\n" +
			"Content-Type: application/json\r\nContent-Length: 72\r\n\r\n" + body,
		"OkHttp": line + "Content-Type: application/json; charset=utf-8\r\nContent-Length: 72\r\nHost: access.example.org\r\nConnection: Keep-Alive\r\n" +
			"Accept-Encoding: gzip\r\nUser-Agent: okhttp/4.12.0\r\n\r\n" + body,
		"nginx": line + "Host: access.example.org\r\nX-Request-ID: 6f1c2b3a4d5e6f708192a3b4c5d6e7f8\r\nX-Real-IP: 203.0.113.9\r\nX-Forwarded-For: 203.0.113.9\r\n" +
			"X-Forwarded-Proto: https\r\nContent-Length: 72\r\nuser-agent: ESP32HTTPClient\r\ncontent-type: application/json\r\n\r\n" + body,
		"curl": line + "Host: [::1]:8001\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\nContent-Type: application/json\r\nContent-Length: 72\r\n\r\n" + body,
		"wrk":  line + "Host: 127.0.0.1:8001\r\nContent-Type: application/json\r\nContent-Length: 72\r\n\r\n" + body,
		"Go": line + "Host: access.example.org\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: 72\r\nContent-Type: application/json\r\n" +
			"Accept-Encoding: gzip\r\n\r\n" + body,
		"no body":     line + "Host: x\r\nContent-Length: 0\r\n\r\n",
		"empty value": line + "Host: x\r\nX-Empty:\r\nX-Blank: \r\nContent-Length:2\r\n\r\n{}",
	}
}

// oddRequests are what net/http alone must judge.
func oddRequests() map[string]string {
	const line = "POST " + verifyPath + " HTTP/1.1\r\n"
	return map[string]string{
		"another path":               "POST /other HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
		"a longer path":              "POST " + verifyPath + "/ HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
		"a query":                    "POST " + verifyPath + "?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
		"an absolute target":         "POST http://y" + verifyPath + " HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
		"GET":                        "GET " + verifyPath + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"small letters":              "post " + verifyPath + " HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
		"HTTP/1.0":                   "POST " + verifyPath + " HTTP/1.0\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
		"two blanks":                 "POST  " + verifyPath + " HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
		"no length":                  line + "Host: x\r\n\r\n",
		"two lengths":                line + "Host: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
		"two other lengths":          line + "Host: x\r\nContent-Length: 2\r\ncontent-length: 3\r\n\r\n{}x",
		"a list of lengths":          line + "Host: x\r\nContent-Length: 2, 2\r\n\r\n{}",
		"length and chunks":          line + "Host: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"chunks":                     line + "Host: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"chunks, xchunked":           line + "Host: x\r\nContent-Length: 2\r\nTransfer-Encoding: xchunked\r\n\r\n{}",
		"+5":                         line + "Host: x\r\nContent-Length: +5\r\n\r\nhello",
		"-1":                         line + "Host: x\r\nContent-Length: -1\r\n\r\n{}",
		"hexadecimal":                line + "Host: x\r\nContent-Length: 0x2\r\n\r\n{}",
		"leading zero":               line + "Host: x\r\nContent-Length: 02\r\n\r\n{}",
		"blank in the length":        line + "Host: x\r\nContent-Length: 2 2\r\n\r\n{}",
		"empty length":               line + "Host: x\r\nContent-Length:\r\n\r\n{}",
		"huge length":                line + "Host: x\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
		"blank before the colon":     line + "Host: x\r\nContent-Length : 2\r\n\r\n{}",
		"no colon":                   line + "Host: x\r\nContent-Length\r\n\r\n{}",
		"no name":                    line + "Host: x\r\n: y\r\nContent-Length: 2\r\n\r\n{}",
		"bare LF":                    line + "Host: x\nContent-Length: 2\r\n\r\n{}",
		"bare LF at the end":         line + "Host: x\r\nContent-Length: 2\r\n\n{}",
		"all LF":                     "POST " + verifyPath + " HTTP/1.1\nHost: x\nContent-Length: 2\n\n{}",
		"bare CR":                    line + "Host: x\r\nX-A: b\rc\r\nContent-Length: 2\r\n\r\n{}",
		"LF CR":                      line + "Host: x\n\rContent-Length: 2\r\n\r\n{}",
		"NUL in a value":             line + "Host: x\r\nX-A: b\x00c\r\nContent-Length: 2\r\n\r\n{}",
		"NUL in a name":              line + "Host: x\r\nX-\x00A: b\r\nContent-Length: 2\r\n\r\n{}",
		"0x80":                       line + "Host: x\r\nX-A: \x80\r\nContent-Length: 2\r\n\r\n{}",
		"tab":                        line + "Host: x\r\nContent-Length:\t2\r\n\r\n{}",
		"closing blank":              line + "Host: x\r\nContent-Length: 2 \r\n\r\n{}",
		"folded":                     line + "Host: x\r\nX-A: b\r\n c: d\r\nContent-Length: 2\r\n\r\n{}",
		"folded length":              line + "Host: x\r\nContent-Length: 2\r\n 0\r\n\r\n{}",
		"folded first line":          line + " X-A: b\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
		"no host":                    line + "Content-Length: 2\r\n\r\n{}",
		"empty host":                 line + "Host:\r\nContent-Length: 2\r\n\r\n{}",
		"two hosts":                  line + "Host: x\r\nHost: y\r\nContent-Length: 2\r\n\r\n{}",
		"a bad host":                 line + "Host: x y\r\nContent-Length: 2\r\n\r\n{}",
		"a host with a path":         line + "Host: x/y\r\nContent-Length: 2\r\n\r\n{}",
		"a user":                     line + "Host: a@x\r\nContent-Length: 2\r\n\r\n{}",
		"100-continue":               line + "Host: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
		"an upgrade":                 line + "Host: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: 2\r\n\r\n{}",
		"connection of two":          line + "Host: x\r\nConnection: keep-alive, X-A\r\nContent-Length: 2\r\n\r\n{}",
		"TE":                         line + "Host: x\r\nTE: trailers\r\nContent-Length: 2\r\n\r\n{}",
		"a trailer":                  line + "Host: x\r\nTrailer: X-A\r\nContent-Length: 2\r\n\r\n{}",
		"Pragma":                     line + "Host: x\r\nPragma: no-cache\r\nContent-Length: 2\r\n\r\n{}",
		"a name twice":               line + "Host: x\r\nX-Forwarded-For: 192.0.2.1\r\nx-forwarded-for: 192.0.2.2\r\nContent-Length: 2\r\n\r\n{}",
		"underscore":                 line + "Host: x\r\nContent_Length: 9\r\nContent-Length: 2\r\n\r\n{}",
		"a blank line before":        "\r\n" + line + "Host: x\r\nContent-Length: 2\r\n\r\n{}",
		"HTTP/2":                     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"TLS":                        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"a large head":               line + "Host: x\r\nX-A: " + strings.Repeat("a", plainRoom) + "\r\nContent-Length: 2\r\n\r\n{}",
		"a large body":               line + "Host: x\r\nContent-Length: 4096\r\n\r\n" + strings.Repeat("a", 4096),
		"a little more than fits":    line + "Host: x\r\nContent-Length: 4030\r\n\r\n" + strings.Repeat("a", 4030),
		"more fields than are usual": line + "Host: x\r\nContent-Length: 2\r\n" + manyFields(40) + "\r\n{}",
		"a length without an end ":   line + "Host: x\r\nContent-Length: 9999\r\n\r\n{}",
	}
}

func manyFields(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "X-%d: x\r\n", i)
	}
	return b.String()
}

func verifyRoute(t testing.TB) []plainRoute {
	t.Helper()
	routes, err := newPlainRoutes([]string{verifyPath})
	if err != nil {
		t.Fatal(err)
	}
	return routes
}

func TestPlainOnes(t *testing.T) {
	routes := verifyRoute(t)
	for name, request := range plainRequests() {
		if size, v := new(plainHead).read(routes, []byte(request+"POST")); v != whole || size != len(request) {
			t.Errorf("%s: verdict %d, %d bytes; want it to be plain, and %d bytes", name, v, size, len(request))
		}
	}
	for name, request := range oddRequests() {
		if size, v := new(plainHead).read(routes, []byte(request)); v != foreign {
			t.Errorf("%s: verdict %d, %d bytes; want it to be left to net/http", name, v, size)
		}
	}
	for _, path := range []string{"", "verify", "/a b", "/a?b", "/%41", "/a//b", "/A", "/.."} {
		if _, err := New(Config{Plain: []string{path}}); err == nil {
			t.Errorf("%q is accepted as a plain path", path)
		}
	}
}

// FuzzPlain holds what is read as a plain request to what net/http reads there: the same request, and the same rest.
func FuzzPlain(f *testing.F) {
	for _, requests := range []map[string]string{plainRequests(), oddRequests()} {
		for _, request := range requests {
			f.Add([]byte(request), []byte(request))
			f.Add([]byte(plainRequests()["wrk"]), []byte(request+plainRequests()["nginx"]))
		}
	}
	routes := verifyRoute(f)
	f.Fuzz(func(t *testing.T, before, data []byte) {
		var h, fresh plainHead
		h.read(routes, before) // what was read before must not matter
		size, v := h.read(routes, data)
		if s, alone := fresh.read(routes, data); s != size || alone != v {
			t.Fatalf("verdict %d, %d bytes, after %q; without that %d, %d bytes", v, size, before, alone, s)
		}
		if v != whole {
			return
		}
		for n := range size { // as it comes
			if s, part := new(plainHead).read(routes, data[:n]); part != unfinished {
				t.Fatalf("the first %d of %d bytes: verdict %d, %d bytes", n, size, part, s)
			}
		}
		all := bytes.NewReader(data)
		in := bufio.NewReader(all)
		want, err := http.ReadRequest(in)
		if err != nil {
			t.Fatalf("net/http does not read it: %v", err)
		}
		body, err := io.ReadAll(want.Body)
		if err != nil {
			t.Fatalf("net/http does not read its body: %v", err)
		}
		if rest := in.Buffered() + all.Len(); size != len(data)-rest {
			t.Fatalf("%d bytes, net/http reads %d", size, len(data)-rest)
		}
		p := &plainConn{head: h, header: make(http.Header)}
		got := p.request(data[:size])
		gotBody, err := io.ReadAll(got.Body)
		if err != nil || !bytes.Equal(gotBody, body) {
			t.Fatalf("body %q, %v; net/http reads %q", gotBody, err, body)
		}
		if got.Method != want.Method || !reflect.DeepEqual(got.URL, want.URL) || got.RequestURI != want.RequestURI || got.Proto != want.Proto ||
			got.ProtoMajor != want.ProtoMajor || got.ProtoMinor != want.ProtoMinor || got.Host != want.Host || got.ContentLength != want.ContentLength ||
			got.Close != want.Close || len(want.TransferEncoding)+len(want.Trailer) != 0 || (got.Body == http.NoBody) != (want.Body == http.NoBody) {
			t.Fatalf("got %+v\nnet/http has %+v", got, want)
		}
		want.Header.Del("Host")
		if !reflect.DeepEqual(got.Header, want.Header) {
			t.Fatalf("header %q\nnet/http has %q", got.Header, want.Header)
		}
		// What http.Server looks at beside.
		if !httpguts.ValidHostHeader(want.Host) || want.Host == "" {
			t.Errorf("net/http refuses the host %q", want.Host)
		}
		for k, values := range want.Header {
			if !httpguts.ValidHeaderFieldName(k) || len(values) != 1 || !httpguts.ValidHeaderFieldValue(values[0]) {
				t.Errorf("net/http refuses %q: %q", k, values)
			}
		}
		for _, k := range []string{"Expect", "Upgrade", "Transfer-Encoding", "Trailer"} {
			if want.Header.Get(k) != "" {
				t.Errorf("it has %s", k)
			}
		}
	})
}
