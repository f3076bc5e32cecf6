package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// CheckCmd looks the installation over.
type CheckCmd struct {
	serveSettings
	Deploy bool `help:"Also what matters before doors depend on it: secrets, hosts, HTTPS, durability, disk, backups."`
	JSON   bool `name:"json" help:"One JSON object a line: check, state, found, do."`
}

// Help is the example of --help.
func (CheckCmd) Help() string {
	return "Reads the settings that serve would read, from the same places, and the database; changes nothing. Exit status 1 if anything FAILs.\n\n" +
		"Example:\n\n    openway check --deploy\n    openway check --deploy --json | jq -r 'select(.state != \"OK\") | .check + \": \" + .do'"
}

// state is how a check ended.
type state string

// States of a check. WARN is for what may be meant so; FAIL is for what must not stay.
const (
	stateOK   state = "OK"
	stateWarn state = "WARN"
	stateFail state = "FAIL"
)

// finding is the result of one check: what was found, and what to do about it.
type finding struct {
	Check string `json:"check"`
	State state  `json:"state"`
	Found string `json:"found"`
	Do    string `json:"do"` // "" when OK
}

func passed(check, found string, args ...any) finding {
	return finding{Check: check, State: stateOK, Found: fmt.Sprintf(found, args...)}
}

func warn(check, do, found string, args ...any) finding {
	return finding{Check: check, State: stateWarn, Found: fmt.Sprintf(found, args...), Do: do}
}

func fail(check, do, found string, args ...any) finding {
	return finding{Check: check, State: stateFail, Found: fmt.Sprintf(found, args...), Do: do}
}

// Run looks and reports.
func (c *CheckCmd) Run(a *app) error {
	found, err := c.look(a)
	if err != nil {
		return err
	}
	p := a.newPrinter(c.JSON, "CHECK", "STATE", "FOUND")
	fails, warns := 0, 0
	for _, f := range found {
		f.Found = oneLine(f.Found)
		switch f.State {
		case stateFail:
			fails++
		case stateWarn:
			warns++
		}
		p.row(f, f.Check, string(f.State), f.Found)
	}
	if err := p.end(); err != nil {
		return err
	}
	if !c.JSON {
		for _, f := range found {
			if f.Do != "" {
				a.printf("\n%s %s: %s\n", string(f.State), f.Check, f.Do)
			}
		}
	}
	switch {
	case fails > 0:
		return fmt.Errorf("%s failed%s", counted(fails, "check"), ifAny(warns, ", and %s to look at", "warning"))
	case !c.JSON:
		a.printf("\nNothing failed%s.\n", ifAny(warns, "; %s to look at", "warning"))
	}
	return nil
}

// counted is a number with its noun.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func ifAny(n int, format, noun string) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(format, counted(n, noun))
}

// look runs the checks, in the order of the table. What keeps one from being made is its finding; an error is only
// for what leaves nothing to look at.
func (c *CheckCmd) look(a *app) (found []finding, err error) {
	plan, err := c.plan()
	if err != nil {
		found = append(found, fail("settings", "Mend the setting; serve would refuse it as well.", "%s", message(err)))
	} else {
		found = append(found, passed("settings", "all can be read"))
	}
	log, err := a.commandLogger()
	if err != nil {
		return nil, err
	}
	dsn, postgres, err := a.settings.database()
	if err != nil {
		return append(found, fail("database", "Set it to the path of an SQLite file or a postgres:// URL.", "%s", message(err))), nil
	}
	if path := newDatabase(dsn, postgres); path != "" {
		return append(found, fail("database", "Name the right one in OPENWAY_DATABASE, or make it: openway createsuperuser.", "%s is not there", path)), nil
	}
	st, dsn, err := openStore(a.ctx, a.settings, log)
	if err != nil {
		do := "Mend that, or name another file in OPENWAY_DATABASE."
		if postgres {
			do = "Start it, or mend the address."
		}
		return append(found, fail("database", do, "%s", message(err))), nil
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	d := deployment{app: a, plan: plan, store: st, dsn: dsn, postgres: postgres, log: log}
	found = append(found, d.schema(a.ctx)...)
	if !healthy(found) { // the rest reads tables
		return found, nil
	}
	found = append(found, d.secretKey(a.ctx)...)
	if c.Deploy {
		for _, check := range []func(context.Context) []finding{
			d.environment, d.hosts, d.crossOrigin, d.https, d.certificate, d.otherListeners, d.proxies, d.throttles, d.passwords, d.durability, d.clock, d.disk, d.fileModes, d.backups, d.logging,
		} {
			found = append(found, check(a.ctx)...)
		}
	}
	return found, nil
}

func healthy(found []finding) bool {
	for _, f := range found {
		if f.State == stateFail {
			return false
		}
	}
	return true
}

// someOf joins what a check lists, cut where it gets long.
func someOf(list []string) string {
	const most = 5
	if len(list) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
	}
	return strings.Join(list, ", ")
}
