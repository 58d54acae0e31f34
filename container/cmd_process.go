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

	c       *Container
	in      life.Process
	life    life.Life
	path    string // of the command, for errors
	relay   bool   // the last output may still be on its way when the process has ended
	leave   func() // ends the call on the container that it is
	release func() // lets go of what the runtime has of the process; may be called again
	exited  chan struct{}

	// Set before exited is closed.
	exit   life.Exit
	unseen error
	ender  error // what ended it, if not itself or the command's user
}

func newProcess(c *Container, in life.Process, l life.Life, cmd spec.Command) *Process {
	return &Process{c: c, in: in, life: l, path: cmd.Path, relay: c.e.Backend.Relays(cmd.TTY), exited: make(chan struct{})}
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
	if p.in.Exec == "" {
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
	if err != nil {
		return p.c.wrap("signal process in", err)
	}
	err = p.tell(func(ctx context.Context) error { return p.in.Signal(ctx, n) })
	if err == os.ErrProcessDone {
		return err
	}
	return p.c.wrap("signal process in", err)
}

// tell asks something of a process that runs.
func (p *Process) tell(do func(context.Context) error) error {
	select {
	case <-p.exited:
		return os.ErrProcessDone
	default:
	}
	ctx, cancel := p.c.e.Cleanup(context.Background())
	defer cancel()
	err := do(ctx)
	if p.c.e.Backend.Gone(err) {
		return os.ErrProcessDone
	}
	return err
}

// closeIn tells the runtime that the input has ended. An error means that the
// process is gone, and its input with it.
func (p *Process) closeIn() { _ = p.tell(p.in.CloseInput) }

// watch sees the process to its end. ctx is that of the call on the container:
// it ends with the engine.
func (p *Process) watch(ctx context.Context) {
	defer p.leave()
	stop := context.AfterFunc(ctx, func() { _ = p.Kill() })
	p.exit, p.unseen = p.life.Exited(context.Background())
	stop()
	// Of a command it counts if it was the one: as that of a container's other
	// processes it is the container's.
	p.exit.OOMKilled = p.exit.OOMKilled && p.exit.Code == 128+int(syscall.SIGKILL)
	switch {
	case ctx.Err() != nil:
		p.ender = engine.ErrClosed
	case p.c.ending.Load():
		p.ender = errContainerClosed
	}
	if !p.relay {
		p.release()
	}
	p.end()
}

// end says that the process has ended.
func (p *Process) end() {
	if !p.relay {
		p.c.commands.Delete(p)
	}
	close(p.exited)
}

var errContainerClosed = fmt.Errorf("the container was closed: %w", errdefs.ErrNotFound)

// forget has the runtime let go of a process that was added.
func (p *Process) forget() {
	if p.relay {
		defer p.c.commands.Delete(p)
	}
	ctx, cancel := p.c.e.Cleanup(context.Background())
	defer cancel()
	_ = p.in.Delete(ctx) // an error: the container is gone, and all of it
}

// state is how the process ended, once it has.
func (p *Process) state() *ProcessState { return &ProcessState{p.Pid, p.exit} }

// err is what Wait has to say of the end.
func (p *Process) err() error {
	if p.unseen != nil {
		return p.c.wrap("wait for process in", p.unseen)
	}
	if p.exit.Code == 0 {
		return nil
	}
	err := newExitError(p.c, p.exit)
	err.Path = p.path
	if p.ender != nil && err.Signal == syscall.SIGKILL {
		return fmt.Errorf("%w: %w", p.ender, err)
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
