package container

import (
	"context"
	"syscall"
)

// Close kills the container if it runs and deletes all of it: process,
// writable layer, log. For an end in good order call Stop before. It takes at
// most 30 seconds. A second Close waits for the first and returns what it
// returned; after the engine's Close there is nothing left to do.
func (c *Container) Close() error {
	c.closing.Do(func() {
		defer close(c.closed)
		if c.run == nil && c.e.Closed() {
			return // detached: it goes on without the engine
		}
		c.err = c.wrap("close", c.destroy())
		c.e.Forget(c.ID(), c)
	})
	<-c.closed
	return c.err
}

func (c *Container) destroy() error {
	ctx, cancel := c.e.Cleanup(context.Background())
	defer cancel()
	if c.run != nil {
		// An error means that it has ended.
		_ = c.task.Kill(ctx, syscall.SIGKILL)
		select {
		case <-c.run.done:
		case <-ctx.Done():
			c.run.streams.Cancel()
		}
		defer c.run.streams.Close()
	}
	return c.e.Remove(ctx, c.record)
}
