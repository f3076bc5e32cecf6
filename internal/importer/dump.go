package importer

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// dump is a plain pg_dump in a file, gzipped or not.
type dump struct {
	path   string
	schema string // only this one; "" = whichever has the tables
	size   int64
}

const (
	readBuffer = 256 << 10
	// longestLine bounds a line that is kept in memory. Lines of tables that do not matter may have any length.
	longestLine = 16 << 20
)

// openDump looks what kind of file it is.
func openDump(path, schema string) (source, error) {
	if path == "-" {
		return nil, errors.New("a dump is read twice, and so cannot come through a pipe: name a file")
	}
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no file %s", path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s may not be read by this user", path)
	case err != nil:
		return nil, err
	case st.IsDir():
		return nil, fmt.Errorf("%s is a directory (pg_dump --format=directory?): make SQL of it with pg_restore -f dump.sql %s", path, path)
	case !st.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no file: a dump is read twice, and so cannot come through a pipe", path)
	case st.Size() == 0:
		return nil, fmt.Errorf("%s is empty", path)
	}
	return &dump{path: path, schema: schema, size: st.Size()}, nil
}

func (d *dump) name() string  { return d.path }
func (d *dump) label() string { return "the dump " + d.path }
func (d *dump) close() error  { return nil }

// formats are what people take for a plain dump, by how they begin, and what to do.
var formats = []struct{ magic, say string }{
	{"PGDMP", "is in pg_dump's custom format: make SQL of it with pg_restore -f dump.sql FILE"},
	{"toc.dat\x00", "is in pg_dump's tar format: make SQL of it with pg_restore -f dump.sql FILE"},
	{"SQLite format 3\x00", "is an SQLite database, not a dump of PostgreSQL"},
	{"BZh", "is packed with bzip2: unpack it first"},
	{"\xfd7zXZ\x00", "is packed with xz: unpack it first"},
	{"\x28\xb5\x2f\xfd", "is packed with zstd: unpack it first"},
	{"\x04\x22\x4d\x18", "is packed with lz4: unpack it first"},
	{"PK\x03\x04", "is a zip archive: unpack it first"},
	{"\xff\xfe", "is in UTF-16, as PowerShell's > writes: make the dump with pg_dump --file, or with cmd"},
	{"\xfe\xff", "is in UTF-16: make the dump with pg_dump --file"},
	{"age-encryption.org/", "is encrypted with age: decrypt it first"},
}

// counted counts the bytes that were read of a file.
type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (d *dump) read(ctx context.Context, want *reading) (err error) {
	f, err := os.Open(d.path)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s may not be read by this user", d.path)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	from := &counted{r: f}
	text := bufio.NewReaderSize(from, readBuffer)
	if head, _ := text.Peek(2); string(head) == "\x1f\x8b" {
		z, err := gzip.NewReader(text)
		if err != nil {
			return d.fault(err)
		}
		text = bufio.NewReaderSize(z, readBuffer)
	}
	head, err := text.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return d.fault(err)
	}
	for _, f := range formats {
		if bytes.HasPrefix(head, []byte(f.magic)) {
			return fmt.Errorf("%s %s", d.path, f.say)
		}
	}
	s := &script{lines: lines{r: text}, want: want, only: d.schema, tick: func() error {
		if want.progress != nil {
			want.progress(from.n, d.size)
		}
		return ctx.Err()
	}}
	if err := s.run(); err != nil {
		return d.fault(err)
	}
	return nil
}

// fault says what is the matter with a file that cannot be unpacked.
func (d *dump) fault(err error) error {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%s is cut off: its gzip data ends too early; make the dump anew", d.path)
	case errors.Is(err, gzip.ErrHeader):
		return fmt.Errorf("%s is damaged: what follows its gzip data is none; make the dump anew", d.path)
	case errors.Is(err, gzip.ErrChecksum), errors.As(err, &corrupt):
		return fmt.Errorf("%s is damaged: its gzip data does not add up; make the dump anew", d.path)
	}
	return fmt.Errorf("%s: %w", d.path, err)
}

// lines reads lines of any length, and keeps one.
type lines struct {
	r    *bufio.Reader
	n    int64 // of the last line that was read, from 1
	long []byte
}

// next is the next line without its end, LF or CR LF; it is good until the one after. io.EOF when there is none. ended is false for a last line
// without an end.
func (l *lines) next() (line []byte, ended bool, err error) {
	line, err = l.r.ReadSlice('\n')
	l.n++
	if errors.Is(err, bufio.ErrBufferFull) {
		l.long = append(l.long[:0], line...)
		for errors.Is(err, bufio.ErrBufferFull) && len(l.long) <= longestLine {
			line, err = l.r.ReadSlice('\n')
			l.long = append(l.long, line...)
		}
		if len(l.long) > longestLine {
			return nil, false, fmt.Errorf("line %d has more than %d MiB", l.n, longestLine>>20)
		}
		line = l.long
	}
	if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0) {
		return nil, false, err
	}
	line, ended = bytes.CutSuffix(line, []byte{'\n'})
	return bytes.TrimSuffix(line, []byte{'\r'}), ended, nil
}

// skip reads past a line of any length and reports whether it is \. alone.
func (l *lines) skip() (end bool, err error) {
	line, err := l.r.ReadSlice('\n')
	l.n++
	if err == nil {
		return string(bytes.TrimRight(line, "\r\n")) == `\.`, nil
	}
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = l.r.ReadSlice('\n')
	}
	return false, err
}
