package rootfs

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// OfProcess opens the root of a process, as the process has it, with all that
// is mounted there. pidfd says which process is meant: the pid alone may be
// another's by now. If it has ended, the error is ESRCH.
//
// pidfd stays the caller's, and must stay open as long as Ended is asked.
func OfProcess(pid int, pidfd *os.File) (*Root, error) {
	dir, err := openDir(fmt.Sprintf("/proc/%d/root", pid))
	if ended(pidfd) { // so it may have been another process's
		if err == nil {
			dir.Close()
		}
		return nil, unix.ESRCH
	}
	if err != nil {
		return nil, err
	}
	r, err := newRoot(dir)
	if err != nil {
		return nil, err
	}
	r.process = pidfd
	return r, nil
}

// Ended tells whether the process whose root it is has ended. What the process
// had as root may be used by others then.
func (r *Root) Ended() bool { return r.process != nil && ended(r.process) }

// ended tells of a pidfd whether its process has ended, or it is closed.
func ended(pidfd *os.File) bool {
	conn, err := pidfd.SyscallConn()
	if err != nil {
		return true
	}
	gone := true
	_ = conn.Control(func(fd uintptr) {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		var n int
		err := retry(func() (err error) {
			n, err = unix.Poll(poll, 0)
			return err
		})
		gone = err != nil || n > 0
	})
	return gone
}
