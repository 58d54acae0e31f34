package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// network is what the program has of a container's network.
type network struct {
	mu      sync.Mutex
	process *os.File          // pidfd of the first process; nil: not needed yet
	serving map[*tie]struct{} // listeners that are open
	over    bool              // Close has begun
}

// pidfd names the container's first process, by which its network and its
// files are reached. A pidfd keeps neither: a container ends as if there was
// none.
func (c *Container) pidfd(ctx context.Context) (*os.File, error) {
	if process, err := c.network.known(); process != nil || err != nil {
		return process, err
	}
	if c.task == nil {
		return nil, unix.ESRCH
	}
	pid := int(c.task.pid)
	if pid == 0 { // see findTask
		if _, err := c.status(ctx); err != nil {
			return nil, err
		}
		return nil, unix.ESRCH
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	pidfd := os.NewFile(uintptr(fd), "pidfd")
	if err := c.verify(ctx, pid, pidfd); err != nil {
		pidfd.Close()
		return nil, err
	}
	return c.network.know(pidfd)
}

// known is the pidfd that there is already, or nil. Nobody holds the lock while
// he gets one: Close does not wait for a runtime that hangs.
func (n *network) known() (*os.File, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.over {
		return nil, errClosing
	}
	return n.process, nil
}

// know keeps a pidfd, unless somebody was faster.
func (n *network) know(pidfd *os.File) (*os.File, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.over:
		pidfd.Close()
		return nil, errClosing
	case n.process != nil:
		pidfd.Close()
	default:
		n.process = pidfd
	}
	return n.process, nil
}

var errClosing = fmt.Errorf("it is closed: %w", errdefs.ErrNotFound)

// verify sees to it that a pid means the container's process: that one may
// have ended and another got its number, and the number that a containerd in
// another pid namespace gives means nothing here.
func (c *Container) verify(ctx context.Context, pid int, pidfd *os.File) error {
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return unix.ESRCH
	}
	if err != nil {
		return err
	}
	own := c.cgroup()
	known := !strings.HasPrefix(own, "/") // in systemd's way of saying, which only systemd understands
	for line := range strings.Lines(string(groups)) {
		known = known || strings.Contains(strings.TrimSuffix(line, "\n")+"/", own+"/")
	}
	if s, err := c.status(ctx); err != nil {
		return err
	} else if s.Status == containerd.Stopped || !alive(pidfd) {
		return unix.ESRCH
	}
	if !known {
		return fmt.Errorf("process %d is not in its cgroup %s: the program must be in the same pid namespace as its containerd: %w", pid, own, errdefs.ErrUnavailable)
	}
	return nil
}

// alive tells whether the process still has its pid: nobody has waited for it.
func alive(pidfd *os.File) bool {
	raw, err := pidfd.SyscallConn()
	if err != nil {
		return false
	}
	var kerr error
	err = raw.Control(func(fd uintptr) { kerr = unix.PidfdSendSignal(int(fd), 0, nil, 0) })
	return err == nil && kerr == nil
}

// root opens the root of the file system as the container's first process sees
// it.
func (c *Container) root(process *os.File) (*rootfs.Root, error) {
	return rootfs.OfProcess(int(c.task.pid), process)
}

// whyNot says that the container has ended, if that is what err comes from.
func (c *Container) whyNot(ctx context.Context, err error) error {
	if !errors.Is(err, unix.ESRCH) && !errors.Is(err, os.ErrClosed) {
		return err
	}
	if c.ending.Load() {
		return errClosing
	}
	s, serr := c.status(ctx)
	if serr != nil {
		return serr
	}
	return over(s)
}

// over is the error of what can't be done after the end.
func over(s containerd.Status) error {
	if s.Status != containerd.Stopped || s.ExitStatus == unknown {
		return invalid("it has ended")
	}
	return invalid("it has ended with %s", describe(int(s.ExitStatus)))
}

// opError makes err what package net would give, with the container's name.
func (c *Container) opError(op, network, address string, err error) error {
	e := &net.OpError{Op: op, Net: network}
	if in, ok := err.(*net.OpError); ok {
		e.Source, e.Addr, err = in.Source, in.Addr, in.Err
	}
	if strings.HasPrefix(network, "unix") {
		e.Addr = &net.UnixAddr{Name: address, Net: network}
	}
	e.Err = &netError{c.ID(), err}
	return e
}

// netError is an error within a net.OpError. Whether it is a timeout, that one
// asks it and nobody deeper.
type netError struct {
	id  string
	err error
}

func (e *netError) Error() string { return fmt.Sprintf("container %q: %v", e.id, e.err) }
func (e *netError) Unwrap() error { return e.err }

func (e *netError) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.err, &t) && t.Timeout()
}
