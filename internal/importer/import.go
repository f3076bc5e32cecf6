package importer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/decide"
	"github.com/openway-access/openway/internal/store"
)

// Options say what is imported, and how.
type Options struct {
	From   string // postgres:// URL of the live database, or
	Dump   string // a dump's path
	Schema string // where Django's tables are; "" = the one schema that has them

	Replace           bool // wipe what there is
	Force             bool // with Replace: also what was made here
	SkipEvents        bool
	EventsSince       time.Time     // leave earlier events out
	ExpireTokensAfter time.Duration // end the tokens of users so long after the import; 0 = never

	Now      func() time.Time // nil = time.Now
	Progress func(Progress)   // nil = nobody looks
}

// Progress says how far a step has come. Total is 0 where it is not known.
type Progress struct {
	Step        string // reading, events, proof
	Unit        string // bytes, rows, events or decisions
	Done, Total int64
}

func (o *Options) step(name string) func(done, total int64) {
	unit := map[string]string{stepReading: "bytes", stepEvents: "events", stepProof: "decisions"}[name]
	return func(done, total int64) {
		if o.Progress == nil {
			return
		}
		u := unit
		if name == stepReading && total == 0 {
			u = "rows"
		}
		o.Progress(Progress{name, u, done, total})
	}
}

// The steps.
const (
	stepReading = "reading"
	stepEvents  = "events"
	stepProof   = "proof"
)

// Import is a site that was read and is ready to be written.
type Import struct {
	Report Report

	o     Options
	from  source
	site  *site
	plan  *plan
	began time.Time
	most  int64 // pairs of the proof
}

// Read reads a Django site, all of it, and plans what becomes of it. It writes nothing. Close the Import.
func Read(ctx context.Context, o Options) (im *Import, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	var from source
	if o.Dump != "" {
		from, err = openDump(o.Dump, o.Schema)
	} else {
		from, err = openLive(ctx, o.From, o.Schema)
	}
	if err != nil {
		return nil, err
	}
	began := time.Now()
	s, err := readSite(ctx, from, &o)
	if err != nil {
		return nil, errors.Join(err, from.close())
	}
	im = &Import{o: o, from: from, site: s, plan: planOf(s, &o, o.Now()), began: began, most: mostPairs}
	im.Report = Report{Source: from.label(), Tables: im.counts(), Notes: append([]Note{}, im.plan.list...), Conflicts: append([]string{}, im.plan.conflicts...)}
	return im, nil
}

// Close lets go of the source.
func (im *Import) Close() error { return im.from.close() }

func (im *Import) counts() []Count {
	read, p := im.site.read, im.plan
	kinds := map[access.CredentialKind]int64{}
	for _, c := range p.credentials {
		kinds[c.Kind]++
	}
	count := func(what string, t *table, made int) Count { return Count{what, read[t.name], int64(made)} }
	return []Count{
		count("users", users, len(p.users)),
		count("former passwords", passwords, len(p.passwords)),
		count("groups", groups, len(p.groups)),
		count("memberships", members, len(p.members)),
		count("gates", gates, len(p.gates)),
		count("permissions", permissions, len(p.permissions)),
		count("user tokens", tokens, int(kinds[access.UserToken])),
		count("devices", devices, len(p.devices)),
		{"events", im.site.events.kept + im.site.events.left, im.site.events.kept},
		{"audit lines", read[adminLog.name], read[adminLog.name]},
	}
}

