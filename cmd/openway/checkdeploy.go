package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/throttle"
)

// deployment is what the checks look at. Each returns its findings, one or more.
type deployment struct {
	app      *app
	plan     servePlan
	store    *store.Store
	dsn      string
	postgres bool
	log      *slog.Logger
	desk     *registry.Registry // once the key was found good
}

func (d *deployment) schema(ctx context.Context) []finding {
	err := d.store.CheckSchema(ctx)
	switch {
	case errors.Is(err, store.ErrBehind):
		return []finding{fail("migrations", "Run openway migrate (serve does so by itself unless --no-migrate).", "%s", message(err))}
	case err != nil:
		return []finding{fail("database", "See docs/operate.md, \"When the database is not right\".", "%s", message(err))}
	}
	return []finding{passed("database", "%s answers", d.store.Engine()), passed("migrations", "none are pending")}
}

func (d *deployment) secretKey(ctx context.Context) []finding {
	const check = "secret key"
	src, err := d.app.settings.secrets(d.log)
	if err == nil && d.postgres && src.primary == nil {
		err = settingError(secretKeyName, "is not set")
	}
	if err != nil {
		return []finding{fail(check, "Set it to what `openssl rand -hex 32` prints, and keep a copy.", "%s", message(err))}
	}
	keys, err := keyring(ctx, d.store, d.dsn, src)
	if err != nil {
		return []finding{fail(check, "Give the key that this database was used with.", "%s", message(err))}
	}
	d.desk = registry.New(registry.Config{Store: d.store, Keys: keys, Logger: d.log})
	if err := d.desk.CheckKey(ctx); err != nil {
		return []finding{fail(check, "Give the key that this database was used with.", "%s", message(wrongKey(src, d.dsn, err)))}
	}
	instance, err := d.store.Instance(ctx)
	if err != nil {
		return []finding{fail(check, "Look at the database.", "%s", message(err))}
	}
	if credential.Rekeying(instance.KeyCheck) {
		return []finding{fail(check, "Run openway rekey again; until it has come to its end both keys are needed, also by whoever restores a backup.", "a rekey has not come to its end")}
	}
	elsewhere, err := d.desk.SealedElsewhere(ctx)
	if err != nil {
		return []finding{fail(check, "Look at the database.", "%s", message(err))}
	}
	for id, n := range elsewhere {
		return []finding{fail(check, "Put that key into OPENWAY_SECRET_KEY_FALLBACKS and run openway rekey, or set those tokens anew.",
			"%s sealed with another key, %s, which is not configured", counted(int(n), "token"), cmp.Or(id, "unknown"))}
	}
	if src.primary != nil && guessable(src.primary) {
		return []finding{fail(check, "Make one with `openssl rand -hex 32`, and change it: openway rekey --help says how.", "looks made by hand")}
	}
	if len(src.fallbacks) > 0 {
		return []finding{warn(check, "When every server has been restarted with them, run openway rekey; then take them out.", "%s still configured", counted(len(src.fallbacks), "former key"))}
	}
	return []finding{passed(check, "%s, it is the one that sealed the tokens", keys.ID())}
}

// guessable: random text of 32 bytes has more than ten different ones; "change-me-change-me-…" and "0000…" do not, or say what they are.
func guessable(key []byte) bool {
	different := map[byte]bool{}
	for _, b := range key {
		different[b] = true
	}
	text := strings.ToLower(string(key))
	for _, word := range []string{"change", "secret", "insecure", "example", "password", "openway", "django"} {
		if strings.Contains(text, word) {
			return true
		}
	}
	return len(different) < 10
}

func (d *deployment) environment(context.Context) []finding {
	if !d.app.settings.production() {
		return []finding{warn("environment", "Set OPENWAY_ENV=production: restore and others then ask harder.", "OPENWAY_ENV is %q", d.app.settings.Environment)}
	}
	return []finding{passed("environment", "production")}
}

