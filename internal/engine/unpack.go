package engine

import (
	"context"
	"fmt"

	containerd "github.com/containerd/containerd/v2/client"
)

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
