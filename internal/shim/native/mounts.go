package native

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/shim/native/forker"
)

// layout is a container's mounts, as a script.
type layout struct {
	*forker.Script
	dir    string // of the bundle
	group  string // its cgroup
	spaces spaces
	users  *users
	last   []change // when all mounts are made
}

type change struct {
	attributes uint64
	target     string
}

// mounts has the script make a container's mounts. It begins with the root mounted.
func (l *layout) mounts(s *specs.Spec) error {
	for _, m := range s.Mounts {
		if err := l.mount(m); err != nil {
			return fmt.Errorf("mount %s: %w", m.Destination, err)
		}
	}
	return nil
}

func (l *layout) mount(m specs.Mount) error {
	o, err := parse(m)
	if err != nil {
		return err
	}
	to := path.Clean("/" + m.Destination)
	mapped := len(m.UIDMappings)+len(m.GIDMappings) > 0
	switch {
	case mapped && (!o.bind && m.Type != "overlay" || !l.users.are(m)):
		return beyondf("mapped ids in a mount")
	case to == "/", strings.HasPrefix(to, "/proc/"), to == "/proc" && m.Type != "proc":
		return beyondf("a mount on %s", to)
	case strings.ContainsRune(to+m.Source+strings.Join(m.Options, ""), 0), !l.Fits(4), !o.bind && len(m.Source) > maxValue:
		return beyondf("too much of a mount")
	case o.bind:
		return l.bind(m, to, o)
	case o.remount:
		return l.remount(m, to, o)
	}
	switch m.Type {
	case "proc":
		how := forker.Directory | forker.NoLinks
		if len(o.own) == 0 && (o.set|o.setAll)&unix.MOUNT_ATTR_RDONLY == 0 {
			how |= forker.Keep // else settings could not be made by it
		}
		l.fileSystem(m, to, o, how)
		return nil
	case "sysfs":
		l.fileSystem(m, to, o, forker.Directory|forker.NoLinks)
		return nil
	case "tmpfs":
		l.fileSystem(m, to, o, forker.Directory|forker.Mode)
		return nil
	case "devpts", "mqueue":
		l.fileSystem(m, to, o, forker.Directory)
		return nil
	case "cgroup":
		return l.cgroups(m, to, o)
	case "overlay":
		return l.overlay(m, to, o)
	}
	return l.other(m, to, o)
}

// fileSystem has the process make one, in its own namespaces. A tmpfs, and /dev, is
// made read-only last: others may be mounted in it, and nodes made.
func (l *layout) fileSystem(m specs.Mount, to string, o options, how forker.Target) {
	set := o.set | o.setAll
	if set&unix.MOUNT_ATTR_RDONLY != 0 {
		if m.Type == "tmpfs" || to == "/dev" {
			l.last = append(l.last, change{unix.MOUNT_ATTR_RDONLY, to})
			set &^= unix.MOUNT_ATTR_RDONLY
		} else {
			o.own = append(o.own, forker.Option{Name: "ro"})
		}
	}
	l.Mount(uint32(set), how, to, m.Type, append(source(m), l.users.own(m.Type, o.own)...))
}

// remount changes a tmpfs that an earlier mount has made.
func (l *layout) remount(m specs.Mount, to string, o options) error {
	if m.Type != "tmpfs" || len(o.own) > 0 {
		return beyondf("a remount")
	}
	l.last = append(l.last, change{o.set, to})
	return nil
}

