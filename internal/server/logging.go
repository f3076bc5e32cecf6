package server

import (
	"context"
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strconv"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// LoggerKey is the attribute that names a logger: slog.With(LoggerKey, "openway.request"). It stands in the line's own field.
const LoggerKey = "logger"

const defaultLogger = "openway"

// LogFormat is how log lines are written.
type LogFormat string

// The formats: JSON for machines, text for people at a terminal.
const (
	JSONLog LogFormat = "json"
	TextLog LogFormat = "text"
)

// NewLogHandler makes a slog handler that writes one line per record to w, each with a single Write. JSON lines begin with
// ts (RFC 3339, UTC, microseconds), level, logger and message. Attributes of groups are named group.key.
func NewLogHandler(w io.Writer, format LogFormat, level slog.Leveler) slog.Handler {
	pool := &sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}
	h := &logHandler{out: w, text: format == TextLog, level: level, logger: defaultLogger, lines: pool}
	if _, orderly := w.(*LogWriter); !orderly {
		h.mu = new(sync.Mutex)
	}
	return h
}

type logHandler struct {
	out    io.Writer
	text   bool
	level  slog.Leveler
	logger string
	group  string // "" or "a.b."
	fixed  []byte // the attributes of With, as they are written
	lines  *sync.Pool
	mu     *sync.Mutex // one line at a time; nil where out sees to that itself
}

func (h *logHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level()
}

func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	p := h.lines.Get().(*[]byte)
	logger := h.logger
	if h.group == "" {
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == LoggerKey {
				logger = a.Value.String()
			}
			return a.Key != LoggerKey
		})
	}
	b := h.begin((*p)[:0], r.Time, r.Level, logger)
	b = h.appendMessage(b, r.Message)
	b = h.endMessage(b)
	r.Attrs(func(a slog.Attr) bool {
		if h.group != "" || a.Key != LoggerKey {
			b = h.appendAttr(b, h.group, a)
		}
		return true
	})
	return h.emit(p, b)
}

// begin writes a line up to its message, which follows by appendMessage, in as many pieces as it has, and endMessage.
func (h *logHandler) begin(b []byte, at time.Time, level slog.Level, logger string) []byte {
	if h.text {
		b = at.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z07:00")
		b = append(append(b, ' '), level.String()...)
		b = append(append(b, ' '), logger...)
		return append(b, ' ')
	}
	b = appendInstant(append(b, `{"ts":"`...), at)
	b = append(append(b, `","level":"`...), level.String()...)
	b = appendJSON(append(b, `","logger":`...), logger)
	return append(b, `,"message":"`...)
}

func (h *logHandler) appendMessage(b []byte, piece string) []byte {
	if h.text {
		return appendPlain(b, piece)
	}
	return appendEscaped(b, piece)
}

func (h *logHandler) endMessage(b []byte) []byte {
	if !h.text {
		b = append(b, '"')
	}
	return append(b, h.fixed...)
}

// emit ends the line b and writes it. p is where b came from.
func (h *logHandler) emit(p *[]byte, b []byte) error {
	if !h.text {
		b = append(b, '}')
	}
	b = append(b, '\n')
	if h.mu != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
	}
	_, err := h.out.Write(b)
	if cap(b) <= 16<<10 {
		*p = b
		h.lines.Put(p)
	}
	return err
}

// appendInstant writes RFC 3339 with microseconds in UTC, as time's AppendFormat would in three times the time.
func appendInstant(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.AppendFormat(b, "2006-01-02T15:04:05.000000Z07:00")
	}
	hour, minute, second := t.Clock()
	b = append(appendDigits(b, year, 4), '-')
	b = append(appendDigits(b, int(month), 2), '-')
	b = append(appendDigits(b, day, 2), 'T')
	b = append(appendDigits(b, hour, 2), ':')
	b = append(appendDigits(b, minute, 2), ':')
	b = append(appendDigits(b, second, 2), '.')
	return append(appendDigits(b, t.Nanosecond()/1000, 6), 'Z')
}

