package spec

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/pkg/cap"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	moby "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"

	compiler "github.com/ctorhq/ctor/internal/shim/seccomp"
)

// Security changes the walls, field for field as the public Security has it. New takes
// what Here gives.
type Security struct {
	ReadOnly        bool
	Tmp             int64
	UserNS          bool
	CapAdd, CapDrop []string
	Privileged      bool
	NewPrivileges   bool
	Seccomp         []byte
	Mask, Unmask    []string
	AppArmor        string // "": none
	SELinux         string
}

// everything is a word for all capabilities, and for all paths.
const everything = "ALL"

// apply changes the walls of a configuration.
func (w Security) apply(s *specs.Spec, own Users) error {
	if err := w.check(); err != nil {
		return err
	}
	s.Process.ApparmorProfile = w.AppArmor
	held := s.Process.Capabilities.Bounding
	if w.Privileged {
		held = current()
		if err := w.privilege(s); err != nil {
			return err
		}
	}
	held, err := w.capabilities(held)
	if err != nil {
		return err
	}
	set := func() []string { return slices.Clone(held) }
	s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: set(), Effective: set(), Permitted: set()}
	s.Process.NoNewPrivileges = !w.NewPrivileges && !w.Privileged
	s.Root.Readonly = w.ReadOnly
	if err := w.whole(slices.Concat(s.Linux.MaskedPaths, s.Linux.ReadonlyPaths)); err != nil {
		return err
	}
	s.Linux.MaskedPaths = w.paths(s.Linux.MaskedPaths, w.Mask)
	s.Linux.ReadonlyPaths = w.paths(s.Linux.ReadonlyPaths, nil)
	if w.UserNS {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		m := []specs.LinuxIDMapping{{HostID: own.First, Size: own.Count}}
		s.Linux.UIDMappings, s.Linux.GIDMappings = m, m
	}
	s.Process.SelinuxLabel, s.Linux.MountLabel = labels(w.SELinux)
	if w.Privileged && w.Seccomp == nil {
		s.Linux.Seccomp = nil
		return nil
	}
	s.Linux.Seccomp, err = w.profile(s)
	return err
}

