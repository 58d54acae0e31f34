package task

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/pkg/protobuf"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// unknown is the exit status of a process whose end was not seen, or that never
// began; containerd's clients have it as UnknownExitStatus.
const unknown = 255

// process is one of a container's: its first, or one that Exec added.
type process struct {
	id    string // "" for the first
	paths paths
	spec  *specs.Process // of one that Exec added

	// starting is held while the process is started, and while its end is
	// told, so that it is told after the start.
	starting sync.Mutex

	mu       sync.Mutex
	state    tasktypes.Status // CREATED, RUNNING or STOPPED
	pid      int
	started  Process
	pidfd    *os.File // nil: not started
	streams  *streams // nil: not started
	inClosed bool     // CloseIO came, perhaps before there were streams
	last     end      // guarded by the family
	exited   chan struct{}
	status   uint32
	at       time.Time
}

func newProcess(id string, p paths) *process {
	return &process{id: id, paths: p, state: tasktypes.Status_CREATED, exited: make(chan struct{})}
}

// born takes over a process that an executor has started, in the call that
// did. When it fails the process is still the caller's.
func (p *process) born(started Process, s *streams) error {
	fd, err := unix.PidfdOpen(started.Pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("pidfd of process %d: %w", started.Pid, err)
	}
	children.know(started.Pid)
	s.attach(started.Console)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pid, p.started, p.pidfd, p.streams = started.Pid, started, os.NewFile(uintptr(fd), "pidfd"), s
	if p.inClosed {
		s.closeIn()
	}
	return nil
}

// discard ends a process that no client knows of, and gives how it ended, perhaps by
// itself.
func (p Process) discard() unix.WaitStatus {
	if p.Console != nil {
		p.Console.Close()
	}
	_ = unix.Kill(p.Pid, unix.SIGKILL)
	ws, _ := p.wait()
	return ws
}

// wait waits for the end of a process, and reaps it.
func (p Process) wait() (ws unix.WaitStatus, err error) {
	if p.Reap != nil {
		return p.Reap()
	}
	for {
		if _, err = unix.Wait4(p.Pid, &ws, 0, nil); !errors.Is(err, unix.EINTR) {
			return ws, err
		}
	}
}

// wait waits for the process's end, in Go's poller: thousands of waits hold no
// thread. It is called once, and reaps.
func (p *process) wait() uint32 {
	var werr error
	raw, err := p.pidfd.SyscallConn()
	if err == nil {
		err = raw.Read(func(uintptr) (done bool) {
			done, werr = children.wait(p.started, &p.last)
			return done
		})
	}
	ws := p.last.ws
	switch {
	case err != nil, werr != nil: // something else has waited for it
		return unknown
	case ws.Signaled():
		return 128 + uint32(ws.Signal())
	}
	return uint32(ws.ExitStatus())
}

// ended notes the end, and lets go of what the process had. tell is called
// before it can be seen.
func (p *process) ended(status uint32, tell func(at time.Time)) {
	p.streams.finish()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note(status)
	tell(p.at)
	close(p.exited)
	p.pidfd.Close()
}

// note is called with mu held.
func (p *process) note(status uint32) {
	p.state, p.status, p.at = tasktypes.Status_STOPPED, status, time.Now()
}

// end is called with mu held.
func (p *process) end(status uint32) {
	p.note(status)
	close(p.exited)
}

// failed notes that a process could not be started: there is nothing to wait for.
func (p *process) failed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end(unknown)
}

// abandon ends a process that was not started, for those that wait for it, and
// gives the answer to its deletion: there was nothing to end, and all is well,
// as containerd's own shim has it. It is an error if the process runs.
func (p *process) abandon() (*taskapi.DeleteResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch p.state {
	case tasktypes.Status_RUNNING:
		return nil, fmt.Errorf("the process runs: %w", errdefs.ErrFailedPrecondition)
	case tasktypes.Status_CREATED:
		p.end(unknown)
		return &taskapi.DeleteResponse{}, nil
	}
	return p.answer(), nil
}

// signal sends a signal through the pidfd: no other process can have got the
// pid meanwhile.
func (p *process) signal(sig unix.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == tasktypes.Status_STOPPED {
		return fmt.Errorf("the process has ended: %w", errdefs.ErrNotFound)
	}
	if p.pidfd == nil {
		return fmt.Errorf("the process was not started: %w", errdefs.ErrFailedPrecondition)
	}
	raw, err := p.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var kerr error
	err = raw.Control(func(fd uintptr) { kerr = unix.PidfdSendSignal(int(fd), sig, nil, 0) })
	if errors.Is(kerr, unix.ESRCH) {
		return fmt.Errorf("the process has ended: %w", errdefs.ErrNotFound)
	}
	if err = errors.Join(err, kerr); err != nil {
		return fmt.Errorf("signal %d: %w", sig, invalid(err))
	}
	return nil
}

func (p *process) current() tasktypes.Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

// running gives the pid of a process that runs, else 0.
func (p *process) running() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != tasktypes.Status_RUNNING {
		return 0
	}
	return p.pid
}

// number is the pid; 0 is that there is none yet.
func (p *process) number() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

// advance moves the state from one to another, if it is there.
func (p *process) advance(from, to tasktypes.Status) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != from {
		return false
	}
	p.state = to
	return true
}

// await waits until the process has ended.
func (p *process) await(ctx context.Context) error {
	select {
	case <-p.exited:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *process) deleted() *taskapi.DeleteResponse {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answer()
}

// answer is called with mu held.
func (p *process) answer() *taskapi.DeleteResponse {
	return &taskapi.DeleteResponse{Pid: uint32(p.pid), ExitStatus: p.status, ExitedAt: protobuf.ToTimestamp(p.at)}
}
