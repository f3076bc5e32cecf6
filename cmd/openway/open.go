package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/store"
)

// installation is an open database with its keys and its desk: what nearly every command works with.
type installation struct {
	store    *store.Store
	keys     *credential.Keyring
	desk     *registry.Registry
	actor    access.Actor // who runs this command
	idleDays int
	zone     *time.Location // the site's
	changed  atomic.Pointer[func()]
	release  func() // of the lock of serve; nil = not held
}

// openOptions say how an installation is opened.
type openOptions struct {
	existing  bool // refuse where there is no site yet, instead of making one: perhaps another database was meant
	noMigrate bool // refuse a database whose schema is behind, instead of migrating it
	serving   bool // be the only one that serves an SQLite file
	log       *slog.Logger
}

// open opens the installation that the settings name, migrates its database, and checks the secret key.
func (a *app) open(existing bool) (*installation, error) {
	log, err := a.commandLogger()
	if err != nil {
		return nil, err
	}
	if dsn, postgres, err := a.settings.database(); err == nil && !existing && isTerminal(a.err) {
		if path := newDatabase(dsn, postgres); path != "" { // perhaps another one was meant
			fmt.Fprintf(a.err, "There was no database: making a new one, %s\n", path)
		}
	}
	return openInstallation(a.ctx, a.settings, openOptions{existing: existing, log: log})
}

// with runs fn with the installation that is there.
func (a *app) with(fn func(ctx context.Context, in *installation) error) error {
	return a.withOpen(true, fn)
}

// withNew runs fn with the installation, which it makes if there is none: for what a new site begins with.
func (a *app) withNew(fn func(ctx context.Context, in *installation) error) error {
	return a.withOpen(false, fn)
}

func (a *app) withOpen(existing bool, fn func(ctx context.Context, in *installation) error) error {
	in, err := a.open(existing)
	if err != nil {
		return err
	}
	return errors.Join(fn(a.ctx, in), in.close())
}

// openStore opens the database alone, without migrating it.
func openStore(ctx context.Context, s *settings, log *slog.Logger) (st *store.Store, dsn string, err error) {
	dsn, postgres, err := s.database()
	if err != nil {
		return nil, "", err
	}
	zone, _, retention, err := s.site()
	if err != nil {
		return nil, "", err
	}
	if !postgres {
		if err := mayUse(dsn); err != nil {
			return nil, "", settingError(s.databaseSetting(), "%w", err)
		}
	}
	fresh := newDatabase(dsn, postgres)
	st, err = store.Open(ctx, store.Options{Database: dsn, Logger: log, Zone: zone, RetentionDays: retention})
	if err != nil {
		return nil, "", settingError(s.databaseSetting(), "%w", err)
	}
	if fresh != "" {
		log.Info("there was no database: a new one is made", slog.String("path", fresh))
	}
	return st, dsn, nil
}

// mayUse refuses an SQLite database that belongs to somebody else, or whose directory does, where SQLite keeps files beside it. SQLite itself would
// not say whose they are, nor that this is the cause.
func mayUse(path string) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // where SQLite keeps the others as well
	}
	for _, need := range []struct {
		path, what string
		mode       uint32
	}{{path, "read and write", unix.R_OK | unix.W_OK}, {filepath.Dir(path), "write in", unix.W_OK | unix.X_OK}} {
		if !errors.Is(unix.Access(need.path, need.mode), fs.ErrPermission) {
			continue
		}
		owner := ownerOf(need.path)
		return fmt.Errorf("user %s may not %s %s, which belongs to %s: run this as %[4]s (sudo -u %[4]s openway …)", systemUser(os.Getuid()), need.what, need.path, owner)
	}
	return nil
}

// ownerOf is the name of the user whom a file belongs to, or the directory that hides it.
func ownerOf(path string) string {
	for {
		st, err := os.Stat(path)
		if err == nil {
			if sys, ok := st.Sys().(*syscall.Stat_t); ok {
				return systemUser(int(sys.Uid))
			}
		}
		up := filepath.Dir(path)
		if up == path || err == nil {
			return "another user"
		}
		path = up
	}
}

// systemUser is the name of a user of the operating system, or the number where there is no name.
func systemUser(uid int) string {
	id := strconv.Itoa(uid)
	if u, err := user.LookupId(id); err == nil && u.Username != "" {
		return u.Username
	}
	return id
}

// mustExist refuses an SQLite database that is not there, which opening it would make.
func (s *settings) mustExist() error {
	dsn, postgres, err := s.database()
	if err != nil {
		return err
	}
	if path := newDatabase(dsn, postgres); path != "" {
		return settingError(s.databaseSetting(), "there is no database %s; name the right one, or make it: openway createsuperuser", path)
	}
	return nil
}

