package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/jackc/pgx/v5"

	"github.com/openway-access/openway/internal/backup"
	"github.com/openway-access/openway/internal/credential"
)

// BackupCmd takes backups and verifies them.
type BackupCmd struct {
	Take   BackupTakeCmd   `cmd:"" default:"withargs" help:"Take a backup; what backup alone does."`
	Verify BackupVerifyCmd `cmd:"" help:"Restore a backup into a scratch database and compare."`
}

// Help is the example of --help.
func (BackupCmd) Help() string {
	return "Takes a backup, beside a running server, reads it again, and only then gives it its name and deletes those that are too many. " +
		"latest.sql.gz (SQLite: latest.db.gz) points to the newest one. PostgreSQL: by pg_dump, which must be at least of the server's version.\n\n" +
		"openway backup take --help lists its settings.\n\nExample:\n\n    openway backup\n    openway backup --to /srv/backups --keep 30 --encrypt-to age1…\n    openway backup verify /srv/backups/latest.db.gz"
}

// backupSettings are what backup and restore have in common.
type backupSettings struct {
	To        string   `group:"backup" env:"BACKUP_DIR,OPENWAY_BACKUP_DIR" placeholder:"DIR" help:"Where backups are kept; ops/backups."`
	EncryptTo []string `group:"backup" env:"OPENWAY_BACKUP_ENCRYPT_TO" placeholder:"RECIPIENT" help:"Encrypt to this age recipient (age1…; may be repeated). Only then the secret key is in the backup."`
	PgDump    string   `name:"pg-dump" group:"backup" env:"OPENWAY_PG_DUMP" placeholder:"COMMAND" help:"Run this in place of pg_dump, such as \"docker compose exec -T db pg_dump\"."`
}

const (
	defaultBackupDir = "ops/backups"
	defaultKeep      = 7
)

// BackupTakeCmd takes a backup.
type BackupTakeCmd struct {
	backupSettings
	Keep string `group:"backup" env:"KEEP_BACKUPS,OPENWAY_KEEP_BACKUPS" placeholder:"N" help:"How many backups of this database are kept; 7."`
	JSON bool   `name:"json" help:"Print a JSON object: file, size, verified, taken_at, rows, removed."`
}

// Help is the example of --help.
func (BackupTakeCmd) Help() string { return BackupCmd{}.Help() }

type backupJSON struct {
	File     string   `json:"file"`
	Size     int64    `json:"size"`
	Verified bool     `json:"verified"`
	TakenAt  *string  `json:"taken_at"`
	Rows     int64    `json:"rows"`
	KeyID    string   `json:"key_id"`
	Removed  []string `json:"removed"`
}

// Run takes it.
func (c BackupTakeCmd) Run(a *app) (err error) {
	keep := defaultKeep
	if s := strings.TrimSpace(c.Keep); s != "" {
		if keep, err = strconv.Atoi(s); err != nil || keep < 1 {
			return settingError("KEEP_BACKUPS", "%q is not a number of backups, 1 or more", c.Keep)
		}
	}
	cfg, err := c.config(a)
	if err != nil {
		return err
	}
	cfg.Keep = keep
	log, err := a.commandLogger()
	if err != nil {
		return err
	}
	dsn, postgres, err := a.settings.database()
	if err != nil {
		return err
	}
	if path := newDatabase(dsn, postgres); path != "" {
		return settingError(a.settings.databaseSetting(), "there is no database %s to back up", path)
	}
	st, _, err := openStore(a.ctx, a.settings, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	t, err := backup.Take(a.ctx, st, cfg)
	a.endProgress()
	if err != nil {
		return err
	}
	if c.JSON {
		return a.card(true, backupJSON{t.Path, t.Size, true, stamp(t.Manifest.TakenAt), t.Manifest.Total(), t.Manifest.KeyID, append([]string{}, t.Removed...)})
	}
	a.printf("Backed up to %s (%s, %d rows), verified\n", t.Path, sizeShown(t.Size), t.Manifest.Total())
	for _, name := range t.Removed {
		a.printf("Deleted %s\n", name)
	}
	return nil
}

// config reads the settings of backups.
func (c *backupSettings) config(a *app) (backup.Config, error) {
	cfg := backup.Config{Dir: c.dir(), PgDump: strings.TrimSpace(c.PgDump), Program: thisRelease().Version, Actor: commandActor(), Now: a.now, Progress: a.backupProgress()}
	for _, r := range c.EncryptTo {
		for _, one := range list(r) {
			recipients, err := age.ParseRecipients(strings.NewReader(one))
			if err != nil || len(recipients) != 1 {
				return cfg, settingError("--encrypt-to", "%q is not an age recipient such as age1… (age-keygen prints one)", one)
			}
			cfg.Recipients = append(cfg.Recipients, recipients...)
		}
	}
	dsn, postgres, err := a.settings.database()
	if err != nil {
		return cfg, err
	}
	if postgres {
		cfg.URL = dsn
	}
	if cfg.Database, err = databaseName(dsn, postgres); err != nil {
		return cfg, err
	}
	log, err := a.commandLogger()
	if err != nil {
		return cfg, err
	}
	keys, primary, err := keysAtHand(a.settings, dsn, log)
	cfg.Key = c.key(keys, primary, log)
	return cfg, err
}

func (c *backupSettings) dir() string {
	if dir := strings.TrimSpace(c.To); dir != "" {
		return dir
	}
	return filepath.FromSlash(defaultBackupDir)
}

// databaseName is what a database's backups are called by.
func databaseName(dsn string, postgres bool) (string, error) {
	if !postgres {
		base := filepath.Base(dsn)
		return backup.DatabaseName(strings.TrimSuffix(base, filepath.Ext(base))), nil
	}
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil { // its words may hold the password
		return "", settingError("OPENWAY_DATABASE", "the URL of the database cannot be read")
	}
	name := cfg.Database
	if name == "" {
		name = cfg.User
	}
	return backup.DatabaseName(name), nil
}

// key finds the secret key that a database's tokens are sealed with. A backup is taken without it too: only one that is encrypted holds the
// key itself, and then its absence is worth a word.
func (c *backupSettings) key(keys *credential.Keyring, primary []byte, log *slog.Logger) func(check string) (id, secret string) {
	return func(check string) (id, secret string) {
		if keys != nil {
			if under, err := keys.Under(check); err == nil {
				id = under.ID()
			}
			if id == keys.ID() {
				secret = string(primary)
			}
		}
		switch {
		case credential.Rekeying(check):
			log.Warn("a rekey has not come to its end: this backup needs the former secret key as well, which is not in it; run openway rekey again", slog.String("setting", fallbacksName))
		case secret == "" && len(c.EncryptTo) > 0:
			log.Warn("the secret key is not in this backup, because it is not set here: keep it elsewhere", slog.String("setting", secretKeyName))
		}
		return id, secret
	}
}

// keysAtHand are the secret keys that the settings name, without making one; nil when there are none.
func keysAtHand(s *settings, dsn string, log *slog.Logger) (keys *credential.Keyring, primary []byte, err error) {
	src, err := s.secrets(log)
	if err != nil {
		return nil, nil, err
	}
	if src.primary == nil {
		src.primary, err = readKeyFile(keyFilePath(dsn))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil, nil
		}
		if err != nil {
			return nil, nil, err
		}
	}
	keys, err = credential.NewKeyring(src.primary, src.fallbacks...)
	return keys, src.primary, err
}

