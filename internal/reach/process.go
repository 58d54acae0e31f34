package reach

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/rootfs"
)

// first names the container's first process by a pidfd, through which its
// network and its files are reached. A pidfd keeps neither: a container ends as
// if there was none.
func (d *door) first(ctx context.Context) (*os.File, error) {
	if process, err := d.known(); process != nil || err != nil {
		return process, err
	}
	pid, err := d.c.Pid(ctx)
	if err != nil {
		return nil, err
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	pidfd := os.NewFile(uintptr(fd), "pidfd")
	if err := d.verify(ctx, pid, pidfd); err != nil {
		pidfd.Close()
		return nil, err
	}
	return d.know(pidfd)
}

// known gives the pidfd that there is already, or nil. The lock is not held
// while one is opened: Close does not wait for a runtime that hangs.
func (d *door) known() (*os.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, ErrClosed
	}
	if d.process != nil && !alive(d.process) { // there may be another: it was started again
		d.process.Close()
		d.process = nil
	}
	return d.process, nil
}

// know keeps a pidfd, unless another call was faster.
func (d *door) know(pidfd *os.File) (*os.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		pidfd.Close()
		return nil, ErrClosed
	case d.process != nil:
		pidfd.Close()
	default:
		d.process = pidfd
	}
	return d.process, nil
}

// verify makes sure that a pid means the container's process. That process may
// have ended and its pid been given to another, and a pid that a containerd in
// another pid namespace gives means nothing here.
func (d *door) verify(ctx context.Context, pid int, pidfd *os.File) error {
	own := d.c.Cgroup()
	in, err := cgroup.In(own, pid)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return unix.ESRCH
	}
	if err != nil {
		return err
	}
	if err := d.c.Running(ctx); err != nil {
		return err
	}
	if !alive(pidfd) {
		return unix.ESRCH
	}
	// Only systemd understands a name of its kind: a process is taken to be there.
	if strings.HasPrefix(own, "/") && !in {
		return fmt.Errorf("process %d is not in its cgroup %s: the program must be in the same pid namespace as its containerd: %w", pid, own, errdefs.ErrUnavailable)
	}
	return nil
}

// alive tells whether the process still has its pid: nothing has waited for it.
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
func (d *door) root(ctx context.Context, process *os.File) (*rootfs.Root, error) {
	pid, err := d.c.Pid(ctx)
	if err != nil {
		return nil, err
	}
	return rootfs.OfProcess(pid, process)
}
