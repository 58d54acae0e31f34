package container

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/life"
)

// ExitError is the end of a container, or of a command in one, with another
// code than 0.
type ExitError struct {
	ID           string         // of the container
	Name         string         // that the container was given, if any
	Path         string         // of the command; "" means the container itself
	Code         int            // 128+n where signal n ended it
	Signal       syscall.Signal // that ended it, as far as Code tells; else 0
	OOMKilled    bool           // the kernel has killed a process of the container for want of memory
	DiskExceeded bool           // the container was killed because it had more than Limits.Disk
	Stderr       []byte         // of Cmd.Output, if Cmd.Stderr was nil: its beginning and end
}

// Error names the container, the code and what is known of its cause.
func (e *ExitError) Error() string {
	s := fmt.Sprintf("container %q: ", cmp.Or(e.Name, e.ID))
	if e.Path != "" {
		s += e.Path + ": "
	}
	s += life.Exit{Code: e.Code}.String()
	if e.OOMKilled {
		s += ", out of memory"
	}
	if e.DiskExceeded {
		s += ", more on the disk than it may have"
	}
	return s
}

func newExitError(c *Container, e life.Exit) *ExitError {
	return &ExitError{ID: c.ID(), Name: *c.name.Load(), Code: e.Code, Signal: e.Signal(), OOMKilled: e.OOMKilled, DiskExceeded: e.DiskExceeded}
}

// Wait waits until the container has ended and all its output is in its log
// and its writers. It returns nil for exit code 0, else an *ExitError. Another
// error means that Stdin or a writer failed, which it gives only for exit code
// 0, or that the end was not seen, which is ctor.ErrUnavailable.
//
// Of a container that is started again it means its life at the time of the call:
// the one that runs, else the first one to come, else the last one, which has ended. Any number of goroutines may wait, from before Start to after
// Close. The end of ctx ends the wait, not the container.
func (c *Container) Wait(ctx context.Context) error {
	l := c.life()
	exit, err := l.Exited(ctx)
	var copies error
	if err == nil {
		copies, err = l.Drained(ctx)
	}
	switch {
	case errors.Is(err, life.ErrGivenUp):
		return c.wrap("output of", fmt.Errorf("a writer of it did not return before the container was closed: %w", errdefs.ErrUnavailable))
	case err != nil:
		return c.wrap("wait for", engine.Cause(ctx, err))
	case exit.Code != 0:
		return newExitError(c, exit)
	}
	return c.wrap("streams of", copies)
}
