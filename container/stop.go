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
	"github.com/ctorhq/ctor/internal/events"
	"github.com/ctorhq/ctor/internal/life"
)

// Stop asks the container to end with its stop signal, waits for its stop
// timeout, then kills it. One that is paused goes on, to hear the signal. Stop
// returns when the container has ended, which one that had ended before, or
// was never started, does at once; the exit code is Wait's. No policy of
// Config.Restart starts it then, until Start does. The end of ctx ends the call, not
// the container.
func (c *Container) Stop(ctx context.Context) error {
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return c.wrap("stop", err)
	}
	defer leave()
	if err := c.stop(ctx); !c.e.Backend.Gone(err) {
		return c.wrap("stop", engine.Cause(ctx, err))
	}
	return nil
}

func (c *Container) stop(ctx context.Context) error {
	if err := c.halt(ctx); err != nil {
		return err
	}
	s, err := c.life().Status(ctx)
	if err != nil || s.State == containerd.Stopped || s.State == containerd.Created && s.Pid == 0 {
		return err
	}
	ended := life.Ended(ctx, c.life())
	// A process that was only created has no handler for anything.
	if patience := c.stopTimeout(); patience > 0 && s.State != containerd.Created {
		if err := c.first().Signal(ctx, c.stopSignal()); err != nil && !c.e.Backend.Gone(err) {
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
	// A process that is gone has ended, which is soon known.
	if err := c.first().Signal(ctx, syscall.SIGKILL); err != nil && !c.e.Backend.Gone(err) {
		return err
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Container) stopTimeout() time.Duration {
	if d := c.about.StopTimeout; d != 0 {
		return d
	}
	return 10 * time.Second
}

func (c *Container) stopSignal() syscall.Signal {
	s, err := life.ParseSignal(c.about.StopSignal)
	if err != nil {
		return syscall.SIGTERM
	}
	return s
}

// thaw lets a container go on that was paused. Another caller may do so first.
func (c *Container) thaw(ctx context.Context, s life.Status) error {
	if !frozen(s) {
		return nil
	}
	err := c.first().Resume(ctx)
	if err == nil || c.e.Backend.Gone(err) {
		return nil
	}
	if s, serr := c.life().Status(ctx); serr != nil || frozen(s) {
		return err
	}
	return nil
}

func frozen(s life.Status) bool {
	return s.State == containerd.Paused || s.State == containerd.Pausing
}

// Signal sends a signal to the container's first process, which the kernel
// drops if it has no handler for it, other than SIGKILL and SIGSTOP. A
// container that has ended, or was not started, is ctor.ErrNotFound; a sig that
// is no syscall.Signal is ctor.ErrInvalid.
func (c *Container) Signal(ctx context.Context, sig os.Signal) error {
	n, err := life.Number(sig)
	if err != nil {
		return c.wrap("signal", err)
	}
	return c.tell(ctx, "signal", func(ctx context.Context, s containerd.ProcessStatus) error {
		if s == containerd.Created || s == containerd.Stopped {
			return fmt.Errorf("it is %s: %w", s, errdefs.ErrNotFound)
		}
		return c.first().Signal(ctx, n)
	})
}

// Pause freezes all processes of the container until Resume. A container that
// does not run is ctor.ErrInvalid. Without cgroups, as a user namespace can be, it is
// ctor.ErrUnavailable.
func (c *Container) Pause(ctx context.Context) error {
	return c.tell(ctx, "pause", func(ctx context.Context, s containerd.ProcessStatus) error {
		if s != containerd.Running {
			return invalid("it is %s", s)
		}
		if err := c.bounded(); err != nil {
			return err
		}
		return c.reported(events.Paused, c.first().Pause(ctx))
	})
}

// Resume ends a Pause. A container that is not paused is ctor.ErrInvalid.
func (c *Container) Resume(ctx context.Context) error {
	return c.tell(ctx, "resume", func(ctx context.Context, s containerd.ProcessStatus) error {
		if s != containerd.Paused {
			return invalid("it is %s", s)
		}
		return c.reported(events.Resumed, c.first().Resume(ctx))
	})
}

// tell does something to a task whose state it finds out first.
func (c *Container) tell(ctx context.Context, op string, do func(context.Context, containerd.ProcessStatus) error) error {
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return c.wrap(op, err)
	}
	defer leave()
	s, err := c.life().Status(ctx)
	if err == nil {
		err = do(ctx, s.State)
	}
	return c.wrap(op, engine.Cause(ctx, err))
}
