package sitefile

import (
	"fmt"
	"sort"
	"strings"
)

// Mistake is one thing that is wrong in a file.
type Mistake struct {
	Line int    // from 1; 0 = the file as a whole
	Path string // such as users[3].email; "" = none
	Text string
}

// Mistakes are all that were found in a file. As an error it has a line each, in the file's order.
type Mistakes struct {
	File string
	List []Mistake

	paths map[string]bool // what has a mistake already
}

// most is how many mistakes the text of an error shows.
const most = 50

func (m *Mistakes) Error() string {
	var b strings.Builder
	for i, x := range m.List {
		if i == most {
			fmt.Fprintf(&b, "\n%s: and %d more mistakes", m.File, len(m.List)-most)
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(m.File)
		if x.Line > 0 {
			fmt.Fprintf(&b, ":%d", x.Line)
		}
		b.WriteString(": ")
		if x.Path != "" {
			b.WriteString(x.Path + ": ")
		}
		b.WriteString(x.Text)
	}
	return b.String()
}

// Add notes a mistake in a field of an item; field "" is the item itself.
func (m *Mistakes) Add(at Place, field, format string, args ...any) {
	path := at.Path
	if field != "" {
		path += "." + field
	}
	m.add(at.At(field), path, format, args...)
}

func (m *Mistakes) add(line int, path, format string, args ...any) {
	if m.paths == nil {
		m.paths = map[string]bool{}
	}
	m.paths[path] = true
	m.List = append(m.List, Mistake{Line: line, Path: path, Text: fmt.Sprintf(format, args...)})
}

// OrNil returns the mistakes in the file's order, or nil as an error when there are none.
func (m *Mistakes) OrNil() error {
	if len(m.List) == 0 {
		return nil
	}
	sort.SliceStable(m.List, func(i, j int) bool { return m.List[i].Line < m.List[j].Line })
	return m
}