func (d *deployment) hosts(context.Context) []finding {
	const check = "hosts"
	if len(d.plan.hosts) == 0 {
		return []finding{fail(check, "Set ALLOWED_HOSTS to the names that people and controllers use.", "ALLOWED_HOSTS is not set: any Host header is answered")}
	}
	for _, h := range d.plan.hosts {
		if h == "*" {
			return []finding{fail(check, "List the names instead.", "ALLOWED_HOSTS has *: any Host header is answered")}
		}
	}
	if u := d.plan.publicURL; u != nil && !d.plan.answers(u.Hostname()) {
		return []finding{fail(check, "Add it to ALLOWED_HOSTS.", "OPENWAY_PUBLIC_URL's host %s is not answered", u.Hostname())}
	}
	return []finding{passed(check, "%s", someOf(d.plan.hosts))}
}

// answers reports whether ALLOWED_HOSTS lets a host through.
func (p servePlan) answers(host string) bool {
	for _, h := range p.hosts {
		h = strings.ToLower(h)
		if h == strings.ToLower(host) || strings.HasPrefix(h, ".") && (strings.HasSuffix(strings.ToLower(host), h) || h[1:] == strings.ToLower(host)) {
			return true
		}
	}
	return false
}

func (d *deployment) crossOrigin(context.Context) []finding {
	const check = "CORS"
	var plain []string
	for _, o := range d.plan.origins {
		if !strings.HasPrefix(o, "https://") {
			plain = append(plain, o)
		}
	}
	switch {
	case len(plain) > 0:
		return []finding{warn(check, "Use https:// origins: who can change a page on its way could read answers.", "origins without HTTPS: %s", someOf(plain))}
	case len(d.plan.origins) > 0:
		return []finding{passed(check, "%s", someOf(d.plan.origins))}
	}
	return []finding{passed(check, "no other origin may read answers")}
}

func (d *deployment) proxies(context.Context) []finding {
	const check = "trusted proxies"
	for _, p := range d.plan.proxies {
		if p.Bits() == 0 || p.Addr().Is4() && p.Bits() < 8 || p.Addr().Is6() && p.Bits() < 16 {
			return []finding{fail(check, "Name the proxies alone: anybody in it can pretend to be any client.", "%s is half the world", p)}
		}
	}
	if len(d.plan.proxies) == 0 {
		if host, err := netip.ParseAddrPort(d.plan.listen); err == nil && host.Addr().IsLoopback() {
			return []finding{fail(check, "Set OPENWAY_TRUSTED_PROXIES=127.0.0.1: else all clients behind the proxy count as one address, and share one limit.",
				"none, but it listens on %s, where only a proxy can ask", d.plan.listen)}
		}
		if u := d.plan.publicURL; u != nil && u.Scheme == "https" && !d.plan.https.on() {
			return []finding{warn(check, "Set OPENWAY_TRUSTED_PROXIES to the address of the proxy that speaks HTTPS, as this server sees it: else all clients behind it share one limit.",
				"none, but HTTPS is not the server's own")}
		}
		return []finding{passed(check, "none: the address of each client is that of its connection")}
	}
	var list []string
	for _, p := range d.plan.proxies {
		list = append(list, p.String())
	}
	return []finding{passed(check, "%s", someOf(list))}
}

func (d *deployment) throttles(context.Context) []finding {
	const check = "throttles"
	var off []string
	for _, r := range []struct {
		name string
		rate throttle.Rate
	}{
		{"ACCESS_VERIFY_RATE", d.plan.verifyRate}, {"OPENWAY_LOGIN_RATE", d.plan.loginRate}, {"OPENWAY_USER_RATE", d.plan.userRate}, {"OPENWAY_ANON_RATE", d.plan.anonRate},
	} {
		if r.rate.Off() {
			off = append(off, r.name)
		}
	}
	switch {
	case len(off) > 0 && d.plan.loginRate.Off():
		return []finding{fail(check, "Set a rate such as 10/minute: without one, passwords can be guessed as fast as they can be hashed.", "off: %s", someOf(off))}
	case len(off) > 0:
		return []finding{warn(check, "Set rates, or keep it so where something in front limits.", "off: %s", someOf(off))}
	}
	return []finding{passed(check, "all are on")}
}

