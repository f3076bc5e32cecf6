package server

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
)

// plainRoom is how large a plain request may be, head and body together.
const plainRoom = 4 << 10

// verdict is what a plainHead says of the bytes that it was shown.
type verdict int

const (
	unfinished verdict = iota // what is there is plain, but not the whole request
	whole                     // a plain request is at hand
	foreign                   // anything else: net/http says what it means
)

// mostPlainFields is how many fields a plain head has, at most: each is compared with those before it.
const mostPlainFields = 32

// plainHead is the head of the plain request that was read last. The next one is compared with it, byte by byte: on a connection that is kept,
// or from another controller of the same make, little or nothing is new, and nothing is allocated for what is not.
type plainHead struct {
	sent   []byte      // as it came, with the empty line; empty = what is below belongs to no request
	route  *plainRoute // whose request it is
	host   string
	fields []plainField // in the order they came in; those from n on are of an earlier request
	n      int
	length int  // of the body
	close  bool // the client wants the connection closed
}

// plainField is one line of a head.
type plainField struct {
	sent  string // its name as it came
	name  string // as net/http spells it
	value string
	room  [1]string // what the request's header holds: made anew for each, as handlers may write there
}

// plainRoute is a path whose POSTs may be plain.
type plainRoute struct {
	line string // the request line
	path string
}

func newPlainRoutes(paths []string) ([]plainRoute, error) {
	var routes []plainRoute
	for _, p := range paths {
		if !strings.HasPrefix(p, "/") || strings.Trim(p, "/abcdefghijklmnopqrstuvwxyz0123456789_-") != "" || strings.Contains(p, "//") {
			return nil, fmt.Errorf("%q cannot be a plain path: use small letters, digits, _ and - after single slashes", p)
		}
		routes = append(routes, plainRoute{line: "POST " + p + " HTTP/1.1\r\n", path: p})
	}
	return routes, nil
}

// read looks for a plain request at the beginning of data, and says how long it is. What is plain, net/http would read alike (FuzzPlain): the
// request line of a route; then lines that end with CR LF and have a name of letters, digits and -, a colon, and printable ASCII; no name twice;
// one Host; one Content-Length in the simplest spelling, and a body that has room; nothing that changes what a message is or how it ends.
func (h *plainHead) read(routes []plainRoute, data []byte) (size int, v verdict) {
	if len(h.sent) > 0 && bytes.HasPrefix(data, h.sent) {
		return h.withBody(data)
	}
	h.sent, h.route = h.sent[:0], nil
	at := 0
	for i := range routes {
		line := routes[i].line
		if len(data) < len(line) {
			if string(data) == line[:len(data)] {
				return 0, unfinished
			}
		} else if string(data[:len(line)]) == line {
			h.route, at = &routes[i], len(line)
			break
		}
	}
	if h.route == nil {
		return 0, foreign
	}
	h.n, h.length, h.close = 0, -1, false
	h.host = ""
	for {
		end := bytes.IndexByte(data[at:], '\n')
		if end < 0 {
			return 0, unfinished
		}
		line := data[at : at+end]
		at += end + 1
		if len(line) == 0 || line[len(line)-1] != '\r' {
			return 0, foreign
		}
		if len(line) == 1 {
			break
		}
		f, ok := h.field(line[:len(line)-1])
		if !ok {
			return 0, foreign
		}
		switch f.name {
		case "Host":
			if h.host = f.value; !isPlainHost(f.value) {
				return 0, foreign
			}
		case "Content-Length":
			if h.length = plainLength(f.value); h.length < 0 {
				return 0, foreign
			}
		case "Connection":
			h.close = strings.EqualFold(f.value, "close")
			if !h.close && !strings.EqualFold(f.value, "keep-alive") {
				return 0, foreign
			}
		case "Transfer-Encoding", "Te", "Trailer", "Expect", "Upgrade", "Http2-Settings", "Pragma": // net/http makes another header of Pragma
			return 0, foreign
		}
	}
	if h.host == "" || h.length < 0 {
		return 0, foreign
	}
	h.sent = append(h.sent, data[:at]...)
	return h.withBody(data)
}

// withBody ends read when the head is known.
func (h *plainHead) withBody(data []byte) (int, verdict) {
	size := len(h.sent) + h.length
	switch {
	case size > plainRoom:
		return 0, foreign
	case size > len(data):
		return 0, unfinished
	}
	return size, whole
}

// field reads a line of the head.
func (h *plainHead) field(line []byte) (*plainField, bool) {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return nil, false
	}
	name, value := line[:colon], line[colon+1:]
	for _, c := range name {
		if c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return nil, false
		}
	}
	for len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	for _, c := range value {
		if c < ' ' || c > '~' {
			return nil, false
		}
	}
	if len(value) > 0 && value[len(value)-1] == ' ' {
		return nil, false
	}
	if h.n == mostPlainFields {
		return nil, false
	}
	if h.n == len(h.fields) {
		h.fields = append(h.fields, plainField{})
	}
	f := &h.fields[h.n]
	if string(name) != f.sent {
		f.sent = string(name)
		f.name = http.CanonicalHeaderKey(f.sent)
	}
	if string(value) != f.value {
		f.value = string(value)
	}
	for i := range h.fields[:h.n] {
		if h.fields[i].name == f.name {
			return nil, false
		}
	}
	h.n++
	return f, true
}

// fill puts what the head says into a request's header. Host is not part of that.
func (h *plainHead) fill(header http.Header) {
	clear(header)
	for i := range h.fields[:h.n] {
		if f := &h.fields[i]; f.name != "Host" {
			f.room[0] = f.value
			header[f.name] = f.room[:]
		}
	}
}

// plainLength reads a Content-Length; -1 = not as a plain request has it.
func plainLength(s string) int {
	if s == "0" {
		return 0
	}
	if s == "" || len(s) > 4 || s[0] == '0' {
		return -1
	}
	n := 0
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return -1
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// isPlainHost reports whether a Host has nothing in it but what names, addresses and ports are made of.
func isPlainHost(s string) bool {
	for _, c := range []byte(s) {
		if c != '-' && c != '.' && c != '_' && c != ':' && c != '[' && c != ']' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return s != ""
}
