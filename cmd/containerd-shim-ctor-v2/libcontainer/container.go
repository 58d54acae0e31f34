package libcontainer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/containerd/errdefs"
	runc "github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/shim/task"
)

// Container is one that the executor made.
type Container struct {
	forks *forks
	made  *runc.Container
	first *runc.Process
	// turn is a lock that can be waited for with a context. libcontainer has
	// one as well, but a call that waits for that one holds a fork thread.
	turn      chan struct{}
	resources *specs.LinuxResources // what is in force; nil: no limits
	root, dir string                // of the state, and of the bundle
}

var _ task.Container = (*Container)(nil)

func (c *Container) lock(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Container) unlock() { <-c.turn }

// launch starts a process, the first or a further one, with its streams.
func (c *Container) launch(ctx context.Context, p *runc.Process, io task.Stdio) (_ task.Process, err error) {
	var none task.Process
	var tty *console
	if io.Terminal {
		if tty, err = newConsole(); err != nil {
			return none, err
		}
		defer tty.close()
		p.ConsoleSocket = tty.theirs
	} else {
		connect(p, io.In, io.Out, io.Err)
	}
	if err := c.forks.do(ctx, func() error { return c.made.Start(p) }); err != nil {
		return none, explain(err, p)
	}
	pid, err := p.Pid()
	if err != nil {
		return none, err
	}
	started := task.Process{Pid: pid, Reap: func() (unix.WaitStatus, error) { return reaped(p) }}
	if tty != nil {
		started.Console, err = tty.receive()
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		undo(p, started.Console)
		return none, err
	}
	return started, nil
}

// reaped waits for a process as libcontainer does, which has a descriptor of it
// that else only Go's collector would close.
func reaped(p *runc.Process) (unix.WaitStatus, error) {
	state, err := p.Wait()
	if state == nil {
		return 0, err
	}
	return unix.WaitStatus(state.Sys().(syscall.WaitStatus)), nil // err tells of the status
}

// undo ends a process that nobody has been told of.
func undo(p *runc.Process, console *os.File) {
	if console != nil {
		console.Close()
	}
	_ = p.Signal(unix.SIGKILL)
	_, _ = p.Wait()
}

// Exec starts a further process. libcontainer has no names for them.
func (c *Container) Exec(ctx context.Context, id string, p *specs.Process, io task.Stdio) (task.Process, error) {
	cgroup.ExpectMove()
	started, err := c.exec(ctx, p, io)
	if err != nil {
		return task.Process{}, fmt.Errorf("exec %s in container %s: %w", id, c.made.ID(), err)
	}
	return started, nil
}

func (c *Container) exec(ctx context.Context, p *specs.Process, io task.Stdio) (task.Process, error) {
	process, err := newProcess(p)
	if err != nil {
		return task.Process{}, err
	}
	if err := c.lock(ctx); err != nil {
		return task.Process{}, err
	}
	defer c.unlock()
	// In a frozen cgroup it would hang, in an ended container it might end up
	// in the namespaces of another process with the old one's number.
	status, err := c.made.Status()
	if err != nil {
		return task.Process{}, err
	}
	if status == runc.Paused || status == runc.Stopped {
		return task.Process{}, fmt.Errorf("%w: the container is %s", errdefs.ErrFailedPrecondition, status)
	}
	return c.launch(ctx, process, io)
}

// Pause stops all processes of the container.
func (c *Container) Pause(ctx context.Context) error {
	return c.change(ctx, "pause", c.made.Pause)
}

// Resume lets them go on.
func (c *Container) Resume(ctx context.Context) error {
	return c.change(ctx, "resume", c.made.Resume)
}

// Delete undoes the container. Its first process has ended, and was waited for.
func (c *Container) Delete(ctx context.Context) error {
	return c.change(ctx, "delete", func() error {
		// libcontainer would look for it under /proc, and where it finds nothing
		// mount another procfs to look there.
		if c.first.Signal(unix.Signal(0)) == nil {
			return runc.ErrRunning
		}
		// The command that made a checkpoint to end with has destroyed it, and
		// hooks run once.
		if _, err := os.Lstat(filepath.Join(c.root, c.made.ID())); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return c.made.Destroy()
	})
}

func (c *Container) change(ctx context.Context, what string, do func() error) error {
	err := c.lock(ctx)
	if err == nil {
		defer c.unlock()
		err = do()
	}
	if err != nil {
		return fmt.Errorf("%s container %s: %w", what, c.made.ID(), classify(err))
	}
	return nil
}