func (d *deployment) passwords(ctx context.Context) []finding {
	const check = "passwords"
	weak, tried, of, err := d.desk.WeakAdministrators(ctx)
	switch {
	case err != nil:
		return []finding{fail(check, "Try again.", "%s", message(err))}
	case len(weak) > 0:
		return []finding{fail(check, "openway user set-password NAME for each, or deactivate them.", "anybody would guess those of: %s", someOf(weak))}
	case of == 0:
		return []finding{warn(check, "Make one: openway createsuperuser.", "there is no administrator")}
	case tried < of:
		return []finding{warn(check, "Do all of them need a role?", "none of the first %d of %d administrators has a demo's or a default one; the others were not tried", tried, of)}
	}
	return []finding{passed(check, "none of %s has a demo's or a default one", counted(of, "administrator"))}
}

func (d *deployment) durability(ctx context.Context) []finding {
	const check = "durability"
	got, err := d.store.Durability(ctx)
	switch {
	case err != nil:
		return []finding{fail(check, "Look at the database.", "%s", message(err))}
	case len(got.Unsafe) > 0:
		return []finding{fail(check, "Switch them on for this database: what a gate was told may be forgotten in a crash.", "%s %s has %s", d.store.Engine(), got.Version, someOf(got.Unsafe))}
	case d.postgres && got.Standbys == "":
		return []finding{passed(check, "%s %s commits to its disk; a standby that is promoted may lack the last commits", d.store.Engine(), got.Version)}
	case d.postgres:
		return []finding{passed(check, "%s %s commits to its disk and to %s", d.store.Engine(), got.Version, got.Standbys)}
	}
	return []finding{passed(check, "%s %s commits to its disk", d.store.Engine(), got.Version)}
}

// clockApart is how far this machine's clock may be from the database's, whose replicas share one log.
const clockApart = time.Second

func (d *deployment) clock(ctx context.Context) []finding {
	const check = "clock"
	now := d.app.now()
	newest, err := d.store.NewestEvent(ctx)
	if err != nil {
		return []finding{fail(check, "Look at the database.", "%s", message(err))}
	}
	got, err := d.store.Durability(ctx)
	if err != nil {
		return []finding{fail(check, "Look at the database.", "%s", message(err))}
	}
	const set = "Set the clock and keep it set (systemd-timesyncd, chrony)."
	switch {
	case newest.After(now.Add(clockApart)):
		return []finding{fail(check, set, "it is %s behind the newest event: retention pauses, tokens end late", newest.Sub(now).Round(time.Second))}
	case !got.Clock.IsZero() && got.Clock.Sub(now).Abs() > clockApart:
		return []finding{fail(check, set, "it is %s apart from the database server's", got.Clock.Sub(now).Abs().Round(100*time.Millisecond))}
	case !clockSynchronised():
		return []finding{warn(check, set, "the kernel does not say that it is synchronised")}
	}
	return []finding{passed(check, "it is synchronised")}
}

// Disk space that is worth a word: events need some 300 bytes each.
const (
	diskFail = 512 << 20
	diskWarn = 2 << 30
)

