package shim

import (
	"runtime/debug"
	"strings"

	"github.com/ctorhq/ctor/internal/shim/link"
)

// library is the path of this module.
const library = "github.com/ctorhq/ctor"

// Install is the command that installs the shim that goes with this library,
// with libcontainer inside.
func Install() string {
	version := "latest"
	if info, ok := debug.ReadBuildInfo(); ok {
		version = release(info)
	}
	return "go install -tags seccomp " + library + "/cmd/" + link.Name + "@" + version
}

// release is the version of the library that a program was built with. The shim,
// a module of its own, has the same (hack/release), but there is none for what
// is between releases: what go calls by a commit has two hyphens.
func release(info *debug.BuildInfo) string {
	for _, m := range info.Deps {
		if m.Path == library && m.Replace == nil && strings.Count(m.Version, "-") < 2 && !strings.Contains(m.Version, "+") {
			return m.Version
		}
	}
	return "latest"
}
