package body

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/quota"
	"github.com/ctorhq/ctor/internal/rootfs"
)

// boundDisk bounds the writable layer, and the volumes that have no name: by the
// kernel, where the file system has project quotas on, else by having it watched.
func (b *Body) boundDisk(ctx context.Context) error {
	bytes := b.plan.Disk
	if bytes == 0 {
		return nil
	}
	upper := rootfs.Upper(b.Root)
	if b.plan.Given != nil || upper == "" {
		return invalid("disk limit: the container has no writable layer of overlayfs")
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
		b.push(ctx, func(context.Context) error { return quota.Drop(b.e.Root, project) })
	case !errors.Is(err, quota.ErrUnsupported):
		return fmt.Errorf("disk limit: %w", err)
	case b.plan.Record.Detached:
		return fmt.Errorf("disk limit: %w, and of a detached container no program watches it (%w): mount -o remount,prjquota %s, after tune2fs -O project,quota where that is ext4",
			err, errdefs.ErrUnavailable, b.e.Root)
	default:
		b.watched = bytes
	}
	return nil
}
