package container

import (
	"context"
	"syscall"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
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
	ctx := context.Background()
	if c.e.Attached(c.ID()) != c { // it does not end with the engine, but its calls do
		inside, leave, err := c.e.Enter(ctx)
		if err != nil {
			return nil
		}
		defer leave()
		ctx = inside
	}
	c.kill(ctx)
	ctx, cancel := c.e.Cleanup(ctx)
	defer cancel()
	c.awaitCommands()
	if err := c.e.RemoveEnded(ctx, c.record); err != nil {
		return err
	}
	c.e.Forget(c.ID(), c)
	return nil
}

// kill ends the container, and the copying of its streams.
func (c *Container) kill(ctx context.Context) {
	defer c.life.GiveUp()
	ctx, cancel := c.e.Cleanup(ctx)
	defer cancel()
	if s, err := c.life.Status(ctx); err == nil && s.State != containerd.Stopped {
		_ = c.first().Signal(ctx, syscall.SIGKILL) // an error: it has ended
	}
	if _, err := c.life.Exited(ctx); err != nil {
		return
	}
	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, _ = c.life.Drained(soon)
}

// awaitCommands lets those who wait for the container's commands, which have
// ended with it, hear of that before the runtime forgets how they ended.
func (c *Container) awaitCommands() {
	var late <-chan time.Time
	for p := range c.commands.Range {
		if late == nil { // the first
			late = time.After(patience)
		}
		select {
		case <-p.(*Process).exited:
		case <-late:
			return
		}
	}
}
