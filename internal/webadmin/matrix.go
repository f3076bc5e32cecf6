package webadmin

import (
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

// matrixPage is groups by gates. A cell says what the group's permission without dates is; static/matrix.js changes it in place. Without JavaScript,
// and on a phone, one chooses a group or a gate and gets a list of forms (cellsPage).
type matrixPage struct {
	frame
	Groups, Gates string // what is searched for on the axes
	Empty         string // what there is none of at all: "groups", "gates"; "" = there are both
	Heads         []axisHead
	Rows          []matrixRow
	Few           bool // there is room to write the heads level
	Manage        bool
	Mixed         bool     // there is a mixed cell on the page
	Pages         []option // where the other pages of either axis are
}

// axisHead is a group or a gate.
type axisHead struct {
	ID        int64
	Name, Sub string
	Path      string
}

type matrixRow struct {
	axisHead
	Cells template.HTML // made of our own words and numbers: there may be 40,000 of them
}

// fewHeads is how many gates have room for their names side by side.
const fewHeads = 7

func accessPath(axis string, id int64) string { return fmt.Sprintf("/admin/access/?%s=%d", axis, id) }

func groupHead(g access.Group) axisHead {
	return axisHead{ID: g.ID, Name: g.Name, Path: accessPath("group", g.ID)}
}

func gateHead(g access.Gate) axisHead {
	h := axisHead{ID: g.ID, Name: gateName(g), Path: accessPath("gate", g.ID)}
	if h.Sub = g.Location; h.Sub == "" && h.Name != g.Code {
		h.Sub = g.Code
	}
	return h
}

func (a *Admin) matrix(w http.ResponseWriter, r *http.Request) error {
	if queryID(r, "group") != 0 || queryID(r, "gate") != 0 {
		return a.cells(w, r)
	}
	v, q := visitOf(r), r.URL.Query()
	p := &matrixPage{
		frame: v.frame("access", v.t("nav.access")), Groups: strings.TrimSpace(q.Get("groups")), Gates: strings.TrimSpace(q.Get("gates")), Manage: v.May("POST /admin/access/cell/{$}"),
	}
	m, err := a.desk.Matrix(r.Context(), registry.MatrixQuery{
		Groups: registry.Search{Query: p.Groups, After: q.Get("after_group")}, Gates: registry.Search{Query: p.Gates, After: q.Get("after_gate")},
	})
	if err != nil {
		return err
	}
	for _, g := range m.Gates.List {
		p.Heads = append(p.Heads, gateHead(g))
	}
	words := v.cellWords()
	for _, g := range m.Groups.List {
		row := matrixRow{axisHead: groupHead(g)}
		var b strings.Builder
		for _, gate := range m.Gates.List {
			c := m.Cell(g.ID, gate.ID)
			writeCell(&b, c, words)
			p.Mixed = p.Mixed || c.Dated > 0
		}
		row.Cells = template.HTML(b.String()) // #nosec G203 -- numbers, and words of the catalogue
		p.Rows = append(p.Rows, row)
	}
	p.Few = len(p.Heads) <= fewHeads
	switch {
	case len(p.Rows) == 0 && p.Groups == "" && q.Get("after_group") == "":
		p.Empty = "groups"
	case len(p.Heads) == 0 && p.Gates == "" && q.Get("after_gate") == "":
		p.Empty = "gates"
	}
	p.Pages = v.axisPages(q, "after_group", m.Groups.Next, v.t("access.groups.first"), v.t("access.groups.next"), p.Pages)
	p.Pages = v.axisPages(q, "after_gate", m.Gates.Next, v.t("access.gates.first"), v.t("access.gates.next"), p.Pages)
	return a.render(w, "matrix", p)
}

// axisPages adds where the first and the next page of an axis are, if they are others than this one.
func (v *visit) axisPages(q url.Values, key, next, firstText, nextText string, pages []option) []option {
	with := func(value string) string {
		to := url.Values{}
		for k := range q {
			if s := q.Get(k); s != "" && k != key {
				to.Set(k, s)
			}
		}
		if value != "" {
			to.Set(key, value)
		}
		return "/admin/access/?" + to.Encode()
	}
	if q.Get(key) != "" {
		pages = append(pages, option{Value: with(""), Text: firstText})
	}
	if next != "" {
		pages = append(pages, option{Value: with(next), Text: nextText})
	}
	return pages
}

// cellWords are the words of the states, safe to write into HTML.
func (v *visit) cellWords() map[registry.CellState]string {
	words := map[registry.CellState]string{}
	for _, s := range cellStates() {
		words[s] = template.HTMLEscapeString(v.t("cell." + string(s)))
	}
	words["mixed"] = template.HTMLEscapeString(v.t("cell.mixed"))
	return words
}

func cellStates() []registry.CellState {
	return []registry.CellState{registry.CellAllowed, registry.CellSuspended, registry.CellNone}
}

// writeCell writes a cell. Its class is the state, data-v the version that was seen; of both, what is usual is left out, and an
// empty cell says nothing: most are, and each word would cost the browser.
func writeCell(b *strings.Builder, c registry.Cell, words map[registry.CellState]string) {
	if c.State == registry.CellNone && c.Dated == 0 {
		b.WriteString("<td></td>")
		return
	}
	class, text := string(c.State), words[c.State]
	if c.Dated > 0 {
		class, text = class+" mixed", words["mixed"]+": "+text
	}
	b.WriteString(`<td class="` + class + `"`)
	if c.Seen != 0 {
		b.WriteString(` data-v="` + strconv.FormatInt(c.Seen, 10) + `"`)
	}
	b.WriteString(">" + text + "</td>")
}

// cellsPage is one group at all gates, or one gate for all groups: a list, with a form in each row.
type cellsPage struct {
	frame
	Axis   string // what was chosen: "group" or "gate"
	Chosen axisHead
	Page   string // of what was chosen
	Search string
	Rows   []cellRow
	Pager  pager
	Here   string // this list, to come back to
	Manage bool
}

type cellRow struct {
	axisHead
	GroupID, GateID int64
	State           string
	Seen            int64
	Dated           int
	Choices         []option // the states
}

// cells is the list of a group or a gate.
func (a *Admin) cells(w http.ResponseWriter, r *http.Request) error {
	v, query := visitOf(r), r.URL.Query()
	p := &cellsPage{Axis: "group", Search: strings.TrimSpace(query.Get("q")), Manage: v.May("POST /admin/access/cell/{$}"), Here: r.URL.RequestURI()}
	other := registry.Search{Query: p.Search, After: query.Get("after"), Limit: pageRows}
	q := registry.MatrixQuery{GroupID: queryID(r, "group"), Gates: other}
	if q.GroupID == 0 {
		p.Axis = "gate"
		q = registry.MatrixQuery{GateID: queryID(r, "gate"), Groups: other}
	}
	m, err := a.desk.Matrix(r.Context(), q)
	if err != nil {
		return err
	}
	var next string
	if p.Axis == "group" {
		g := m.Groups.List[0]
		p.Chosen, p.Page, next = groupHead(g), groupPath(g.ID), m.Gates.Next
		for _, gate := range m.Gates.List {
			p.Rows = append(p.Rows, v.cellRow(gateHead(gate), m.Cell(g.ID, gate.ID)))
		}
	} else {
		g := m.Gates.List[0]
		p.Chosen, p.Page, next = gateHead(g), gatePath(g.ID), m.Groups.Next
		for _, group := range m.Groups.List {
			p.Rows = append(p.Rows, v.cellRow(groupHead(group), m.Cell(group.ID, g.ID)))
		}
	}
	p.frame = v.frame("access", p.Chosen.Name)
	p.Pager = textPager(r, "after", next)
	return a.render(w, "cells", p)
}

func (v *visit) cellRow(h axisHead, c registry.Cell) cellRow {
	row := cellRow{axisHead: h, GroupID: c.GroupID, GateID: c.GateID, State: string(c.State), Seen: c.Seen, Dated: c.Dated}
	for _, s := range cellStates() {
		row.Choices = append(row.Choices, option{string(s), v.t("cell." + string(s)), s == c.State})
	}
	return row
}

// textPager is pagerOf for lists whose pages begin at a text.
func textPager(r *http.Request, key, next string) pager {
	p := pagerOf(r, key, 0, false)
	if next != "" {
		q := r.URL.Query()
		q.Set(key, next)
		p.Next = r.URL.Path + "?" + q.Encode()
	}
	return p
}

// cellAnswer is what static/matrix.js is told about a cell.
type cellAnswer struct {
	State string `json:"state"`
	Seen  int64  `json:"seen"`
	Dated int    `json:"dated"`
	Word  string `json:"word"` // for the cell
	Text  string `json:"text"` // what happened
}

// setCell changes one cell, asked by a form or (Accept: application/json) by static/matrix.js.
func (a *Admin) setCell(w http.ResponseWriter, r *http.Request) error {
	v, ctx := visitOf(r), r.Context()
	if err := readForm(r); err != nil {
		return err
	}
	c, err := sentCell(r)
	if err != nil {
		return err
	}
	group, err := a.desk.Group(ctx, c.GroupID)
	if err != nil {
		return cellGone(w, r, err)
	}
	gate, err := a.desk.Gate(ctx, c.GateID)
	if err != nil {
		return cellGone(w, r, err)
	}
	status, told := http.StatusOK, "flash.cell."+string(c.State)
	now, err := a.desk.SetCell(ctx, v.actor(), c)
	if errors.Is(err, access.ErrConflict) {
		m, err := a.desk.Matrix(ctx, registry.MatrixQuery{GroupID: c.GroupID, GateID: c.GateID})
		if err != nil {
			return err
		}
		now, status, told = m.Cell(c.GroupID, c.GateID), http.StatusConflict, "flash.cell.changed"
	} else if err != nil {
		return err
	}
	names := []string{group.Name, gateName(gate)}
	if status == http.StatusConflict {
		names = append(names, v.t("cell."+string(now.State)))
	}
	if wantsJSON(r) {
		args := make([]any, len(names))
		for i, n := range names {
			args[i] = n
		}
		answer := cellAnswer{State: string(now.State), Seen: now.Seen, Dated: now.Dated, Word: v.t("cell." + string(now.State)), Text: v.t(told, args...)}
		if now.Dated > 0 {
			answer.Word = v.t("cell.mixed") + ": " + answer.Word
		}
		return answerJSON(w, status, answer)
	}
	back := localPath(sent(r, "next"))
	if status == http.StatusConflict {
		return v.sorry(w, r, back, told, names...)
	}
	return v.done(w, r, back, told, names...)
}

// cellGone tells a script that has the page of before in front of it that a group or gate is not there any more.
func cellGone(w http.ResponseWriter, r *http.Request, err error) error {
	if notThere(err) && wantsJSON(r) {
		return answerJSON(w, http.StatusNotFound, refusal{Text: visitOf(r).t("access.gone")})
	}
	return err
}

// sentCell reads the cell that a form names: which state it should have, and what its sender saw.
func sentCell(r *http.Request) (c registry.Cell, err error) {
	for _, n := range []struct {
		name  string
		value *int64
	}{{"group", &c.GroupID}, {"gate", &c.GateID}, {"seen", &c.Seen}} {
		if *n.value, err = strconv.ParseInt(sent(r, n.name), 10, 64); err != nil || *n.value < 0 {
			return c, fmt.Errorf("%w: %s %q", errBadForm, n.name, sent(r, n.name))
		}
	}
	switch c.State = registry.CellState(sent(r, "state")); c.State {
	case registry.CellAllowed, registry.CellSuspended, registry.CellNone:
		return c, nil
	}
	return c, fmt.Errorf("%w: state %q", errBadForm, c.State)
}
