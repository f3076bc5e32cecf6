package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/openway-access/openway/api"
	"github.com/openway-access/openway/internal/access"
)

// refusal is an error that says itself what to answer.
type refusal struct {
	status int
	phrase phrase
	args   []any
	retry  time.Duration // 0 = no Retry-After
}

func (e refusal) Error() string { return say(english, e.phrase, e.args...) }

func refuse(status int, p phrase, args ...any) error {
	return refusal{status: status, phrase: p, args: args}
}

// refusedDocument is an error of a body as a whole, which stands under non_field_errors.
type refusedDocument struct {
	phrase phrase
	args   []any
}

func (e refusedDocument) Error() string { return say(english, e.phrase, e.args...) }

// retryUnavailable is when clients should try again while the database cannot be used.
const retryUnavailable = 5 * time.Second

// asRefusal is the table that maps kinds of errors to what is answered. Field errors are not in it: fail writes them.
// ok is false for what is a fault of ours.
func asRefusal(err error) (e refusal, ok bool) {
	var (
		json  malformed
		media unsupported
	)
	switch {
	case errors.As(err, &e):
		return e, true
	case errors.As(err, &json):
		return refusal{status: http.StatusBadRequest, phrase: sayMalformed, args: []any{json.at}}, true
	case errors.As(err, &media):
		return refusal{status: http.StatusUnsupportedMediaType, phrase: sayMediaType, args: []any{printable(string(media))}}, true
	case errors.Is(err, errMultipart):
		return refusal{status: http.StatusBadRequest, phrase: sayMultipart}, true
	case errors.Is(err, errBroken):
		return refusal{status: http.StatusBadRequest, phrase: sayBroken}, true
	case errors.Is(err, errTooLarge):
		return refusal{status: http.StatusRequestEntityTooLarge, phrase: sayTooLarge, args: []any{maxBody}}, true
	case errors.Is(err, access.ErrBadToken):
		return refusal{status: http.StatusUnauthorized, phrase: sayBadToken}, true
	case errors.Is(err, access.ErrInactive):
		return refusal{status: http.StatusUnauthorized, phrase: sayInactive}, true
	case errors.Is(err, access.ErrDenied):
		return refusal{status: http.StatusForbidden, phrase: sayDenied}, true
	case errors.Is(err, access.ErrNotFound):
		return refusal{status: http.StatusNotFound, phrase: sayNoPath}, true
	case errors.Is(err, access.ErrConflict):
		return refusal{status: http.StatusConflict, phrase: sayConflict}, true
	case errors.Is(err, access.ErrUnavailable), errors.Is(err, access.ErrOutcomeUnknown),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return refusal{status: http.StatusServiceUnavailable, phrase: sayUnavailable, retry: retryUnavailable}, true
	}
	return refusal{}, false
}

// bodyPatience is how long a refusal waits for the body that its request announced.
const bodyPatience = 200 * time.Millisecond

// spareBody lets a request be refused whose body nobody has read. A short body that is on its way is read to its end, so that the client can go on using its
// connection. For any other net/http would wait, however long that takes: the connection is closed after the answer instead, and the client told so.
func spareBody(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength == 0 {
		return
	}
	control := http.NewResponseController(w)
	if 0 < r.ContentLength && r.ContentLength <= maxBody && r.Header.Get("Expect") == "" { // reading would ask for what is held back
		if _, err := r.Body.Read(nil); errors.Is(err, io.EOF) {
			return // it was read, and net/http is reading on: its deadline is not ours to set
		}
		_ = control.SetReadDeadline(time.Now().Add(bodyPatience)) // where that is not supported all of it is there
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			return
		}
	}
	w.Header().Set("Connection", "close")
	_ = control.EnableFullDuplex()
}

// fail answers a request with the error that its handler returned.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	spareBody(w, r)
	l := h.languageOf(r)
	var (
		bad      access.Invalid
		document refusedDocument
	)
	switch {
	case errors.Is(err, access.ErrBadLogin):
		h.writeError(w, l, http.StatusBadRequest, map[string][]string{nonField: {say(l, sayBadLogin)}})
		return
	case errors.As(err, &document):
		h.writeError(w, l, http.StatusBadRequest, map[string][]string{nonField: {say(l, document.phrase, document.args...)}})
		return
	case errors.As(err, &bad):
		h.writeFields(w, l, bad)
		return
	}
	e, ok := asRefusal(err)
	if !ok {
		h.log.LogAttrs(r.Context(), slog.LevelError, "request failed",
			slog.String("request_id", requestID(r)), slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Any("error", err))
		e = refusal{status: http.StatusInternalServerError, phrase: sayInternal, args: []any{requestID(r)}}
	}
	if e.status == http.StatusServiceUnavailable {
		h.log.LogAttrs(r.Context(), slog.LevelWarn, "service unavailable",
			slog.String("request_id", requestID(r)), slog.String("path", r.URL.Path), slog.Any("error", err))
	}
	switch e.status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Token")
	case http.StatusRequestEntityTooLarge:
		w.Header().Set("Connection", "close") // the rest of the body is not worth reading
	}
	if e.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(seconds(e.retry)))
	}
	h.writeError(w, l, e.status, api.Detail{Detail: say(l, e.phrase, e.args...)})
}

// Error answers a request that went wrong before it came here: a host that is not allowed (400), a method (405), a fault (500).
func (h *Handler) Error(w http.ResponseWriter, r *http.Request, status int) {
	l := h.languageOf(r)
	var text string
	switch status {
	case http.StatusBadRequest:
		text = say(l, sayHost)
	case http.StatusNotFound:
		text = say(l, sayNoPath)
	case http.StatusMethodNotAllowed:
		text = say(l, sayMethod, r.Method)
	case http.StatusRequestEntityTooLarge:
		text = say(l, sayTooLarge, maxBody)
	case http.StatusServiceUnavailable:
		text = say(l, sayUnavailable)
		w.Header().Set("Retry-After", strconv.Itoa(seconds(retryUnavailable)))
	default:
		text = say(l, sayBadRequest)
		if status >= http.StatusInternalServerError {
			text = say(l, sayInternal, requestID(r))
		}
	}
	h.writeError(w, l, status, api.Detail{Detail: text})
}

// nonField is the name under which errors stand that concern several fields.
const nonField = "non_field_errors"

func (h *Handler) writeFields(w http.ResponseWriter, l language, bad access.Invalid) {
	fields := make(map[string][]string, len(bad))
	for _, e := range bad {
		name := e.Field
		if name == "" {
			name = nonField
		}
		fields[name] = append(fields[name], sayField(l, e))
	}
	h.writeError(w, l, http.StatusBadRequest, fields)
}

func (h *Handler) writeError(w http.ResponseWriter, l language, status int, v any) {
	w.Header().Set("Content-Language", l.tag())
	w.Header().Add("Vary", "Accept-Language")
	if err := writeJSON(w, status, v); err != nil {
		h.log.Error("write an error answer", "status", status, "error", err)
	}
}

// writeJSON answers with v as compact JSON. Characters stand as they are: readers search for bytes.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	b := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // an error means that the client has gone
	return nil
}

// seconds rounds up, to at least 1.
func seconds(d time.Duration) int { return max(1, int(math.Ceil(d.Seconds()))) }

// printable makes a header's value fit to be shown: valid UTF-8 of a bounded length.
func printable(s string) string {
	const longest = 200
	s = strings.ToValidUTF8(s, "\ufffd")
	if n := []rune(s); len(n) > longest {
		return string(n[:longest]) + "…"
	}
	return s
}
