package importer

import (
	"bytes"
	"fmt"
	"strconv"
)

// PostgreSQL's COPY in text format: fields with tabs between them, \N for NULL, and backslash escapes. A server gives it in the same form as it
// stands in a dump.

// split reads a line, without its end, into the row's fields.
func (r *row) split(line []byte) error {
	r.err = nil
	r.fields = r.fields[:0]
	if bytes.IndexByte(line, '\\') < 0 {
		for {
			field, rest, more := bytes.Cut(line, []byte{'\t'})
			r.fields = append(r.fields, field)
			if !more {
				break
			}
			line = rest
		}
		return r.count()
	}
	r.buf = append(r.buf[:0], line...) // unescaping shortens, so that it can be done in place
	for rest, more := r.buf, true; more; {
		var field []byte
		if field, rest, more = bytes.Cut(rest, []byte{'\t'}); string(field) == `\N` {
			field = nil
		} else {
			field = unescape(field)
		}
		r.fields = append(r.fields, field)
	}
	return r.count()
}

func (r *row) count() error {
	if len(r.fields) == r.n {
		return nil
	}
	place := ""
	if r.line > 0 {
		place = "line " + strconv.FormatInt(r.line, 10) + ": "
	}
	return fmt.Errorf("%sa row of %s has %d fields, not %d: the dump is damaged", place, r.name, len(r.fields), r.n)
}

// unescape resolves the backslashes of a field in place.
func unescape(b []byte) []byte {
	i := bytes.IndexByte(b, '\\')
	if i < 0 {
		return b
	}
	out := b[:i]
	for ; i < len(b); i++ {
		c := b[i]
		if c != '\\' || i+1 == len(b) {
			out = append(out, c)
			continue
		}
		i++
		switch c = b[i]; {
		case c == 'b':
			c = '\b'
		case c == 'f':
			c = '\f'
		case c == 'n':
			c = '\n'
		case c == 'r':
			c = '\r'
		case c == 't':
			c = '\t'
		case c == 'v':
			c = '\v'
		case '0' <= c && c <= '7':
			n := int(c - '0')
			for k := 0; k < 2 && i+1 < len(b) && '0' <= b[i+1] && b[i+1] <= '7'; k++ {
				i++
				n = n<<3 | int(b[i]-'0')
			}
			c = byte(n)
		case c == 'x' && i+1 < len(b) && unhex(b[i+1]) >= 0:
			n := 0
			for k := 0; k < 2 && i+1 < len(b) && unhex(b[i+1]) >= 0; k++ {
				i++
				n = n<<4 | unhex(b[i])
			}
			c = byte(n)
		}
		out = append(out, c)
	}
	return out
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
