package goldentest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// request is one to be sent byte for byte.
type request struct {
	method  string
	path    string
	headers map[string]string // names as they are sent; values are characters for bytes (latin-1)
	body    []byte
}

// response is what came back.
type response struct {
	status int
	header http.Header
	body   []byte
}

// exchange sends a request over a connection of its own, without touching what it says, and reads the answer.
func exchange(t testing.TB, address string, q request) response {
	t.Helper()
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s %s HTTP/1.1\r\n", q.method, q.path)
	names := make([]string, 0, len(q.headers))
	given := map[string]bool{}
	for name := range q.headers {
		names = append(names, name)
		given[strings.ToLower(name)] = true
	}
	slices.Sort(names)
	if !given["host"] {
		out.WriteString("Host: openway.test\r\n")
	}
	for _, name := range names {
		fmt.Fprintf(&out, "%s: %s\r\n", name, latin1(t, q.headers[name]))
	}
	if !given["content-length"] && !given["transfer-encoding"] && (len(q.body) > 0 || q.method == http.MethodPost || q.method == http.MethodPut) {
		fmt.Fprintf(&out, "Content-Length: %d\r\n", len(q.body))
	}
	if !given["connection"] {
		out.WriteString("Connection: close\r\n")
	}
	out.WriteString("\r\n")
	out.Write(q.body)
	return readAnswer(t, address, q.method, out.Bytes())
}

// readAnswer sends raw bytes and reads what comes back until the server closes the connection.
func readAnswer(t testing.TB, address, method string, raw []byte) response {
	t.Helper()
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(raw); err != nil {
		t.Fatalf("send %.60q: %v", raw, err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("read the answer to %.60q: %v", raw, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("read the body of the answer to %.60q: %v", raw, err)
	}
	return response{status: resp.StatusCode, header: resp.Header, body: body}
}

func latin1(t testing.TB, s string) []byte {
	t.Helper()
	var out []byte
	for _, r := range s {
		if r > 0xff {
			t.Fatalf("header value %q is not latin-1", s)
		}
		out = append(out, byte(r))
	}
	return out
}
