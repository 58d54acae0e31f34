// Package hook makes a program what libcontainer needs it to be when it is
// executed again: the first process of a container. Import it for its effect,
// in the shim's main and in tests that make containers.
package hook

import (
	"fmt"
	"os"

	"github.com/opencontainers/runc/libcontainer"
	_ "github.com/opencontainers/runc/libcontainer/nsenter" // unshares, before Go's runtime starts
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/cmd/containerd-shim-ctor-v2/seccomp"
)

// An init function, not a call in main: what is initialised after this package
// is not in a container's process. That is little: most packages that are not
// needed there sort before libcontainer's.
//
// A container's process is no role of package reexec: libcontainer executes it
// with arguments of its own, and has begun to make it one before Go's runtime
// starts (privileged.go).
func init() {
	if len(os.Args) == 2 && os.Args[1] == "init" && os.Getenv("_LIBCONTAINER_INITPIPE") != "" {
		becomeContainer()
	}
	seccomp.Hook()
}

// becomeContainer does not return.
//
// The signal is the one way to take a container along when its shim is killed.
// It has to be asked for here: what os/exec or libcontainer's
// ParentDeathSignal ask for is lost when nsexec clones. libcontainer restores
// it after it has changed the user. A parent that died before this line needs
// no check (and getppid is always 0 in a pid namespace): what follows is a
// conversation with it.
func becomeContainer() {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		fmt.Fprintf(os.Stderr, "set parent death signal: %v\n", err)
		os.Exit(255)
	}
	libcontainer.Init()
}
