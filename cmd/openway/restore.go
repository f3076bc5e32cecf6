package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/backup"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/store"
)

// RestoreCmd replaces the database by a backup.
type RestoreCmd struct {
	backupSettings
	File           string   `arg:"" optional:"" placeholder:"FILE" help:"The backup, or its name in the directory of backups. Without it they are listed."`
	Identity       []string `placeholder:"FILE" env:"OPENWAY_BACKUP_IDENTITY" help:"File with the age identity (AGE-SECRET-KEY-…) that it is encrypted to."`
	Yes            bool     `short:"y" env:"-" help:"Do not ask."`
	BringBack      bool     `env:"-" help:"Bring back what was revoked, deactivated or deleted since the backup; who comes back is said before."`
	NoSafetyBackup bool     `env:"-" help:"Go on although what is replaced cannot be backed up."`
	WriteKey       string   `env:"-" placeholder:"FILE" help:"Write the secret key that an encrypted backup holds to this new file."`
	Psql           string   `name:"psql" env:"OPENWAY_PSQL" placeholder:"COMMAND" help:"Run this in place of psql, such as \"docker compose exec -T db psql\"."`
	JSON           bool     `name:"json" help:"List the backups as one JSON object a line."`
}

// Help is the manual, and the example of --help.
func (RestoreCmd) Help() string {
	return "The backup is verified, what is there is backed up (…_before-restore…), and then it is replaced whole or not at all. An SQLite database must not be served meanwhile; servers on PostgreSQL see the " +
		"restored state at once. All sessions end. What was revoked, deactivated, deleted or erased since the backup stays so, and the events since then are carried over, where the replaced database can be read; people and rights that came since are lost.\n\n" +
		"Example:\n\n    openway restore\n    openway restore ops/backups/nfc_access_2025-10-04_1559.sql.gz\n    openway restore --yes --identity backup.key latest.db.gz.age"
}

// Run restores, or lists.
func (c RestoreCmd) Run(a *app) error {
	cfg, err := c.config(a)
	if err != nil {
		return err
	}
	dsn, postgres, err := a.settings.database()
	if err != nil {
		return err
	}
	if c.File == "" {
		return c.list(a, cfg, postgres)
	}
	file := c.File
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) && filepath.Base(file) == file {
		if _, err := os.Stat(filepath.Join(cfg.Dir, file)); err == nil {
			file = filepath.Join(cfg.Dir, file)
		}
	}
	if !c.Yes && !a.interactive() {
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("nothing was restored: %w", err)
		}
		return errors.New("nothing was restored: nobody is there to be asked; give --yes")
	}
	identities, err := readIdentities(c.Identity)
	if err != nil {
		return err
	}
	log, err := a.commandLogger()
	if err != nil {
		return err
	}
	zone, _, retention, err := a.settings.site()
	if err != nil {
		return err
	}
	cfg.Psql = strings.TrimSpace(c.Psql)
	key := restoredKey{c: &c, a: a, dsn: dsn, postgres: postgres}
	r, err := backup.Restore(a.ctx, backup.Restoring{
		Config: cfg, File: file, Identities: identities, BringBack: c.BringBack, WithoutSafety: c.NoSafetyBackup,
		Into:     store.Options{Database: dsn, Logger: log, Zone: zone, RetentionDays: retention},
		CheckKey: key.check,
		Confirm: func(p *backup.Prepared) error {
			a.endProgress()
			c.show(a, p)
			if err := c.confirm(a); err != nil {
				return err
			}
			return key.write()
		},
	})
	a.endProgress()
	if err != nil {
		return err
	}
	c.report(a, file, r)
	key.report()
	return nil
}

type entryJSON struct {
	File      string  `json:"file"`
	Size      int64   `json:"size"`
	TakenAt   *string `json:"taken_at"`
	Encrypted bool    `json:"encrypted"`
	Safety    bool    `json:"before_restore"`
	Verified  bool    `json:"verified"` // when it was taken
	Problem   string  `json:"problem"`
	KeyID     string  `json:"key_id"`
}

