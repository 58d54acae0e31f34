package spec

import (
	"path/filepath"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/reaper"
)

// initPath is where a container finds its init: in /dev, which is never the image's.
const initPath = "/dev/init"

// AddInit has package reaper's program execute the command, as the first process.
// The program is written to dir, unless the container was made with it and has a new
// command now.
func AddInit(s *specs.Spec, dir string) error {
	s.Process.Args = slices.Insert(s.Process.Args, 0, initPath)
	if slices.ContainsFunc(s.Mounts, func(m specs.Mount) bool { return m.Destination == initPath }) {
		return nil
	}
	program, err := reaper.Program()
	if err != nil {
		return err
	}
	source := filepath.Join(dir, "init")
	if err := writeFile(source, program, 0o755); err != nil {
		return err
	}
	s.Mounts = append(s.Mounts, specs.Mount{
		Type: "bind", Source: source, Destination: initPath,
		Options: []string{"bind", "rprivate", "ro", "nosuid", "nodev"},
	})
	return nil
}
