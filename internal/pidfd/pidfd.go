// Package pidfd signals processes, and waits for their end, by descriptors that
// never mean another process.
package pidfd

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Open gives a descriptor of the process with a number. One that has ended is ESRCH, also
// at this very moment: of a process that is being reaped the kernel says something else,
// EINVAL until Linux 6.15.
func Open(pid int) (fd int, err error) {
	fd, err = unix.PidfdOpen(pid, 0)
	if err == unix.EINVAL || err == unix.ENOENT {
		err = unix.ESRCH
	}
	return fd, err
}

// Signal sends a signal to the process pid if is says that the number still means
// the process that the caller means. One that has ended is no error.
func Signal(pid int, sig unix.Signal, is func() bool) error {
	fd, err := Open(pid)
	if err == nil {
		defer unix.Close(fd)
		if is() { // of what the descriptor means, or of nothing any more
			err = unix.PidfdSendSignal(fd, sig, nil, 0)
		}
	}
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// Await waits until a process is dead, but not longer than until end.
func Await(pidfd int, end time.Time) error {
	for {
		limit := max(time.Until(end), 0).Milliseconds()
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(limit))
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("poll", err)
		}
	}
}

// File makes a file of a pidfd, whose owner it becomes, for Wait.
func File(fd int) (*os.File, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// Wait waits until a process is dead, in Go's poller: it holds no thread.
// Closing the file ends it with os.ErrClosed.
func Wait(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
	})
}

// Reap frees what the kernel has still of a child that is dead.
func Reap(f *os.File) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		for unix.Waitid(unix.P_PIDFD, int(fd), nil, unix.WEXITED|unix.WNOHANG, nil) == unix.EINTR {
		}
	})
}
