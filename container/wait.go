package container

import (
	"context"
	"fmt"
	"syscall"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/logfile"
)

// ExitError is the end of a container, or of a command in one, with another
// code than 0.
type ExitError struct {
	ID        string         // of the container
	Path      string         // of the command; "" means the container itself
	Code      int            // 128+n where signal n ended it
	Signal    syscall.Signal // that ended it, as far as Code tells; else 0
	OOMKilled bool           // the kernel has killed a process of the container for want of memory
	Stderr    []byte         // of Cmd.Output, if Cmd.Stderr was nil: its beginning and end
}

// Error names the container, the code and what is known of its cause.
func (e *ExitError) Error() string {
	s := fmt.Sprintf("container %q: ", e.ID)
	if e.Path != "" {
		s += e.Path + ": "
	}
	s += describe(e.Code)
	if e.OOMKilled {
		s += ", out of memory"
	}
	return s
}

// describe puts an exit code in words.
func describe(code int) string {
	s := fmt.Sprintf("exit code %d", code)
	if sig := signalOf(code); sig != 0 {
		s += fmt.Sprintf(" (%v)", sig)
	}
	return s
}

// signalOf is the signal that an exit code tells of, else 0.
func signalOf(code int) syscall.Signal {
	if code > 128 && code <= 128+64 {
		return syscall.Signal(code - 128)
	}
	return 0
}

// newExitError gives nil for exit code 0.
func newExitError(id string, code uint32, oom bool) *ExitError {
	if code == 0 {
		return nil
	}
	return &ExitError{ID: id, Code: int(code), Signal: signalOf(int(code)), OOMKilled: oom}
}

// exitErr is newExitError's as an error.
func exitErr(id string, code uint32, oom bool) error {
	if err := newExitError(id, code, oom); err != nil {
		return err
	}
	return nil
}

// Wait waits until the container has ended and all its output is in its log
// and its writers. It returns nil for exit code 0, else an *ExitError. Another
// error means that Stdin or a writer failed, which it gives only for exit code
// 0, or that the end was not seen, which is ctor.ErrUnavailable.
//
// Any number of goroutines may wait, from before Start to after Close. The end
// of ctx ends the wait, not the container.
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
	return exitErr(c.ID(), code, c.oomKilled())
}

func (c *Container) waitAttached(ctx context.Context) error {
	// What has ended is told even to a ctx that has.
	select {
	case <-c.run.done:
		return c.result()
	default:
	}
	select {
	case <-c.run.done:
		return c.result()
	case <-ctx.Done():
		return c.wrap("wait for", ctx.Err())
	case <-c.closed:
	}
	select {
	case <-c.run.done:
		return c.result()
	default:
		return c.wrap("output of", fmt.Errorf("a writer of it did not return before the container was closed: %w", errdefs.ErrUnavailable))
	}
}

func (c *Container) result() error {
	r := c.run
	if err := r.status.Error(); err != nil {
		return c.wrap("wait for", unseen(err))
	}
	if err := exitErr(c.ID(), r.status.ExitCode(), r.oom); err != nil {
		return err
	}
	return c.wrap("streams of", r.err)
}

// unseen is the error of a wait that the client passes on as it came.
func unseen(err error) error {
	return fmt.Errorf("its end was not seen: %w: %w", errgrpc.ToNative(err), errdefs.ErrUnavailable)
}

func (c *Container) waitDetached(ctx context.Context) (uint32, error) {
	if c.task == nil {
		return 0, fmt.Errorf("its end was not seen: the host was restarted, or its shim killed: %w", errdefs.ErrUnavailable)
	}
	var s containerd.ExitStatus
	select {
	case s = <-c.task.wait(ctx):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if err := ctx.Err(); err != nil && s.Error() != nil {
		return 0, err
	}
	if err := s.Error(); err != nil {
		return 0, unseen(err)
	}
	if c.e.Embedded {
		return s.ExitCode(), nil // the shim has written the log, and tells after
	}
	// The logger is another process: it has the last bytes soon after.
	settle, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := logfile.Complete(settle, c.logPath()); err != nil && ctx.Err() != nil {
		return 0, ctx.Err()
	}
	return s.ExitCode(), nil
}
