package body

import (
	"context"
	"fmt"
	"slices"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/spec"
)

// view is an image that the container has mounted.
type view struct {
	at    int // among the container's mounts
	image spec.Mount
}

// show makes a view of each image that is mounted, which keeps its layers as long as
// the container is there, and says in the mounts what it consists of.
func (b *Body) show(ctx context.Context) error {
	for n, v := range b.views {
		made, err := b.makeView(ctx, v.image, engine.ViewKey(b.plan.ID, n))
		if err != nil {
			return fmt.Errorf("mount on %q: image %s: %w", v.image.Target, v.image.Source, err)
		}
		m := &b.options.Mounts[v.at]
		m.Type, m.Source = made.Type, made.Source
		m.Options = append(slices.Clone(made.Options), "ro", "nosuid", "nodev")
	}
	return nil
}

// makeView makes a snapshot that nothing writes to. ctx can cut off the unpacking of
// layers, but not the making.
func (b *Body) makeView(ctx context.Context, m spec.Mount, key string) (made mount.Mount, err error) {
	img := b.e.Image(m.Source, m.Manifest)
	class, err := b.e.Class(ctx, img)
	if err != nil {
		return made, err
	}
	if len(class.Image.RootFS.DiffIDs) == 0 {
		return made, invalid("it has no layers")
	}
	err = b.e.WithLayers(ctx, img, class.Image.RootFS.DiffIDs, func(ctx context.Context, chain string) error {
		own, cancel := b.own(ctx)
		defer cancel()
		list, err := b.e.Client.SnapshotService(b.e.Snapshotter).View(own, key, chain, snapshots.WithLabels(engine.ViewLabels(b.plan.ID)))
		if err == nil && len(list) != 1 {
			err = fmt.Errorf("%d mounts of snapshotter %s, where one is what can be used", len(list), b.e.Snapshotter)
		}
		if err == nil {
			made = list[0]
		}
		return err
	})
	return made, err
}
