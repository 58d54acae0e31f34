package engine

import (
	"context"
	"fmt"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/ctorhq/ctor/internal/span"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
)

// WithLayers calls use with the name of the snapshot of an image's layers, "" of
// an image without any. The snapshot is there for use to make another one on
// top, and what is in it is what the image's blobs hold.
//
// use is called a second time if the snapshot was not there the first time,
// which its error, ErrNotFound, says: as a rule it is there, and then it costs
// nothing to find that out. What use makes under the second call's ctx is kept
// until the call returns, as the snapshot is.
func (e *Engine) WithLayers(ctx context.Context, img containerd.Image, layers []digest.Digest, use func(ctx context.Context, chain string) error) (err error) {
	chain := identity.ChainID(layers).String()
	if chain == "" {
		return use(ctx, chain)
	}
	there, err := e.known(ctx, img, chain)
	if err == nil && there {
		err = use(ctx, chain)
		there = !errdefs.IsNotFound(err)
	}
	if there || err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	ctx, release, err := e.Lease(ctx)
	if err != nil {
		return err
	}
	defer release(&err)
	if err := e.unpack(ctx, img, layers); err != nil {
		return err
	}
	if err := e.Verify(ctx, img); err != nil {
		return err
	}
	return use(ctx, chain)
}

// known tells whether the layers of an image are unpacked, as far as can be told
// without keeping them, and whether they are the image's.
func (e *Engine) known(ctx context.Context, img containerd.Image, chain string) (bool, error) {
	if e.verified.has(img.Target().Digest) {
		return true, nil
	}
	_, err := e.Client.SnapshotService(e.Snapshotter).Stat(ctx, chain)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, e.Verify(ctx, img)
}

// unpack lays an image's layers down in the snapshotter, for as long as the lease
// in ctx. Of many calls for images that begin with the same layer one at a time
// does: unpacking is most of the work that a first container is, and the others
// then find it done.
func (e *Engine) unpack(ctx context.Context, img containerd.Image, layers []digest.Digest) (err error) {
	ctx, end := span.Begin(ctx, "unpack", span.Image.String(img.Name()))
	defer end(&err)
	key := "unpack " + layers[0].String()
	if err := e.Lock(ctx, key); err != nil {
		return err
	}
	defer e.Unlock(key)
	if err := e.HoldContent(ctx, img.Target().Digest); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	manifest, err := images.Manifest(ctx, e.Client.ContentStore(), img.Target(), platforms.All)
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	if err := e.Lay(ctx, Layers{Blobs: manifest.Layers, DiffIDs: layers, Config: manifest.Config.Digest}); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	return nil
}
