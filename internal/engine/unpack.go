package engine

import (
	"context"
	"fmt"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
)

// Chain names the snapshot of an image's layers, and sees to it that it is
// there. An image without layers has none, "".
func (e *Engine) Chain(ctx context.Context, img containerd.Image, layers []digest.Digest) (string, error) {
	chain := identity.ChainID(layers).String()
	if chain == "" {
		return "", nil
	}
	_, err := e.Client.SnapshotService(e.Snapshotter).Stat(ctx, chain)
	if errdefs.IsNotFound(err) {
		err = e.Unpack(ctx, img)
	}
	return chain, err
}

// Unpack lays an image's layers down in the snapshotter. Of many calls for
// images that begin with the same layer one at a time does: unpacking is most of
// the work that a first container is, and the others then find it done.
func (e *Engine) Unpack(ctx context.Context, img containerd.Image) (err error) {
	layers, err := img.RootFS(ctx)
	if err != nil {
		return err
	}
	if len(layers) > 0 {
		key := "unpack " + layers[0].String()
		if err := e.Lock(ctx, key); err != nil {
			return err
		}
		defer e.Unlock(key)
	}
	ctx, release, err := e.Lease(ctx)
	if err != nil {
		return err
	}
	defer release(&err)
	if err := img.Unpack(ctx, e.Snapshotter); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	return nil
}
