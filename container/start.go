package container

import (
	"context"
	"fmt"

	containerd "github.com/containerd/containerd/v2/client"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/journal"
	"github.com/ctorhq/ctor/internal/life"
	"github.com/ctorhq/ctor/internal/reach"
	"github.com/ctorhq/ctor/internal/span"
	"github.com/ctorhq/ctor/internal/unwind"
)

// Start runs the process that New created, or, when the container has ended,
// runs it again: the next life of the same container, with the same id,
// configuration and files. Its log goes on. It does not matter how it ended, or which
// program started it: a detached or kept container may have ended because the
// program or the host went down.
//
// One that runs, or that another call is starting, is ctor.ErrInvalid, and so
// is one that is attached to another program. A next life begins when the
// output of the last one is written: a writer that does not return holds it up,
// until ctx ends. Calls on FS that are under way then fail, and listeners of
// Listen are closed, as they are at every end.
//
// ctx is looked at before the first step: a start that has begun is seen
// through, so that an error always means that the container does not run. It can
// then be started again. Start does not wait until it is ready: ask with WaitReady, in
// each life.
func (c *Container) Start(ctx context.Context) (err error) {
	ctx, end := span.Begin(ctx, "start", span.ContainerID.String(c.ID()), span.Container.String(c.Name()))
	defer end(&err)
	return c.wrap("start", c.call(ctx, c.start))
}

func (c *Container) start(ctx context.Context) error {
	if !c.starting.TryLock() {
		if c.ending.Load() {
			return reach.ErrClosed
		}
		return journal.ErrBusy
	}
	defer c.starting.Unlock()
	if c.ending.Load() {
		return reach.ErrClosed
	}
	atOnce, cancel := context.WithCancel(ctx)
	cancel()
	unlock, err := c.journal.Lock(atOnce)
	if err != nil {
		return err
	}
	defer unlock()
	undo, err := c.mender.Wanted()
	if err != nil {
		return err
	}
	if err := c.begin(ctx); err != nil {
		undo()
		return err
	}
	return nil
}

// begin is start, with what that locks.
func (c *Container) begin(ctx context.Context) error {
	s, err := c.life().Status(ctx)
	_, ours := c.life().(*life.Seen)
	ours = ours || c.detached()
	switch {
	case err != nil:
		return err
	case s.State != containerd.Created && !s.Ended():
		return invalid("it is %s", s.State)
	case s.State == containerd.Created && s.Pid != 0 && (ours || !c.kept()):
		own, cancel := c.e.Cleanup(ctx)
		defer cancel()
		if err = c.life().Start(own); err == nil && c.detached() {
			c.began(c.life())
		}
	case !ours && (!c.kept() || c.hasKeeper()):
		return invalid("it belongs to another program")
	default:
		err = c.again(ctx, s)
	}
	return err
}

// hasKeeper tells whether the processes of a kept container are another
// program's that still is there.
func (c *Container) hasKeeper() bool {
	owner := c.journal.Read().Owner
	return owner != "" && owner != engine.Owner() && engine.Alive(owner)
}

// again begins the next life of a container that has ended, or of which there is
// no process that this program could start.
func (c *Container) again(ctx context.Context, s life.Status) (err error) {
	if err := c.links.Check(); err != nil {
		return err
	}
	last := c.life()
	if s.State == containerd.Stopped && s.Exit.Code != life.Unknown {
		if _, err := last.Drained(ctx); err != nil {
			return fmt.Errorf("output of its last life is still to be written: %w", err)
		}
	}
	c.passing.Lock()
	defer c.passing.Unlock()
	ctx, cancel := c.e.Cleanup(ctx)
	defer cancel()
	if err := last.Note(ctx); err != nil {
		return err
	}
	_ = c.door.Renew()
	if err := c.letGo(ctx, last); err != nil {
		return err
	}
	mounts, err := c.layer(ctx)
	if err != nil {
		return err
	}
	var undo unwind.Stack
	defer undo.OnError(&err)
	next, err := c.create(ctx, c.onto(mounts), nil, &undo)
	if err != nil {
		return err
	}
	if err := next.Start(ctx); err != nil {
		return err
	}
	c.setLife(next)
	c.watch(next)
	return nil
}
