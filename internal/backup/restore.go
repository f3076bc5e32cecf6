package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"filippo.io/age"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
)

// Restoring says what is to be restored where.
type Restoring struct {
	Config            // of the safety backup, and of whom psql is
	File       string // the backup
	Identities []age.Identity
	Into       store.Options
	// BringBack leaves what was revoked since the backup as it was then.
	BringBack bool
	// WithoutSafety goes on although what is replaced cannot be backed up.
	WithoutSafety bool
	// CheckKey refuses a backup whose secret key the server has not. nil refuses none.
	CheckKey func(*Manifest) error
	// Confirm is asked when everything is prepared and nothing was replaced yet; an error ends it. nil goes on.
	Confirm func(*Prepared) error
}

// Prepared is what a restore is about to do.
type Prepared struct {
	Manifest Manifest
	Safety   *Taken        // the backup of what will be replaced; nil = there is none
	Standing error         // why what will be replaced cannot be backed up; access.ErrNotFound = there is no database
	Migrated []string      // steps that the backup's schema was behind
	Carried  store.Carried // what would be carried over now
}

// Restored is a restore that was made.
type Restored struct {
	Prepared
	Carried store.Carried // what was carried over
}

// Restore replaces a database by a backup. After an error the database is as it was, but for access.ErrOutcomeUnknown.
func Restore(ctx context.Context, o Restoring) (*Restored, error) {
	m, err := Read(ctx, o.File, o.Identities, io.Discard, func(done, total int64) { o.progress("verifying", done, total) })
	if err != nil {
		return nil, err
	}
	if err := fits(o.File, m, o.engine()); err != nil {
		return nil, err
	}
	if o.CheckKey != nil {
		if err := o.CheckKey(m); err != nil {
			return nil, err
		}
	}
	stage, err := store.OpenStage(ctx, o.Into)
	if err != nil {
		return nil, err
	}
	r, err := o.restore(ctx, stage, m)
	return r, errors.Join(err, stage.Close())
}

// fits refuses a backup that cannot become the database.
func fits(file string, m *Manifest, engine string) error {
	if m.Engine != engine {
		return fmt.Errorf("%s is a backup of %s, and the database is %s: name the right one in OPENWAY_DATABASE", file, spoken(m.Engine), spoken(engine))
	}
	if newest := store.NewestMigration(engine); m.Schema > newest {
		return fmt.Errorf("%s is of a newer release (%s): its schema is %04d, this program knows up to %04d; restore it with that release: %w", file, m.Program, m.Schema, newest, store.ErrTooNew)
	}
	return nil
}

func (o *Restoring) engine() string {
	if o.URL != "" {
		return store.Postgres
	}
	return store.SQLite
}

func spoken(engine string) string {
	if engine == store.Postgres {
		return "PostgreSQL"
	}
	return "SQLite"
}

func (o *Restoring) restore(ctx context.Context, stage *store.Stage, m *Manifest) (_ *Restored, err error) {
	p := Prepared{Manifest: *m}
	p.Manifest.SecretKey = ""
	_, p.Standing = stage.Standing(ctx)
	switch {
	case p.Standing == nil:
		if p.Safety, err = o.safety(ctx); err != nil && !o.WithoutSafety {
			return nil, fmt.Errorf("nothing was restored, because what is there could not be backed up (--no-safety-backup goes on without): %w", err)
		}
	case errors.Is(p.Standing, store.ErrForeign), errors.Is(p.Standing, store.ErrTooNew):
		return nil, p.Standing
	case errors.Is(p.Standing, access.ErrNotFound):
	case !o.WithoutSafety:
		return nil, fmt.Errorf("nothing was restored, because what is there cannot be read, and so not be backed up (--no-safety-backup goes on without): %w", p.Standing)
	}
	if err := o.load(ctx, stage, m); err != nil {
		return nil, fmt.Errorf("load the backup: %w", err)
	}
	s, err := stage.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	got, err := s.Facts(ctx)
	if err != nil {
		return nil, err
	}
	if err := m.facts().Differ(got); err != nil {
		return nil, fmt.Errorf("load the backup: what was loaded is not what was backed up: %w", err)
	}
	if p.Migrated, err = s.Migrate(ctx); err != nil {
		return nil, err
	}
	r := store.Replacement{Actor: o.Actor, BringBack: o.BringBack, Detail: access.Fields{
		"file": o.File, "taken_at": m.TakenAt.UTC().Format(time.RFC3339), "rows": strconv.FormatInt(m.Total(), 10), "verified": "true",
	}}
	if p.Safety != nil {
		r.Detail["safety_backup"] = p.Safety.Path
	}
	if p.Carried, err = stage.Preview(ctx, s, r); err != nil {
		return nil, err
	}
	if o.Confirm != nil {
		if err := o.Confirm(&p); err != nil {
			return nil, err
		}
	}
	carried, err := stage.Replace(ctx, s, r)
	if err != nil {
		return nil, err
	}
	return &Restored{p, carried}, nil
}

