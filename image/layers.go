package image

import (
	"context"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/packing"
	"github.com/ctorhq/ctor/layer"
)

// Layers gives what the image is made of, base first. CreatedBy is the layer's
// line in the image's history (OCI image-spec, config.md, "history"), where the
// history tells one layer from another.
//
// Each can be opened as long as the engine is open and an image has it. What it
// gives is checked against the layer's DiffID: see [layer.Layer.Open]. An image
// some of whose layers are not in the store, as other clients of a shared
// containerd leave it, is ctor.ErrNotFound.
func (i *Image) Layers(ctx context.Context) (_ []layer.Layer, err error) {
	defer wrap(&err, "layers of image", i.Ref())
	ctx, end, err := begin(ctx, i.e)
	if err != nil {
		return nil, err
	}
	defer end(&err)
	if err := i.whole(ctx); err != nil {
		return nil, err
	}
	if i, err = i.packed(ctx); err != nil {
		return nil, err
	}
	var made []string // by the lines of history that made a layer
	for _, h := range i.config.History {
		if !h.EmptyLayer {
			made = append(made, h.CreatedBy)
		}
	}
	var list []layer.Layer
	for n, d := range i.parts.Layers {
		l := layer.New(d, i.config.RootFS.DiffIDs[n], func(ctx context.Context) (io.ReadCloser, error) { return i.open(ctx, d) })
		if err := l.Err(); err != nil {
			return nil, err
		}
		if len(made) == len(i.parts.Layers) {
			l.CreatedBy = made[n]
		}
		list = append(list, l)
	}
	return list, nil
}

// open gives a layer's uncompressed tar.
func (i *Image) open(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	_, leave, err := i.e.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	// Not with Enter's context: the reader lives on.
	ra, err := i.e.Client.ContentStore().ReaderAt(i.e.Context(ctx), d)
	if err != nil {
		return nil, err
	}
	tar, err := packing.Decompress(ctx, content.NewReader(ra))
	if err != nil {
		ra.Close()
		return nil, fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	return &closers{tar, ra}, nil
}

type closers struct {
	io.ReadCloser
	under io.Closer
}

func (c *closers) Close() error {
	err := c.ReadCloser.Close()
	if uerr := c.under.Close(); err == nil {
		err = uerr
	}
	return err
}
