package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/host"
	"github.com/ctorhq/ctor/internal/life"
	"github.com/ctorhq/ctor/internal/spec"
)

// Process is the process of a command that was started. Its methods may be
// called by any number of goroutines.
type Process struct {
	Pid int // on the host

	c    *Container
	path string // of the command, for errors
	life *life.Command
}

// newProcess is the process of a command that is about to be started.
func newProcess(c *Container, cmd spec.Command, l *life.Command) *Process {
	l.Relay, l.Gone = c.e.Backend.Relays(cmd.TTY), c.e.Backend.Gone
	l.Asking = func() (context.Context, context.CancelFunc) { return c.e.Cleanup(context.Background()) }
	l.Begin()
	return &Process{c: c, path: cmd.Path, life: l}
}

// Kill ends the process at once; what it has started goes on, as with os/exec,
// and KillTree ends that too. One that has ended is os.ErrProcessDone. In a
// container that is paused the kernel may end nothing, so there it ends the
// pause as well.
func (p *Process) Kill() error { return p.Signal(syscall.SIGKILL) }

// KillTree is Kill for the process and for what it has started, what that has
// started, and so on: also for what runs on after its parent's end, unless it has
// made itself a daemon, with a session of its own. For a command that is to end
// with its context with all that belongs to it:
//
//	cmd.Cancel = func() error { return cmd.Process.KillTree() }
//
// Of a command of image.Command nothing runs on anyway, nor of a container's
// first process: with it, the kernel ends all that is in the container.
func (p *Process) KillTree() error {
	if p.life.Process.Exec == "" {
		return p.Kill()
	}
	// While it is stopped it does not end, and its number is no other process's.
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	err := host.KillDescendants(p.Pid)
	if kerr := p.Kill(); kerr != os.ErrProcessDone {
		err = errors.Join(err, kerr)
	}
	return p.c.wrap("kill the tree of process in", err)
}

// Signal sends the process a signal. One that has ended is os.ErrProcessDone; a
// sig that is no syscall.Signal is ctor.ErrInvalid.
func (p *Process) Signal(sig os.Signal) error {
	n, err := life.Number(sig)
	if err == nil {
		err = p.life.Signal(n)
	}
	if err == os.ErrProcessDone {
		return err
	}
	return p.c.wrap("signal process in", err)
}

// watch sees the process to its end. ctx is that of the call on the container: it ends
// with the engine.
func (p *Process) watch(ctx context.Context) {
	p.life.Watch(ctx, func() error {
		switch {
		case ctx.Err() != nil:
			return engine.ErrClosed
		case p.c.ending.Load():
			return errContainerClosed
		}
		return nil
	})
}

var errContainerClosed = fmt.Errorf("the container was closed: %w", errdefs.ErrNotFound)

// err is what Wait has to say of the end.
func (p *Process) err() error {
	exit, ender, unseen := p.life.Exit()
	if unseen != nil {
		return p.c.wrap("wait for process in", unseen)
	}
	if exit.Code == 0 {
		return nil
	}
	err := newExitError(p.c, exit)
	err.Path = p.path
	if ender != nil && err.Signal == syscall.SIGKILL {
		return fmt.Errorf("%w: %w", ender, err)
	}
	return err
}

// ProcessState tells how a command ended.
type ProcessState struct {
	pid  int
	exit life.Exit
}

// Pid is that of the process on the host. It may mean another one by now.
func (s *ProcessState) Pid() int { return s.pid }

// ExitCode is the exit code: 128+n where signal n ended the process, -1 where the
// end was not seen.
func (s *ProcessState) ExitCode() int { return s.exit.Code }

// Success tells whether the exit code is 0.
func (s *ProcessState) Success() bool { return s.exit.Code == 0 }

// Signal is the signal that ended the process, as far as the exit code tells;
// else 0.
func (s *ProcessState) Signal() syscall.Signal { return s.exit.Signal() }

// String describes the end for people.
func (s *ProcessState) String() string { return s.exit.String() }
