package httpapi

import (
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds how deep lists and objects may nest.
const maxDepth = 1000

// malformed is the error of a JSON document that cannot be read, with the offset of the byte that is wrong.
type malformed struct{ at int }

func (e malformed) Error() string { return "malformed JSON" }

// parseJSON reads a document (RFC 8259) into b. Unlike encoding/json it tells lone surrogates, refuses invalid UTF-8, takes names
// as they are written, and makes nothing of what nobody asked for. NaN and Infinity are malformed, and so is a byte order mark.
func parseJSON(data []byte, b *body) error {
	if !utf8.Valid(data) {
		return malformed{firstInvalid(data)}
	}
	p := parser{data: data}
	p.space()
	if p.peek() == '{' {
		b.root = value{kind: object, empty: true}
		if err := p.fields(b); err != nil {
			return err
		}
	} else {
		v, err := p.value()
		if err != nil {
			return err
		}
		b.root = v
	}
	p.space()
	if p.at < len(p.data) {
		return malformed{p.at}
	}
	return nil
}

func firstInvalid(data []byte) int {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(data)
}

type parser struct {
	data []byte
	at   int
}

// peek is the next byte, 0 at the end (a NUL in the document is nowhere allowed outside of texts, nor inside).
func (p *parser) peek() byte {
	if p.at < len(p.data) {
		return p.data[p.at]
	}
	return 0
}

func (p *parser) space() {
	for p.at < len(p.data) {
		switch p.data[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

// take consumes c, with the white space before it.
func (p *parser) take(c byte) bool {
	p.space()
	if p.peek() != c {
		return false
	}
	p.at++
	return true
}

// fields reads the object of the document.
func (p *parser) fields(b *body) error {
	p.at++
	if p.take('}') {
		return nil
	}
	b.root.empty = false
	for {
		p.space()
		name, err := p.text()
		if err != nil {
			return err
		}
		if !p.take(':') {
			return malformed{p.at}
		}
		p.space()
		v, err := p.value()
		if err != nil {
			return err
		}
		if name.surrogate == 0 {
			b.set(name.bytes, v)
		}
		if p.take('}') {
			return nil
		}
		if !p.take(',') {
			return malformed{p.at}
		}
	}
}

func (p *parser) value() (value, error) {
	switch c := p.peek(); {
	case c == '"':
		t, err := p.text()
		return value{kind: text, text: string(t.bytes), surrogate: t.surrogate}, err
	case c == '{' || c == '[':
		return p.nested()
	case c == '-' || '0' <= c && c <= '9':
		s, err := p.number()
		if s == "-0" {
			s = "0"
		}
		return value{kind: number, text: s}, err
	case p.word("true"):
		return value{kind: boolean, text: "true"}, nil
	case p.word("false"):
		return value{kind: boolean, text: "false"}, nil
	case p.word("null"):
		return value{kind: null}, nil
	}
	return value{}, malformed{p.at}
}

func (p *parser) word(w string) bool {
	if len(p.data)-p.at < len(w) || string(p.data[p.at:p.at+len(w)]) != w {
		return false
	}
	p.at += len(w)
	return true
}

func (p *parser) digits() bool {
	start := p.at
	for p.at < len(p.data) && '0' <= p.data[p.at] && p.data[p.at] <= '9' {
		p.at++
	}
	return p.at > start
}

func (p *parser) number() (string, error) {
	start := p.at
	if p.peek() == '-' {
		p.at++
	}
	if p.peek() == '0' {
		p.at++
	} else if !p.digits() {
		return "", malformed{p.at}
	}
	if p.peek() == '.' {
		p.at++
		if !p.digits() {
			return "", malformed{p.at}
		}
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		p.at++
		if c := p.peek(); c == '+' || c == '-' {
			p.at++
		}
		if !p.digits() {
			return "", malformed{p.at}
		}
	}
	return string(p.data[start:p.at]), nil
}

// nested checks a list or an object and keeps nothing of it. It does not recurse: a body may consist of brackets only.
func (p *parser) nested() (value, error) {
	start := p.at
	v := value{kind: list, empty: true}
	if p.peek() == '{' {
		v.kind = object
	}
	var closers []byte // of the lists and objects that are open
	for {
		// A value begins here.
		c := p.peek()
		if c == '{' || c == '[' {
			p.at++
			if len(closers) == maxDepth {
				return value{}, malformed{p.at}
			}
			closer := c + 2 // } and ] stand two behind { and [
			p.space()
			if p.peek() != closer {
				v.empty = false
				closers = append(closers, closer)
				if closer == '}' {
					if err := p.name(); err != nil {
						return value{}, err
					}
				}
				continue
			}
			p.at++
			if len(closers) > 0 {
				v.empty = false
			}
		} else if err := p.scalar(); err != nil {
			return value{}, err
		}
		// A value has ended: close what it ends, or go on to the next.
		for {
			if len(closers) == 0 {
				return v, nil
			}
			p.space()
			top := closers[len(closers)-1]
			if p.peek() == top {
				p.at++
				closers = closers[:len(closers)-1]
				continue
			}
			if p.peek() != ',' {
				return value{}, malformed{max(p.at, start)}
			}
			p.at++
			p.space()
			if top == '}' {
				if err := p.name(); err != nil {
					return value{}, err
				}
			}
			break
		}
	}
}

// name reads the name of a field and the colon, up to its value.
func (p *parser) name() error {
	if _, err := p.text(); err != nil {
		return err
	}
	if !p.take(':') {
		return malformed{p.at}
	}
	p.space()
	return nil
}

func (p *parser) scalar() error {
	if p.peek() == '"' {
		_, err := p.text()
		return err
	}
	_, err := p.value()
	return err
}

// literal is a text of the document: a part of it where it has no escapes, else a copy.
type literal struct {
	bytes     []byte
	surrogate rune
}

func (p *parser) text() (literal, error) {
	if p.peek() != '"' {
		return literal{}, malformed{p.at}
	}
	p.at++
	start := p.at
	for ; p.at < len(p.data); p.at++ {
		switch c := p.data[p.at]; {
		case c == '"':
			s := p.data[start:p.at]
			p.at++
			return literal{bytes: s}, nil
		case c == '\\':
			return p.escaped(start)
		case c < ' ':
			return literal{}, malformed{p.at}
		}
	}
	return literal{}, malformed{p.at}
}

// escaped goes on with a text at its first backslash.
func (p *parser) escaped(start int) (literal, error) {
	out := literal{bytes: append([]byte(nil), p.data[start:p.at]...)}
	for p.at < len(p.data) {
		c := p.data[p.at]
		switch {
		case c == '"':
			p.at++
			return out, nil
		case c < ' ':
			return literal{}, malformed{p.at}
		case c != '\\':
			out.bytes = append(out.bytes, c)
			p.at++
			continue
		}
		p.at++
		switch c := p.peek(); c {
		case '"', '\\', '/':
			out.bytes = append(out.bytes, c)
		case 'b':
			out.bytes = append(out.bytes, '\b')
		case 'f':
			out.bytes = append(out.bytes, '\f')
		case 'n':
			out.bytes = append(out.bytes, '\n')
		case 'r':
			out.bytes = append(out.bytes, '\r')
		case 't':
			out.bytes = append(out.bytes, '\t')
		case 'u':
			r, ok := p.hex4(p.at + 1)
			if !ok {
				return literal{}, malformed{p.at}
			}
			p.at += 4
			if utf16.IsSurrogate(r) {
				r = p.pair(r, &out)
			}
			out.bytes = utf8.AppendRune(out.bytes, r)
		default:
			return literal{}, malformed{p.at}
		}
		p.at++
	}
	return literal{}, malformed{p.at}
}

// pair joins the surrogate whose last digit p is at with the escape behind it, or notes that it is alone.
func (p *parser) pair(r rune, out *literal) rune {
	if p.at+2 < len(p.data) && p.data[p.at+1] == '\\' && p.data[p.at+2] == 'u' {
		if low, ok := p.hex4(p.at + 3); ok {
			if joined := utf16.DecodeRune(r, low); joined != utf8.RuneError {
				p.at += 6
				return joined
			}
		}
	}
	if out.surrogate == 0 {
		out.surrogate = r
	}
	return utf8.RuneError
}

func (p *parser) hex4(at int) (rune, bool) {
	if at+4 > len(p.data) {
		return 0, false
	}
	var r rune
	for _, c := range p.data[at : at+4] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}
