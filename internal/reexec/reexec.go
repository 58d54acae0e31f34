// Package reexec is how a program becomes something else: executed again, by
// itself or by a shim, it is caught in an init function before its main, and
// runs in a role. So what uses this module needs no second file and no line in
// main.
//
// There is one convention. The first argument is the role's name with a prefix
// that no program takes for its own; the role's own arguments follow. What the
// process calls itself is free.
//
// Anybody can execute a program with such arguments, and hand it descriptors. That
// gives nothing away as long as the process may do no more than the one that started
// it. So a process with more rights (set-uid, set-gid, file capabilities) takes
// no role, and one that was started by way of a program that is free with its
// rights, as sudo can be, takes none either, since what it inherits is not its own
// user's: each role says how it looks.
package reexec

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Self is the path of this very program, even after its file was replaced.
const Self = "/proc/self/exe"

// prefix of a role's name makes the argument.
const prefix = "ctor-role-"

// Role is something else that a program is when it is executed again.
type Role struct {
	Name string
	// Trust says why what the process has inherited can't be from this program.
	Trust func() error
	// Run is what it does. An error is written to standard error, and ends the
	// process with 1.
	Run func(args []string) error
}

// Mark is the argument by which a process is in a role.
func Mark(role string) string { return prefix + role }

// Args are the arguments of a process in a role, which calls itself name.
func Args(name, role string, args ...string) []string {
	return append([]string{name, Mark(role)}, args...)
}

// Hook is for init functions. It does not return in a process that is in the
// role, or was to be and may not.
func (r Role) Hook() {
	if len(os.Args) < 2 || os.Args[1] != Mark(r.Name) {
		return
	}
	err := NotPrivileged()
	if err == nil {
		err = r.Trust()
	}
	if err == nil {
		err = r.Run(os.Args[2:])
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[0], err)
		os.Exit(1)
	}
	os.Exit(0)
}

// secure is AT_SECURE of getauxval(3).
const secure = 23

// NotPrivileged is an error in a process that has more rights than the one that
// executed it.
func NotPrivileged() error {
	vector, err := unix.Auxv()
	if err != nil {
		return fmt.Errorf("find out whose rights this process has: %w", err)
	}
	for _, entry := range vector {
		if entry[0] == secure && entry[1] != 0 {
			return errPrivileged
		}
	}
	return nil
}

var errPrivileged = errors.New("this process has more rights than the user who started it, who could make it do anything: " +
	"the program must not be set-uid or set-gid or have file capabilities, start it with sudo")

// SameProgram is an error unless a socket was made by this program, executed by
// the same user, and that process lives.
func SameProgram(fd int) error {
	made, err := SameUser(fd)
	if err != nil {
		return err
	}
	theirs, err := os.Stat(fmt.Sprintf("/proc/%d/exe", made))
	if err != nil {
		return fmt.Errorf("find the program that started this: %w", err)
	}
	ours, err := os.Stat(Self)
	if err != nil {
		return err
	}
	if !os.SameFile(ours, theirs) {
		return fmt.Errorf("this was not started by its own program, but by process %d, which is another", made)
	}
	return nil
}

// SameUser gives the process that made a socket. It is an error unless that is
// of this user.
func SameUser(fd int) (pid int, err error) {
	made, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, fmt.Errorf("descriptor %d is not from the program that started this: %w", fd, os.NewSyscallError("getsockopt", err))
	}
	if int(made.Uid) != os.Geteuid() {
		return 0, fmt.Errorf("this was started by user %d, and is user %d's", made.Uid, os.Geteuid())
	}
	return int(made.Pid), nil
}

// OwnPipes is an error unless each descriptor is a pipe that this user has made.
func OwnPipes(fds ...int) error {
	for _, fd := range fds {
		var st unix.Stat_t
		var fs unix.Statfs_t
		if err := errors.Join(unix.Fstat(fd, &st), unix.Fstatfs(fd, &fs)); err != nil {
			return fmt.Errorf("descriptor %d: %w", fd, err)
		}
		// A fifo with a name may be opened by others than its owner.
		if fs.Type != unix.PIPEFS_MAGIC || int(st.Uid) != os.Geteuid() {
			return fmt.Errorf("descriptor %d is not a pipe that user %d has made", fd, os.Geteuid())
		}
	}
	return nil
}