// list prints what there is. It is no success when something was to be restored without asking.
func (c *RestoreCmd) list(a *app, cfg backup.Config, postgres bool) error {
	engine := store.SQLite
	if postgres {
		engine = store.Postgres
	}
	all, err := backup.List(cfg.Dir, cfg.Database, engine)
	if err != nil {
		return err
	}
	if len(all) == 0 && !c.JSON {
		a.printf("There are no backups of %s in %s\n", cfg.Database, cfg.Dir)
	} else {
		p := a.newPrinter(c.JSON, "FILE", "SIZE", "AGE", "VERIFIED", "NOTE")
		for _, e := range all {
			verified, notes, id := "when taken", []string{}, ""
			if e.Problem != "" {
				verified, notes = "no", append(notes, e.Problem)
			}
			if e.Encrypted {
				notes = append(notes, "encrypted")
			}
			if e.Safety {
				notes = append(notes, "taken by a restore")
			}
			if e.Manifest != nil {
				id = e.Manifest.KeyID
			}
			p.row(entryJSON{e.Path, e.Size, stamp(e.At), e.Encrypted, e.Safety, e.Problem == "", e.Problem, id}, e.Path, sizeShown(e.Size), ageShown(a.now().Sub(e.At)), verified, notes)
		}
		if err := p.end(); err != nil {
			return err
		}
	}
	if c.Yes {
		return usagef("nothing was restored: name the backup; see openway restore --help")
	}
	return nil
}

