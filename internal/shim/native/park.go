package native

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/shim/native/forker"
	"github.com/ctorhq/ctor/internal/shim/task"
)

var (
	_ task.Parker = (*Executor)(nil)
	_ task.Parked = (*container)(nil)
)

// Park implements task.Parker. The first process has carried out all operations but
// those that depend on its command; they are the same ones, in the same order, as those
// of a container that Create makes.
func (e *Executor) Park(ctx context.Context, b task.Bundle) (task.Parked, task.Process, error) {
	fail := func(err error) (task.Parked, task.Process, error) {
		return nil, task.Process{}, fmt.Errorf("park container %s: %w", b.ID, err)
	}
	if e.pool == nil {
		return fail(fmt.Errorf("%w: %w", errdefs.ErrNotImplemented, e.why))
	}
	if len(b.Spec.Linux.UIDMappings) > 0 {
		// A process joins its user namespace last, with its command: the script that has
		// the descriptor is gone by then.
		return fail(fmt.Errorf("a user namespace: %w", errdefs.ErrNotImplemented))
	}
	if what := beyond(b); what != "" {
		return fail(fmt.Errorf("%s: %w", what, errdefs.ErrNotImplemented))
	}
	c, p, err := e.create(ctx, b, nil)
	if errors.Is(err, errBeyond) {
		return fail(fmt.Errorf("%w: %w", errdefs.ErrNotImplemented, err))
	}
	if err != nil {
		return fail(explain(err, ""))
	}
	return c, p, nil
}

// Give implements task.Parked.
func (c *container) Give(ctx context.Context, name string, p *specs.Process, io task.Stdio) (*os.File, error) {
	terminal, err := c.give(ctx, name, p, io)
	if err != nil {
		return nil, fmt.Errorf("command of container %s: %w", c.id, explain(err, p.Args[0]))
	}
	return terminal, nil
}

func (c *container) give(ctx context.Context, name string, p *specs.Process, io task.Stdio) (*os.File, error) {
	if what := beyondProcess(p); what != "" {
		return nil, fmt.Errorf("%s, in a container that was made without: %w", what, errdefs.ErrNotImplemented)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.parked {
		return nil, fmt.Errorf("%w: it has a command", errdefs.ErrFailedPrecondition)
	}
	spec := *c.spec
	spec.Process = p
	var script forker.Script
	defer script.Close()
	if name != "" && name != spec.Hostname {
		script.HostName(name)
	}
	if err := c.writeCommand(&layout{Script: &script, last: c.last, users: c.users}, &spec, io); err != nil {
		return nil, err
	}
	c.parked = false // it has this command or, after an error, none
	var terminal *os.File
	err := c.waiting.Carry(&script)
	if err == nil {
		terminal, err = c.waiting.Ready(ctx)
	}
	if errors.Is(err, forker.ErrEnded) {
		err = fmt.Errorf("%w: %w", errdefs.ErrFailedPrecondition, err)
	}
	return terminal, err
}
