package container

import (
	"context"
	"syscall"
	"time"
)

// patience is how long Close lets the last of the output go to a writer of
// the program's that is slow, or never returns.
const patience = 5 * time.Second

// Close kills the container if it runs and deletes all of it: process,
// writable layer, log. For an end in good order call Stop before. It returns
// within two minutes whatever happens, as a rule within a tenth of a second. A
// second Close waits for the first and returns what it returned. After the
// engine's Close an attached container is closed, and a detached one goes on.
func (c *Container) Close() error {
	c.closing.Do(func() {
		defer c.door.Close() // again, for files that another Container has opened meanwhile
		defer close(c.closed)
		c.ending.Store(true)
		_ = c.door.Close()
		c.err = c.wrap("close", c.destroy())
	})
	<-c.closed
	return c.err
}

func (c *Container) destroy() error {
	if c.run == nil {
		ctx, leave, err := c.e.Enter(context.Background())
		if err != nil {
			return nil // the engine is closed
		}
		defer leave()
		ctx, cancel := c.e.Cleanup(ctx)
		defer cancel()
		c.endCommands(ctx)
		return c.e.RemoveEnded(ctx, c.record)
	}
	c.kill()
	ctx, cancel := c.e.Cleanup(context.Background())
	defer cancel()
	c.endCommands(ctx)
	if err := c.e.RemoveEnded(ctx, c.record); err != nil {
		return err
	}
	c.e.Forget(c.ID(), c)
	return nil
}

// endCommands ends the commands with the container, and lets those who wait for
// them hear of it before nobody knows any more how they ended.
func (c *Container) endCommands(ctx context.Context) {
	var late <-chan time.Time
	for p := range c.commands.Range {
		if late == nil { // the first
			late = time.After(patience)
			if c.task != nil {
				_ = c.task.kill(ctx, syscall.SIGKILL) // an error: it has ended
			}
		}
		select {
		case <-p.(*Process).exited:
		case <-late:
			return
		}
	}
}

// kill ends an attached container, and the copying of its streams.
func (c *Container) kill() {
	ctx, cancel := c.e.Cleanup(context.Background())
	defer cancel()
	defer c.run.streams.Close()
	select {
	case <-c.run.exited:
	default:
		// An error means that it has ended.
		_ = c.task.kill(ctx, syscall.SIGKILL)
		select {
		case <-c.run.exited:
		case <-ctx.Done():
			return
		}
	}
	select {
	case <-c.run.done:
	case <-time.After(patience):
	}
}
