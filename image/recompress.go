package image

import (
	"context"
	"fmt"

	"github.com/ctorhq/ctor/internal/reference"
	"github.com/ctorhq/ctor/layer"
)

// Recompress makes an image whose layers are stored as c says, and which is else the
// same, to the digest of its configuration, and stores it as ref, which may be the
// image's own name. The result can be reproduced: see [layer.Compression]. Layers that
// may not be distributed stay as they are.
//
// Errors are ctor.ErrInvalid for a ref that can't be read and for a compression that
// there is not, and ctor.ErrNotFound for an image that is not whole in the store any
// more.
func (i *Image) Recompress(ctx context.Context, ref string, c layer.Compression) (_ *Image, err error) {
	defer wrap(&err, fmt.Sprintf("recompress image %s with %v as", i.Ref(), c), ref)
	r, err := reference.Parse(ref)
	if err != nil {
		return nil, err
	}
	ctx, end, err := begin(ctx, i.e)
	if err != nil {
		return nil, err
	}
	defer end(&err)
	if err := i.hold(ctx); err != nil {
		return nil, err
	}
	if i, err = i.packed(ctx); err != nil {
		return nil, err
	}
	layers, err := i.Layers(ctx)
	if err != nil {
		return nil, err
	}
	m := newMaker(i)
	m.config.History = i.config.History
	defer m.cs.abort(ctx)
	for n, l := range layers {
		if isForeign(i.parts.Layers[n]) {
			continue
		}
		l.Compression = c
		if m.layers[n], err = m.compress(ctx, l); err != nil {
			return nil, fmt.Errorf("layer %d: %w", n, err)
		}
	}
	return m.finish(ctx, r)
}