// safety backs up what will be replaced. It is not part of the rotation.
func (o *Restoring) safety(ctx context.Context) (t *Taken, err error) {
	s, err := store.Open(ctx, o.Into)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	t, release, err := take(ctx, s, o.Config, beforeRestore)
	if err != nil {
		return nil, err
	}
	release()
	return t, o.note(ctx, s, t)
}

// load fills the stage.
func (o *Restoring) load(ctx context.Context, stage *store.Stage, m *Manifest) error {
	if m.Engine == store.Postgres {
		before, after := stage.SQL(m.Namespace)
		return o.psql(ctx, o.URL, before, after, m.ServerMajor)
	}
	return o.unpack(ctx, stage.File())
}

// unpack writes an SQLite backup to a new file.
func (o *Restoring) unpack(ctx context.Context, to string) error {
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = Read(ctx, o.File, o.Identities, f, func(done, total int64) { o.progress("unpacking", done, total) })
	return errors.Join(err, f.Sync(), f.Close())
}

// psql has psql run a dump, and what is to be said before and after it. What comes after is said only once the dump was read to its end and
// found whole, so that a file that changed meanwhile is not committed.
func (o *Restoring) psql(ctx context.Context, url, before, behind string, server int) (err error) {
	s, err := store.Open(ctx, store.Options{Database: url, Readers: 1})
	if err != nil {
		return err
	}
	major, err := s.ServerMajor(ctx)
	if err = errors.Join(err, s.Close()); err != nil {
		return err
	}
	psql, err := findTool(ctx, "psql", o.Psql, url, major)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd, complaint := psql.command(ctx, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output="+os.DevNull)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run psql: %w", err)
	}
	fed := func() error {
		if _, err := io.WriteString(in, before); err != nil {
			return err
		}
		if _, err := Read(ctx, o.File, o.Identities, in, func(done, total int64) { o.progress("loading", done, total) }); err != nil {
			return err
		}
		if _, err := io.WriteString(in, behind); err != nil {
			return err
		}
		return in.Close()
	}()
	if fed != nil {
		// Not even its end must reach psql: it would take that for the end of the rows.
		cancel()
	}
	waited := cmd.Wait()
	var exit interface{ ExitCode() int }
	if errors.As(waited, &exit) && exit.ExitCode() > 0 {
		hint := ""
		if server > major {
			hint = fmt.Sprintf(" (the backup is from PostgreSQL %d, this server is %d)", server, major)
		}
		return fmt.Errorf("psql: %w%s%s", waited, after(complaint), hint)
	}
	return errors.Join(fed, waited)
}

// Verify reads a backup, restores it into a scratch database, and compares that with the manifest: SQLite in a temporary directory,
// PostgreSQL in a database that it makes and drops on the server that o.URL names.
func Verify(ctx context.Context, o Restoring) (*Manifest, error) {
	m, err := Read(ctx, o.File, o.Identities, io.Discard, func(done, total int64) { o.progress("reading", done, total) })
	if err != nil {
		return nil, err
	}
	if err := fits(o.File, m, m.Engine); err != nil {
		return nil, err
	}
	check := o.verifySQLite
	if m.Engine == store.Postgres {
		check = o.verifyPostgres
	}
	if err := check(ctx, m); err != nil {
		return nil, fmt.Errorf("%s: restore it into a scratch database: %w", o.File, err)
	}
	return m, nil
}

func (o *Restoring) verifySQLite(ctx context.Context, m *Manifest) (err error) {
	dir, err := os.MkdirTemp("", "openway-verify-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := dir + "/scratch.db"
	if err := o.unpack(ctx, path); err != nil {
		return err
	}
	return store.CheckFile(ctx, path, m.facts())
}

func (o *Restoring) verifyPostgres(ctx context.Context, m *Manifest) (err error) {
	if o.URL == "" {
		return errors.New("it is a backup of PostgreSQL: name a server in OPENWAY_DATABASE where a scratch database can be made")
	}
	server, err := store.Open(ctx, store.Options{Database: o.URL, Readers: 1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	url, drop, err := server.Scratch(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, drop()) }()
	before, after := store.Alone(m.Namespace)
	if err := o.psql(ctx, url, before, after, m.ServerMajor); err != nil {
		return err
	}
	s, err := store.Open(ctx, store.Options{Database: url, Readers: 1})
	if err != nil {
		return err
	}
	got, err := s.Facts(ctx)
	if err = errors.Join(err, s.Close()); err != nil {
		return err
	}
	return m.facts().Differ(got)
}
