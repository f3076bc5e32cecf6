package backup

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"

	"github.com/openway-access/openway/internal/store"
)

// Read reads a backup to its end and writes its contents to w. Only after it returned nil are they known to be whole: each error says in one line
// what is wrong with the file. progress is told bytes of the file.
func Read(ctx context.Context, path string, identities []age.Identity, w io.Writer, progress func(done, total int64)) (*Manifest, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	if st.Size() == 0 {
		return nil, fmt.Errorf("%s is empty", path)
	}
	source := &countingReader{r: f}
	m, err := read(ctx, source, identities, w, func() {
		if progress != nil {
			progress(source.n, st.Size())
		}
	})
	if err != nil {
		return nil, inWords(path, err)
	}
	return m, nil
}

// errEncrypted: an identity is needed.
var errEncrypted = errors.New("it is encrypted: give the file with the age identity (--identity FILE)")

func read(ctx context.Context, f io.Reader, identities []age.Identity, w io.Writer, tell func()) (*Manifest, error) {
	in := bufio.NewReaderSize(f, 1<<16)
	if head, err := in.Peek(len("age-encryption.org/")); err == nil && string(head) == "age-encryption.org/" {
		if len(identities) == 0 {
			return nil, errEncrypted
		}
		clear, err := age.Decrypt(in, identities...)
		if err != nil {
			return nil, err
		}
		in = bufio.NewReaderSize(clear, 1<<16)
	}
	z, err := gzip.NewReader(in)
	if errors.Is(err, gzip.ErrHeader) {
		return nil, errNeither
	}
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	head := &firstBytes{}
	count := &dumpCount{rows: map[string]int64{}}
	contents := &countingWriter{w: io.MultiWriter(w, sum, head, count)}
	var m *Manifest
	for {
		z.Multistream(false)
		if found, err := manifestIn(z.Extra); err != nil {
			return nil, err
		} else if found != nil {
			m = found
		}
		if err := copyAll(ctx, contents, z, func(int64) { tell() }); err != nil {
			return nil, err
		}
		if err := z.Reset(in); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
	}
	if m == nil {
		return nil, foreign(head.b)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); contents.n != m.Bytes || got != m.SHA256 {
		return nil, errors.New("its contents are not those that were backed up: the checksum differs")
	}
	if m.Engine == store.Postgres {
		if err := count.check(m.Rows); err != nil {
			return nil, err
		}
	}
	return m, nil
}

var errNeither = errors.New("it is no backup of OpenWay's: it is neither compressed by gzip nor encrypted by age")

// foreign says what a file without a manifest seems to be.
func foreign(head []byte) error {
	if bytes.Contains(head, []byte("-- PostgreSQL database dump")) {
		return fmt.Errorf("%w; it seems to be a dump that pg_dump made for somebody else (openway import django takes those of the Django service)", errNoManifest)
	}
	return errNoManifest
}

// inWords says in one line what is wrong with a file.
func inWords(path string, err error) error {
	var other *age.NoIdentityMatchError
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &other):
		return fmt.Errorf("%s: it is encrypted to another identity than the one given", path)
	case errors.Is(err, io.ErrUnexpectedEOF), strings.Contains(err.Error(), "failed to read header"): // of age's
		return fmt.Errorf("%s is cut off: it does not come to its end", path)
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader), errors.As(err, &corrupt), strings.Contains(err.Error(), "failed to decrypt and authenticate"):
		return fmt.Errorf("%s is damaged: %w", path, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// firstBytes keeps the beginning of what is written.
type firstBytes struct{ b []byte }

func (f *firstBytes) Write(p []byte) (int, error) {
	if room := 4096 - len(f.b); room > 0 {
		f.b = append(f.b, p[:min(room, len(p))]...)
	}
	return len(p), nil
}
