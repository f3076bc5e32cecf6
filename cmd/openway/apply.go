package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/sitefile"
)

// ApplyCmd makes the site what a file declares.
type ApplyCmd struct {
	File          string `short:"f" required:"" placeholder:"FILE" help:"The site file, YAML; - reads standard input."`
	DryRun        bool   `help:"Print the plan, change nothing."`
	Prune         bool   `help:"Delete what the file does not declare (never the last active owner)."`
	WeakPasswords bool   `help:"Take passwords that break the rules for passwords."`
	Yes           bool   `short:"y" help:"Do not ask."`
	JSON          bool   `name:"json" help:"Print the plan as a JSON object."`
}

// Help is the manual of the file, and the example of --help.
func (ApplyCmd) Help() string {
	return "The file has the lists groups, users, gates, permissions and devices:\n\n" +
		"    groups:\n      - name: Staff\n" +
		"    users:\n      - username: anna\n        email: anna@example.org\n        groups: [Staff]\n" +
		"    gates:\n      - code: front\n        name: Front door\n        release_ms: 1500\n" +
		"    permissions:\n      - gate: front\n        group: Staff\n        valid_until: 2027-01-01\n" +
		"    devices:\n      - user: anna\n        name: Phone\n\n" +
		"More keys: users: first_name, last_name, language (en, ru), password or password_hash, active, staff, superuser, role (viewer, manager, owner), tokens; gates: location; " +
		"permissions: user, allow, valid_from; devices: android_device_id, token, active; and was: OLD_NAME renames a group, user or gate.\n\n" +
		"What a listed thing leaves out gets its default, but a user's password, tokens, language and active and a device's token and active stay as they are. " +
		"Times without an offset are in the site's zone, and a date alone is the start of that day; a permission ends just before valid_until, so that 2027-01-01 is to the end of 2026. Names that are not in the file may be in the database. A device is found by its token, else by user, name and android id; one without a token gets a new one. " +
		"The plan is printed first, and asked about at a terminal; it is carried out whole or not at all, and applying it again changes nothing.\n\n" +
		"Example:\n\n    openway apply -f site.yaml --dry-run\n    openway apply -f site.yaml"
}

// Run applies it.
func (c ApplyCmd) Run(a *app) error {
	site, err := c.read(a)
	if err != nil {
		return c.mistakes(a, err)
	}
	return a.withNew(func(ctx context.Context, in *installation) error {
		var refused error
		printed := false
		show := func(p *registry.Plan) {
			if !printed && !c.JSON {
				a.printPlan(p)
			}
			printed = true
		}
		plan, err := in.desk.Apply(ctx, in.actor, site, registry.ApplyOptions{
			DryRun: c.DryRun, Prune: c.Prune, WeakPasswords: c.WeakPasswords, Progress: a.progress("passwords"),
			Confirm: func(p *registry.Plan) bool {
				show(p)
				refused = c.confirm(a, p)
				return refused == nil
			},
		})
		if refused != nil {
			return refused
		}
		if err != nil {
			return c.mistakes(a, err)
		}
		show(plan)
		if c.JSON {
			return a.planJSON(site.File, plan, !c.DryRun)
		}
		switch {
		case plan.Empty():
			a.printf("Nothing to change.\n")
		case c.DryRun:
			a.printf("Dry run: nothing was changed.\n")
		default:
			a.printf("Applied.\n")
		}
		return nil
	})
}

