package slate

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/reexec"
	"github.com/ctorhq/ctor/internal/thread"
)

// Settle makes this process independent of how the one that started it was
// itself started. last is the last descriptor that was given on purpose. It is to
// be called first, and may execute the program again.
func Settle(last int) error {
	unix.Umask(thread.Umask)
	// Not every program may lower it, and none where /proc is read-only. An engine that is to survive is one thing, its
	// containers another: they have 0, and so has the shim that they get it from.
	err := os.WriteFile("/proc/self/oom_score_adj", []byte("0"), 0)
	if err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, unix.EROFS) {
		return err
	}
	_ = unix.Prctl(unix.PR_SET_THP_DISABLE, 0, 0, 0, 0)
	if err := CloseStrays(last); err != nil {
		return err
	}
	return resetSignals()
}

// CloseStrays closes the descriptors after last that this process has inherited:
// locks, pipes, sockets that the program believes to be closed. Those that the Go
// runtime and init functions have opened since are told by their being closed
// at the next execve, as what is inherited can't be.
func CloseStrays(last int) error {
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("find inherited descriptors: %w", err)
	}
	for _, entry := range dir {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil || fd <= last {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
	return nil
}

// resetSignals has no signal ignored or blocked: that would stay so in every
// process that this one executes.
func resetSignals() error {
	// The goroutine's thread has the mask that all have, and Go gives it to each
	// process that it forks.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	status, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return fmt.Errorf("read signals: %w", err)
	}
	ignored, err := signals(status, "SigIgn")
	if err != nil {
		return err
	}
	for n := range 64 {
		if ignored&(1<<n) == 0 {
			continue
		}
		if err := reset(n + 1); err != nil {
			return fmt.Errorf("reset signal %d: %w", n+1, err)
		}
	}
	blocked, err := signals(status, "SigBlk")
	if err != nil || blocked == 0 {
		return err
	}
	// Go keeps to the mask that a program begins with. So it has to begin again.
	var none unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &none, nil); err != nil {
		return fmt.Errorf("unblock signals: %w", err)
	}
	return fmt.Errorf("begin anew: %w", unix.Exec(reexec.Self, os.Args, os.Environ()))
}

// reset gives a signal its default action. Package signal can't, for those that
// the process was started to ignore.
func reset(signal int) error {
	// All zeros is SIG_DFL, no flags and an empty mask on every architecture.
	var action [64]byte
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(signal), uintptr(unsafe.Pointer(&action)), 0, sigsetSize, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// sigsetSize is the size of the kernel's set of signals in bytes.
const sigsetSize = 8

// signals reads a set of signals from a status, proc_pid_status(5).
func signals(status []byte, name string) (uint64, error) {
	for line := range bytes.Lines(status) {
		if set, ok := bytes.CutPrefix(line, []byte(name+":")); ok {
			return strconv.ParseUint(string(bytes.TrimSpace(set)), 16, 64)
		}
	}
	return 0, fmt.Errorf("the kernel does not tell %s", name)
}
