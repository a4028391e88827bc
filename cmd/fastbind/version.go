package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

type version struct{}

// Run prints what this program was built from.
func (version) Run(c *console) error {
	v := struct {
		Version  string `json:"version"`
		Revision string `json:"revision,omitempty"`
		Go       string `json:"go"`
	}{Version: "(devel)", Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		v.Version = info.Main.Version
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Revision = s.Value
			}
		}
	}
	return c.print(v, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "fastbind %s %s %s\n", v.Version, v.Revision, v.Go)
		return err
	})
}
