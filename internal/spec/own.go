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

// fit takes from a configuration what there can't be in a user namespace: a group of
// terminals that it does not have, and a view of the devices of a network that is not
// its own, for which the container sees the host's.
func fit(s *specs.Spec, who userns.Map) {
	if who.Host() {
		return
	}
	own := slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool {
		return n.Type == specs.NetworkNamespace && n.Path == ""
	})
	for i := range s.Mounts {
		switch m := &s.Mounts[i]; {
		case m.Type == "devpts" && !who.HasGroup(terminals):
			m.Options = slices.DeleteFunc(slices.Clone(m.Options), func(o string) bool { return strings.HasPrefix(o, "gid=") })
		case m.Type == "sysfs" && !own:
			*m = specs.Mount{Destination: m.Destination, Type: "bind", Source: "/sys", Options: []string{"rbind", "rslave", "nosuid", "noexec", "nodev", "ro"}}
		}
	}
}

// terminals is the group of a terminal's file, as containerd has it.
const terminals = 5

// Unbind takes a limit of processes that says that there is none from a container
// without a cgroup: a runtime would look for one to write it into.
func Unbind(s *specs.Spec) {
	if l := s.Linux; l != nil && l.CgroupsPath == "" && l.Resources != nil && l.Resources.Pids != nil {
		l.Resources.Pids = nil
	}
}
