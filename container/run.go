package container

import (
	"context"

	"github.com/containerd/containerd/v2/core/mount"

	"github.com/ctorhq/ctor/internal/backend"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/life"
	"github.com/ctorhq/ctor/internal/stdio"
	"github.com/ctorhq/ctor/internal/unwind"
)

// output is where the log of the first process is.
func (c *Container) output() engine.Output {
	return engine.Output{ID: c.ID(), Dir: c.e.Dir(c.ID())}
}

// create has the runtime create the first process.
func (c *Container) create(ctx context.Context, cfg Config, rootfs []mount.Mount, instead *replacement, undo *unwind.Stack) error {
	streams, err := c.streams(cfg, instead)
	if err != nil {
		return err
	}
	undo.Push(func() error {
		streams.Drop()
		_ = streams.Drain(false) // nothing has been written that could make a copy wait
		return nil
	})
	undo.Push(func() error { // also of a daemon that did not answer in time
		ctx, cancel := c.e.Cleanup(ctx)
		defer cancel()
		return c.e.DeleteTask(ctx, c.ID())
	})
	pid, err := c.createTask(ctx, rootfs, streams.Config())
	if err != nil {
		return err
	}
	if cfg.Detach {
		c.life = c.asked()
	} else {
		c.life = life.New(c.first(), life.Watching{Gone: c.e.Backend.Gone, Streams: streams, Pid: pid})
	}
	return streams.Given(pid)
}

// streams makes the streams of the first process.
func (c *Container) streams(cfg Config, instead *replacement) (engine.Streams, error) {
	if instead != nil {
		return backend.Hand(instead.streams), nil
	}
	out := c.output()
	out.Limit, out.TTY, out.EndInput = cfg.logLimit(), cfg.TTY, c.endInput
	if cfg.Detach {
		return c.e.Backend.Detach(out)
	}
	return c.e.Backend.Attach(out, stdio.Streams{In: cfg.Stdin, Out: cfg.Stdout, Err: cfg.Stderr, TTY: cfg.TTY})
}

// endInput tells the runtime that there is no more input.
func (c *Container) endInput() {
	ctx, cancel := c.e.Cleanup(context.Background())
	defer cancel()
	_ = c.first().CloseInput(ctx) // an error: the process is gone, and its input with it
}

// adopt settles to whom the finished container belongs: to the engine, or to
// nobody.
func (c *Container) adopt(ctx context.Context, detach bool) (err error) {
	if !detach {
		if err := c.e.Attach(c.ID(), c); err != nil {
			return err
		}
		go c.watch(c.life.(*life.Seen))
		return nil
	}
	delete(c.record.Labels, engine.OwnerLabel)
	c.record, err = c.e.Client.ContainerService().Update(ctx, c.record, "labels")
	return err
}

// watch sees the first process to its end.
func (c *Container) watch(l *life.Seen) {
	l.Watch(c.e.Context(context.Background()), func(e *life.Exit) { e.OOMKilled = c.oomKilled() })
}