// bind attaches a copy of a mount of the host's.
func (l *layout) bind(m specs.Mount, to string, o options) error {
	from := m.Source
	if !filepath.IsAbs(from) {
		from = filepath.Join(l.dir, from)
	}
	flags, deep := uint(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC), uint(0)
	if o.recursive {
		deep = unix.AT_RECURSIVE
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, from, flags|deep)
	if err != nil {
		return &os.PathError{Op: "open", Path: from, Err: err}
	}
	l.Own(fd)
	if err := o.change(fd); err != nil {
		return err
	}
	if len(m.UIDMappings) > 0 {
		if err := l.users.shift(fd, o.recursive); err != nil {
			return err
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	how := forker.File
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		how = forker.Directory
	}
	l.Attach(fd, how, to)
	return nil
}

// anyFlag are the attributes that a mount loses which is given others, as runc and
// mount(8) have it. When a file was read last is not among them.
const anyFlag = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC |
	unix.MOUNT_ATTR_NODIRATIME | unix.MOUNT_ATTR_NOSYMFOLLOW

// change gives a copy of a mount its options.
func (o options) change(fd int) error {
	var changes []unix.MountAttr
	var deep []bool
	rest := o.propagation
	if o.set|o.clear != 0 {
		a := unix.MountAttr{Attr_set: o.set, Attr_clr: anyFlag &^ o.set}
		if o.set&unix.MOUNT_ATTR__ATIME != 0 {
			a.Attr_clr |= unix.MOUNT_ATTR__ATIME
		}
		if len(rest) > 0 && !rest[0].recursive { // in the same call
			a.Propagation, rest = rest[0].kind, rest[1:]
		}
		changes, deep = append(changes, a), append(deep, false)
	}
	for _, p := range rest {
		changes, deep = append(changes, unix.MountAttr{Propagation: p.kind}), append(deep, p.recursive)
	}
	if o.setAll|o.clearAll != 0 {
		a := unix.MountAttr{Attr_set: o.setAll, Attr_clr: o.clearAll}
		if o.setAll&unix.MOUNT_ATTR__ATIME != 0 {
			a.Attr_clr |= unix.MOUNT_ATTR__ATIME
		}
		changes, deep = append(changes, a), append(deep, true)
	}
	for i, a := range changes {
		flags := uint(unix.AT_EMPTY_PATH)
		if deep[i] {
			flags |= unix.AT_RECURSIVE
		}
		if err := unix.MountSetattr(fd, "", flags, &a); err != nil {
			return os.NewSyscallError("mount_setattr", err)
		}
	}
	return nil
}

// cgroups shows the container its own cgroup, in its own cgroup namespace.
func (l *layout) cgroups(m specs.Mount, to string, o options) error {
	if !l.spaces.has(unix.CLONE_NEWCGROUP) {
		return beyondf("the host's cgroups")
	}
	ones, err := cgroup.Ones()
	if err != nil {
		return err
	}
	if len(ones) == 0 {
		m.Type = "cgroup2"
		l.fileSystem(m, to, o, forker.Directory)
		return nil
	}
	const kept = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	l.Mount(kept, forker.Directory, to, "tmpfs", []forker.Option{{Name: "source", Value: "tmpfs"}, {Name: "mode", Value: "755"}})
	for _, name := range ones {
		if err := l.hierarchy(name, path.Join(to, name), kept|o.set&unix.MOUNT_ATTR_RDONLY); err != nil {
			return err
		}
	}
	for _, name := range ones {
		if alone := strings.Split(name, ","); len(alone) > 1 {
			for _, controller := range alone {
				l.LinkNew(name, path.Join(to, controller))
			}
		}
	}
	return nil
}

// hierarchy attaches a copy of the container's own part of one of version 1's. A new
// mount in its cgroup namespace would show the same, and take the kernel longer.
func (l *layout) hierarchy(name, to string, attributes uint64) error {
	from := filepath.Join(cgroup.Root, name, l.group)
	fd, err := unix.OpenTree(unix.AT_FDCWD, from, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return &os.PathError{Op: "open", Path: from, Err: err}
	}
	l.Own(fd)
	l.Attach(fd, forker.Directory|forker.NoLinks, to)
	return options{set: attributes, propagation: []propagation{{kind: unix.MS_PRIVATE}}}.change(fd)
}

// other is a file system that the shim makes: it may need files of the host's.
func (l *layout) other(m specs.Mount, to string, o options) error {
	set := o.set | o.setAll
	if set&unix.MOUNT_ATTR_RDONLY != 0 {
		o.own = append(o.own, forker.Option{Name: "ro"})
	}
	if m.Type == "" || len(o.propagation) > 0 || to == "/dev" {
		return beyondf("a mount of type %q", m.Type)
	}
	fd, err := makeFileSystem(m.Type, m.Source, o.own, nil, int(set))
	if err != nil {
		return fmt.Errorf("%w: %w", err, errBeyond) // mount(2) may know better
	}
	l.Own(fd)
	l.Attach(fd, forker.Directory, to)
	return nil
}

// overlay is one of layers of the host's.
func (l *layout) overlay(m specs.Mount, to string, o options) error {
	var u *users
	if len(m.UIDMappings) > 0 {
		u = l.users
	}
	layers := mount.Mount{Type: m.Type, Source: m.Source}
	for _, option := range o.own {
		word := option.Name
		if option.Value != "" {
			word += "=" + option.Value
		}
		layers.Options = append(layers.Options, word)
	}
	fd, err := openOverlay(layers, u)
	if errors.Is(err, errors.ErrUnsupported) && u != nil {
		fd, err = u.cloneOverlay(layers, l.dir)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", err, errBeyond) // mount(2) may know better
	}
	l.Own(fd)
	if err := o.change(fd); err != nil {
		return err
	}
	l.Attach(fd, forker.Directory, to)
	return nil
}

// indifferent tells whether a command finds the same, whether finish comes before or
// after it: its working directory, or its terminal, can't have to be made on anything
// that is made read-only or hidden.
func (l *layout) indifferent(s *specs.Spec) bool {
	var all []string
	for _, c := range l.last {
		all = append(all, c.target)
	}
	all = slices.Concat(all, s.Linux.ReadonlyPaths, s.Linux.MaskedPaths)
	return (s.Root == nil || !s.Root.Readonly) && !slices.ContainsFunc(all, func(p string) bool {
		p = path.Clean("/" + p)
		return !strings.HasPrefix(p, "/proc/") && !strings.HasPrefix(p, "/sys/")
	})
}

// finish makes read-only what is to be.
func (l *layout) finish(s *specs.Spec) {
	for _, c := range l.last {
		l.Change(uint32(c.attributes), c.target)
	}
	if s.Root != nil && s.Root.Readonly {
		l.ReadOnlyRoot()
	}
	for _, p := range s.Linux.ReadonlyPaths {
		l.ReadOnly(p)
	}
	var masked []string
	for _, p := range s.Linux.MaskedPaths {
		if p = path.Clean("/" + p); !slices.Contains(masked, p) {
			masked = append(masked, p)
			l.Mask(p)
		}
	}
}
