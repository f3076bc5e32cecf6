package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

// People name users, gates and groups; the desk knows ids. These find the one by the other and say what is missing.

func (in *installation) userNamed(ctx context.Context, name string) (access.User, error) {
	u, err := in.desk.UserByName(ctx, name)
	if errors.Is(err, access.ErrNotFound) {
		return u, fmt.Errorf("there is no user named %.150q", name)
	}
	return u, err
}

func (in *installation) gateNamed(ctx context.Context, code string) (access.Gate, error) {
	g, err := in.desk.GateByCode(ctx, code)
	if errors.Is(err, access.ErrNotFound) {
		return g, fmt.Errorf("there is no gate with the code %.150q", code)
	}
	return g, err
}

func (in *installation) groupNamed(ctx context.Context, name string) (access.Group, error) {
	g, err := in.desk.GroupByName(ctx, name)
	if errors.Is(err, access.ErrNotFound) {
		return g, fmt.Errorf("there is no group named %.150q", name)
	}
	return g, err
}

func (in *installation) deviceNumbered(ctx context.Context, id int64) (access.Device, error) {
	d, err := in.desk.Device(ctx, id)
	if errors.Is(err, access.ErrNotFound) {
		return d, fmt.Errorf("there is no device %d", id)
	}
	return d, err
}

// The log speaks also of who was deleted. These find the id of a gate or user by the name, of the living first, or as #ID.

func (in *installation) gateEver(ctx context.Context, code string) (int64, error) {
	g, err := in.desk.GateByCode(ctx, code)
	return ever(code, g.ID, err, "there is no gate with the code", func(id int64) (bool, error) {
		o, err := in.desk.Objects(ctx, registry.ObjectIDs{Gates: []int64{id}})
		_, there := o.Gates[id]
		return there, err
	}, func() (int64, error) { return in.desk.GateOnce(ctx, code) })
}

func (in *installation) userEver(ctx context.Context, name string) (int64, error) {
	u, err := in.desk.UserByName(ctx, name)
	return ever(name, u.ID, err, "there is no user named", func(id int64) (bool, error) {
		o, err := in.desk.Objects(ctx, registry.ObjectIDs{Users: []int64{id}})
		_, there := o.Users[id]
		return there, err
	}, func() (int64, error) { return in.desk.UserOnce(ctx, name) })
}

// ever goes on from what was found among the living: there asks for an id, once for the name among the deleted.
func ever(name string, living int64, err error, missing string, there func(id int64) (bool, error), once func() (int64, error)) (int64, error) {
	if !errors.Is(err, access.ErrNotFound) {
		return living, err
	}
	if id, ok := numbered(name); ok {
		if found, err := there(id); found || err != nil {
			return id, err
		}
	}
	id, err := once()
	if errors.Is(err, access.ErrNotFound) {
		return 0, fmt.Errorf("%s %.150q, and never was", missing, name)
	}
	return id, err
}

// numbered reads #ID.
func numbered(name string) (id int64, ok bool) {
	digits, ok := strings.CutPrefix(name, "#")
	id, err := strconv.ParseInt(digits, 10, 64)
	return id, ok && err == nil
}

// names turns ids into names, also of what was deleted, asking for each once.
type names struct {
	in                   *installation
	users, gates, groups map[int64]string
}

func (in *installation) names() *names {
	return &names{in: in, users: map[int64]string{}, gates: map[int64]string{}, groups: map[int64]string{}}
}

// gone is how something is shown whose id is all that is left: a user who was erased.
func gone(id int64) string { return fmt.Sprintf("#%d", id) }

func lookUp(known map[int64]string, id int64, ask func() (string, error)) (string, error) {
	if id == 0 {
		return "", nil
	}
	if name, ok := known[id]; ok {
		return name, nil
	}
	name, err := ask()
	if name == "" {
		name = gone(id)
	}
	if err == nil {
		known[id] = name
	}
	return name, err
}

func (n *names) user(ctx context.Context, id int64) (string, error) {
	return lookUp(n.users, id, func() (string, error) {
		o, err := n.in.desk.Objects(ctx, registry.ObjectIDs{Users: []int64{id}})
		u := o.Users[id]
		if !u.ErasedAt.IsZero() {
			return "", err
		}
		return u.Username, err
	})
}

func (n *names) gate(ctx context.Context, id int64) (string, error) {
	return lookUp(n.gates, id, func() (string, error) {
		o, err := n.in.desk.Objects(ctx, registry.ObjectIDs{Gates: []int64{id}})
		return o.Gates[id].Code, err
	})
}

func (n *names) group(ctx context.Context, id int64) (string, error) {
	return lookUp(n.groups, id, func() (string, error) {
		o, err := n.in.desk.Objects(ctx, registry.ObjectIDs{Groups: []int64{id}})
		return o.Groups[id].Name, err
	})
}

// all reads a keyset list page by page and hands each item to fn, up to limit of them; 0 = to the list's end. page returns at most as many
// items as it is asked for, those after an id.
func all[T any](limit int, page func(after int64, limit int) ([]T, error), id func(T) int64, fn func(T) error) error {
	if limit < 0 {
		return usagef("--limit: %d is not 1 or more", limit)
	}
	var after int64
	for got := 0; ; {
		want := pageLength
		if limit > 0 {
			want = min(want, limit-got)
		}
		items, err := page(after, want)
		if err != nil {
			return err
		}
		for _, item := range items {
			if err := fn(item); err != nil {
				return err
			}
			after = id(item)
		}
		got += len(items)
		if len(items) < want || got == limit {
			return nil
		}
	}
}

// pageLength is how much of a list is asked for at a time.
const pageLength = 500