// appendDigits writes n, not negative, with so many digits.
func appendDigits(b []byte, n, digits int) []byte {
	const zeros = "000000"
	b = append(b, zeros[:digits]...)
	for at := len(b) - 1; n > 0; at-- {
		b[at] = byte('0' + n%10)
		n /= 10
	}
	return b
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.fixed = append([]byte(nil), h.fixed...)
	for _, a := range attrs {
		if a.Key == LoggerKey && h.group == "" {
			c.logger = a.Value.String()
			continue
		}
		c.fixed = c.appendAttr(c.fixed, c.group, a)
	}
	return &c
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	c := *h
	c.group += name + "."
	return &c
}

func (h *logHandler) appendAttr(b []byte, prefix string, a slog.Attr) []byte {
	v := a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return b
	}
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, member := range v.Group() {
			b = h.appendAttr(b, prefix, member)
		}
		return b
	}
	if h.text {
		b = append(b, ' ')
		b = append(append(append(b, prefix...), a.Key...), '=')
		return appendTextValue(b, v)
	}
	b = append(b, ',')
	if prefix == "" {
		b = appendJSON(b, a.Key)
	} else {
		b = appendJSON(b, prefix+a.Key)
	}
	return appendJSONValue(append(b, ':'), v)
}

func appendJSONValue(b []byte, v slog.Value) []byte {
	switch v.Kind() {
	case slog.KindInt64:
		return strconv.AppendInt(b, v.Int64(), 10)
	case slog.KindUint64:
		return strconv.AppendUint(b, v.Uint64(), 10)
	case slog.KindBool:
		return strconv.AppendBool(b, v.Bool())
	case slog.KindFloat64:
		if f := v.Float64(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return strconv.AppendFloat(b, f, 'g', -1, 64)
		}
	case slog.KindAny:
		if _, isText := v.Any().(interface{ Error() string }); !isText && !hasText(v.Any()) {
			if j, err := json.Marshal(v.Any()); err == nil {
				return append(b, j...)
			}
		}
	}
	return appendJSON(b, valueText(v))
}

func hasText(x any) bool {
	switch x.(type) {
	case fmt.Stringer, encoding.TextMarshaler:
		return true
	}
	return false
}

func appendTextValue(b []byte, v slog.Value) []byte {
	s := valueText(v)
	if s == "" || !bare(s) {
		return strconv.AppendQuote(b, s)
	}
	return append(b, s...)
}

// bare reports whether s needs no quotes in a text line.
func bare(s string) bool {
	for _, r := range s {
		if r <= ' ' || r == '"' || r == '=' || r == utf8.RuneError || !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// appendPlain writes a message for a terminal, without what could steer it.
func appendPlain(b []byte, s string) []byte {
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			q := strconv.QuoteRune(r)
			b = append(b, q[1:len(q)-1]...)
			continue
		}
		b = utf8.AppendRune(b, r)
	}
	return b
}

func valueText(v slog.Value) string {
	switch v.Kind() {
	case slog.KindTime:
		return v.Time().UTC().Format(time.RFC3339Nano)
	case slog.KindAny:
		switch x := v.Any().(type) {
		case error:
			return x.Error()
		case []byte:
			return string(x)
		}
		return fmt.Sprint(v.Any())
	}
	return v.String()
}

// appendJSON writes a JSON string.
func appendJSON(b []byte, s string) []byte { return append(appendEscaped(append(b, '"'), s), '"') }

// appendEscaped writes what stands between the quotes of a JSON string. Invalid UTF-8 becomes U+FFFD.
func appendEscaped(b []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(append(b, s[from:i]...), "\ufffd"...)
				from = i + size
			} else if r == '\u2028' || r == '\u2029' { // line ends to some readers of lines
				b = append(append(b, s[from:i]...), `\u202`...)
				b = append(b, hexDigits[r&0xf])
				from = i + size
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
			i++
			continue
		}
		b = append(b, s[from:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
		}
		i++
		from = i
	}
	return append(b, s[from:]...)
}
