package container

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/engine"
)

// Stop asks the container to end with its stop signal, waits for its stop
// timeout, then kills it. It returns when the container has ended, which one
// that had ended before, or was never started, does at once; the exit code is
// Wait's. The end of ctx ends the call, not the container.
func (c *Container) Stop(ctx context.Context) error {
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return c.wrap("stop", err)
	}
	defer leave()
	return c.wrap("stop", engine.Cause(ctx, c.stop(ctx)))
}

func (c *Container) stop(ctx context.Context) error {
	if c.task == nil {
		return nil
	}
	ended, err := c.task.Wait(ctx)
	if err != nil {
		return gone(err)
	}
	s, err := c.task.Status(ctx)
	if err != nil {
		return gone(err)
	}
	// A process that was only created has no handler for anything.
	if patience := c.stopTimeout(); patience > 0 && s.Status != containerd.Created {
		if err := c.task.Kill(ctx, c.stopSignal()); err != nil {
			return gone(err)
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
	if err := c.task.Kill(ctx, syscall.SIGKILL); err != nil {
		return gone(err)
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// gone takes the end for granted where the task is no more.
func gone(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// Signal sends a signal to the container's first process. A container that
// has ended, or was not started, is ctor.ErrNotFound.
func (c *Container) Signal(ctx context.Context, sig os.Signal) error {
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return c.wrap("signal", err)
	}
	defer leave()
	s, ok := sig.(syscall.Signal)
	if !ok {
		return c.wrap("signal", fmt.Errorf("%v is no signal of this system: %w", sig, errdefs.ErrInvalidArgument))
	}
	if c.task == nil {
		return c.wrap("signal", fmt.Errorf("it has ended: %w", errdefs.ErrNotFound))
	}
	return c.wrap("signal", engine.Cause(ctx, c.task.Kill(ctx, s)))
}

// Pause freezes all processes of the container until Resume.
func (c *Container) Pause(ctx context.Context) error {
	return c.freeze(ctx, "pause", func(ctx context.Context) error { return c.task.Pause(ctx) })
}

// Resume ends a Pause.
func (c *Container) Resume(ctx context.Context) error {
	return c.freeze(ctx, "resume", func(ctx context.Context) error { return c.task.Resume(ctx) })
}

func (c *Container) freeze(ctx context.Context, op string, f func(context.Context) error) error {
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return c.wrap(op, err)
	}
	defer leave()
	if c.task == nil {
		return c.wrap(op, fmt.Errorf("it has ended: %w", errdefs.ErrNotFound))
	}
	return c.wrap(op, engine.Cause(ctx, f(ctx)))
}

// parseSignal reads "SIGTERM", "TERM" or "15".
func parseSignal(s string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil && n > 0 && n <= 64 {
		return syscall.Signal(n), nil
	}
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if n := unix.SignalNum(name); n != 0 {
		return n, nil
	}
	return 0, fmt.Errorf("signal %q is not known: %w", s, errdefs.ErrInvalidArgument)
}
