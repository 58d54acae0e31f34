package container

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/cio"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/life"
	"github.com/ctorhq/ctor/internal/logfile"
	"github.com/ctorhq/ctor/internal/shim/link"
	"github.com/ctorhq/ctor/internal/stdio"
	"github.com/ctorhq/ctor/internal/unwind"
)

func (c *Container) logPath() string { return filepath.Join(c.e.Dir(c.ID()), "log") }

// create has the runtime create the first process.
func (c *Container) create(ctx context.Context, cfg Config, rootfs []mount.Mount, instead *replacement, dir string, undo *unwind.Stack) error {
	undoTask := func() error { // also of a daemon that did not answer in time
		ctx, cancel := c.e.Cleanup(ctx)
		defer cancel()
		return c.e.DeleteTask(ctx, c.ID())
	}
	if cfg.Detach {
		io, err := c.keeper(cfg)
		if err != nil {
			return err
		}
		undo.Push(undoTask)
		pid, err := c.createTask(ctx, rootfs, io)
		if err != nil {
			return err
		}
		c.life = c.asked()
		if c.e.Embedded {
			return nil
		}
		return stdio.SetPid(c.logPath(), pid)
	}
	streams := &attached{c: c}
	if instead != nil {
		streams.Connection = stdio.Hand(instead.streams)
	} else if err := streams.connect(cfg, dir, undo); err != nil {
		return err
	}
	undo.Push(undoTask)
	pid, err := c.createTask(ctx, rootfs, streams.Config())
	if err != nil {
		return err
	}
	streams.Given()
	c.life = life.New(c.first(), life.Watching{Gone: c.e.Gone, Streams: streams, Pid: pid})
	return nil
}

// attached are the streams of a container that this program copies.
type attached struct {
	*stdio.Connection
	c   *Container
	log *logfile.Writer // nil: of a command, whose output is its caller's alone
}

// connect ties the streams to this program.
func (a *attached) connect(cfg Config, dir string, undo *unwind.Stack) (err error) {
	a.log, err = logfile.Create(a.c.logPath(), cfg.logLimit())
	if err != nil {
		return err
	}
	undo.Push(a.log.End)
	ends := stdio.Streams{In: cfg.Stdin, Out: cfg.Stdout, Err: cfg.Stderr, TTY: cfg.TTY}
	if a.c.e.Embedded {
		a.Connection, err = stdio.Pipe(ends, a.log)
	} else {
		a.Connection, err = stdio.Connect(dir, ends, a.log)
	}
	if err != nil {
		return err
	}
	undo.Push(func() error {
		err := a.Close()
		a.Wait() // nothing has been written that could make a copy wait
		return err
	})
	return nil
}

// Begin implements life.Streams.
func (a *attached) Begin() {
	a.Feed(func() {
		ctx, cancel := a.c.e.Cleanup(context.Background())
		defer cancel()
		_ = a.c.first().CloseInput(ctx) // an error: the process is gone, and its input with it
	})
}

// Drain implements life.Streams.
func (a *attached) Drain(seen bool) error {
	if !seen {
		a.Cancel()
	}
	a.Wait()
	err := a.Err()
	if a.log == nil {
		return err
	}
	if lerr := a.log.End(); lerr != nil && err == nil {
		err = fmt.Errorf("log: %w", lerr)
	}
	return err
}

// Drop implements life.Streams.
func (a *attached) Drop() { _ = a.Close() }

// keeper has a detached container's log kept without this program: by its shim,
// or where that is a stranger's by a process that it starts.
func (c *Container) keeper(cfg Config) (cio.Config, error) {
	if c.e.Embedded {
		to := link.LogURI(c.logPath(), cfg.logLimit()).String()
		return cio.Config{Terminal: cfg.TTY, Stdout: to, Stderr: to}, nil
	}
	program, err := os.Executable()
	if err != nil {
		return cio.Config{}, err
	}
	// The log is there from the start, for a Logs that comes early.
	if err := logfile.Announce(c.logPath()); err != nil {
		return cio.Config{}, err
	}
	io, err := stdio.Logger(program, c.logPath(), cfg.logLimit(), cfg.TTY)(c.ID())
	if err != nil {
		return cio.Config{}, err
	}
	return io.Config(), nil
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
