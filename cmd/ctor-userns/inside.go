package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/host"
	"github.com/ctorhq/ctor/internal/reexec"
)

// lifeline is the descriptor of a pipe from the process outside. It ends with that.
const lifeline = 3

var errAlone = errors.New("ctor-userns itself has ended")

// wait waits to be root, and takes the rights of one: the kernel gives them to root
// when it executes a program.
func wait() error {
	var b [1]byte
	if n, err := unix.Read(lifeline, b[:]); err != nil || n != 1 {
		return errors.Join(errAlone, err)
	}
	args := append([]string{os.Args[0], reexec.Mark(entering)}, os.Args[2:]...)
	return unix.Exec(reexec.Self, args, os.Environ())
}

// enter makes ready what the command finds, and becomes it.
func enter(command []string) error {
	runtime.LockOSThread() // a cgroup namespace is a thread's, and so is the death signal
	// It was forgotten with the change of rights.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	if n, err := unix.Poll([]unix.PollFd{{Fd: lifeline}}, 0); n != 0 || err != nil {
		return errors.Join(errAlone, err)
	}
	unix.CloseOnExec(lifeline)
	// Mounts of the host still arrive, and those made here stay here.
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return host.ExplainUserNS(err)
	}
	if err := divide(); err != nil {
		return err
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", path, unix.Exec(path, command, os.Environ()))
}
