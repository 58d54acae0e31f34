package image

import (
	"context"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/layer"
)

// Layers gives what the image is made of, base first. Each can be opened as
// long as the engine is open and some image has it.
func (i *Image) Layers(ctx context.Context) (_ []layer.Layer, err error) {
	defer wrap(&err, "layers of image", i.Ref())
	ctx, leave, err := i.e.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	var made []string // by the lines of history that made a layer
	for _, h := range i.config.History {
		if !h.EmptyLayer {
			made = append(made, h.CreatedBy)
		}
	}
	var list []layer.Layer
	for n, d := range i.layers {
		if _, err := i.e.Client.ContentStore().Info(ctx, d.Digest); err != nil {
			return nil, fmt.Errorf("layer %s: %w", d.Digest, err)
		}
		l := layer.New(d, i.config.RootFS.DiffIDs[n], func(ctx context.Context) (io.ReadCloser, error) { return i.open(ctx, d) })
		if err := l.Err(); err != nil {
			return nil, err
		}
		if len(made) == len(i.layers) {
			l.CreatedBy = made[n]
		}
		list = append(list, l)
	}
	return list, nil
}

// open gives a layer's uncompressed tar.
func (i *Image) open(ctx context.Context, d ocispec.Descriptor) (_ io.ReadCloser, err error) {
	if i.e.Closed() {
		return nil, engine.ErrClosed
	}
	ra, err := i.e.Client.ContentStore().ReaderAt(i.e.Context(ctx), d)
	if err != nil {
		return nil, err
	}
	plain, err := compression.DecompressStream(content.NewReader(ra))
	if err != nil {
		ra.Close()
		return nil, fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	return &closers{plain, ra}, nil
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
