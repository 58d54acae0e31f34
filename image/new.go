package image

import (
	"context"
	"fmt"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/reference"
	"github.com/ctorhq/ctor/layer"
)

// New makes an image for this machine's platform from layers, base first, and
// stores it as ref, which may have meant another image before. Without layers
// it is an empty directory. The zero cfg says nothing: containers then need
// Args.
//
// The layers are stored as their Compression says, which is with gzip unless it is
// set; those of an image in this engine's store (see [Image.Layers]) stay as they are
// stored unless it is. The image has no
// creation time, so that the same configuration and layers make the same image,
// to the digest, on every machine and day.
//
// A layer that could not be made, such as the result of a failed
// layer.FromFS, fails New with its own error; a ref that can't be read is
// ctor.ErrInvalid.
func New(ctx context.Context, e *ctor.Engine, ref string, cfg ocispec.ImageConfig, layers ...layer.Layer) (*Image, error) {
	var config configFile
	config.edit(ocispec.Image{
		Platform: platforms.DefaultSpec(),
		RootFS:   ocispec.RootFS{Type: "layers"},
		Config:   cfg,
	})
	return extend(ctx, "new image", ref, &Image{ctor: e, e: engine.Of(e), config: config}, layers)
}

// Derive makes an image that extends this one, for its platform: with the
// configuration as edit leaves it, and further layers on top. nil edit changes
// nothing. It is stored as ref; i stays what it is, also where ref is its own
// name. What Docker adds to OCI's configuration, such as a health check, is
// kept. Like New's, the result can be reproduced.
//
// Errors are those of New; also ctor.ErrNotFound if i is not whole in the store
// any more.
func (i *Image) Derive(ctx context.Context, ref string, edit func(*ocispec.ImageConfig), add ...layer.Layer) (*Image, error) {
	base := *i
	spec := i.Spec()
	spec.Created = nil
	if edit != nil {
		edit(&spec.Config)
	}
	base.config.edit(spec)
	return extend(ctx, "derive image "+i.Ref(), ref, &base, add)
}

// extend makes an image of base and further layers. A base without a manifest
// is from scratch.
func extend(ctx context.Context, op, ref string, base *Image, add []layer.Layer) (_ *Image, err error) {
	defer wrap(&err, op, ref)
	r, err := reference.Parse(ref)
	if err != nil {
		return nil, err
	}
	for n, l := range add {
		if err := l.Err(); err != nil {
			return nil, fmt.Errorf("layer %d: %w", n, err)
		}
	}
	ctx, end, err := begin(ctx, base.e)
	if err != nil {
		return nil, err
	}
	defer end(&err)
	if base.manifest.Digest != "" {
		if err := base.hold(ctx); err != nil {
			return nil, err
		}
	}
	m := newMaker(base)
	defer m.cs.abort(ctx)
	for n, l := range add {
		if err := m.add(ctx, l); err != nil {
			return nil, fmt.Errorf("layer %d: %w", n, err)
		}
	}
	return m.finish(ctx, r)
}
