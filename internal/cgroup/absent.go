package cgroup

import (
	"fmt"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/userns"
)

// Absent says why this process can make no cgroups, and how it could. nil is that it
// can, or that the attempt will say why not: only in a user namespace that has none of
// its own does a container do without.
var Absent = sync.OnceValue(func() error {
	if userns.Own().Host() {
		return nil
	}
	found, _ := hierarchies()
	return absent(found)
})

func absent(hierarchies []string) error {
	writable := len(hierarchies) > 0
	for _, dir := range hierarchies {
		writable = writable && unix.Access(dir, unix.W_OK) == nil
	}
	if writable {
		return nil
	}
	const mend = "systemd-run --user --scope -p Delegate=yes ctor-userns PROGRAM"
	if unified() {
		return fmt.Errorf("this user namespace has no cgroup of its own (%w): %s", errdefs.ErrUnavailable, mend)
	}
	return fmt.Errorf("in a user namespace cgroups of version 1 are the host's (%w): "+
		"boot it with systemd.unified_cgroup_hierarchy=1, and %s", errdefs.ErrUnavailable, mend)
}

// CountsProcesses tells whether a container's processes can be bounded by default: a
// cgroup that was delegated to a user namespace need not have the controller.
var CountsProcesses = sync.OnceValue(func() bool {
	return userns.Own().Host() || Absent() == nil && need{controller: "pids"}.met()
})

// bounds names what of resources only a cgroup could give; "" is nothing. Rules for
// devices are not among them: no process of a user namespace has more devices than the
// host's user may open.
func bounds(r *specs.LinuxResources) string {
	switch {
	case r.Pids != nil && value(r.Pids.Limit) > 0:
		return "a limit of processes"
	case r.Memory != nil:
		return "a limit of memory"
	case r.CPU != nil:
		return "a limit of CPUs"
	case r.BlockIO != nil:
		return "a limit of I/O"
	case len(r.HugepageLimits)+len(r.Rdma)+len(r.Unified) > 0, r.Network != nil:
		return "a limit"
	}
	return ""
}
