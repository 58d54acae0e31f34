package container

import (
	"context"
	"fmt"
	"syscall"
	"time"

	containerd "github.com/containerd/containerd/v2/client"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/stdio"
)

// ExitError is a container's end with another code than 0.
type ExitError struct {
	ID     string         // of the container
	Code   int            // 128+n where signal n ended it
	Signal syscall.Signal // that ended it, as far as Code tells; else 0
}

func (e *ExitError) Error() string {
	if e.Signal != 0 {
		return fmt.Sprintf("container %q: exit code %d (%v)", e.ID, e.Code, e.Signal)
	}
	return fmt.Sprintf("container %q: exit code %d", e.ID, e.Code)
}

func newExitError(id string, code uint32) error {
	if code == 0 {
		return nil
	}
	e := &ExitError{ID: id, Code: int(code)}
	if code > 128 && code <= 128+64 {
		e.Signal = syscall.Signal(code - 128)
	}
	return e
}

// Wait waits until the container has ended and all its output is in its log
// and its writers. It returns nil for exit code 0, else an *ExitError; another
// error means that the end was not seen, or that a writer failed.
//
// The end of ctx ends the wait, not the container.
func (c *Container) Wait(ctx context.Context) error {
	if c.run != nil {
		return c.waitAttached(ctx)
	}
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return c.wrap("wait for", err)
	}
	defer leave()
	code, err := c.waitDetached(ctx)
	if err != nil {
		return c.wrap("wait for", engine.Cause(ctx, err))
	}
	return newExitError(c.ID(), code)
}

func (c *Container) waitAttached(ctx context.Context) error {
	select {
	case <-c.run.done:
	default:
		select {
		case <-c.run.done:
		case <-ctx.Done():
			return c.wrap("wait for", ctx.Err())
		}
	}
	if err := c.run.status.Error(); err != nil {
		return c.wrap("wait for", err)
	}
	if err := newExitError(c.ID(), c.run.status.ExitCode()); err != nil {
		return err
	}
	return c.wrap("output of", c.run.err)
}

func (c *Container) waitDetached(ctx context.Context) (uint32, error) {
	if c.task == nil {
		return 0, fmt.Errorf("its end was not seen, the host has been restarted since")
	}
	ended, err := c.task.Wait(ctx)
	if err != nil {
		return 0, err
	}
	var s containerd.ExitStatus
	select {
	case s = <-ended:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if err := s.Error(); err != nil {
		return 0, err
	}
	// The logger is another process: it has the last bytes soon after.
	settle, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := stdio.Complete(settle, c.logPath()); err != nil && ctx.Err() != nil {
		return 0, ctx.Err()
	}
	return s.ExitCode(), nil
}
