package container

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/engine"
)

// Stop asks the container to end with its stop signal, waits for its stop
// timeout, then kills it. One that is paused goes on, to hear the signal. Stop
// returns when the container has ended, which one that had ended before, or
// was never started, does at once; the exit code is Wait's. The end of ctx ends
// the call, not the container.
func (c *Container) Stop(ctx context.Context) error {
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return c.wrap("stop", err)
	}
	defer leave()
	if err := c.stop(ctx); !c.gone(err) {
		return c.wrap("stop", engine.Cause(ctx, err))
	}
	return nil
}

func (c *Container) stop(ctx context.Context) error {
	s, err := c.status(ctx)
	if err != nil || s.Status == containerd.Stopped {
		return err
	}
	ended := c.exited(ctx)
	// A process that was only created has no handler for anything.
	if patience := c.stopTimeout(); patience > 0 && s.Status != containerd.Created {
		if err := c.task.kill(ctx, c.stopSignal()); err != nil && !c.gone(err) {
			return err
		}
		if err := c.thaw(ctx, s); err != nil {
			return err
		}
		t := time.NewTimer(patience)
		defer t.Stop()
		select {
		case <-ended:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
	// One that is gone has ended; soon that is known.
	if err := c.task.kill(ctx, syscall.SIGKILL); err != nil && !c.gone(err) {
		return err
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// thaw lets a container go on that was paused, unless somebody else is faster.
func (c *Container) thaw(ctx context.Context, s containerd.Status) error {
	if !frozen(s) {
		return nil
	}
	err := c.task.resume(ctx)
	if err == nil || c.gone(err) {
		return nil
	}
	if s, serr := c.status(ctx); serr != nil || frozen(s) {
		return err
	}
	return nil
}

func frozen(s containerd.Status) bool {
	return s.Status == containerd.Paused || s.Status == containerd.Pausing
}

// exited is closed when the container has ended.
func (c *Container) exited(ctx context.Context) <-chan struct{} {
	if c.run != nil {
		return c.run.exited
	}
	status := c.task.wait(ctx)
	ended := make(chan struct{})
	go func() {
		<-status
		if ctx.Err() == nil {
			close(ended)
		}
	}()
	return ended
}

// Signal sends a signal to the container's first process, which the kernel
// drops if it has no handler for it, other than SIGKILL and SIGSTOP. A
// container that has ended, or was not started, is ctor.ErrNotFound; a sig that
// is no syscall.Signal is ctor.ErrInvalid.
func (c *Container) Signal(ctx context.Context, sig os.Signal) error {
	n, ok := sig.(syscall.Signal)
	if !ok || n < 1 || n > 64 {
		return c.wrap("signal", invalid("%v is no signal of this system", sig))
	}
	return c.tell(ctx, "signal", func(ctx context.Context, s containerd.ProcessStatus) error {
		if s == containerd.Created || s == containerd.Stopped {
			return fmt.Errorf("it is %s: %w", s, errdefs.ErrNotFound)
		}
		return c.task.kill(ctx, n)
	})
}

// Pause freezes all processes of the container until Resume. A container that
// does not run is ctor.ErrInvalid.
func (c *Container) Pause(ctx context.Context) error {
	return c.tell(ctx, "pause", func(ctx context.Context, s containerd.ProcessStatus) error {
		if s != containerd.Running {
			return invalid("it is %s", s)
		}
		return c.task.pause(ctx)
	})
}

// Resume ends a Pause. A container that is not paused is ctor.ErrInvalid.
func (c *Container) Resume(ctx context.Context) error {
	return c.tell(ctx, "resume", func(ctx context.Context, s containerd.ProcessStatus) error {
		if s != containerd.Paused {
			return invalid("it is %s", s)
		}
		return c.task.resume(ctx)
	})
}

// tell does something to a task whose state it finds out first.
func (c *Container) tell(ctx context.Context, op string, do func(context.Context, containerd.ProcessStatus) error) error {
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return c.wrap(op, err)
	}
	defer leave()
	s, err := c.status(ctx)
	if err == nil {
		err = do(ctx, s.Status)
	}
	return c.wrap(op, engine.Cause(ctx, err))
}
