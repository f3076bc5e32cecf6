package backup

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
)

// Config says how backups are taken. Dir and Database must be given.
type Config struct {
	Dir        string
	Database   string          // what the files are called by: see DatabaseName
	URL        string          // PostgreSQL: where pg_dump and psql find it
	Keep       int             // how many are kept, 1 at least
	Recipients []age.Recipient // whom the file is encrypted to; none = it is not
	// Key returns the secret key that made a database's key check, and its id; "" and "" when it is not at hand. nil: it never is. The key
	// itself goes into encrypted backups only.
	Key     func(check string) (id, secret string)
	PgDump  string       // command to run in place of pg_dump
	Psql    string       // command to run in place of psql
	Program string       // this release
	Actor   access.Actor // who takes it, for the audit
	Now     func() time.Time
	// Progress is told how far a step is; total 0 = nobody knows. nil = nobody is told.
	Progress func(step string, done, total int64)
}

// Taken is a backup that was taken.
type Taken struct {
	Path     string
	Size     int64
	Manifest Manifest
	Removed  []string // older backups that it took the place of
}

// temporaryPrefix begins the names of files that are not finished.
const temporaryPrefix = ".openway-backup-"

// Take takes a backup. With an error that comes with a Taken, the backup is good and only what should have followed failed.
//
// Two at once are refused. Calls: lock; create a temporary file 0600, write, fsync, read it again and compare; link it to its name, fsync the
// directory; replace the link to the latest; delete old ones; the line in the audit.
func Take(ctx context.Context, s *store.Store, c Config) (*Taken, error) {
	t, release, err := take(ctx, s, c, "")
	if err != nil {
		return nil, fmt.Errorf("back up: %w", err)
	}
	defer release()
	if err := pointLatest(t.Path, c.extension(s.Engine())); err != nil {
		return t, fmt.Errorf("%s is good, but the link to the latest backup could not be set: %w", t.Path, err)
	}
	if t.Removed, err = rotate(c.Dir, c.Database, s.Engine(), max(c.Keep, 1), t.Path); err != nil {
		return t, fmt.Errorf("%s is good, but: %w", t.Path, err)
	}
	if err := c.note(ctx, s, t); err != nil {
		return t, fmt.Errorf("%s is good, but the audit has no line of it: %w", t.Path, err)
	}
	return t, nil
}

func (c *Config) extension(engine string) string {
	if len(c.Recipients) > 0 {
		return extension(engine) + ".age"
	}
	return extension(engine)
}

func (c *Config) note(ctx context.Context, s *store.Store, t *Taken) error {
	return s.Note(ctx, c.Actor, func(tx *store.Tx) error {
		return tx.Record(access.ObjectBackup, 0, access.ActionBackup, nil, access.Fields{
			"file": filepath.Base(t.Path), "directory": c.Dir, "size": strconv.FormatInt(t.Size, 10), "verified": "true", "encrypted": strconv.FormatBool(len(c.Recipients) > 0),
			"taken_at": t.Manifest.TakenAt.Format(time.RFC3339),
		})
	})
}

// take makes the file, and holds the directory's lock until release.
func take(ctx context.Context, s *store.Store, c Config, suffix string) (_ *Taken, release func(), err error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, nil, err
	}
	lock := filepath.Join(c.Dir, temporaryPrefix+"lock")
	unlock, busy, err := store.LockFile(lock)
	if err != nil {
		return nil, nil, err
	}
	if busy != "" {
		return nil, nil, fmt.Errorf("%s takes a backup to %s at this moment: nothing was done", busy, c.Dir)
	}
	defer func() {
		if err != nil {
			unlock()
		}
	}()
	owned(lock, c.Dir)
	if err := c.tidy(); err != nil {
		return nil, nil, err
	}
	w := &writing{c: &c, path: filepath.Join(c.Dir, temporaryPrefix+"unfinished"), m: Manifest{Format: format, Database: c.Database, Program: c.Program}}
	defer func() { err = errors.Join(err, c.tidy()) }() // the file has its name by then, or is not wanted
	if s.Engine() == store.Postgres {
		err = w.dump(ctx, s)
	} else {
		err = w.copy(ctx, s)
	}
	if err == nil {
		err = w.verify(ctx)
	}
	if err != nil {
		return nil, nil, err
	}
	owned(w.path, c.Dir)
	path, err := place(w.path, c.Dir, c.Database, suffix, c.extension(s.Engine()), w.m.TakenAt)
	if err != nil {
		return nil, nil, err
	}
	w.m.SecretKey = "" // nobody who is told of the backup needs it
	return &Taken{Path: path, Size: w.size, Manifest: w.m}, unlock, nil
}

// tidy removes what a process that died in the middle has left.
func (c *Config) tidy() error {
	left, err := filepath.Glob(filepath.Join(c.Dir, temporaryPrefix+"*"))
	if err != nil {
		return err
	}
	for _, path := range left {
		if strings.HasSuffix(path, temporaryPrefix+"lock") {
			continue
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove what an unfinished backup left: %w", err)
		}
	}
	return nil
}

func (c *Config) progress(step string, done, total int64) {
	if c.Progress != nil {
		c.Progress(step, done, total)
	}
}

func (c *Config) now() time.Time {
	if c.Now != nil {
		return c.Now().UTC()
	}
	return time.Now().UTC()
}

