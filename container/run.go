package container

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/cio"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/logfile"
	"github.com/ctorhq/ctor/internal/shim/link"
	"github.com/ctorhq/ctor/internal/stdio"
	"github.com/ctorhq/ctor/internal/unwind"
)

// run is what this program does for an attached container: it copies the
// streams and waits for the end.
type run struct {
	streams *stdio.Connection
	log     *logfile.Writer // nil: of a command, whose output is its caller's alone
	ended   <-chan containerd.ExitStatus

	started atomic.Pointer[time.Time] // nil: not yet

	exited chan struct{} // after the process has ended; status and oom are set
	status containerd.ExitStatus
	oom    bool
	done   chan struct{} // after the last byte of output; err is set
	err    error         // of the copies
}

func (c *Container) logPath() string { return filepath.Join(c.e.Dir(c.ID()), "log") }

// create has the runtime create the first process.
func (c *Container) create(ctx context.Context, cfg Config, rootfs []mount.Mount, instead *replacement, dir string, undo *unwind.Stack) error {
	streams := c.connect
	switch {
	case cfg.Detach:
		streams = c.keeper
	case instead != nil:
		streams = instead.connect(c)
	}
	io, err := streams(cfg, dir, undo)
	if err != nil {
		return err
	}
	undo.Push(func() error { // also of a daemon that did not answer in time
		ctx, cancel := c.e.Cleanup(ctx)
		defer cancel()
		return c.e.DeleteTask(ctx, c.ID())
	})
	if c.task, err = createTask(ctx, c.e, c.ID(), rootfs, io); err != nil {
		return err
	}
	if c.run != nil {
		c.run.streams.Given()
	}
	if cfg.Detach {
		if c.e.Embedded {
			return nil
		}
		return stdio.SetPid(c.logPath(), int(c.task.pid))
	}
	c.run.ended = c.task.wait(c.e.Context(context.Background()))
	return nil
}

// connect ties the streams of an attached container to this program.
func (c *Container) connect(cfg Config, dir string, undo *unwind.Stack) (cio.Config, error) {
	log, err := logfile.Create(c.logPath(), cfg.logLimit())
	if err != nil {
		return cio.Config{}, err
	}
	undo.Push(log.End)
	ends := stdio.Streams{In: cfg.Stdin, Out: cfg.Stdout, Err: cfg.Stderr, TTY: cfg.TTY}
	var streams *stdio.Connection
	if c.e.Embedded {
		streams, err = stdio.Pipe(ends, log)
	} else {
		streams, err = stdio.Connect(dir, ends, log)
	}
	if err != nil {
		return cio.Config{}, err
	}
	undo.Push(func() error {
		err := streams.Close()
		streams.Wait() // nothing has been written that could make a copy wait
		return err
	})
	c.run = &run{streams: streams, log: log, exited: make(chan struct{}), done: make(chan struct{})}
	return streams.Config(), nil
}

// keeper has a detached container's log kept without this program: by its shim,
// or where that is a stranger's by a process that it starts.
func (c *Container) keeper(cfg Config, _ string, _ *unwind.Stack) (cio.Config, error) {
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
		go c.watch()
		return nil
	}
	delete(c.record.Labels, engine.OwnerLabel)
	c.record, err = c.e.Client.ContainerService().Update(ctx, c.record, "labels")
	return err
}

// watch sees an attached container to its end.
func (c *Container) watch() {
	r := c.run
	defer close(r.done)
	r.status = <-r.ended
	r.oom = c.oomKilled()
	close(r.exited)
	if r.status.Error() != nil {
		r.streams.Cancel() // the shim is gone: nobody ends the streams
	}
	r.streams.Wait()
	r.err = r.streams.Err()
	if r.log == nil {
		return
	}
	if err := r.log.End(); err != nil && r.err == nil {
		r.err = fmt.Errorf("log: %w", err)
	}
}
