package backup

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
)

// Manifest says what a backup holds.
type Manifest struct {
	Format       int              `json:"format"` // 1
	Engine       string           `json:"engine"` // sqlite or postgres
	Database     string           `json:"database"`
	Program      string           `json:"program"` // the release that took it
	TakenAt      time.Time        `json:"taken_at"`
	Instance     string           `json:"instance"` // the installation's UUID
	Schema       int64            `json:"schema"`   // its newest migration
	OldestBinary int64            `json:"oldest_binary_schema"`
	Policy       int64            `json:"policy_version"`
	PolicyStamp  int64            `json:"policy_stamp"`
	KeyID        string           `json:"key_id,omitempty"`    // of the secret key that sealed the tokens, when it was at hand
	KeyCheck     string           `json:"key_check,omitempty"` // by which a key is known to be that one; "" = none was used yet
	SecretKey    string           `json:"secret_key,omitempty"`
	Namespace    string           `json:"namespace,omitempty"`      // PostgreSQL's schema of the tables
	ServerMajor  int              `json:"server_version,omitempty"` // PostgreSQL's major version
	Rows         map[string]int64 `json:"rows"`
	Bytes        int64            `json:"bytes"` // of the uncompressed contents
	SHA256       string           `json:"sha256"`
}

const format = 1

// facts are what the manifest says of the database.
func (m *Manifest) facts() store.Facts {
	return store.Facts{
		Engine: m.Engine, ServerMajor: m.ServerMajor, Schema: m.Namespace, Instance: store.Instance{UUID: m.Instance, KeyCheck: m.KeyCheck},
		Migration: m.Schema, OldestBinary: m.OldestBinary, Policy: access.PolicyMark{Version: m.Policy, Stamp: m.PolicyStamp}, Rows: m.Rows,
	}
}

func (m *Manifest) setFacts(f store.Facts) {
	m.Engine, m.ServerMajor, m.Namespace, m.Instance, m.KeyCheck = f.Engine, f.ServerMajor, f.Schema, f.Instance.UUID, f.Instance.KeyCheck
	m.Schema, m.OldestBinary, m.Policy, m.PolicyStamp, m.Rows = f.Migration, f.OldestBinary, f.Policy.Version, f.Policy.Stamp, f.Rows
}

// Total is the number of rows in all tables.
func (m *Manifest) Total() (rows int64) {
	for _, n := range m.Rows {
		rows += n
	}
	return rows
}

// The manifest is a subfield of a gzip header's extra field (RFC 1952), which gzip itself has no checksum for: two letters, its length,
// its SHA-256, itself.
const (
	subfield    = "OW"
	maxManifest = 1<<16 - 1 - 4 - sha256.Size
)

// writeManifest writes the empty gzip member.
func writeManifest(w io.Writer, m *Manifest) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(data) > maxManifest {
		return fmt.Errorf("the manifest has %d bytes: at most %d", len(data), maxManifest)
	}
	z := gzip.NewWriter(w)
	sum := sha256.Sum256(data)
	z.Extra = binary.LittleEndian.AppendUint16([]byte(subfield), uint16(len(sum)+len(data)))
	z.Extra = append(append(z.Extra, sum[:]...), data...)
	return z.Close()
}

// manifestIn reads the manifest in a gzip header's extra field; nil when there is none.
func manifestIn(extra []byte) (*Manifest, error) {
	if len(extra) < 4+sha256.Size || string(extra[:2]) != subfield || int(binary.LittleEndian.Uint16(extra[2:])) != len(extra)-4 {
		return nil, nil
	}
	sum, data := extra[4:4+sha256.Size], extra[4+sha256.Size:]
	if is := sha256.Sum256(data); !bytes.Equal(sum, is[:]) {
		return nil, errors.New("its manifest is damaged")
	}
	var m Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("its manifest cannot be read: %w", err)
	}
	if m.Format != format {
		return nil, fmt.Errorf("its format is %d, this program knows %d: use a newer release", m.Format, format)
	}
	return &m, nil
}

// peek reads the manifest at the end of a backup that is not encrypted, without reading what is before it.
func peek(path string) (*Manifest, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	tail := make([]byte, min(st.Size(), 1<<16+64))
	if _, err := f.ReadAt(tail, st.Size()-int64(len(tail))); err != nil {
		return nil, err
	}
	for end := len(tail); ; {
		i := bytes.LastIndex(tail[:end], []byte{0x1f, 0x8b, 8, 4})
		if i < 0 {
			return nil, errNoManifest
		}
		if z, err := gzip.NewReader(bytes.NewReader(tail[i:])); err == nil {
			if m, err := manifestIn(z.Extra); err != nil || m != nil {
				return m, err
			}
		}
		end = i
	}
}

var errNoManifest = errors.New("it is no backup that openway made: it has no manifest")
