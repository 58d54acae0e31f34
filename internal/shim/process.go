package shim

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/host"
)

// process is a child of this program, waited for through a pidfd in Go's
// poller: a wait that holds no thread and that release can end.
type process struct {
	pid      int
	pidfd    *os.File
	commands bool // it has commands of its own, as a rule
	log      string
	before   int64 // size of the log when it was started
	done     chan struct{}
	once     sync.Once
}

// adopt begins to wait for a child that was started, with its pidfd if there is
// one already.
func adopt(child *os.Process, pidfd int, commands bool) (_ *process, err error) {
	defer func() {
		if err != nil {
			_ = child.Kill()
			err = fmt.Errorf("start shim: %w", err)
		}
	}()
	if pidfd < 0 { // Linux before 5.2
		if pidfd, err = unix.PidfdOpen(child.Pid, 0); err != nil {
			return nil, os.NewSyscallError("pidfd_open", err)
		}
	}
	if err := unix.SetNonblock(pidfd, true); err != nil {
		unix.Close(pidfd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	c := &process{pid: child.Pid, pidfd: os.NewFile(uintptr(pidfd), "pidfd"), commands: commands, done: make(chan struct{})}
	go c.reap()
	return c, nil
}

// exited is CLD_EXITED of sigaction(2): by itself, not by a signal.
const exited = 1

// reap waits until the process ended, or release was called.
func (p *process) reap() {
	defer close(p.done)
	raw, err := p.pidfd.SyscallConn()
	if err != nil {
		return
	}
	var info unix.Siginfo
	_ = raw.Read(func(fd uintptr) bool {
		err := unix.Waitid(unix.P_PIDFD, int(fd), &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		return err != nil || info.Signo != 0
	})
	if info.Signo == 0 {
		return
	}
	if p.commands || info.Code != exited { // one that exits has waited for them
		host.EndSession(p.pid)
	}
	for unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED, nil) == unix.EINTR {
	}
}

func (p *process) wait(ctx context.Context) {
	select {
	case <-p.done:
	case <-ctx.Done():
	}
}

// end waits for the end, and kills what does not come to it.
func (p *process) end(limit time.Duration) error {
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-p.done:
		return nil
	case <-late.C:
	}
	p.sigkill()
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	p.wait(ctx)
	return fmt.Errorf("shim %d did not end within %v, and was killed", p.pid, limit)
}

func (p *process) kill() {
	p.sigkill()
	<-p.done
	p.release()
}

func (p *process) sigkill() { _ = unix.PidfdSendSignal(int(p.pidfd.Fd()), unix.SIGKILL, nil, 0) }

// release stops waiting. A process that still runs is reaped by init, once
// this program has ended.
func (p *process) release() {
	p.once.Do(func() { p.pidfd.Close() })
	<-p.done
}

// socketpair makes a connection: our end, and a file for the other process.
func socketpair(name string) (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), name), os.NewFile(uintptr(fds[1]), name)
	defer ours.Close()
	c, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return c, theirs, nil
}
