package container

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

// shifted has the image's files belong to the users of the container's user
// namespace, if its specification asks for one: to the kernel they are the
// host's, and nobody's in there.
func shifted(mounts []mount.Mount, l *specs.Linux) ([]mount.Mount, error) {
	if l == nil || len(l.UIDMappings) == 0 || len(l.GIDMappings) == 0 {
		return mounts, nil
	}
	maps := []string{"uidmap=" + mapping(l.UIDMappings), "gidmap=" + mapping(l.GIDMappings)}
	var list []mount.Mount
	for _, m := range mounts {
		// Where layers lie over each other, what the container writes has the host's
		// numbers for its users, and so has its root.
		if top := rootfs.Upper([]mount.Mount{m}); top != "" {
			if err := shift(top, l); err != nil {
				return nil, err
			}
		}
		m.Options = append(m.Options[:len(m.Options):len(m.Options)], maps...)
		list = append(list, m)
	}
	return list, nil
}

// mapping is as mount options have it.
func mapping(m []specs.LinuxIDMapping) string {
	var parts []string
	for _, r := range m {
		parts = append(parts, fmt.Sprintf("%d:%d:%d", r.ContainerID, r.HostID, r.Size))
	}
	return strings.Join(parts, ",")
}

func shift(dir string, l *specs.Linux) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	st := info.Sys().(*syscall.Stat_t)
	uid, ok := onHost(l.UIDMappings, st.Uid)
	gid, gok := onHost(l.GIDMappings, st.Gid)
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
