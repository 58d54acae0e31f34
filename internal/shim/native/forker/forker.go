// Package forker has processes forked for a shim by small ones that do nothing
// else. The program is C without a C library, in directory c, and is embedded as
// bytes: no compiler is needed to build this package. make forker compiles it.
//
// A Go program forks slowly, and what it forks would be a Go program. The forker
// has no threads, no mounts and 40 KB. What it forks carries out a Script, made of
// a container's configuration, and executes the container's command.
package forker

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/sealed"
)

// Name is what a forker is called in lists of processes.
const Name = "ctor-forker"

// A forker is a running one. It answers one request at a time.
type forker struct {
	pid        int
	connection int
}

// helloSize is that of struct hello of c/wire.h.
const helloSize = 32

// starter starts forkers, on a thread that stays: their children die when the
// thread that has started them ends.
type starter struct {
	program *os.File
	jobs    chan func()
	before  func() error // on that thread, for tests; nil: nothing
}

func newStarter(before func() error) (*starter, error) {
	if len(program) == 0 {
		return nil, fmt.Errorf("there is no forker for %s: %w", runtime.GOARCH, errors.ErrUnsupported)
	}
	p, err := sealed.Program(Name, bytes.NewReader(program))
	if err != nil {
		return nil, fmt.Errorf("copy forker into memory: %w", err)
	}
	s := &starter{program: p, jobs: make(chan func()), before: before}
	go s.run()
	return s, nil
}

func (s *starter) run() {
	runtime.LockOSThread() // and never unlocked: what a test has done to the thread ends with it
	for job := range s.jobs {
		job()
	}
}

func (s *starter) close() {
	close(s.jobs)
	s.program.Close()
}

// start starts a forker, and hears whether this kernel can do what it needs. If not
// the error is errors.ErrUnsupported.
func (s *starter) start() (f *forker, err error) {
	done := make(chan struct{})
	s.jobs <- func() {
		defer close(done)
		if s.before != nil {
			err = s.before()
		}
		if err == nil {
			f, err = s.fork()
		}
	}
	<-done
	if err != nil {
		return nil, fmt.Errorf("start forker: %w", err)
	}
	if err := f.hear(); err != nil {
		f.end()
		return nil, fmt.Errorf("start forker: %w", err)
	}
	return f, nil
}

func (s *starter) fork() (*forker, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(fds[1])
	// Its limit of open files is the program's before Go raised it: package syscall
	// sees to that.
	pid, err := syscall.ForkExec(fmt.Sprintf("/proc/self/fd/%d", s.program.Fd()), []string{Name}, &syscall.ProcAttr{
		Dir:   "/",
		Files: []uintptr{null.Fd(), null.Fd(), null.Fd(), uintptr(fds[1])},
		Sys:   &syscall.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL},
	})
	if err != nil {
		unix.Close(fds[0])
		return nil, fmt.Errorf("execute it: %w: %w", err, errors.ErrUnsupported)
	}
	return &forker{pid: pid, connection: fds[0]}, nil
}

// hear reads the forker's first message.
func (f *forker) hear() error {
	var b [helloSize]byte
	n, err := f.read(b[:])
	switch {
	case err != nil:
		return err
	case n != len(b):
		return fmt.Errorf("it has ended: %w", errors.ErrUnsupported)
	}
	if errno := order.Uint32(b[:]); errno != 0 {
		name, _, _ := bytes.Cut(b[4:], []byte{0})
		return fmt.Errorf("%s: %w: %w", name, unix.Errno(errno), errors.ErrUnsupported)
	}
	return nil
}

func (f *forker) read(b []byte) (int, error) {
	for {
		n, _, err := unix.Recvfrom(f.connection, b, 0)
		if err != unix.EINTR {
			return n, os.NewSyscallError("recvfrom", err)
		}
	}
}

// Errors of a forker that was killed: before it was asked, and after.
var (
	errGone   = fmt.Errorf("the forker has ended: %w", errdefs.ErrUnavailable)
	errSilent = fmt.Errorf("the forker has ended before it answered: %w", errdefs.ErrUnavailable)
)

// ask has the forker fork. The error is the kernel's answer, or one of those.
func (f *forker) ask(request []byte, files []int) (pid int, err error) {
	if err := unix.Sendmsg(f.connection, request, unix.UnixRights(files...), nil, unix.MSG_NOSIGNAL); err != nil {
		if err == unix.EPIPE || err == unix.ECONNRESET {
			return 0, errGone
		}
		return 0, os.NewSyscallError("sendmsg", err)
	}
	var b [4]byte
	n, err := f.read(b[:])
	if err != nil || n != len(b) {
		return 0, errSilent
	}
	answer := int32(order.Uint32(b[:]))
	if answer < 0 {
		return 0, unix.Errno(-answer)
	}
	return int(answer), nil
}

// end ends the forker. What it has forked runs on.
func (f *forker) end() {
	unix.Close(f.connection)
	for {
		if _, err := unix.Wait4(f.pid, nil, 0, nil); err != unix.EINTR {
			return
		}
	}
}
