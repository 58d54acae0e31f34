package body

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/engine"
)

// Given is what a container over files of the caller's is made of: what its root is
// mounted from, and what an image's configuration would say.
type Given struct {
	Root  []mount.Mount
	Image ocispec.ImageConfig
}

// Over checks the mounts that make the root of a container over files of the caller's.
func Over(root []specs.Mount, image ocispec.ImageConfig) (*Given, error) {
	if len(root) == 0 {
		return nil, invalid("nothing is to be mounted as its root")
	}
	g := &Given{Image: image}
	for _, m := range root {
		if m.Type == "bind" {
			if !filepath.IsAbs(m.Source) {
				return nil, invalid("the source %q must be an absolute path", m.Source)
			}
			st, err := os.Stat(m.Source)
			if os.IsNotExist(err) {
				return nil, fmt.Errorf("source: %w: %w", err, errdefs.ErrNotFound)
			}
			if err != nil || !st.IsDir() {
				return nil, invalid("the source %q must be a directory", m.Source)
			}
		}
		g.Root = append(g.Root, mount.Mount{Type: m.Type, Source: m.Source, Options: m.Options})
	}
	return g, nil
}

// readClass reads the image's configuration.
func (b *Body) readClass(ctx context.Context) (engine.Class, error) {
	if g := b.plan.Given; g != nil {
		return engine.Class{Image: ocispec.Image{Config: g.Image}}, nil
	}
	class, err := b.e.Class(ctx, b.e.Image(b.plan.Ref, b.plan.Manifest))
	if err != nil {
		return class, err
	}
	p := class.Image.Platform
	if b.plan.Manifest.Platform != nil {
		p = *b.plan.Manifest.Platform // as its index says
	}
	if !platforms.Default().Match(p) {
		return class, invalid("the image is for %s, this machine runs %s", platforms.FormatAll(p), platforms.DefaultString())
	}
	return class, nil
}

// makeLayer makes the writable layer over the image's layers. ctx can cut off their
// unpacking, but not the making.
func (b *Body) makeLayer(ctx context.Context) error {
	if g := b.plan.Given; g != nil {
		b.Root = g.Root
		return nil
	}
	img := b.e.Image(b.plan.Ref, b.plan.Manifest)
	return b.e.WithLayers(ctx, img, b.class.Image.RootFS.DiffIDs, func(ctx context.Context, chain string) (err error) {
		own, cancel := b.own(ctx)
		defer cancel()
		labels := engine.LayerLabels(b.plan.ID, b.plan.lasting())
		b.Root, err = b.e.Client.SnapshotService(b.e.Snapshotter).Prepare(own, b.plan.ID, chain, snapshots.WithLabels(labels))
		if err != nil {
			return fmt.Errorf("prepare snapshot: %w", err)
		}
		return nil
	})
}

// invalid makes an error of class ctor.ErrInvalid.
func invalid(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, errdefs.ErrInvalidArgument)...)
}
