package httpapi

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"strings"
	"unicode/utf8"
)

// parseForm reads an urlencoded form into b. Nothing is malformed: what is no escape stands for itself, as it does in browsers,
// and invalid UTF-8 becomes U+FFFD.
func parseForm(data []byte, b *body) {
	b.form, b.root = true, value{kind: object}
	for len(data) > 0 {
		var pair []byte
		pair, data, _ = bytes.Cut(data, []byte("&"))
		if len(pair) == 0 {
			continue
		}
		name, v, _ := bytes.Cut(pair, []byte("="))
		b.set(unescape(name), value{kind: text, text: formText(unescape(v))})
	}
}

func unescape(s []byte) []byte {
	if bytes.IndexByte(s, '%') < 0 && bytes.IndexByte(s, '+') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			out = append(out, ' ')
		case s[i] == '%' && i+2 < len(s) && unhex(s[i+1]) < 16 && unhex(s[i+2]) < 16:
			out = append(out, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		default:
			out = append(out, s[i])
		}
	}
	return out
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

func formText(s []byte) string {
	if utf8.Valid(s) {
		return string(s)
	}
	return string([]rune(string(s))) // each byte that is no UTF-8 becomes U+FFFD
}

// errMultipart is the error of a multipart body that cannot be read.
var errMultipart = errors.New("malformed multipart form")

// parseMultipart reads a multipart form into b. A part with a file name is of kind file. As with the original, a body that ends before its
// last boundary is read as far as it goes, and a part may be in base64.
func parseMultipart(data []byte, boundary string, b *body) error {
	b.form, b.root = true, value{kind: object}
	if boundary == "" || len(boundary) > 200 {
		return fmt.Errorf("%w: no boundary", errMultipart)
	}
	r := multipart.NewReader(bytes.NewReader(data), boundary)
	for {
		part, err := r.NextRawPart()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errMultipart, err)
		}
		content, err := io.ReadAll(part)
		cut := errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !cut {
			return fmt.Errorf("%w: %w", errMultipart, err)
		}
		if strings.EqualFold(strings.TrimSpace(part.Header.Get("Content-Transfer-Encoding")), "base64") {
			if plain, err := base64.StdEncoding.DecodeString(string(content)); err == nil {
				content = plain
			}
		}
		v := value{kind: text, text: formText(content)}
		if part.FileName() != "" {
			v = value{kind: file}
		}
		b.set([]byte(strings.ToValidUTF8(part.FormName(), "\ufffd")), v)
		if cut {
			return nil
		}
	}
}