// BackupVerifyCmd verifies a backup.
type BackupVerifyCmd struct {
	File     string   `arg:"" placeholder:"FILE" help:"The backup."`
	Identity []string `placeholder:"FILE" env:"OPENWAY_BACKUP_IDENTITY" help:"File with the age identity (AGE-SECRET-KEY-…) that it is encrypted to."`
	Psql     string   `name:"psql" env:"OPENWAY_PSQL" placeholder:"COMMAND" help:"Run this in place of psql."`
	JSON     bool     `name:"json" help:"Print the manifest as a JSON object."`
}

// Help is the example of --help.
func (BackupVerifyCmd) Help() string {
	return "SQLite: in a temporary file. PostgreSQL: in a database that is made and dropped on the server that the settings name; the role must be allowed to.\n\n" +
		"Example:\n\n    openway backup verify ops/backups/latest.sql.gz\n    openway backup verify ops/backups/latest.sql.gz.age --identity backup.key"
}

// Run verifies it.
func (c BackupVerifyCmd) Run(a *app) error {
	identities, err := readIdentities(c.Identity)
	if err != nil {
		return err
	}
	r := backup.Restoring{File: c.File, Identities: identities, Config: backup.Config{Psql: strings.TrimSpace(c.Psql), Progress: a.backupProgress()}}
	dsn, postgres, err := a.settings.database()
	if err != nil {
		return err
	}
	if postgres {
		r.URL = dsn
	}
	m, err := backup.Verify(a.ctx, r)
	a.endProgress()
	if err != nil {
		return err
	}
	if m.SecretKey != "" {
		m.SecretKey = "(is in it)"
	}
	if c.JSON {
		return a.card(true, m)
	}
	a.printf("%s is good: restored into a scratch database and compared\n", c.File)
	return a.card(false, nil, manifestShown(m)...)
}

// manifestShown is a manifest as people read it.
func manifestShown(m *backup.Manifest) []any {
	key := m.KeyID
	if key == "" {
		key = "unknown"
	}
	if m.SecretKey != "" {
		key += ", which is in it"
	}
	return []any{
		"Taken", m.TakenAt.UTC().Format("2006-01-02 15:04:05Z07:00"), "By release", m.Program, "Installation", m.Instance,
		"Schema", fmt.Sprintf("%04d", m.Schema), "Rows", m.Total(), "Secret key", key,
	}
}

// readIdentities reads files with age identities.
func readIdentities(files []string) (all []age.Identity, err error) {
	for _, file := range files {
		data, err := readSmall(file)
		if err != nil {
			return nil, settingError("--identity", "%w", err)
		}
		ids, err := age.ParseIdentities(strings.NewReader(string(data)))
		if err != nil { // its words may hold a part of the key
			return nil, settingError("--identity", "%s holds no age identity (AGE-SECRET-KEY-…)", file)
		}
		all = append(all, ids...)
	}
	return all, nil
}

// backupProgress is one line on a terminal that says how far it is; nil where nobody looks.
func (a *app) backupProgress() func(step string, done, total int64) {
	if !isTerminal(a.err) {
		return nil
	}
	var last time.Time
	return func(step string, done, total int64) {
		if now := time.Now(); now.Sub(last) > 100*time.Millisecond {
			last = now
			what := sizeShown(done)
			if total > 0 {
				what = fmt.Sprintf("%d %%", done*100/total)
			}
			fmt.Fprintf(a.err, "\r\x1b[K%s: %s", step, what)
		}
	}
}

// endProgress clears that line.
func (a *app) endProgress() {
	if isTerminal(a.err) {
		fmt.Fprint(a.err, "\r\x1b[K")
	}
}

func sizeShown(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}
