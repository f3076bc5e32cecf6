package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/openway-access/openway/internal/credential"
)

const (
	secretKeyName     = "OPENWAY_SECRET_KEY"
	secretKeyFileName = "OPENWAY_SECRET_KEY_FILE"
	fallbacksName     = "OPENWAY_SECRET_KEY_FALLBACKS"
	fallbacksFileName = "OPENWAY_SECRET_KEY_FALLBACKS_FILE"
)

// secretSource is where the secret key comes from.
type secretSource struct {
	primary   []byte // nil = the key file beside the SQLite database
	from      string // the setting's name, for messages
	fallbacks [][]byte
}

// secrets reads the secret key and its fallbacks from the settings, without touching the database.
func (s *settings) secrets(log *slog.Logger) (secretSource, error) {
	var src secretSource
	switch key := strings.TrimSpace(os.Getenv(secretKeyName)); {
	case key != "":
		src.primary, src.from = []byte(key), secretKeyName
	case s.SecretKeyFile != "":
		key, err := readSecret(secretKeyFileName, s.SecretKeyFile, log)
		if err != nil {
			return src, err
		}
		src.primary, src.from = key, secretKeyFileName
	}
	if src.primary != nil {
		if err := longEnough(src.from, src.primary); err != nil {
			return src, err
		}
	}
	former, from := list(os.Getenv(fallbacksName)), fallbacksName
	if len(former) == 0 && s.SecretKeyFallbacksFile != "" {
		text, err := readSecret(fallbacksFileName, s.SecretKeyFallbacksFile, log)
		if err != nil {
			return src, err
		}
		former, from = strings.Fields(string(text)), fallbacksFileName
	}
	if len(former) > credential.MaxFallbacks {
		return src, settingError(from, "%d keys: at most %d", len(former), credential.MaxFallbacks)
	}
	for _, f := range former {
		if err := longEnough(from, []byte(f)); err != nil {
			return src, err
		}
		src.fallbacks = append(src.fallbacks, []byte(f))
	}
	return src, nil
}

func longEnough(name string, key []byte) error {
	if len(key) < credential.MinKeyLength {
		return settingError(name, "a key of %d bytes is too short: at least %d (make one: openssl rand -hex 32)", len(key), credential.MinKeyLength)
	}
	return nil
}

// mostOfAFile bounds a file of settings or secrets: whoever names a larger one, or a device that never ends, meant another.
const mostOfAFile = 64 << 10

// readSmall reads a file of at most mostOfAFile bytes.
func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, mostOfAFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > mostOfAFile {
		return nil, fmt.Errorf("%s is larger than %d KiB: is it the right file?", path, mostOfAFile>>10)
	}
	return data, nil
}

// readSecret reads a file that holds nothing but a secret. Secrets that an orchestrator mounts are often readable by a group; one
// that everybody can read is warned about.
func readSecret(name, path string, log *slog.Logger) ([]byte, error) {
	data, err := readSmall(path)
	if err != nil {
		return nil, settingError(name, "%w", err)
	}
	if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode().Perm()&0o004 != 0 {
		log.Warn("a file with a secret can be read by everybody on this machine", slog.String("setting", name), slog.String("path", path))
	}
	if data = bytes.TrimSpace(data); len(data) == 0 {
		return nil, settingError(name, "%s is empty", path)
	}
	return data, nil
}

// keyFilePath is the key file that belongs to an SQLite database.
func keyFilePath(database string) string { return database + ".key" }

// readKeyFile reads the key file beside an SQLite database. It is for its owner alone, as we made it.
func readKeyFile(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("the key file: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("the key file %s can be read by others (mode %04o): run chmod 600 %s", path, st.Mode().Perm(), path)
	}
	data, err := readSmall(path)
	if err != nil {
		return nil, fmt.Errorf("the key file: %w", err)
	}
	data = bytes.TrimSpace(data)
	if len(data) < credential.MinKeyLength {
		return nil, fmt.Errorf("the key file %s holds %d bytes: at least %d; restore it from a backup", path, len(data), credential.MinKeyLength)
	}
	return data, nil
}

// makeKeyFile makes the key file if it is not there. Of two processes that start at once one makes it.
func makeKeyFile(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // never fails
	err := writeKeyFile(path, hex.EncodeToString(raw[:]))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// writeKeyFile writes a key to a new file. It appears whole or not at all; fs.ErrExist when there is one.
//
// Calls: create a temporary file 0600, write, fsync, link to its name (fails if there is one), unlink the temporary, fsync the directory.
func writeKeyFile(path, key string) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".openway-key-*") // 0600
	if err != nil {
		return fmt.Errorf("make the key file: %w", err)
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = f.WriteString(key + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("make the key file: %w", err)
	}
	if err := os.Link(f.Name(), path); err != nil {
		return fmt.Errorf("make the key file: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("make the key file: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("make the key file: %w", err)
	}
	return nil
}
