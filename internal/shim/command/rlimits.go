package command

import (
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const openFiles = "RLIMIT_NOFILE"

// withOpenFiles are the limits of a process, with that of open files. Nobody
// else's are said: a process has its shim's. But Go raises this one for itself,
// and runc, of a Go before 1.20, would hand that on to the container.
func withOpenFiles(limits []specs.POSIXRlimit) []specs.POSIXRlimit {
	own := inherited()
	if own == nil || slices.ContainsFunc(limits, func(l specs.POSIXRlimit) bool { return l.Type == openFiles }) {
		return limits
	}
	return append(slices.Clip(limits), *own)
}

// inherited is the limit of open files that a child of this process gets: what
// this process had before Go raised it, which Go does not tell. So a child is
// looked at, which is stopped before it does anything. nil is not known.
var inherited = sync.OnceValue(func() *specs.POSIXRlimit {
	// The thread that makes a tracee is its tracer, and its end would be the
	// tracee's.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	child, err := os.StartProcess("/proc/self/exe", []string{"limits"}, &os.ProcAttr{
		Sys: &syscall.SysProcAttr{Ptrace: true, Pdeathsig: unix.SIGKILL},
	})
	if err != nil {
		return nil
	}
	defer func() {
		_ = child.Kill()
		_, _ = child.Wait()
	}()
	for {
		if _, err := unix.Wait4(child.Pid, nil, 0, nil); err != unix.EINTR { // it stops after its execve
			break
		}
	}
	var l unix.Rlimit
	if unix.Prlimit(child.Pid, unix.RLIMIT_NOFILE, nil, &l) != nil {
		return nil
	}
	return &specs.POSIXRlimit{Type: openFiles, Soft: l.Cur, Hard: l.Max}
})

// lowerOpenFiles gives a process that was added to a container its limit of open
// files, if that is not what it has. runc 1.1 sets it too early: the process's
// own Go may raise it after that. What the process does in its first millisecond
// is before this, and nothing that its caller has told it to do.
func lowerOpenFiles(pid int, limits []specs.POSIXRlimit) {
	for _, l := range limits {
		raised := unix.Rlimit{Cur: l.Hard, Max: l.Hard}
		var now unix.Rlimit
		if l.Type == openFiles && unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &now) == nil && now == raised {
			_ = unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: l.Soft, Max: l.Hard}, nil)
		}
	}
}
