package native

import (
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/userns"
)

// usual are the devices of every container, as runc has them.
var usual = []specs.LinuxDevice{
	char("/dev/null", 1, 3), char("/dev/random", 1, 8), char("/dev/full", 1, 7),
	char("/dev/tty", 5, 0), char("/dev/zero", 1, 5), char("/dev/urandom", 1, 9),
}

func char(path string, major, minor int64) specs.LinuxDevice {
	return specs.LinuxDevice{Path: path, Type: "c", Major: major, Minor: minor}
}

// devices are a container's.
func devices(s *specs.Spec) []specs.LinuxDevice {
	var all []specs.LinuxDevice
	for _, d := range usual {
		if !slices.ContainsFunc(s.Linux.Devices, func(o specs.LinuxDevice) bool { return o.Path == d.Path }) {
			all = append(all, d)
		}
	}
	return append(all, s.Linux.Devices...)
}

// rules say what a container may do with devices: what is configured, and after that
// what every container may, as runc has it. To make a node is no way to use it.
func rules(s *specs.Spec) []specs.LinuxDeviceCgroup {
	var all []specs.LinuxDeviceCgroup
	if s.Linux.Resources != nil {
		all = slices.Clone(s.Linux.Resources.Devices)
	}
	for _, kind := range []string{"c", "b"} {
		all = append(all, specs.LinuxDeviceCgroup{Allow: true, Type: kind, Access: "m"})
	}
	may := func(major int64, minor ...int64) {
		r := specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: &major, Access: "rwm"}
		if len(minor) > 0 {
			r.Minor = &minor[0]
		}
		all = append(all, r)
	}
	for _, d := range usual {
		if !slices.ContainsFunc(s.Linux.Devices, func(o specs.LinuxDevice) bool { return o.Path == d.Path }) {
			may(d.Major, d.Minor)
		}
	}
	may(136)     // terminals
	may(5, 2)    // and what makes them
	may(10, 200) // /dev/net/tun
	return all
}

// dev has the script make what is in /dev, unless that is the host's.
func (l *layout) dev(s *specs.Spec) error {
	for _, m := range s.Mounts {
		if path.Clean("/"+m.Destination) == "/dev" && slices.ContainsFunc(m.Options, func(o string) bool { return o == "bind" || o == "rbind" }) {
			return nil
		}
	}
	for _, d := range devices(s) {
		if err := l.node(d); err != nil {
			return err
		}
	}
	l.Link("pts/ptmx", "/dev/ptmx")
	for name, to := range links() {
		l.LinkNew(to, "/dev/"+name)
	}
	return nil
}

func links() func(func(name, to string) bool) {
	all := [][2]string{{"fd", "/proc/self/fd"}, {"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"}, {"stderr", "/proc/self/fd/2"}}
	if _, err := os.Stat("/proc/kcore"); err == nil {
		all = append(all, [2]string{"core", "/proc/kcore"})
	}
	return func(yield func(name, to string) bool) {
		for _, l := range all {
			if !yield(l[0], l[1]) {
				return
			}
		}
	}
}

func (l *layout) node(d specs.LinuxDevice) error {
	kinds := map[string]uint32{"c": unix.S_IFCHR, "u": unix.S_IFCHR, "b": unix.S_IFBLK, "p": unix.S_IFIFO}
	kind, known := kinds[d.Type]
	if !known || d.Path == "" || strings.ContainsRune(d.Path, 0) {
		return beyondf("device %q of type %q", d.Path, d.Type)
	}
	if path.Clean("/"+d.Path) == "/dev/ptmx" {
		return nil
	}
	if kind != unix.S_IFIFO && !userns.Own().Host() {
		return l.borrow(d)
	}
	mode := fs.FileMode(0o666)
	if d.FileMode != nil {
		mode = *d.FileMode &^ unix.S_IFMT
	}
	var uid, gid uint32
	if d.UID != nil {
		uid = *d.UID
	}
	if d.GID != nil {
		gid = *d.GID
	}
	l.Node(kind|uint32(mode), uint32(d.Major), uint32(d.Minor), l.users.uid(uid), l.users.gid(gid), path.Clean("/"+d.Path))
	return nil
}
