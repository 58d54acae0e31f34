package container

import (
	"context"

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
	s, err := c.life.Status(ctx)
	if err != nil {
		return err
	}
	if s.State != containerd.Created {
		return invalid("it is %s, and a container is started once", s.State)
	}
	ctx, cancel := c.e.Cleanup(ctx)
	defer cancel()
	if err := c.life.Start(ctx); err != nil {
		return explain(err)
	}
	return nil
}