// refuse says whether what a database holds stands in the way.
func (im *Import) refuse(h store.Holdings) error {
	if len(im.plan.conflicts) > 0 {
		return ErrConflicts{len(im.plan.conflicts)}
	}
	if h.Empty() {
		return nil
	}
	if !im.o.Replace {
		return fmt.Errorf("the database is not empty (%s): import into an empty one, or wipe that with --replace: %w", numbers(h.Rows, "users", "gate", "permission", "device", "events"), access.ErrConflict)
	}
	made := numbers(h.Since, access.ObjectUser, access.ObjectGroup, access.ObjectMember, access.ObjectRole, access.ObjectGate, access.ObjectPermission)
	if made != "" && !im.o.Force {
		since := "since the last import"
		if h.Imported == 0 {
			since = "(nothing was imported before)"
		}
		return fmt.Errorf("people, gates or rights were made or changed here %s (%s), and --replace would wipe them: give --force as well if that is meant: %w", since, made, access.ErrConflict)
	}
	return nil
}

// numbers lists counts as "3 users, 1 gate"; "" when there are none.
func numbers(counts map[string]int64, order ...string) string {
	var parts []string
	for _, name := range order {
		n := counts[name]
		if n == 0 {
			continue
		}
		if name = strings.TrimSuffix(name, "s"); n > 1 {
			name += "s"
		}
		parts = append(parts, fmt.Sprintf("%d %s", n, name))
	}
	return strings.Join(parts, ", ")
}

// Rehearse does all but writing: it says what a database that holds h would refuse, and holds the two rules against each other.
func (im *Import) Rehearse(ctx context.Context, h store.Holdings) error {
	im.Report.DryRun = true
	defer im.took()
	if err := im.refuse(h); err != nil {
		return err
	}
	im.Report.Wiped = h.Rows
	keys, err := credential.NewKeyring([]byte(credential.MintDeviceToken())) // nothing made with it is kept
	if err != nil {
		return err
	}
	im.plan.number(1, 1, im.site)
	b := decide.NewBuilder(0)
	im.plan.tell(b, keys)
	return im.prove(ctx, b.Snapshot(access.PolicyMark{}), keys)
}

// Into writes the site into a database, whole or not at all: not before both rules decide alike.
func (im *Import) Into(ctx context.Context, st *store.Store, keys *credential.Keyring, actor access.Actor) error {
	defer im.took()
	if len(im.plan.conflicts) > 0 {
		return ErrConflicts{len(im.plan.conflicts)}
	}
	lastEvent := max(im.site.events.lastID, im.site.sequences[events.name])
	if !im.o.SkipEvents {
		if err := st.ReserveEventIDs(ctx, lastEvent); err != nil {
			return err
		}
	}
	_, err := st.Import(ctx, actor, func(to *store.Import) error {
		h, err := to.Holdings()
		if err != nil {
			return err
		}
		if err := im.refuse(h); err != nil {
			return err
		}
		if !h.Empty() {
			im.Report.Wiped = h.Rows
			if err := to.Wipe(); err != nil {
				return err
			}
		}
		if err := im.write(ctx, to, keys, lastEvent); err != nil {
			return err
		}
		if err := to.Record(access.ObjectSite, store.OnlySite, access.ActionImport, nil, im.audit()); err != nil {
			return err
		}
		b := decide.NewBuilder(0)
		if err := to.LoadPolicy(b); err != nil {
			return fmt.Errorf("read the policy that was written: %w", err)
		}
		return im.prove(ctx, b.Snapshot(to.Mark), keys)
	})
	im.Report.Imported = err == nil
	return err
}

func (im *Import) took() { im.Report.Took = time.Since(im.began) }

// audit is what the audit says of an import.
func (im *Import) audit() access.Fields {
	f := access.Fields{"source": im.from.label()}
	for _, c := range im.Report.Tables {
		f[c.What] = strconv.FormatInt(c.Made, 10)
	}
	return f
}

func (im *Import) prove(ctx context.Context, is *decide.Snapshot, keys *credential.Keyring) (err error) {
	step := im.o.step(stepProof)
	im.Report.Proof, err = prove(im.site, is, keys, im.o.Now().UnixMicro(), im.most, func(done, total int64) error {
		step(done, total)
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	if n := im.Report.Proof.faults(); n > 0 {
		return ErrUnequal{n}
	}
	return nil
}
