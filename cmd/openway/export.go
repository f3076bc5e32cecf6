package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/openway-access/openway/internal/sitefile"
)

// ExportCmd writes the site as a file that apply takes.
type ExportCmd struct {
	Output string `short:"o" placeholder:"FILE" help:"Write to this file instead of standard output; it replaces one that is there."`
}

// Help is the example of --help.
func (ExportCmd) Help() string {
	return "Groups, users, gates, permissions and devices, without passwords and tokens. Applying it to the same site changes nothing.\n\n" +
		"Example:\n\n    openway export > site.yaml\n    openway export -o site.yaml"
}

// Run writes it.
func (c ExportCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, in *installation) error {
		site, err := in.desk.Export(ctx, in.actor)
		if err != nil {
			return err
		}
		data := sitefile.Encode(site)
		if c.Output == "" {
			if _, err := a.out.Write(data); err != nil {
				return fmt.Errorf("write the site: %w", err)
			}
			return nil
		}
		if err := replaceFile(c.Output, data); err != nil {
			return fmt.Errorf("write the site: %w", err)
		}
		a.printf("Wrote %s\n", c.Output)
		return nil
	})
}

// replaceFile writes a file whole or not at all: create beside, write, sync, rename. It is readable by its owner alone: it
// names people.
func replaceFile(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