// ageShown is how long ago something was, roughly.
func ageShown(d time.Duration) string {
	switch {
	case d < 0:
		return "in the future"
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// show says what is about to be done.
func (c *RestoreCmd) show(a *app, p *backup.Prepared) {
	say := func(format string, args ...any) { fmt.Fprintln(a.err, printable(fmt.Sprintf(format, args...))) }
	m := p.Manifest
	since := m.TakenAt.UTC().Format("2006-01-02 15:04:05 UTC")
	say("The backup is of %s, by release %s: %d rows of installation %s. It was verified.", since, m.Program, m.Total(), m.Instance)
	switch {
	case p.Safety != nil:
		say("What is there now was backed up to %s.", p.Safety.Path)
	case errors.Is(p.Standing, access.ErrNotFound):
		say("There is no database yet.")
	default:
		say("What is there now was NOT backed up (--no-safety-backup).")
	}
	if !c.Yes { // else the report follows at once
		c.showCarried(say, since, p.Carried, "would be")
	}
}

// showCarried says what is carried over; is is "was" or "would be".
func (c *RestoreCmd) showCarried(say func(string, ...any), since string, carried store.Carried, is string) {
	ended, lost := counts(carried.Ended), counts(carried.Lost)
	switch {
	case carried.Stranger:
		say("There is no database of this installation to carry anything over from. What was revoked or deactivated since %s is unknown: look through users, devices and permissions.", since)
		return
	case c.BringBack && ended != "":
		say("BROUGHT BACK, as --bring-back asks: %s.", ended)
		if len(carried.Returned) > 0 {
			say("Among them are rights of: %s.", strings.Join(carried.Returned, ", "))
		}
	case ended != "":
		say("Since then ended, and carried over: %s.", ended)
	default:
		say("Nothing was revoked or deactivated since.")
	}
	if lost != "" {
		say("Made since then, and not in the backup: %s.", lost)
	}
	say("%d events and %d lines of the audit %s carried over.", carried.Events, carried.AuditLines, is)
	if len(carried.Unread) > 0 {
		say("What the tables %s said since %s is UNKNOWN: they could not be read. Look through users, devices and permissions.", strings.Join(carried.Unread, ", "), since)
	}
}

func counts(m map[string]int64) string {
	var parts []string
	for _, words := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %d", strings.ReplaceAll(words, "_", " "), m[words]))
	}
	return strings.Join(parts, ", ")
}

// phrase is what must be typed in production.
const phrase = "RESTORE PRODUCTION"

func (c *RestoreCmd) confirm(a *app) error {
	if c.Yes {
		return nil
	}
	if a.settings.production() {
		got, err := a.ask("PRODUCTION. This will replace the database, and end all sessions.\nType " + phrase + " to go on: ")
		if err != nil {
			return err
		}
		if got != phrase {
			return errors.New("nothing was restored: that is not " + phrase)
		}
		return nil
	}
	got, err := a.ask("This will replace the database, and end all sessions. Go on? [y/N] ")
	if err != nil {
		return err
	}
	switch strings.ToLower(got) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing was restored")
}

func (c *RestoreCmd) report(a *app, file string, r *backup.Restored) {
	since := r.Manifest.TakenAt.UTC().Format("2006-01-02 15:04:05 UTC")
	a.printf("Restored %s, of %s\n", file, since)
	for _, step := range r.Migrated {
		a.printf("Applied %s\n", step)
	}
	c.showCarried(func(format string, args ...any) { a.print(printable(fmt.Sprintf(format, args...)) + "\n") }, since, r.Carried, "were")
	if r.Carried.Damaged != "" {
		a.printf("The damaged database is kept as %s\n", r.Carried.Damaged)
	}
	if r.Carried.NoOwner {
		a.printf("No active owner is left: make one with openway createsuperuser\n")
	}
}

// restoredKey sees to it that the server has the secret key that the backup's tokens are sealed with.
type restoredKey struct {
	c        *RestoreCmd
	a        *app
	dsn      string
	postgres bool

	needs   string // what to say when it is done
	secret  string // to be written
	written []string
}

// check refuses a backup that was sealed with another key than the one at hand. Where none is at hand, it says afterwards which one is needed.
func (k *restoredKey) check(m *backup.Manifest) error {
	id := m.KeyID
	if id == "" {
		id = "unknown"
	}
	if k.c.WriteKey != "" {
		if m.SecretKey == "" {
			return usagef("--write-key: the backup does not hold the secret key (its id: %s)", id)
		}
		k.secret = m.SecretKey
	}
	if m.KeyCheck == "" {
		return nil
	}
	log, err := k.a.commandLogger()
	if err != nil {
		return err
	}
	keys, _, err := keysAtHand(k.a.settings, k.dsn, log)
	if err != nil {
		return err
	}
	if keys == nil {
		switch {
		case credential.Rekeying(m.KeyCheck):
			k.needs = fmt.Sprintf("A rekey had not come to its end, and the server needs two secret keys: set %s to the one with the id %s and %s to the former one", secretKeyName, id, fallbacksName)
		case m.SecretKey != "" && !k.postgres:
			k.secret = m.SecretKey
		default:
			k.needs = fmt.Sprintf("The server needs the secret key with the id %s: set %s", id, secretKeyName)
		}
		return nil
	}
	i, ok := keys.Matches(m.KeyCheck)
	switch {
	case credential.Rekeying(m.KeyCheck) && !ok:
		return fmt.Errorf("the backup was taken before a rekey had come to its end and needs two secret keys: set %s to the one with the id %s and %s to the former one; nothing was restored", secretKeyName, id, fallbacksName)
	case credential.Rekeying(m.KeyCheck):
		k.needs = fmt.Sprintf("A rekey had not come to its end: keep %s, and run openway rekey", fallbacksName)
	case !ok:
		return fmt.Errorf("the backup's tokens are sealed with the secret key of the id %s, and the key here has the id %s: set %s to that one, or give it in %s; nothing was restored", id, keys.ID(), secretKeyName, fallbacksName)
	case i > 0:
		k.needs = "The tokens are sealed with a former secret key: run openway rekey"
	}
	return nil
}

// write writes the key, before anything is replaced.
func (k *restoredKey) write() error {
	if k.secret == "" {
		return nil
	}
	if k.c.WriteKey != "" {
		if err := writeKeyFile(k.c.WriteKey, k.secret); err != nil {
			return settingError("--write-key", "%w", err)
		}
		k.written = append(k.written, k.c.WriteKey)
	}
	if path := keyFilePath(k.dsn); !k.postgres && k.c.WriteKey != path {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && os.Getenv(secretKeyName) == "" && k.a.settings.SecretKeyFile == "" {
			if err := writeKeyFile(path, k.secret); err != nil {
				return err
			}
			k.written = append(k.written, path)
		}
	}
	return nil
}

func (k *restoredKey) report() {
	for _, path := range k.written {
		k.a.printf("Wrote the secret key to %s\n", path)
	}
	if k.needs != "" {
		k.a.printf("%s\n", k.needs)
	}
}
