package services

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/plugin"

	"github.com/ctorhq/ctor/internal/rootfs"
	"github.com/ctorhq/ctor/internal/thread"
)

// masked is a snapshotter that makes directories with the usual umask, whatever
// the program's is: a directory's mode becomes that of a container's root, and an
// unpacked image keeps it. A snapshot on top of another has its root. The mounts
// work wherever the snapshotter's directory is: see [rootfs.Escape].
type masked struct {
	snapshots.Snapshotter
	root string // where it is
}

// cleaned is a masked snapshotter that removes things later, as the overlay
// snapshotter does.
type cleaned struct {
	masked
	snapshots.Cleaner
}

// newMasked puts a masked snapshotter before the plugin's.
func newMasked(ic *plugin.InitContext, snapshotter any) (any, error) {
	s, ok := snapshotter.(snapshots.Snapshotter)
	if !ok {
		return nil, fmt.Errorf("the snapshotter is a %T", snapshotter)
	}
	m := masked{s, ic.Properties[plugins.PropertyRootDir]}
	if c, ok := snapshotter.(snapshots.Cleaner); ok {
		return cleaned{m, c}, nil
	}
	return m, nil
}

// Prepare implements snapshots.Snapshotter.
func (m masked) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) (mounts []mount.Mount, err error) {
	err = thread.WithUmask(func() error {
		mounts, err = m.Snapshotter.Prepare(ctx, key, parent, opts...)
		return err
	})
	if err != nil {
		return nil, err
	}
	mounts = rootfs.Escape(mounts, m.root)
	if err := rootfs.Inherit(mounts); err != nil {
		return nil, errors.Join(err, m.Remove(context.WithoutCancel(ctx), key))
	}
	return mounts, nil
}

// View implements snapshots.Snapshotter.
func (m masked) View(ctx context.Context, key, parent string, opts ...snapshots.Opt) (mounts []mount.Mount, err error) {
	err = thread.WithUmask(func() error {
		mounts, err = m.Snapshotter.View(ctx, key, parent, opts...)
		return err
	})
	return rootfs.Escape(mounts, m.root), err
}

// Mounts implements snapshots.Snapshotter.
func (m masked) Mounts(ctx context.Context, key string) ([]mount.Mount, error) {
	mounts, err := m.Snapshotter.Mounts(ctx, key)
	return rootfs.Escape(mounts, m.root), err
}
