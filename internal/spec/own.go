package spec

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/userns"
)

// cgroupMounts show a container its own limits, by which runtimes of languages
// set up their heaps and threads. It can change nothing there.
func cgroupMounts() []specs.Mount {
	options := []string{"ro", "nosuid", "noexec", "nodev"}
	const at = "/sys/fs/cgroup"
	mounts := []specs.Mount{{Destination: at, Type: "cgroup", Source: "cgroup", Options: options}}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err != nil {
		// With version 1 it is a directory of mounts, in a tmpfs that runc leaves
		// writable.
		mounts = append(mounts, specs.Mount{Destination: at, Type: "tmpfs", Source: "tmpfs", Options: append([]string{"remount"}, options...)})
	}
	return mounts
}

// ownNetwork is how a network of a container's own is set, as Docker has it: any
// user may bind any port and ping, since the network holds nothing but the
// container.
var ownNetwork = sync.OnceValue(func() map[string]string {
	return map[string]string{
		"net.ipv4.ip_unprivileged_port_start": "0",
		"net.ipv4.ping_group_range":           fmt.Sprint("0 ", min(userns.Own().LastGroup(), math.MaxInt32)),
	}
})

// Settle takes back what only goes with a default that the caller has changed
// since: the settings of a network that is not the container's own, and groups
// that a user namespace may not have.
func Settle(s *specs.Spec) {
	if s.Linux == nil {
		return
	}
	own, mapped := false, false
	for _, n := range s.Linux.Namespaces {
		own = own || n.Type == specs.NetworkNamespace && n.Path == ""
		mapped = mapped || n.Type == specs.UserNamespace
	}
	for name, value := range ownNetwork() {
		if s.Linux.Sysctl[name] == value && (!own || mapped && name == "net.ipv4.ping_group_range") {
			delete(s.Linux.Sysctl, name)
		}
	}
}

// Fit takes from a configuration, after the caller's last changes, what its container
// can't have: in a user namespace the group of terminals, if that has none of its
// number, and a sysfs of its own without a network of its own, for which it sees the
// host's; and a limit of processes that says that there is none, since a runtime would
// look for a place to write it.
func Fit(s *specs.Spec) { fit(s, userns.Own()) }

func fit(s *specs.Spec, who userns.Map) {
	if who.Host() || s.Linux == nil {
		return
	}
	network := slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.NetworkNamespace })
	for i := range s.Mounts {
		switch m := &s.Mounts[i]; {
		case m.Type == "devpts" && !who.HasGroup(terminals):
			m.Options = slices.DeleteFunc(slices.Clone(m.Options), func(o string) bool { return strings.HasPrefix(o, "gid=") })
		case m.Type == "sysfs" && !network:
			*m = specs.Mount{Destination: m.Destination, Type: "bind", Source: "/sys", Options: []string{"rbind", "rslave", "nosuid", "noexec", "nodev", "ro"}}
		}
	}
	if r := s.Linux.Resources; r != nil && r.Pids != nil && (s.Linux.CgroupsPath == "" || r.Pids.Limit == nil || *r.Pids.Limit < 0) {
		r.Pids = nil
	}
}

// terminals is the group of a terminal's file, as containerd has it.
const terminals = 5
