package webadmin

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/openway-access/openway/internal/access"
)

// errBadForm is a form that no page of ours sends.
var errBadForm = errors.New("a form that cannot be read")

// field is one control of a form, as the part "field" of templates/_form.html draws it.
type field struct {
	Name         string // of the control, and of the field in access.Invalid
	Label        string
	Value        string
	Type         string // of <input>; "" = text
	Hint         string
	Error        string // what is wrong, in words
	Autocomplete string // "" = off
	Unit         string // stands after the control
	Required     bool
	Focus        bool // has the focus when the page opens
	Max          int  // characters; 0 = any number

	Choices []option // of the part "select"
}

// faults puts what is wrong into the fields that it concerns and returns the rest as sentences for the head of the form.
// ok is false when err is something else than bad input.
func (v *visit) faults(err error, fields ...*field) (rest []string, ok bool) {
	var bad access.Invalid
	if !errors.As(err, &bad) {
		return nil, false
	}
	for _, e := range bad {
		text := v.fault(e)
		placed := false
		for _, f := range fields {
			if f.Name != e.Field {
				continue
			}
			placed = true
			if f.Error == "" {
				f.Error = text
			}
		}
		if !placed {
			rest = append(rest, text)
		}
	}
	first := slices.IndexFunc(fields, func(f *field) bool { return f.Error != "" })
	for i, f := range fields {
		f.Focus = i == first || f.Focus && first < 0
	}
	return rest, true
}

// fault is what is wrong with a field, in words.
func (v *visit) fault(e access.FieldError) string {
	key := "fault." + string(e.Code)
	if _, ok := catalogue()[key]; !ok {
		return e.Text
	}
	switch {
	case e.Code == access.CodeRange:
		return v.t(key, number(v.lang, e.Least), number(v.lang, e.Limit))
	case e.Limit != 0:
		return v.n(key, e.Limit)
	}
	return v.t(key)
}

// readForm reads the body of a POST. A broken one is errBadForm.
func readForm(r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return err
		}
		return fmt.Errorf("%w: %w", errBadForm, err)
	}
	return nil
}

// sent is a field of a form that was read, without white space around it.
func sent(r *http.Request, name string) string { return strings.TrimSpace(r.PostForm.Get(name)) }

// sentVersion is the version of the object that the form was made from; errBadForm when it is missing, so that no form can forget it.
func sentVersion(r *http.Request) (int64, error) {
	n, err := strconv.ParseInt(r.PostForm.Get("version"), 10, 64)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("%w: no version", errBadForm)
	}
	return n, nil
}

// pathID is a number in the path; ErrNotFound when it is none.
func pathID(r *http.Request, name string) (int64, error) {
	n, err := strconv.ParseInt(r.PathValue(name), 10, 64)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("%s %q: %w", name, r.PathValue(name), access.ErrNotFound)
	}
	return n, nil
}

// queryID is a number in the query; 0 when it is none.
func queryID(r *http.Request, name string) int64 {
	n, err := strconv.ParseInt(r.URL.Query().Get(name), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// pageRows is how many rows a list shows at once.
const pageRows = 50

// pager leads through a list by keyset: there are no page numbers, because nothing counts a large table.
type pager struct {
	First string // where the list begins; "" = here
	Next  string // "" = the end
}

// pagerOf is the pager of a list at path that was asked for with the query of r: more says whether rows follow the one named last. key is the
// parameter that names it.
func pagerOf(r *http.Request, key string, last int64, more bool) pager {
	q := r.URL.Query()
	var p pager
	if q.Get(key) != "" {
		q.Del(key)
		p.First = r.URL.Path
		if rest := q.Encode(); rest != "" {
			p.First += "?" + rest
		}
	}
	if more {
		q.Set(key, strconv.FormatInt(last, 10))
		p.Next = r.URL.Path + "?" + q.Encode()
	}
	return p
}
