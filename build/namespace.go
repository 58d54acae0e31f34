package build

import (
	"context"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/mount"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/engine"
)

// The solver works with contexts of its own, without a containerd namespace: what
// does not take one from BuildKit is given the engine's here.

// named are the engine's images, in its namespace.
type named struct {
	images.Store
	in *engine.Engine
}

func (n named) Get(ctx context.Context, name string) (images.Image, error) {
	return n.Store.Get(n.in.Context(ctx), name)
}

func (n named) List(ctx context.Context, filters ...string) ([]images.Image, error) {
	return n.Store.List(n.in.Context(ctx), filters...)
}

func (n named) Create(ctx context.Context, i images.Image) (images.Image, error) {
	return n.Store.Create(n.in.Context(ctx), i)
}

func (n named) Update(ctx context.Context, i images.Image, fields ...string) (images.Image, error) {
	return n.Store.Update(n.in.Context(ctx), i, fields...)
}

func (n named) Delete(ctx context.Context, name string, opts ...images.DeleteOpt) error {
	return n.Store.Delete(n.in.Context(ctx), name, opts...)
}

// differ packs and unpacks layers.
type differ struct {
	containerd.DiffService
	in *engine.Engine
}

func (d differ) Apply(ctx context.Context, desc ocispec.Descriptor, mounts []mount.Mount, opts ...diff.ApplyOpt) (ocispec.Descriptor, error) {
	return d.DiffService.Apply(d.in.Context(ctx), desc, mounts, opts...)
}

func (d differ) Compare(ctx context.Context, lower, upper []mount.Mount, opts ...diff.Opt) (ocispec.Descriptor, error) {
	return d.DiffService.Compare(d.in.Context(ctx), lower, upper, opts...)
}
