package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/openway-access/openway/internal/access"
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

// names turns ids into names, asking for each once.
type names struct {
	in                   *installation
	users, gates, groups map[int64]string
}

func (in *installation) names() *names {
	return &names{in: in, users: map[int64]string{}, gates: map[int64]string{}, groups: map[int64]string{}}
}

// gone is how something is shown that was deleted: its id is all that is left.
func gone(id int64) string { return fmt.Sprintf("#%d", id) }

func lookUp(known map[int64]string, id int64, ask func() (string, error)) (string, error) {
	if id == 0 {
		return "", nil
	}
	if name, ok := known[id]; ok {
		return name, nil
	}
	name, err := ask()
	if errors.Is(err, access.ErrNotFound) {
		name, err = gone(id), nil
	}
	if err == nil {
		known[id] = name
	}
	return name, err
}

func (n *names) user(ctx context.Context, id int64) (string, error) {
	return lookUp(n.users, id, func() (string, error) {
		u, err := n.in.desk.User(ctx, id)
		return u.Username, err
	})
}

func (n *names) gate(ctx context.Context, id int64) (string, error) {
	return lookUp(n.gates, id, func() (string, error) {
		g, err := n.in.desk.Gate(ctx, id)
		return g.Code, err
	})
}

func (n *names) group(ctx context.Context, id int64) (string, error) {
	return lookUp(n.groups, id, func() (string, error) {
		g, err := n.in.desk.Group(ctx, id)
		return g.Name, err
	})
}

// all reads a keyset list page by page and hands each item to fn, up to limit of them; 0 = to the list's end. page returns at most as many
// items as it is asked for, those after an id.
func all[T any](limit int, page func(after int64, limit int) ([]T, error), id func(T) int64, fn func(T) error) error {
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
