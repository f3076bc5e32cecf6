package eventlog

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"time"
)

// The ways in which a cursor is refused. The reader starts anew (Feed.Newest), and says that events in between may not have been shown.
var (
	// ErrCursorInvalid: it is no cursor of this feed, or damaged, or of another database.
	ErrCursorInvalid = errors.New("eventlog: this is no cursor of this event feed; start without one")
	// ErrCursorOld: too much has happened since, or it is too long ago, or its events were purged.
	ErrCursorOld = errors.New("eventlog: the cursor is too old to go on from; start without one")
)

// cursorMark begins each cursor, and names its format.
const cursorMark = "f1."

// A lane that recorded nothing for quietAfter is left out of cursors: whoever goes on from one takes it to stand where it stood half of that
// before. So a cursor stays short, however many lanes there ever were, and clocks may differ by minutes.
const quietAfter = time.Hour

// cursor is how far somebody has read the log: to a batch of each lane. Unlisted lanes with ids up to newest stood still; later ones were not begun.
type cursor struct {
	at     int64 // Unix seconds
	newest int64 // the highest id of a lane that was known
	seqs   map[int64]int64
}

// encode writes a cursor in a form that fits into a URL and an HTTP header.
func (c cursor) encode() string {
	b := binary.AppendVarint(nil, c.at)
	b = binary.AppendVarint(b, c.newest)
	for _, lane := range slices.Sorted(maps.Keys(c.seqs)) {
		b = binary.AppendVarint(b, lane)
		b = binary.AppendVarint(b, c.seqs[lane])
	}
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return cursorMark + base64.RawURLEncoding.EncodeToString(b)
}

// maxCursor bounds what is decoded.
const maxCursor = 16 << 10

func decodeCursor(s string) (cursor, error) {
	c := cursor{seqs: map[int64]int64{}}
	text, ok := strings.CutPrefix(s, cursorMark)
	if !ok || len(s) > maxCursor {
		return c, ErrCursorInvalid
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) < 4 {
		return c, ErrCursorInvalid
	}
	body, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if crc32.ChecksumIEEE(body) != sum {
		return c, fmt.Errorf("%w (it is damaged)", ErrCursorInvalid)
	}
	next := func() (n int64) {
		n, size := binary.Varint(body)
		if size <= 0 {
			err = ErrCursorInvalid
			body = nil
			return 0
		}
		body = body[size:]
		return n
	}
	c.at, c.newest = next(), next()
	for err == nil && len(body) > 0 {
		lane := next()
		c.seqs[lane] = next()
	}
	return c, err
}
