package container

import (
	"context"
	"os"

	containerd "github.com/containerd/containerd/v2/client"

	"github.com/ctorhq/ctor/internal/engine"
)

// Start runs the process that New created. A container is started once: a
// second Start, or one after the end, fails with ctor.ErrInvalid. ctx is looked
// at before: a start that has begun is seen through, so that an error always
// means that the container does not run.
func (c *Container) Start(ctx context.Context) error {
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return c.wrap("start", err)
	}
	defer leave()
	return c.wrap("start", engine.Cause(ctx, c.start(ctx)))
}

func (c *Container) start(ctx context.Context) error {
	c.starting.Lock()
	defer c.starting.Unlock()
	s, err := c.status(ctx)
	if err != nil {
		return err
	}
	if s.Status != containerd.Created {
		return invalid("it is %s, and a container is started once", s.Status)
	}
	ctx, cancel := c.e.Cleanup(ctx)
	defer cancel()
	if err := os.WriteFile(c.startedPath(), nil, 0o600); err != nil {
		return err
	}
	if err := c.task.Start(ctx); err != nil {
		_ = os.Remove(c.startedPath())
		return explain(err)
	}
	if c.run != nil {
		c.run.streams.Feed(c.endInput)
	}
	return nil
}

// endInput tells the runtime that there is no more input.
func (c *Container) endInput() {
	ctx, cancel := c.e.Cleanup(context.Background())
	defer cancel()
	// An error means that the process is gone, and its input with it.
	_ = c.task.CloseIO(ctx, containerd.WithStdinCloser)
}
