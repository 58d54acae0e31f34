// Package pidfd signals processes, and waits for their end, by descriptors that
// never mean another process.
package pidfd

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Signal sends a signal to the process pid if is says that the number still means
// the process that the caller means. One that has ended is no error.
func Signal(pid int, sig unix.Signal, is func() bool) error {
	fd, err := unix.PidfdOpen(pid, 0)
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
