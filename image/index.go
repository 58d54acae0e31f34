package image

import (
	"context"
	"fmt"
	"strconv"

	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/reference"
)

// Index makes one image of several, each for a platform of its own (OCI
// image-spec, image-index.md), and stores it as ref, which may have meant another
// image before. It gives this machine's, or the first if none of them is, as
// [Get] does. A [Fork] is packed, as for Push, and the index has that. The same images in the same order make the same index, to the
// digest. [PushOptions].All publishes all of it.
//
// No images at all, two for one platform, and images of another engine are
// ctor.ErrInvalid; one that is not whole in the store any more is
// ctor.ErrNotFound.
func Index(ctx context.Context, e *ctor.Engine, ref string, imgs ...*Image) (_ *Image, err error) {
	defer wrap(&err, "index", ref)
	r, err := reference.Parse(ref)
	if err != nil {
		return nil, err
	}
	index, err := newIndex(engine.Of(e), imgs)
	if err != nil {
		return nil, err
	}
	ctx, end, err := begin(ctx, engine.Of(e))
	if err != nil {
		return nil, err
	}
	defer end(&err)
	refs := map[string]string{} // what keeps the images as long as the index
	for n, i := range imgs {
		err := i.hold(ctx)
		if err == nil {
			i, err = i.packed(ctx)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", i.Ref(), err)
		}
		index.Manifests[n] = i.class()
		refs["containerd.io/gc.ref.content.m."+strconv.Itoa(n)] = i.manifest.Digest.String()
	}
	m := maker{ctor: e, cs: newApart(engine.Of(e).Client.ContentStore())}
	defer m.cs.abort(ctx)
	target, err := m.write(ctx, ocispec.MediaTypeImageIndex, index, refs)
	if err != nil {
		return nil, err
	}
	i, err := load(ctx, e, r, target, nil)
	if err != nil {
		return nil, err
	}
	if err := name(ctx, i.e, r, target); err != nil {
		return nil, err
	}
	m.cs.keep()
	return i, nil
}

// newIndex lists images.
func newIndex(e *engine.Engine, imgs []*Image) (*ocispec.Index, error) {
	if len(imgs) == 0 || len(imgs) > maxParts {
		return nil, fmt.Errorf("%d images, not 1 to %d: %w", len(imgs), maxParts, errdefs.ErrInvalidArgument)
	}
	index := &ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	seen := map[string]string{}
	for _, i := range imgs {
		if i.e != e {
			return nil, fmt.Errorf("%s is of another engine: %w", i.Ref(), errdefs.ErrInvalidArgument)
		}
		p := platforms.FormatAll(i.config.Platform)
		if other, ok := seen[p]; ok {
			return nil, fmt.Errorf("%s and %s are both for %s: %w", other, i.Ref(), p, errdefs.ErrInvalidArgument)
		}
		seen[p] = i.Ref()
		d := i.class()
		index.Manifests = append(index.Manifests, d)
	}
	return index, nil
}
