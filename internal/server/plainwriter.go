package server

import (
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"
)

// plainAnswer is the ResponseWriter of plain requests. What it makes are the bytes that net/http would send, but that an answer of any size
// is sent in one piece: it has no Flush, informational answers are left out, and trailers and codings are none of a plain route's handlers.
type plainAnswer struct {
	header http.Header
	status int    // 0 = WriteHeader was not called
	head   []byte // once it was: the status line and the handler's header
	body   []byte
	keys   []string
	length int64 // of the body, as the handler says; -1 = it does not
	asked  int64 // how much of a body it wrote, what was refused included
	close  bool  // the connection ends after this
	said   bool  // by a Connection header of the handler
	date   date
}

// mostKept is how much room of an answer is kept for the next one.
const mostKept = 64 << 10

// begin makes it ready for the next answer.
func (a *plainAnswer) begin(wantsClose bool) {
	clear(a.header)
	if cap(a.head)+cap(a.body) > mostKept {
		a.head, a.body = nil, nil
	}
	a.status, a.head, a.body, a.length, a.asked, a.close, a.said = 0, a.head[:0], a.body[:0], -1, 0, wantsClose, false
}

// Header is the answer's header.
func (a *plainAnswer) Header() http.Header { return a.header }

// WriteHeader settles status and header.
func (a *plainAnswer) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("invalid WriteHeader code %v", status))
	}
	if a.status != 0 || status < 200 {
		return
	}
	a.status = status
	if length := first(a.header, "Content-Length"); length != "" {
		n, err := strconv.ParseInt(length, 10, 64)
		if err == nil && n >= 0 {
			a.length = n
		} else {
			delete(a.header, "Content-Length")
		}
	}
	a.said = first(a.header, "Connection") == "close"
	a.close = a.close || a.said
	a.head = append(a.head, "HTTP/1.1 "...)
	a.head = strconv.AppendInt(a.head, int64(status), 10)
	if text := http.StatusText(status); text != "" {
		a.head = append(append(a.head, ' '), text...)
	} else {
		a.head = strconv.AppendInt(append(a.head, " status code "...), int64(status), 10)
	}
	a.head = append(a.head, "\r\n"...)
	a.keys = a.keys[:0]
	for key := range a.header {
		if !a.leftOut(key) {
			a.keys = append(a.keys, key)
		}
	}
	slices.Sort(a.keys)
	for _, key := range a.keys {
		for _, value := range a.header[key] {
			a.head = appendField(a.head, key, oneLine(value))
		}
	}
}

// leftOut reports whether a line of the handler's header is not sent.
func (a *plainAnswer) leftOut(key string) bool {
	switch key {
	case "Connection":
		return a.close && !a.said
	case "Content-Length":
		return !a.hasBody()
	case "Content-Type":
		return a.status == http.StatusNotModified
	case "Transfer-Encoding":
		return true
	}
	for _, c := range []byte(key) {
		if c <= ' ' || c > '~' || strings.IndexByte("\"(),/:;<=>?@[\\]{}", c) >= 0 {
			return true
		}
	}
	return key == ""
}

func (a *plainAnswer) hasBody() bool {
	return a.status != http.StatusNoContent && a.status != http.StatusNotModified
}

// Write adds to the body.
func (a *plainAnswer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if !a.hasBody() {
		return 0, http.ErrBodyNotAllowed
	}
	if a.asked += int64(len(p)); a.length >= 0 && a.asked > a.length {
		return 0, http.ErrContentLength
	}
	a.body = append(a.body, p...)
	return len(p), nil
}

// end is the whole answer, and whether another request may come after it.
func (a *plainAnswer) end(now time.Time) (text []byte, keep bool) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	sent := func(key string) bool { _, found := slices.BinarySearch(a.keys, key); return found }
	if !sent("Date") {
		a.head = append(append(append(a.head, "Date: "...), a.date.at(now)...), "\r\n"...)
	}
	if a.hasBody() && a.length < 0 {
		a.head = strconv.AppendInt(append(a.head, "Content-Length: "...), int64(len(a.body)), 10)
		a.head = append(a.head, "\r\n"...)
	}
	if len(a.body) > 0 && !sent("Content-Type") && !sent("Content-Encoding") {
		a.head = appendField(a.head, "Content-Type", http.DetectContentType(a.body))
	}
	if a.close && !a.said {
		a.head = append(a.head, "Connection: close\r\n"...)
	}
	a.head = append(a.head, "\r\n"...)
	a.head = append(a.head, a.body...)
	return a.head, !a.close && (!a.hasBody() || a.length < 0 || a.asked == a.length)
}

// date is the time of day as answers tell it, made once a second.
type date struct {
	second int64
	text   []byte
}

func (d *date) at(now time.Time) []byte {
	if s := now.Unix(); d.text == nil || s != d.second {
		d.second, d.text = s, now.UTC().AppendFormat(d.text[:0], http.TimeFormat)
	}
	return d.text
}

func first(h http.Header, key string) string {
	if v := h[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func appendField(b []byte, key, value string) []byte {
	b = append(append(b, key...), ": "...)
	return append(append(b, value...), "\r\n"...)
}

// oneLine is a value as it may stand in a header.
func oneLine(v string) string {
	if strings.ContainsAny(v, "\r\n") {
		v = strings.ReplaceAll(strings.ReplaceAll(v, "\r", " "), "\n", " ")
	}
	return textproto.TrimString(v)
}
