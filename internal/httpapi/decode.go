package httpapi

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
)

// maxBody is the most bytes that a body may have.
const maxBody = 64 << 10

// Errors of a body that cannot be read, besides malformed and errMultipart.
var (
	errTooLarge = errors.New("body too large")
	errBroken   = errors.New("the body ended early")
)

// unsupported is the error of a content type that the API does not read, as it was sent.
type unsupported string

func (e unsupported) Error() string { return "unsupported media type " + string(e) }

// decode reads the fields names of a request's body, whatever its type. This is the one way in for bodies.
// An empty body is {} of any type.
func (h *Handler) decode(r *http.Request, names []string, b *body) error {
	buf, ok := h.buffers.Get().(*bytes.Buffer)
	if !ok {
		buf = new(bytes.Buffer)
	}
	defer h.buffers.Put(buf) // values are copies: nothing points into it afterwards
	buf.Reset()
	if err := readBody(r, buf); err != nil {
		return err
	}
	return parseBody(buf.Bytes(), r.Header.Get("Content-Type"), names, b)
}

func readBody(r *http.Request, buf *bytes.Buffer) error {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	if r.ContentLength > maxBody {
		return errTooLarge
	}
	if r.ContentLength > 0 {
		buf.Grow(int(r.ContentLength) + bytes.MinRead) // ReadFrom wants room for one more read to see the end
	}
	from := io.Reader(r.Body)
	if r.ContentLength < 0 { // else net/http gives no more than that
		from = io.LimitReader(r.Body, maxBody+1)
	}
	n, err := buf.ReadFrom(from)
	if err != nil {
		return errors.Join(errBroken, err)
	}
	if n > maxBody {
		return errTooLarge
	}
	return nil
}

// parseBody reads the fields names from a body in memory into b.
func parseBody(data []byte, contentType string, names []string, b *body) error {
	b.names, b.root = names, value{kind: object, empty: true}
	b.form = false
	b.clear()
	if len(data) == 0 {
		return nil
	}
	if contentType == "application/json" { // what nearly all clients send
		return parseJSON(data, b)
	}
	mediaType, params := parseContentType(contentType)
	switch mediaType {
	case "application/json":
		return parseJSON(data, b)
	case "application/x-www-form-urlencoded":
		parseForm(data, b)
		return nil
	case "multipart/form-data":
		return parseMultipart(data, params["boundary"], b)
	}
	return unsupported(contentType)
}

// parseContentType takes the type even from a header whose parameters cannot be read.
func parseContentType(s string) (mediaType string, params map[string]string) {
	mediaType, params, err := mime.ParseMediaType(s)
	if err != nil {
		mediaType, _, _ = strings.Cut(s, ";")
		mediaType = strings.ToLower(strings.TrimSpace(mediaType))
	}
	return mediaType, params
}
