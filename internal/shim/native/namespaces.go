package native

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/shim/native/forker"
)

var namespaces = map[specs.LinuxNamespaceType]uint32{
	specs.PIDNamespace: unix.CLONE_NEWPID, specs.NetworkNamespace: unix.CLONE_NEWNET, specs.MountNamespace: unix.CLONE_NEWNS,
	specs.IPCNamespace: unix.CLONE_NEWIPC, specs.UTSNamespace: unix.CLONE_NEWUTS, specs.CgroupNamespace: unix.CLONE_NEWCGROUP,
}

// spaces are a container's namespaces: what it begins with and what it joins.
type spaces struct {
	own  uint32 // new ones, beside that of users
	pids int    // the pid namespace that it joins, by its descriptor; -1: none
}

// openSpaces opens the namespaces of others that a container joins, and has the
// script join them.
func openSpaces(s *forker.Script, all []specs.LinuxNamespace) (spaces, error) {
	o := spaces{pids: -1}
	for _, n := range all {
		if n.Type == specs.UserNamespace { // see users
			continue
		}
		if n.Path == "" {
			o.own |= namespaces[n.Type]
			continue
		}
		fd, err := unix.Open(n.Path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return o, fmt.Errorf("%s namespace %s: %w", n.Type, n.Path, err)
		}
		s.Own(fd)
		if n.Type == specs.PIDNamespace {
			o.pids = fd // a process is in one from birth, or never
			continue
		}
		s.Join(fd, namespaces[n.Type])
	}
	return o, nil
}

// has tells whether a namespace is the container's own.
func (o spaces) has(kind uint32) bool { return o.own&kind != 0 }

// born are those that a process is born in. A cgroup namespace begins where its
// process is, and so after that has joined its cgroups; and those that belong to the
// container's users are there before.
func (o spaces) born(u *users) uint64 {
	own := o.own &^ unix.CLONE_NEWCGROUP
	if u != nil {
		own &^= theirs
	}
	return uint64(own)
}
