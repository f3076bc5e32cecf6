package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
)

// VersionCmd prints what this program is.
type VersionCmd struct {
	JSON bool `name:"json" help:"As one JSON object."`
}

// Help is the example of --help.
func (VersionCmd) Help() string { return "Example:\n\n    openway version --json" }

// release is what the build knows about itself.
type release struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// version is set by a build that has no git to ask: -ldflags '-X main.version=v1.2.3'.
var version string

func thisRelease() release {
	r := release{Version: "dev", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return r
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		r.Version = v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			r.Revision = s.Value
		}
	}
	if version != "" {
		r.Version = version
	}
	return r
}

func (r release) String() string {
	return fmt.Sprintf("openway %s (%s, %s)", r.Version, r.Go, r.Platform)
}

// Run prints it.
func (c VersionCmd) Run(a *app) error {
	r := thisRelease()
	if c.JSON {
		return json.NewEncoder(a.out).Encode(r)
	}
	a.printf("%s\n", r.String())
	return nil
}