// hasSchema refuses a database that is empty, or another program's.
func (s *settings) hasSchema(ctx context.Context, st *store.Store) error {
	steps, err := st.MigrationStatus(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(steps, func(m store.Migration) bool { return !m.AppliedAt.IsZero() }) {
		return nil
	}
	return settingError(s.databaseSetting(), "there is no site in this database; name the right one, or make it: openway createsuperuser")
}

// newDatabase is the full path of an SQLite database that is not there yet; "" if it is.
func newDatabase(dsn string, postgres bool) string {
	if _, err := os.Stat(dsn); postgres || !errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if path, err := filepath.Abs(dsn); err == nil {
		return path
	}
	return dsn
}

func openInstallation(ctx context.Context, s *settings, opt openOptions) (*installation, error) {
	_, idleDays, _, err := s.site()
	if err != nil {
		return nil, err
	}
	src, err := s.secrets(opt.log)
	if err != nil {
		return nil, err
	}
	dsn, postgres, err := s.database()
	if err != nil {
		return nil, err
	}
	if postgres && src.primary == nil {
		return nil, settingError(secretKeyName, "must be set with PostgreSQL: at least %d bytes that only this installation knows (make one: openssl rand -hex 32)", credential.MinKeyLength)
	}
	if opt.serving {
		if err := store.ReadFromDisk(ctx, dsn); err != nil {
			return nil, err
		}
	}
	if opt.existing {
		if err := s.mustExist(); err != nil {
			return nil, err
		}
	}
	st, dsn, err := openStore(ctx, s, opt.log)
	if err != nil {
		return nil, err
	}
	in := &installation{store: st, idleDays: idleDays, actor: commandActor()}
	if opt.existing {
		if err := s.hasSchema(ctx, st); err != nil {
			return nil, errors.Join(err, in.close())
		}
	}
	if err := in.prepare(ctx, dsn, src, opt); err != nil {
		return nil, errors.Join(err, in.close())
	}
	return in, nil
}

// prepare makes the schema and the keys ready and opens the desk.
func (in *installation) prepare(ctx context.Context, dsn string, src secretSource, opt openOptions) (err error) {
	if opt.serving { // before the schema is touched
		if in.release, err = in.store.LockForServing(); err != nil {
			return err
		}
	}
	if opt.noMigrate {
		err = in.store.CheckSchema(ctx)
	} else {
		_, err = in.store.Migrate(ctx)
	}
	if err != nil {
		return err
	}
	if opt.serving {
		if err := in.store.RetireAbandoned(ctx); err != nil {
			return err
		}
	}
	if in.keys, err = keyring(ctx, in.store, dsn, src); err != nil {
		return err
	}
	in.desk = registry.New(registry.Config{Store: in.store, Keys: in.keys, Changed: in.policyChanged, Logger: opt.log, IdleDays: in.idleDays})
	if err := in.desk.CheckKey(ctx); err != nil {
		return wrongKey(src, dsn, err)
	}
	site, err := in.desk.Site(ctx)
	if err != nil {
		return err
	}
	if in.zone, err = time.LoadLocation(site.Zone); err != nil {
		in.zone = time.UTC
	}
	return nil
}

// keyring finds the secret key. A key file is made only for a database that was never used with a key: beside any other a new
// key would open nothing.
func keyring(ctx context.Context, st *store.Store, dsn string, src secretSource) (*credential.Keyring, error) {
	primary := src.primary
	if primary == nil {
		path := keyFilePath(dsn)
		instance, err := st.Instance(ctx)
		if err != nil {
			return nil, err
		}
		if instance.KeyCheck == "" {
			if err := makeKeyFile(path); err != nil {
				return nil, err
			}
		}
		primary, err = readKeyFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s is missing: this database was used with another secret key; restore the file, or set %s", path, secretKeyName)
		}
		if err != nil {
			return nil, err
		}
	}
	keys, err := credential.NewKeyring(primary, src.fallbacks...)
	if err != nil {
		return nil, settingError(src.from, "%w", err)
	}
	return keys, nil
}

// wrongKey names where the key came from when it is not the one that sealed the tokens.
func wrongKey(src secretSource, dsn string, err error) error {
	if !errors.Is(err, registry.ErrWrongKey) {
		return err
	}
	name := src.from
	if name == "" {
		name = keyFilePath(dsn)
	}
	return settingError(name, "this is not the secret key that sealed the tokens of this database; give the right one, or give it in %s and run openway rekey", fallbacksName)
}

// announce names who is told of each change of the policy; nil = nobody.
func (in *installation) announce(changed func()) {
	if changed == nil {
		in.changed.Store(nil)
		return
	}
	in.changed.Store(&changed)
}

func (in *installation) policyChanged() {
	if changed := in.changed.Load(); changed != nil {
		(*changed)()
	}
}

// close ends the desk, then the database, then the lock.
func (in *installation) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var errs []error
	if in.desk != nil {
		errs = append(errs, in.desk.Close(ctx))
	}
	errs = append(errs, in.store.Close())
	if in.release != nil {
		in.release()
	}
	return errors.Join(errs...)
}

// commandActor is who the audit says has run a command: the operating system's user, such as root@host.
func commandActor() access.Actor {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return access.Actor{Kind: "cli", Label: systemUser(os.Getuid()) + "@" + host}
}
