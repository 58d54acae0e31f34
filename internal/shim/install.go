package shim

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/ctorhq/ctor/internal/shim/link"
)

// library is the path of this module.
const library = "github.com/ctorhq/ctor"

// Install is the command that installs the shim that goes with this library,
// with libcontainer inside.
func Install() string {
	info, _ := debug.ReadBuildInfo()
	return install(version(info), source())
}

// install names the shim of a version, or builds it from the library's source,
// which may be on this machine.
func install(version, source string) string {
	if isRelease(version) {
		return fmt.Sprintf("go install -tags seccomp %s/cmd/%s@%s", library, link.Name, version)
	}
	fetch := ""
	if source == "" {
		source = "ctor"
		fetch = fmt.Sprintf("git clone https://%s %s && ", library, source)
		if commit := commitOf(version); commit != "" {
			fetch += fmt.Sprintf("git -C %s checkout %s && ", source, commit)
		}
	}
	return fmt.Sprintf("%smake -C %s shim && install %[2]s/bin/%s /usr/local/bin", fetch, source, link.Name)
}

// version is that of the library that a program was built with; "" is none that
// has a name.
func version(info *debug.BuildInfo) string {
	if info == nil {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path == library && m.Replace == nil {
			return m.Version
		}
	}
	return ""
}

// isRelease tells whether a version was released. The shim, a module of its own,
// has the same (hack/release), but there is none for what is between releases:
// what go calls by a commit has two hyphens.
func isRelease(version string) bool {
	return strings.HasPrefix(version, "v") && strings.Count(version, "-") < 2 && !strings.Contains(version, "+")
}

// commitOf is the commit in a version of go's making.
func commitOf(version string) string {
	if strings.Count(version, "-") < 2 {
		return ""
	}
	return version[strings.LastIndexByte(version, '-')+1:]
}

// source is the directory that the library was built from, if it is here and has
// the shim's, which what go downloads has not.
func source() string {
	_, file, _, _ := runtime.Caller(0)
	dir := filepath.Join(filepath.Dir(file), "../..")
	if _, err := os.Stat(filepath.Join(dir, "cmd", link.Name, "go.mod")); err != nil || !filepath.IsAbs(dir) {
		return ""
	}
	return dir
}
