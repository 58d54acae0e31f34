package container

import (
	"context"
	"syscall"
	"time"

	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/events"
	"github.com/ctorhq/ctor/internal/life"
)

// patience is how long Close lets the last of the output go to a writer of
// the program's that is slow, or never returns.
const patience = 5 * time.Second

// Close kills the container if it runs and deletes all of it: process,
// writable layer, log. Of a kept container it ends the processes that this
// program runs, and leaves the rest for the next Get, which gives another
// Container. To end it in good order, call Stop before. It returns within two
// minutes whatever happens, usually within a tenth of a second. A second Close
// waits for the first and returns what it returned. After the engine's Close an
// attached or kept container is closed, and a detached one goes on.
func (c *Container) Close() error {
	c.finish("close", c.release)
	<-c.closed.Done()
	return c.err
}

// Remove kills the container if it runs and deletes all of it, whatever it is:
// attached, detached or kept, also one that is kept and was closed. What is
// gone already is no error. Remove waits for a start that is under way. ctx is looked
// at before the first step.
func (c *Container) Remove(ctx context.Context) error {
	ctx, leave, err := c.e.Enter(ctx)
	if err != nil {
		return c.wrap("remove", err)
	}
	defer leave()
	if c.finish("remove", c.delete) {
		<-c.closed.Done()
		return c.err
	}
	<-c.closed.Done()
	if !c.kept() {
		return c.err
	}
	own, cancel := c.e.Cleanup(ctx)
	defer cancel()
	gone, unlock := c.seize(own)
	defer unlock()
	return c.wrap("remove", c.erase(own, gone, false))
}

// finish ends the use of the container, once, and says whether it was now.
func (c *Container) finish(op string, end func(context.Context) error) (now bool) {
	c.closing.Do(func() {
		now = true
		defer c.door.Close() // again, for files that another Container has opened meanwhile
		defer c.close()
		c.ending.Store(true)
		_ = c.door.Close()
		c.links.Unpublish()
		c.starting.Lock() // what is being started is started
		defer c.starting.Unlock()
		defer c.links.Leave()
		ctx := context.Background()
		if c.e.Attached(c.ID()) != c { // it does not end with the engine, but its calls do
			inside, leave, err := c.e.Enter(ctx)
			if err != nil {
				return
			}
			defer leave()
			ctx = inside
		}
		c.err = c.wrap(op, end(ctx))
	})
	return now
}

// release is Close.
func (c *Container) release(ctx context.Context) error {
	if !c.kept() {
		return c.delete(ctx)
	}
	defer c.e.Forget(c.ID(), c)
	if _, ours := c.life().(*life.Seen); !ours {
		return nil
	}
	c.kill(ctx)
	c.awaitCommands()
	c.passing.Lock() // what comes later finds that the container is ending
	defer c.passing.Unlock()
	ctx, cancel := c.e.Cleanup(ctx)
	defer cancel()
	if _, err := c.journal.Take(""); err != nil {
		return err
	}
	return c.e.DeleteEnded(ctx, c.ID())
}

// delete ends all there is of the container.
func (c *Container) delete(ctx context.Context) error {
	own, cancel := c.e.Cleanup(ctx)
	defer cancel()
	gone, unlock := c.seize(own)
	defer unlock()
	ended := c.kill(ctx)
	c.awaitCommands()
	ctx, cancelRest := c.e.Cleanup(ctx)
	defer cancelRest()
	defer c.e.Forget(c.ID(), c) // what of it could not be removed is owed
	return c.erase(ctx, gone, ended)
}

// seize has the container be no other's to start or to remove, and tells whether another
// has removed it. One whose lock is not to be had hangs, and is removed all the same.
func (c *Container) seize(ctx context.Context) (gone bool, unlock func()) {
	unlock, err := c.journal.Lock(ctx)
	if err != nil {
		return errdefs.IsNotFound(err), func() {}
	}
	return false, unlock
}

// erase removes all there is of the container, and tells of that unless it was gone.
func (c *Container) erase(ctx context.Context, gone, ended bool) error {
	err := c.removeParts(ctx, ended)
	if gone {
		return err
	}
	return c.reported(events.Removed, err)
}

// removeParts removes all parts: beside the runtime's letting go of a container that
// has ended, if no program but this one can begin it again.
func (c *Container) removeParts(ctx context.Context, ended bool) error {
	if ended && c.e.Backend.Sole() && !c.detached() && !c.kept() {
		return c.e.RemoveEnded(ctx, c.record, func(ctx context.Context) error {
			c.passing.Lock()
			defer c.passing.Unlock()
			return c.letGo(ctx, c.life())
		})
	}
	c.passing.Lock() // what comes later finds that the container is ending
	defer c.passing.Unlock()
	return c.e.Remove(ctx, c.record)
}

// kill ends the container, and the copying of its streams. It tells whether the process
// has ended.
func (c *Container) kill(ctx context.Context) (ended bool) {
	l := c.life()
	defer l.GiveUp()
	ctx, cancel := c.e.Cleanup(ctx)
	defer cancel()
	if pid, err := l.Pid(ctx); err == nil && pid != 0 {
		_ = c.first().Signal(ctx, syscall.SIGKILL) // an error: it has ended
	}
	if _, err := l.Exited(ctx); err != nil {
		return false
	}
	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, _ = l.Drained(soon)
	return true
}

// awaitCommands lets those who wait for the container's commands, which have
// ended with it, hear of that before the runtime forgets how they ended. It tells
// whether all have.
func (c *Container) awaitCommands() bool { return c.commands.Await(patience) }
