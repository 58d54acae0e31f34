// Package slate gives a shim a clean slate. A process inherits some thirty things
// from the one that starts it, and hands them on: to a container they would be
// an accident of how the program happened to be started, and to a detached shim a
// tie to what the program's user believes to be closed.
//
// Each has an owner. Nothing of the program itself is ever changed.
//
//	environment                      Environ: what is named, and nothing else
//	nice, scheduling policy,
//	I/O priority, CPU affinity,
//	memory policy, personality,
//	timer slack, session keyring     Start: set on a thread that then starts the shim
//	session, terminal, working
//	directory, standard streams      Start's caller, as with os.StartProcess
//	umask, oom_score_adj,
//	transparent huge pages           Settle, first thing in the shim
//	signals ignored and blocked      Settle
//	open descriptors                 Settle
//	mount namespace, name,
//	subreaper                        package serve
//	dumpable, parent death signal,
//	timers, pending signals          the kernel: an execve or a fork resets them
//	resource limits                  the program: what it may, its containers may, as
//	                                 with os/exec, unless a container has its own
//	user, capabilities, securebits,
//	no_new_privs, seccomp filters,
//	Landlock, root directory, other
//	namespaces, cgroup               the host's administrator: they bound what the
//	                                 program may do, and so what its shims may
package slate

import (
	"os"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/thread"
)

// Start is os.StartProcess for a process that inherits none of what depends on
// the thread that starts it. What can't be changed, for want of rights, stays.
func Start(path string, args []string, attr *os.ProcAttr) (p *os.Process, err error) {
	thread.Apart(func() {
		clean()
		p, err = os.StartProcess(path, args, attr)
	})
	return p, err
}

// What golang.org/x/sys does not have.
const (
	ioprioWhoProcess = 1
	mpolDefault      = 0
	linux            = 0      // of personality(2)
	timerSlack       = 50_000 // nanoseconds, the kernel's own
)

// clean gives the calling thread what the kernel's first process began with.
func clean() {
	// Its nice value as well.
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: uint32(unsafe.Sizeof(unix.SchedAttr{})), Policy: unix.SCHED_NORMAL}, 0)
	_, _, _ = unix.RawSyscall(unix.SYS_IOPRIO_SET, ioprioWhoProcess, 0, 0)
	var all unix.CPUSet
	for n := range all {
		all[n] = ^all[n] // the kernel takes away what a cpuset does not have
	}
	_ = unix.SchedSetaffinity(0, &all)
	_, _, _ = unix.RawSyscall(unix.SYS_SET_MEMPOLICY, mpolDefault, 0, 0)
	_, _, _ = unix.RawSyscall(unix.SYS_PERSONALITY, linux, 0, 0)
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, timerSlack, 0, 0, 0)
	_, _ = unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0) // a new one, without a name
}

// Environ gives the variables of this program that are named, and those that are
// given as name=value.
func Environ(names []string, given ...string) []string {
	var env []string
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); slices.Contains(names, name) {
			env = append(env, v)
		}
	}
	return append(env, given...)
}
