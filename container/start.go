package container

import (
	"context"
	"fmt"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/engine"
)

// Start runs the process that New created. A container is started once: a
// second Start fails with ctor.ErrInvalid.
func (c *Container) Start(ctx context.Context) error {
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return c.wrap("start", err)
	}
	defer leave()
	if c.task == nil {
		return c.wrap("start", fmt.Errorf("its process is gone: %w", errdefs.ErrInvalidArgument))
	}
	if err := c.task.Start(ctx); err != nil {
		if s, serr := c.task.Status(ctx); serr == nil && s.Status != containerd.Created {
			err = fmt.Errorf("it was started before: %w", errdefs.ErrInvalidArgument)
		}
		return c.wrap("start", engine.Cause(ctx, explain(err)))
	}
	if c.run != nil {
		c.run.streams.Feed(func() {
			ctx, cancel := c.e.Cleanup(context.Background())
			defer cancel()
			// An error means that the process is gone, and its input with it.
			_ = c.task.CloseIO(ctx, containerd.WithStdinCloser)
		})
	}
	return nil
}