func (d *deployment) disk(context.Context) []finding {
	const check = "disk space"
	if d.postgres {
		return []finding{passed(check, "is the database server's to watch")}
	}
	dir, err := filepath.Abs(filepath.Dir(d.dsn))
	if err != nil {
		return []finding{fail(check, "Look at the directory.", "%s", err)}
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return []finding{fail(check, "Look at the directory.", "%s: %s", dir, err)}
	}
	free := int64(fs.Bavail) * int64(fs.Bsize) // #nosec G115 -- no disk has 2^63 bytes
	const do = "Make room, or set OPENWAY_RETENTION_DAYS: without space no event can be written, and every gate is told DENY."
	found := fmt.Sprintf("%.1f GiB free in %s", float64(free)/(1<<30), dir)
	switch {
	case free < diskFail:
		return []finding{fail(check, do, "%s", found)}
	case free < diskWarn:
		return []finding{warn(check, do, "%s", found)}
	}
	return []finding{passed(check, "%s", found)}
}

func (d *deployment) fileModes(context.Context) []finding {
	const check = "file modes"
	var secret []string // that hold secrets or who may pass
	if d.app.env.file != "" {
		secret = append(secret, d.app.env.file)
	}
	s := d.app.settings
	secret = append(secret, s.SecretKeyFile, s.SecretKeyFallbacksFile, d.plan.https.key)
	secret = append(secret, d.keptByACME()...)
	if !d.postgres {
		secret = append(secret, d.dsn, d.dsn+"-wal", keyFilePath(d.dsn))
	}
	var open []string
	looked := 0
	for _, path := range secret {
		if path == "" {
			continue
		}
		st, err := os.Stat(path)
		if err != nil || !st.Mode().IsRegular() {
			continue
		}
		looked++
		if st.Mode().Perm()&0o007 != 0 {
			open = append(open, fmt.Sprintf("%s (%04o)", path, st.Mode().Perm()))
		}
	}
	if len(open) > 0 {
		return []finding{fail(check, "chmod o= each of them.", "everybody on this machine may use %s", someOf(open))}
	}
	if os.Getuid() == 0 && runtime.GOOS == "linux" {
		return []finding{warn(check, "Run it as a user of its own: the image and the systemd unit do. (If only this check ran as root, run it as that user.)", "running as root")}
	}
	return []finding{passed(check, "%s, none for everybody", counted(looked, "file"))}
}

// How old the last verified backup may be. A daily one that is an hour late is no news.
const (
	backupWarn = 26 * time.Hour
	backupFail = 7 * 24 * time.Hour
)

func (d *deployment) backups(ctx context.Context) []finding {
	const check = "backups"
	at, err := d.lastBackup(ctx)
	const do = "Run openway backup, then put it on a timer (docs/operate.md) and try a restore."
	age := d.app.now().Sub(at)
	switch {
	case err != nil:
		return []finding{fail(check, "Look at the database.", "%s", message(err))}
	case at.IsZero():
		return []finding{fail(check, do, "there was never one")}
	case age > backupFail:
		return []finding{fail(check, do, "the last verified one is %d days old", int(age.Hours()/24))}
	case age > backupWarn:
		return []finding{warn(check, do, "the last verified one is %d hours old", int(age.Hours()))}
	}
	return []finding{passed(check, "the last verified one is %s old", age.Round(time.Minute))}
}

// lastBackup is when the newest verified backup was made; zero = never.
func (d *deployment) lastBackup(ctx context.Context) (time.Time, error) {
	changes, err := d.desk.Changes(ctx, registry.ChangeFilter{Object: "backup", Limit: 1})
	if err != nil || len(changes) == 0 {
		return time.Time{}, err
	}
	return changes[0].At, nil
}

func (d *deployment) logging(context.Context) []finding {
	const check = "log"
	if level, err := d.app.settings.level(); err == nil && level < slog.LevelInfo {
		return []finding{warn(check, "Set OPENWAY_LOG_LEVEL=info when you have seen enough.", "debug: every health probe has its line")}
	}
	return []finding{passed(check, "level %s", strings.ToUpper(defaultTo(d.app.settings.LogLevel, "info")))}
}

func defaultTo(s, unset string) string {
	if s == "" {
		return unset
	}
	return s
}
