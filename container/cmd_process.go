package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	api "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/host"
)

// Process is the process of a command that was started. Its methods may be
// called by any number of goroutines.
type Process struct {
	Pid int // on the host

	c      *Container
	id     string // among the container's; "" is the first
	path   string // of the command, for errors
	relay  bool   // the last output may still be on its way when the process has ended
	leave  func() // ends the call on the container that it is
	exited chan struct{}

	// Set before exited is closed.
	status uint32
	oom    bool // the kernel has killed a process of the container for want of memory
	unseen error
	ender  error // what ended it, if not itself or the command's user

	releasing sync.Once
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
	if p.id == "" {
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
	n, ok := sig.(syscall.Signal)
	if !ok || n < 1 || n > 64 {
		return p.c.wrap("signal process in", invalid("%v is no signal of this system", sig))
	}
	err := p.tell(func(ctx context.Context, tasks api.TasksClient) error {
		_, err := tasks.Kill(ctx, &api.KillRequest{ContainerID: p.c.ID(), ExecID: p.id, Signal: uint32(n)})
		return err
	})
	if err == os.ErrProcessDone {
		return err
	}
	return p.c.wrap("signal process in", err)
}

// tell asks something of a process that runs.
func (p *Process) tell(do func(context.Context, api.TasksClient) error) error {
	select {
	case <-p.exited:
		return os.ErrProcessDone
	default:
	}
	ctx, cancel := p.c.e.Cleanup(context.Background())
	defer cancel()
	err := errgrpc.ToNative(do(ctx, p.tasks()))
	if p.c.gone(err) {
		return os.ErrProcessDone
	}
	return err
}

// closeIn tells the runtime that the input has ended.
func (p *Process) closeIn() {
	// An error means that the process is gone, and its input with it.
	_ = p.tell(func(ctx context.Context, tasks api.TasksClient) error {
		_, err := tasks.CloseIO(ctx, &api.CloseIORequest{ContainerID: p.c.ID(), ExecID: p.id, Stdin: true})
		return err
	})
}

func (p *Process) tasks() api.TasksClient { return p.c.e.Client.TaskService() }

// watch sees the process to its end. ctx is that of the call on the container:
// it ends with the engine.
func (p *Process) watch(ctx context.Context) {
	defer p.leave()
	stop := context.AfterFunc(ctx, func() { _ = p.Kill() })
	p.status, p.unseen = p.await()
	stop()
	switch {
	case ctx.Err() != nil:
		p.ender = engine.ErrClosed
	case p.c.ending.Load():
		p.ender = errContainerClosed
	}
	p.oom = p.status == 128+uint32(syscall.SIGKILL) && p.oomKilled()
	if !p.relay {
		p.release()
	}
	p.end()
}

// end tells everybody that the process has ended.
func (p *Process) end() {
	p.c.commands.Delete(p)
	close(p.exited)
}

var errContainerClosed = fmt.Errorf("the container was closed: %w", errdefs.ErrNotFound)

// await waits for the end, and gives the exit code.
func (p *Process) await() (uint32, error) {
	if p.id == "" {
		<-p.c.run.exited
		return p.c.run.status.ExitCode(), p.c.run.status.Error()
	}
	r, err := p.tasks().Wait(p.c.e.Context(context.Background()), &api.WaitRequest{ContainerID: p.c.ID(), ExecID: p.id})
	return r.GetExitStatus(), err
}

// oomKilled is asked before the container goes, and what tells with it.
func (p *Process) oomKilled() bool {
	if p.id == "" {
		return p.c.run.oom
	}
	return p.c.oomKilled()
}

// release lets go of what the runtime has of the process, once.
func (p *Process) release() {
	p.releasing.Do(func() {
		if p.id == "" {
			_ = p.c.Close()
			return
		}
		ctx, cancel := p.c.e.Cleanup(context.Background())
		defer cancel()
		// An error means that the container is gone, and all of it.
		_, _ = p.tasks().DeleteProcess(ctx, &api.DeleteProcessRequest{ContainerID: p.c.ID(), ExecID: p.id})
	})
}

// discard lets go of a process whose start failed. One that took too long may
// still be under way, and come to something that nobody wants.
func (p *Process) discard(ctx context.Context) {
	ctx, cancel := p.c.e.Cleanup(ctx)
	defer cancel()
	kill := &api.KillRequest{ContainerID: p.c.ID(), ExecID: p.id, Signal: uint32(syscall.SIGKILL)}
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		_, err := p.tasks().DeleteProcess(ctx, &api.DeleteProcessRequest{ContainerID: p.c.ID(), ExecID: p.id})
		if err == nil || p.c.gone(errgrpc.ToNative(err)) {
			return
		}
		_, _ = p.tasks().Kill(ctx, kill) // an error: there is nobody yet
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// state is how the process ended, once it has.
func (p *Process) state() *ProcessState {
	if p.unseen != nil {
		return &ProcessState{pid: p.Pid, code: -1}
	}
	return &ProcessState{pid: p.Pid, code: int(p.status)}
}

// err is what Wait has to say of the end.
func (p *Process) err() error {
	if p.unseen != nil {
		return p.c.wrap("wait for process in", unseen(p.unseen))
	}
	err := newExitError(p.c.ID(), p.status, p.oom)
	if err == nil {
		return nil
	}
	err.Path = p.path
	if p.ender != nil && err.Signal == syscall.SIGKILL {
		return fmt.Errorf("%w: %w", p.ender, err)
	}
	return err
}

// ProcessState tells how a command ended.
type ProcessState struct{ pid, code int }

// Pid is that of the process on the host. It may mean another one by now.
func (s *ProcessState) Pid() int { return s.pid }

// ExitCode is the exit code: 128+n where signal n ended the process, -1 where
// nobody saw the end.
func (s *ProcessState) ExitCode() int { return s.code }

// Success tells whether the exit code is 0.
func (s *ProcessState) Success() bool { return s.code == 0 }

// Signal is the signal that ended the process, as far as the exit code tells;
// else 0.
func (s *ProcessState) Signal() syscall.Signal { return signalOf(s.code) }

// String describes the end for people.
func (s *ProcessState) String() string {
	if s.code < 0 {
		return "end not seen"
	}
	return describe(s.code)
}
