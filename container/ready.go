package container

import (
	"context"
	"errors"
	"fmt"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/life"
	"github.com/ctorhq/ctor/internal/ready"
)

// WaitReady waits until p holds for the container. It asks at once, then after
// a pause that grows from 1 to 100 milliseconds. nil holds always.
//
// It ends before that when ctx does, with ctx's error; when the container does,
// with an *ExitError, also for exit code 0; and at once where p can't hold, as
// [Exec] of a command that the container does not have. In all three cases the
// error says as well what p found at its last look, and the last lines of the
// container's log, up to 10, without what could steer a terminal.
//
// If ctx has no deadline, it waits for a container that never becomes ready until
// that ends or is closed.
func (c *Container) WaitReady(ctx context.Context, p Probe) error {
	if p == nil {
		return nil
	}
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return c.wrap("wait for readiness of", err)
	}
	defer leave()
	looking, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if err := c.awaitEnd(looking); err != nil {
			cancel(err)
		}
	}()
	defer func() {
		cancel(nil)
		<-watched
	}()
	err = engine.Cause(looking, ready.Until(looking, p.at(c), ready.Backoff()))
	if err == nil {
		return nil
	}
	return &notReady{name: c.Name(), look: err, log: c.lastLines(ctx)}
}

// awaitEnd waits for the container's end and gives what there is to say of it; nil
// if ctx ends before.
func (c *Container) awaitEnd(ctx context.Context) error {
	l := c.life()
	exit, err := l.Exited(ctx)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, life.ErrGivenUp):
		return errContainerClosed
	default:
		return err
	}
	// A probe may want the last of the output, but must not wait long for a slow
	// writer of the program's.
	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, _ = l.Drained(soon)
	// Of each exit code: before readiness even 0 is a failure.
	return newExitError(c, exit)
}

// lastLines is the end of the container's log, as far as it can be had soon. ctx may
// have ended.
func (c *Container) lastLines(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	r, err := c.Logs(ctx, &LogOptions{Current: true, Tail: ready.TailLines, Gap: "[output is missing]"})
	if err != nil {
		return ""
	}
	defer r.Close()
	return ready.Tail(r)
}

// notReady is why WaitReady gave up.
type notReady struct {
	name string
	look error
	log  string
}

func (e *notReady) Error() string {
	s := fmt.Sprintf("container %q is not ready: %v", e.name, e.look)
	if e.log != "" {
		s += "\nthe end of its log:\n" + e.log
	}
	return s
}

func (e *notReady) Unwrap() error { return e.look }
