package importer

import (
	"fmt"
	"time"
)

// Report says what an import found and did. It holds no token and no password.
type Report struct {
	Source    string           `json:"source"`
	DryRun    bool             `json:"dry_run"`
	Imported  bool             `json:"imported"`
	Tables    []Count          `json:"tables"`
	Notes     []Note           `json:"notes"`
	Conflicts []string         `json:"conflicts"`
	Wiped     map[string]int64 `json:"wiped,omitempty"` // rows of ours, by table, that --replace wiped
	Proof     *Proof           `json:"proof"`           // null where conflicts are to be resolved first
	Took      time.Duration    `json:"took_ns"`
}

// Count is how many rows of a kind there were, and how many were made of them.
type Count struct {
	What string `json:"what"`
	Read int64  `json:"read"`
	Made int64  `json:"made"`
}

// Note is something that is not carried over one to one.
type Note struct {
	Kind     string   `json:"kind"` // a word for scripts
	Text     string   `json:"text"`
	Count    int64    `json:"count"`
	Examples []string `json:"examples,omitempty"` // at most maxExamples
}

const maxExamples = 5

// notes gathers notes in the order in which their kinds first come up.
type notes struct {
	list []Note
	at   map[string]int
}

// add counts one more of a kind. The example is left out when there are enough, or format is "".
func (n *notes) add(kind, text, format string, args ...any) {
	n.addMany(kind, text, 1)
	note := &n.list[n.at[kind]]
	if format != "" && len(note.Examples) < maxExamples {
		note.Examples = append(note.Examples, fmt.Sprintf(format, args...))
	}
}

func (n *notes) addMany(kind, text string, count int64) {
	i, known := n.at[kind]
	if !known {
		if n.at == nil {
			n.at = map[string]int{}
		}
		i = len(n.list)
		n.at[kind] = i
		n.list = append(n.list, Note{Kind: kind, Text: text})
	}
	n.list[i].Count += count
}

// ErrConflicts refuses a source in which people have to decide something first; the Report lists what.
type ErrConflicts struct{ N int }

func (e ErrConflicts) Error() string {
	if e.N == 1 {
		return "1 conflict is to be resolved in Django first; nothing was changed"
	}
	return fmt.Sprintf("%d conflicts are to be resolved in Django first; nothing was changed", e.N)
}

// ErrUnequal refuses a result that decides otherwise than the original where nobody announced it; the Report's Proof lists where.
type ErrUnequal struct{ N int64 }

func (e ErrUnequal) Error() string {
	return fmt.Sprintf("%d decisions would differ from the original's for no reason that is known: this is a fault of the import; nothing was changed", e.N)
}
