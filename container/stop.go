package container

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"

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
	return c.wrap("stop", c.call(ctx, func(ctx context.Context) error {
		err := c.mender.Halt(ctx)
		if err == nil {
			err = c.stopping().Do(ctx, c.first(), c.life())
		}
		if c.e.Backend.Gone(err) {
			return nil
		}
		return err
	}))
}

// stopping is how the container is asked to end.
func (c *Container) stopping() life.Stop {
	signal, err := life.ParseSignal(c.about.StopSignal)
	if err != nil {
		signal = syscall.SIGTERM
	}
	return life.Stop{Signal: signal, Patience: cmp.Or(c.about.StopTimeout, 10*time.Second), Gone: c.e.Backend.Gone}
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

// Resize sets the size of the terminal of the container's first process, in
// characters; the process is told of it by SIGWINCH. A container without TTY,
// or one that has ended, is ctor.ErrInvalid.
func (c *Container) Resize(ctx context.Context, width, height uint16) error {
	return c.tell(ctx, "resize terminal of", func(ctx context.Context, s containerd.ProcessStatus) error {
		if s == containerd.Stopped {
			return invalid("it is %s", s)
		}
		return c.first().Resize(ctx, width, height)
	})
}

// tell does something to a task whose state it finds out first.
func (c *Container) tell(ctx context.Context, op string, do func(context.Context, containerd.ProcessStatus) error) error {
	return c.wrap(op, c.call(ctx, func(ctx context.Context) error {
		s, err := c.life().Status(ctx)
		if err != nil {
			return err
		}
		return do(ctx, s.State)
	}))
}
