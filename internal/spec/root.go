package spec

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// Mounts gives the mounts of the root file system what the configuration says of
// them: the SELinux label, and users of its user namespace for those of the image,
// which to the kernel are the host's.
func (o *Outline) Mounts(root []mount.Mount) []mount.Mount {
	var options []string
	if o.shifts() {
		options = append(options, "uidmap="+mapping(o.Linux.UIDMappings), "gidmap="+mapping(o.Linux.GIDMappings))
	}
	if label := o.Linux.MountLabel; label != "" {
		options = append(options, fmt.Sprintf("context=%q", label))
	}
	if options == nil {
		return root
	}
	var list []mount.Mount
	for _, m := range root {
		m.Options = append(m.Options[:len(m.Options):len(m.Options)], options...)
		list = append(list, m)
	}
	return list
}

// Shift gives the top of a new writable layer to the user who has the image's root:
// where layers lie over each other, what the container writes has the host's numbers
// for its users.
func (o *Outline) Shift(root []mount.Mount) error {
	if !o.shifts() {
		return nil
	}
	for _, m := range root {
		if top := rootfs.Upper([]mount.Mount{m}); top != "" {
			if err := o.shift(top); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *Outline) shifts() bool { return len(o.Linux.UIDMappings) > 0 && len(o.Linux.GIDMappings) > 0 }

// mapping is as mount options have it.
func mapping(m []specs.LinuxIDMapping) string {
	var parts []string
	for _, r := range m {
		parts = append(parts, fmt.Sprintf("%d:%d:%d", r.ContainerID, r.HostID, r.Size))
	}
	return strings.Join(parts, ",")
}

func (o *Outline) shift(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	st := info.Sys().(*syscall.Stat_t)
	uid, ok := onHost(o.Linux.UIDMappings, st.Uid)
	gid, gok := onHost(o.Linux.GIDMappings, st.Gid)
	if !ok || !gok {
		return fmt.Errorf("the user namespace has no %d:%d, who owns the image's root: %w", st.Uid, st.Gid, errdefs.ErrInvalidArgument)
	}
	return os.Lchown(dir, int(uid), int(gid))
}

func onHost(m []specs.LinuxIDMapping, id uint32) (uint32, bool) {
	for _, r := range m {
		if id >= r.ContainerID && id-r.ContainerID < r.Size {
			return r.HostID + (id - r.ContainerID), true
		}
	}
	return 0, false
}
