package container

import (
	"context"
	"fmt"
	"slices"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/platforms"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/engine"
)

// shown is an image that the container has mounted.
type shown struct {
	at    int // among the container's mounts
	mount Mount
}

// showImages makes a view of each image that is mounted, which keeps its layers as
// long as the container is there, and says in the mounts what it consists of.
func (b *builder) showImages(ctx context.Context, mounts []specs.Mount) error {
	for n, i := range b.images {
		view, err := b.view(ctx, i.mount, engine.ViewKey(b.id, n))
		if err != nil {
			return fmt.Errorf("mount on %q: image %s: %w", i.mount.Target, i.mount.Source, err)
		}
		m := &mounts[i.at]
		m.Type, m.Source = view.Type, view.Source
		m.Options = append(slices.Clone(view.Options), "ro", "nosuid", "nodev")
	}
	return nil
}

// view makes a snapshot that nothing writes to. ctx can cut off the unpacking of
// layers, but not the making.
func (b *builder) view(ctx context.Context, m Mount, key string) (view mount.Mount, err error) {
	img := containerd.NewImageWithPlatform(b.in.Client, images.Image{Name: m.Source, Target: m.Manifest}, platforms.All)
	class, err := b.in.Class(ctx, img)
	if err != nil {
		return view, err
	}
	if len(class.Image.RootFS.DiffIDs) == 0 {
		return view, invalid("it has no layers")
	}
	err = b.in.WithLayers(ctx, img, class.Image.RootFS.DiffIDs, func(ctx context.Context, chain string) error {
		own, cancel := b.own(ctx)
		defer cancel()
		list, err := b.in.Client.SnapshotService(b.in.Snapshotter).View(own, key, chain, snapshots.WithLabels(engine.ViewLabels(b.id)))
		if err == nil && len(list) != 1 {
			err = fmt.Errorf("%d mounts of snapshotter %s, where one is what can be used", len(list), b.in.Snapshotter)
		}
		if err == nil {
			view = list[0]
		}
		return err
	})
	return view, err
}