func (w Security) check() error {
	switch {
	case w.Privileged && w.UserNS:
		return fmt.Errorf("security: Privileged and UserNS: a container has the host's rights, or users of its own: %w", errdefs.ErrInvalidArgument)
	case w.Tmp < 0:
		return fmt.Errorf("/tmp of %d bytes: it must be positive, or 0 for the image's: %w", w.Tmp, errdefs.ErrInvalidArgument)
	}
	for _, p := range w.Mask {
		if !walled(p) {
			return fmt.Errorf("masked path %q: it must be absolute and without dots: %w", p, errdefs.ErrInvalidArgument)
		}
	}
	for _, p := range w.Unmask {
		if !walled(p) && p != everything {
			return fmt.Errorf("unmasked path %q: it must be absolute and without dots, or %q: %w", p, everything, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}

// walled tells whether a path is as those of walls are: another name of the same file
// would be passed over.
func walled(p string) bool { return path.IsAbs(p) && path.Clean(p) == p && !strings.ContainsRune(p, 0) }

// current are the capabilities that this program has, and so all that it can give.
func current() []string {
	all, err := cap.Current()
	if err != nil || len(all) == 0 {
		return cap.Known() // a daemon of root's may have them
	}
	return all
}

// capabilities are held with those added and without those dropped. What is added
// by its name stays when all are dropped, and the other way round.
func (w Security) capabilities(held []string) ([]string, error) {
	add, err := fullNames(w.CapAdd)
	if err != nil {
		return nil, err
	}
	drop, err := fullNames(w.CapDrop)
	if err != nil {
		return nil, err
	}
	if slices.Contains(drop, everything) {
		held = nil
	}
	if slices.Contains(add, everything) {
		held = current()
	}
	var out []string
	for _, c := range slices.Concat(held, add) {
		if c != everything && !slices.Contains(drop, c) && !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out, nil
}

// fullNames are capabilities' as the kernel has them: CAP_NET_ADMIN of net_admin.
func fullNames(said []string) (all []string, err error) {
	for _, name := range said {
		full := strings.ToUpper(name)
		if full == everything {
			all = append(all, full)
			continue
		}
		if !strings.HasPrefix(full, "CAP_") {
			full = "CAP_" + full
		}
		if !slices.Contains(cap.Known(), full) {
			return nil, fmt.Errorf("unknown capability %q: see capabilities(7): %w", name, errdefs.ErrInvalidArgument)
		}
		all = append(all, full)
	}
	return all, nil
}

// privilege gives a container what the program has of the host.
func (w Security) privilege(s *specs.Spec) error {
	devices, err := oci.HostDevices()
	if err != nil {
		return fmt.Errorf("devices of the host: %w", err)
	}
	s.Linux.Devices = append(s.Linux.Devices, devices...)
	s.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
	s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil
	for i := range s.Mounts {
		if m := &s.Mounts[i]; m.Type == "sysfs" || m.Type == "cgroup" || m.Type == "cgroup2" {
			m.Options = slices.DeleteFunc(slices.Clone(m.Options), func(o string) bool { return o == "ro" })
		}
	}
	s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool { return slices.Contains(m.Options, "remount") })
	return nil
}

// paths are those of a wall: normal ones but for those that are taken away, and more.
func (w Security) paths(normal, more []string) []string {
	if slices.Contains(w.Unmask, everything) {
		normal = nil
	}
	return slices.Concat(slices.DeleteFunc(slices.Clone(normal), func(p string) bool { return slices.Contains(w.Unmask, p) }), more)
}

// whole refuses to unmask a part of what a wall hides, or a directory around it: the wall
// would stay as it is.
func (w Security) whole(walls []string) error {
	if slices.Contains(w.Unmask, everything) {
		return nil
	}
	walls = slices.DeleteFunc(walls, func(wall string) bool { return slices.Contains(w.Unmask, wall) })
	for _, p := range w.Unmask {
		for _, wall := range walls {
			if strings.HasPrefix(p, wall+"/") || strings.HasPrefix(wall, strings.TrimSuffix(p, "/")+"/") {
				return fmt.Errorf("unmasked path %q: unmask %q, which is hidden or read-only as a whole: %w", p, wall, errdefs.ErrInvalidArgument)
			}
		}
	}
	return nil
}

// labels are SELinux's of processes, and of files: of the same categories.
func labels(process string) (string, string) {
	fields := strings.SplitN(process, ":", 4)
	if len(fields) < 4 {
		return process, ""
	}
	return process, strings.Join([]string{fields[0], "object_r", "container_file_t", fields[3]}, ":")
}

// profile is the filter of system calls, which depends on the capabilities.
func (w Security) profile(s *specs.Spec) (*specs.LinuxSeccomp, error) {
	if w.Seccomp == nil {
		return defaultProfile(s)
	}
	p, err := moby.LoadProfile(string(w.Seccomp), s)
	if err == nil {
		if p == nil {
			return nil, fmt.Errorf("seccomp profile: it has no defaultAction: %w", errdefs.ErrInvalidArgument)
		}
		_, err = compiler.Compile(p)
	}
	if err != nil && !errors.Is(err, errdefs.ErrNotImplemented) { // which another executor does
		return nil, fmt.Errorf("seccomp profile: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	return p, nil
}

// Users are those of the host that are a container's alone.
type Users struct{ First, Count uint32 }

// tmp is memory on /tmp, unless something else is mounted there.
func (w Security) tmp(mounts []specs.Mount) ([]specs.Mount, error) {
	const at = "/tmp"
	if w.Tmp == 0 || slices.ContainsFunc(mounts, func(m specs.Mount) bool { return m.Destination == at }) {
		return nil, nil
	}
	m, err := Mount{Kind: Tmpfs, Target: at, Size: w.Tmp}.spec()
	return []specs.Mount{m}, err
}

// shiftBinds has what is the host's shown with the container's users.
func shiftBinds(s *specs.Spec) {
	for i := range s.Mounts {
		if m := &s.Mounts[i]; m.Type == "bind" || m.Type == "overlay" {
			m.UIDMappings, m.GIDMappings = s.Linux.UIDMappings, s.Linux.GIDMappings
		}
	}
}