func (c ApplyCmd) read(a *app) (*sitefile.Site, error) {
	name, from := c.File, io.NopCloser(a.in)
	if c.File == "-" {
		name = "stdin"
	} else {
		f, err := os.Open(c.File)
		if err != nil {
			return nil, fmt.Errorf("read the site file: %w", err)
		}
		from = f
	}
	defer from.Close()
	data, err := io.ReadAll(io.LimitReader(from, sitefile.MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the site file: %w", err)
	}
	return sitefile.Parse(name, data)
}

// mistakes prints a file's mistakes, one a line as compilers do, and leaves the sum for the error.
func (c ApplyCmd) mistakes(a *app, err error) error {
	var m *sitefile.Mistakes
	if !errors.As(err, &m) {
		return err
	}
	for _, line := range strings.Split(m.Error(), "\n") {
		fmt.Fprintln(a.err, printable(line))
	}
	n := "1 mistake"
	if len(m.List) > 1 {
		n = fmt.Sprintf("%d mistakes", len(m.List))
	}
	return fmt.Errorf("%s in %s; nothing was changed", n, m.File)
}

// confirm asks at a terminal. Without one it goes ahead, but deleting in production wants --yes.
func (c ApplyCmd) confirm(a *app, p *registry.Plan) error {
	deletes := p.Count(registry.PlanDelete)
	asks := a.interactive() && c.File != "-"
	if !asks && (deletes == 0 || !a.settings.production()) {
		return nil
	}
	if !asks && !c.Yes {
		return fmt.Errorf("this is production (OPENWAY_ENV): give --yes to delete %d objects; nothing was changed", deletes)
	}
	return a.confirm(c.Yes, "apply", sum(p))
}

// sum is "create 3, change 1 and delete 2".
func sum(p *registry.Plan) string {
	return fmt.Sprintf("create %d, change %d and delete %d objects", p.Count(registry.PlanCreate), p.Count(registry.PlanChange), p.Count(registry.PlanDelete))
}

// printPlan prints a plan for people: a line for each thing that changes, its fields below, and what stays in one line.
func (a *app) printPlan(p *registry.Plan) {
	for _, s := range p.Steps {
		if s.Action == registry.PlanUnchanged {
			continue
		}
		a.printf("%-9s  %-10s  %s\n", s.Action, s.Object, s.Name)
		for _, f := range s.Changes {
			a.printf("%25s%s\n", "", f.String())
		}
	}
	if u := p.Unchanged(); u != "" {
		a.printf("%-9s  %s\n", registry.PlanUnchanged, u)
	}
	for _, n := range p.Notes {
		a.printf("Note: %s.\n", n)
	}
	if !p.Empty() {
		a.printf("Plan: %d to create, %d to change, %d to delete.\n", p.Count(registry.PlanCreate), p.Count(registry.PlanChange), p.Count(registry.PlanDelete))
	}
}

type planJSON struct {
	File      string     `json:"file"`
	Applied   bool       `json:"applied"`
	Create    int        `json:"create"`
	Change    int        `json:"change"`
	Delete    int        `json:"delete"`
	Unchanged int        `json:"unchanged"`
	Steps     []stepJSON `json:"steps"` // without the unchanged
	Notes     []string   `json:"notes"`
}

type stepJSON struct {
	Action string      `json:"action"`
	Object string      `json:"object"`
	Name   string      `json:"name"`
	Line   *int        `json:"line"` // null for what the file does not declare
	Fields []fieldJSON `json:"fields,omitempty"`
}

type fieldJSON struct {
	Field string `json:"field"`
	Old   string `json:"old"`
	New   string `json:"new"`
}

func (a *app) planJSON(file string, p *registry.Plan, applied bool) error {
	out := planJSON{
		File: file, Applied: applied, Create: p.Count(registry.PlanCreate), Change: p.Count(registry.PlanChange),
		Delete: p.Count(registry.PlanDelete), Unchanged: p.Count(registry.PlanUnchanged), Steps: []stepJSON{}, Notes: append([]string{}, p.Notes...),
	}
	for _, s := range p.Steps {
		if s.Action == registry.PlanUnchanged {
			continue
		}
		step := stepJSON{Action: string(s.Action), Object: s.Object, Name: s.Name, Line: orNull(s.Line)}
		for _, f := range s.Changes {
			step.Fields = append(step.Fields, fieldJSON(f))
		}
		out.Steps = append(out.Steps, step)
	}
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	return e.Encode(out)
}

// progress shows how far long work has come, at a terminal only.
func (a *app) progress(what string) func(done, total int) {
	if !isTerminal(a.err) {
		return nil
	}
	return func(done, total int) {
		fmt.Fprintf(a.err, "\r%s: %d of %d", what, done, total)
		if done == total {
			fmt.Fprint(a.err, "\r\x1b[K")
		}
	}
}
