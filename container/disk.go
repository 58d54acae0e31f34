package container

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/life"
	"github.com/ctorhq/ctor/internal/quota"
	"github.com/ctorhq/ctor/internal/rootfs"
)

// minDisk is the least bound of a container's disk: the runtime makes what it mounts
// on.
const minDisk = 1 << 20

// checkDisk finds what is wrong with the bound of the disk.
func (cfg Config) checkDisk() error {
	if d := cfg.Limits.Disk; d < 0 || d > 0 && d < minDisk {
		return invalid("disk limit of %d bytes: it must be at least %d, or 0 for none", d, minDisk)
	}
	return nil
}

// boundDisk bounds the writable layer, and the volumes that have no name: by the
// kernel, where the file system has project quotas on, else by watching it.
func (b *builder) boundDisk(ctx context.Context, mounts []mount.Mount) error {
	bytes := b.cfg.Limits.Disk
	if bytes == 0 {
		return nil
	}
	upper := rootfs.Upper(mounts)
	if b.over != nil || upper == "" {
		return fmt.Errorf("disk limit: the container has no writable layer of overlayfs: %w", errdefs.ErrInvalidArgument)
	}
	// What overlayfs makes it makes in the directory beside.
	dirs := []string{upper, filepath.Join(filepath.Dir(upper), "work")}
	for _, v := range b.volumes {
		if v.name == "" && v.files == nil {
			dirs = append(dirs, v.dir)
		}
	}
	project, err := quota.Set(bytes, dirs...)
	switch {
	case err == nil:
		b.project = project
		b.push(ctx, func(context.Context) error { return quota.Drop(b.in.Root, project) })
	case !errors.Is(err, quota.ErrUnsupported):
		return fmt.Errorf("disk limit: %w", err)
	case b.cfg.Detach:
		return fmt.Errorf("disk limit: %w, and of a detached container no program watches it (%w): mount -o remount,prjquota %s, after tune2fs -O project,quota where that is ext4",
			err, errdefs.ErrUnavailable, b.in.Root)
	default:
		b.watched = bytes
	}
	return nil
}

// watchDisk ends a life that has more on the disk than it may.
func (c *Container) watchDisk(ctx context.Context, l life.Life) {
	mounts, err := c.layer(ctx)
	if err != nil {
		return
	}
	w := quota.Watch{
		Bytes: c.about.Disk,
		Dirs:  []string{rootfs.Upper(mounts), filepath.Dir(c.e.Anonymous(c.ID(), 0))},
		Spent: cgroup.At(c.cgroup()).CPU,
		Over: func() {
			c.overfull.Store(true)
			_ = c.first().Signal(ctx, syscall.SIGKILL) // an error: it has ended by itself
		},
	}
	w.Run(life.During(ctx, l))
}
