package services

import (
	"context"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/plugin"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/packing"
	"github.com/ctorhq/ctor/internal/rootfs"
)

// applier unpacks layers by [rootfs.Apply], also for containerd's clients; what it
// does not know, mounts of other snapshotters than the two here, is containerd's.
type applier struct {
	diff.Applier
	diff.Comparer
	store content.Provider
}

// newApplier puts an applier before the plugin's.
func newApplier(ic *plugin.InitContext, differ any) (any, error) {
	theirs, ok := differ.(interface {
		diff.Applier
		diff.Comparer
	})
	if !ok {
		return nil, fmt.Errorf("the differ is a %T", differ)
	}
	db, err := ic.GetSingle(plugins.MetadataPlugin)
	if err != nil {
		return nil, err
	}
	return &applier{theirs, theirs, db.(*metadata.DB).ContentStore()}, nil
}

// Apply implements diff.Applier.
func (a *applier) Apply(ctx context.Context, desc ocispec.Descriptor, mounts []mount.Mount, opts ...diff.ApplyOpt) (ocispec.Descriptor, error) {
	if !rootfs.Applies(mounts) {
		return a.Applier.Apply(ctx, desc, mounts, opts...)
	}
	d, err := a.apply(ctx, desc, mounts, opts)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("unpack %s: %w", desc.Digest, err)
	}
	return d, nil
}

func (a *applier) apply(ctx context.Context, desc ocispec.Descriptor, mounts []mount.Mount, opts []diff.ApplyOpt) (d ocispec.Descriptor, err error) {
	var config diff.ApplyConfig
	for _, o := range opts {
		if err := o(ctx, desc, &config); err != nil {
			return d, err
		}
	}
	blob, err := a.store.ReaderAt(ctx, desc)
	if err != nil {
		return d, err
	}
	defer blob.Close()
	packed := &counter{from: content.NewReader(blob), progress: config.Progress}
	defer packed.tell()
	tar, err := packing.Open(ctx, desc.MediaType, packed, config.ProcessorPayloads)
	if err != nil {
		return d, err
	}
	defer tar.Close()
	if err := rootfs.Apply(ctx, mounts, tar); err != nil {
		return d, err
	}
	if d, err = tar.Rest(); err != nil {
		return d, err
	}
	if config.SyncFs {
		err = rootfs.Sync(mounts)
	}
	return d, err
}

// counter counts what is read, and tells before each read and at the end.
type counter struct {
	from     io.Reader
	n        int64
	progress func(int64) // nil: no one asked for progress
}

func (c *counter) Read(p []byte) (int, error) {
	c.tell()
	n, err := c.from.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *counter) tell() {
	if c.progress != nil {
		c.progress(c.n)
	}
}
