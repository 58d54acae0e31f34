package shim

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/shim/link"
)

// process is a child of this program, waited for through a pidfd in Go's
// poller: a wait that holds no thread and that release can end.
type process struct {
	pid   int
	pidfd *os.File
	done  chan struct{}
	once  sync.Once
}

// start executes a shim. It runs in a session of
// its own, or ^C in a terminal would reach it, and in a mount namespace of its
// own, so that no mount outlives it.
func start(path, kind, dir, log string, files ...*os.File) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open shim log: %w", err)
	}
	defer out.Close()
	// The lock goes with the descriptor into the process and ends with it:
	// Settle waits for that.
	if err := unix.Flock(int(out.Fd()), unix.LOCK_SH); err != nil {
		return nil, fmt.Errorf("lock shim log: %w", err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	pidfd := -1
	p, err := os.StartProcess(path, []string{link.Name, kind}, &os.ProcAttr{
		Dir:   dir,
		Env:   environ(),
		Files: append([]*os.File{null, out, out}, files...),
		Sys:   &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWNS, PidFD: &pidfd},
	})
	if err != nil {
		return nil, fmt.Errorf("start shim: %w", err)
	}
	defer p.Release()
	if pidfd < 0 { // Linux before 5.2
		if pidfd, err = unix.PidfdOpen(p.Pid, 0); err != nil {
			_ = p.Kill()
			return nil, fmt.Errorf("start shim: open pidfd: %w", err)
		}
	}
	if err := unix.SetNonblock(pidfd, true); err != nil {
		unix.Close(pidfd)
		_ = p.Kill()
		return nil, fmt.Errorf("start shim: %w", err)
	}
	c := &process{pid: p.Pid, pidfd: os.NewFile(uintptr(pidfd), "pidfd"), done: make(chan struct{})}
	go c.reap()
	return c, nil
}

// environ is the program's. A program built with -race sleeps for a second at
// its end, in case other threads still have races to tell of, and so would its
// shims, at each Close of an engine.
func environ() []string {
	if os.Getenv("GORACE") != "" {
		return nil
	}
	return append(os.Environ(), "GORACE=atexit_sleep_ms=0")
}

// reap waits until the process ended, or release was called.
func (p *process) reap() {
	defer close(p.done)
	raw, err := p.pidfd.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Read(func(fd uintptr) bool {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PIDFD, int(fd), &info, unix.WEXITED|unix.WNOHANG, nil)
		return err != nil || info.Signo != 0
	})
}

func (p *process) wait(ctx context.Context) {
	select {
	case <-p.done:
	case <-ctx.Done():
	}
}

func (p *process) kill() {
	_ = unix.PidfdSendSignal(int(p.pidfd.Fd()), unix.SIGKILL, nil, 0)
	<-p.done
	p.release()
}

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
