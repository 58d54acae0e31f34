package container

import (
	"context"

	"github.com/containerd/containerd/v2/core/mount"

	"github.com/ctorhq/ctor/internal/backend"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/life"
	"github.com/ctorhq/ctor/internal/record"
	"github.com/ctorhq/ctor/internal/unwind"
)

// output is where the log of the first process is.
func (c *Container) output() engine.Output {
	return engine.Output{ID: c.ID(), Dir: c.e.Dir(c.ID())}
}

// create has the runtime create the first process of a life.
func (c *Container) create(ctx context.Context, rootfs []mount.Mount, instead *replacement, tty bool, undo *unwind.Stack) (life.Life, error) {
	if c.kept() {
		drop, err := c.journal().Take(engine.Owner())
		if err != nil {
			return nil, err
		}
		undo.Push(func() error { drop(); return nil })
	}
	streams, err := c.streams(instead, tty)
	if err != nil {
		return nil, err
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
	pid, err := c.createLinked(ctx, rootfs, streams.Config())
	if err != nil {
		return nil, err
	}
	if err := streams.Given(pid); err != nil {
		return nil, err
	}
	if c.detached() {
		return c.asked(), nil
	}
	undo.Push(c.unlink)
	if err := c.link(pid); err != nil {
		return nil, err
	}
	before := 0
	if l := c.now.Load(); l != nil {
		before = (*l).Number()
	}
	return life.New(c.first(), life.Watching{
		Gone: c.e.Backend.Gone, Streams: streams, Pid: pid,
		Before: before, Journal: c.journal(), Owner: engine.Owner(),
	}), nil
}

// streams makes the streams of the first process.
func (c *Container) streams(instead *replacement, tty bool) (engine.Streams, error) {
	if instead != nil {
		return backend.Hand(instead.streams), nil
	}
	out := c.output()
	out.Limit, out.TTY, out.EndInput = c.limit, tty, c.endInput
	if c.detached() {
		return c.e.Backend.Detach(out)
	}
	return c.e.Backend.Attach(out, c.stdio)
}

// endInput tells the runtime that there is no more input.
func (c *Container) endInput() {
	ctx, cancel := c.e.Cleanup(context.Background())
	defer cancel()
	_ = c.first().CloseInput(ctx) // an error: the process is gone, and its input with it
}

// adopt settles to whom the finished container belongs: its processes to the
// engine or to no program, and the same with its files and its record.
func (c *Container) adopt(ctx context.Context) (err error) {
	if c.detached() || c.kept() {
		c.about.Owner = ""
		c.record, err = c.e.Note(ctx, c.ID(), func(r *record.Record) { r.Owner = "" })
		if err != nil {
			return err
		}
	}
	if !c.detached() {
		if err := c.e.Attach(c.ID(), c); err != nil {
			return err
		}
	}
	c.watch(c.life())
	return nil
}

// watch has a life that is this program's seen to its end.
func (c *Container) watch(l life.Life) {
	if l, ok := l.(*life.Seen); ok {
		go l.Watch(c.e.Context(context.Background()), func(e *life.Exit) {
			_ = c.unlink() // what it had is gone with it
			e.OOMKilled = c.oomKilled()
		})
	}
}
