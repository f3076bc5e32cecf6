package store

import (
	"fmt"
	"strings"

	"github.com/openway-access/openway/internal/access"
)

// All is the Limit of a list that is read to its end, for work inside the server; pages for people have one.
const All = -1

// pageSize is how many rows a list returns: 50 unless it is told, 1000 at most.
func pageSize(limit int) int {
	switch {
	case limit == All:
		return 1 << 30
	case limit <= 0:
		return 50
	}
	return min(limit, 1000)
}

// page collects the rows after an id, in order of ids, until there are limit of them. next reads at most n rows after an id.
//
// A text search is done here and not in SQL, because only this way both engines agree on what equal letters are: SQLite's lower
// and LIKE know ASCII alone, PostgreSQL's depend on the collation that the database was made with. It costs a walk
// through the table, in slices, as LIKE '%…%' would.
func page[T any](after int64, limit int, search string, next func(after int64, n int) ([]T, error), of func(*T) (id int64, texts []string)) ([]T, error) {
	limit = pageSize(limit)
	words := foldedWords(search)
	if len(words) == 0 {
		return next(after, limit)
	}
	const slice = 1000
	var found []T
	for {
		rows, err := next(after, slice)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			id, texts := of(&rows[i])
			after = id
			if !holdsAll(texts, words) {
				continue
			}
			if found = append(found, rows[i]); len(found) == limit {
				return found, nil
			}
		}
		if len(rows) < slice {
			return found, nil
		}
	}
}

// foldedWords splits a search at white space into words without case.
func foldedWords(search string) []string {
	words := strings.Fields(search)
	for i := range words {
		words[i] = access.Fold(words[i])
	}
	return words
}

// holdsAll reports whether each word is part of one of the texts.
func holdsAll(texts, words []string) bool {
	all := access.Fold(strings.Join(texts, "\n"))
	for _, w := range words {
		if !strings.Contains(all, w) {
			return false
		}
	}
	return true
}

// settle judges an update of one living row of a table: n is how many rows it touched. None means that the row is not there
// (access.ErrNotFound), or that it is no longer of the version that was seen (access.ErrConflict).
func (tx *Tx) settle(n int64, err error, table string, id int64) error {
	if err != nil {
		return fmt.Errorf("update %s %d: %w", table, id, err)
	}
	if n > 0 {
		return nil
	}
	var version int64
	if err := tx.queryRow(`SELECT version FROM `+table+` WHERE id = $1 AND deleted_at IS NULL`, id).Scan(&version); err != nil {
		return fmt.Errorf("%s %d: %w", table, id, err)
	}
	return fmt.Errorf("%s %d was changed meanwhile: %w", table, id, access.ErrConflict)
}

// bury tombstones one living row of a table.
func (tx *Tx) bury(table string, id int64) error {
	n, err := tx.exec(`UPDATE `+table+` SET deleted_at = $1, version = $2 WHERE id = $3 AND deleted_at IS NULL`, micros(tx.Now), tx.Mark.Version, id)
	return tx.settle(n, err, table, id)
}

// already is the error of a value that another living row has.
func already(field string) error {
	return access.Invalid{{Field: field, Code: access.CodeTaken}}
}
