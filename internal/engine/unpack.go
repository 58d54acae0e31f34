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

// Unpack lays an image's layers down in the snapshotter.
func (e *Engine) Unpack(ctx context.Context, img containerd.Image) (err error) {
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
