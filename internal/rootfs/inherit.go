package rootfs

import (
	"github.com/containerd/containerd/v2/core/mount"
)

// Inherit gives the root of a new snapshot the mode, times and extended attributes
// of the root below, where overlay would show those of a new directory. The
// snapshotter chooses the owner, which it may map.
func Inherit(mounts []mount.Mount) error {
	dir, l, err := written(mounts)
	if err != nil || len(l.lower) == 0 {
		return nil // a copy has them
	}
	up, err := openDir(dir)
	if err != nil {
		return err
	}
	defer up.Close()
	top, err := openDir(l.lower[0])
	if err != nil {
		return err
	}
	defer top.Close()
	f := file{handle: handle(top.Fd())}
	if f.Stat_t, err = f.stat(); err != nil {
		return err
	}
	n, err := f.node()
	if err != nil {
		return err
	}
	to := handle(up.Fd())
	st, err := to.stat()
	if err != nil {
		return err
	}
	n.uid, n.gid = int(st.Uid), int(st.Gid)
	return n.redress(to)
}