// writing is one file in the making.
type writing struct {
	c    *Config
	path string
	m    Manifest
	sum  hash.Hash // of the file
	size int64
}

// copy writes a copy of an SQLite database. The copy itself stands beside the file for a while, not compressed.
func (w *writing) copy(ctx context.Context, s *store.Store) error {
	w.m.TakenAt = w.c.now().Truncate(time.Second)
	plain := filepath.Join(w.c.Dir, temporaryPrefix+"copy")
	f, err := s.CopyTo(ctx, plain, func(done, total int) { w.c.progress("copying", int64(done), int64(total)) })
	if err != nil {
		return err
	}
	w.describe(f)
	from, err := os.Open(plain)
	if err != nil {
		return err
	}
	defer from.Close()
	st, err := from.Stat()
	if err != nil {
		return err
	}
	return w.write(func(to io.Writer) error {
		return errors.Join(copyAll(ctx, to, from, func(n int64) { w.c.progress("compressing", n, st.Size()) }), os.Remove(plain))
	})
}

// dump writes what pg_dump says of one snapshot, in which the rows were counted as well.
func (w *writing) dump(ctx context.Context, s *store.Store) error {
	major, err := s.ServerMajor(ctx)
	if err != nil {
		return err
	}
	dump, err := findTool(ctx, "pg_dump", w.c.PgDump, w.c.URL, major)
	if err != nil {
		return err
	}
	w.m.TakenAt = w.c.now().Truncate(time.Second)
	return s.WithSnapshot(ctx, func(snapshot string, f store.Facts) error {
		w.describe(f)
		count := &dumpCount{rows: map[string]int64{}}
		return w.write(func(to io.Writer) error {
			cmd, complaint := dump.command(ctx, "--no-owner", "--no-privileges", "--encoding=UTF8", "--lock-wait-timeout=60s", "--snapshot="+snapshot,
				`--table="`+strings.ReplaceAll(f.Schema, `"`, `""`)+`".*`)
			out, err := cmd.StdoutPipe()
			if err != nil {
				return err
			}
			if err := cmd.Start(); err != nil {
				return fmt.Errorf("run pg_dump: %w", err)
			}
			copied := copyAll(ctx, io.MultiWriter(to, count), out, func(n int64) { w.c.progress("dumping", n, 0) })
			if copied != nil {
				_ = cmd.Process.Kill() // it is waited for below, and copied says why
			}
			if err := cmd.Wait(); err != nil && copied == nil {
				return fmt.Errorf("pg_dump: %w%s", err, after(complaint))
			}
			if copied != nil {
				return copied
			}
			return count.check(f.Rows)
		})
	})
}

// describe fills in the manifest.
func (w *writing) describe(f store.Facts) {
	w.m.setFacts(f)
	if w.c.Key == nil || f.Instance.KeyCheck == "" {
		return
	}
	var secret string
	if w.m.KeyID, secret = w.c.Key(f.Instance.KeyCheck); len(w.c.Recipients) > 0 {
		w.m.SecretKey = secret
	}
}

// write makes the file of what contents writes, compressed, with the manifest behind it, and encrypted if it is to be.
func (w *writing) write(contents func(io.Writer) error) (err error) {
	f, err := os.OpenFile(w.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err == nil {
			err = f.Sync()
		}
		err = errors.Join(err, f.Close())
	}()
	w.sum = sha256.New()
	file := io.MultiWriter(f, w.sum)
	var to io.Writer = file
	var sealed io.WriteCloser
	if len(w.c.Recipients) > 0 {
		if sealed, err = age.Encrypt(file, w.c.Recipients...); err != nil {
			return err
		}
		to = sealed
	}
	// Fast: the machine has doors to open.
	z, err := gzip.NewWriterLevel(to, gzip.BestSpeed)
	if err != nil {
		return err
	}
	z.ModTime = w.m.TakenAt
	sum := sha256.New()
	counted := &countingWriter{w: io.MultiWriter(z, sum)}
	if err := contents(counted); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	w.m.Bytes, w.m.SHA256 = counted.n, hex.EncodeToString(sum.Sum(nil))
	if err := writeManifest(to, &w.m); err != nil {
		return err
	}
	if sealed != nil {
		return sealed.Close()
	}
	return nil
}

// verify reads the file again. What is encrypted cannot be opened here: it must be, byte for byte, what was written, and that was counted
// on its way.
func (w *writing) verify(ctx context.Context) error {
	f, err := os.Open(w.path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if err := copyAll(ctx, sum, f, nil); err != nil {
		return fmt.Errorf("read the backup again: %w", err)
	}
	if string(sum.Sum(nil)) != string(w.sum.Sum(nil)) {
		return errors.New("read the backup again: it is not what was written: is the disk failing?")
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	w.size = st.Size()
	if len(w.c.Recipients) > 0 {
		return nil
	}
	_, err = Read(ctx, w.path, nil, io.Discard, func(done, total int64) { w.c.progress("verifying", done, total) })
	return err
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// copyAll copies until the end, or that of ctx, and tells how much there was so far.
func copyAll(ctx context.Context, to io.Writer, from io.Reader, tell func(n int64)) error {
	var total int64
	buffer := make([]byte, 1<<18)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return err
			}
			if total += int64(n); tell != nil {
				tell(total)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
