// Package netns makes sockets in the network namespace of another process.
//
// A socket belongs to the namespace it was made in for as long as it lives, and
// nothing else of a connection asks where its thread is. So a thread goes into
// the namespace for one system call, socket(2), and is back before the socket
// connects or listens: thousands of connections hold no thread, and a connect
// that waits, waits in Go's poller. The sockets are package net's own, with its
// types and its defaults.
//
// A process's namespace is named by a pidfd, not by a file in /proc: it never means
// another process, it does not keep the namespace, and the kernel itself looks
// whether the process is still there: if it has ended, the error is ESRCH. Linux
// takes a pidfd for it since 5.8.
package netns

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/userns"
)

// control is what package net calls with a new socket, before it does anything
// else with it.
type control = func(network, address string, c syscall.RawConn) error

// within has open make one socket in the namespace that a journey takes a thread to.
// open passes the control that it gets to package net.
//
// It does so in a goroutine of its own: a thread that can't get back ends with
// its goroutine, and the caller's is not ours to end.
func within(there journey, open func(control) error) error {
	done := make(chan error, 1)
	go func() { done <- lock(there, open) }()
	return <-done
}

// A journey takes the calling thread to another namespace.
type journey func() error

// to leads to the namespace of process, or to the one that a file is.
func to(process *os.File) journey {
	return func() error {
		raw, err := process.SyscallConn()
		if err == nil && raw.Control(func(fd uintptr) { err = enter(int(fd)) }) != nil {
			err = os.ErrClosed
		}
		return err
	}
}

// enter goes to the namespace of a process, or to the one that a file is. A user
// namespace may have no right to enter the one that it is in.
func enter(fd int) error {
	err := setns(fd)
	if errors.Is(err, unix.EPERM) && !userns.Own().Host() && isOwn(fd) {
		return nil
	}
	return err
}

func isOwn(fd int) bool {
	path := fmt.Sprintf("/proc/self/fd/%d", fd)
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	for line := range strings.Lines(string(info)) {
		if pid, ok := strings.CutPrefix(line, "Pid:"); ok {
			path = "/proc/" + strings.TrimSpace(pid) + "/ns/net"
		}
	}
	var there, home unix.Stat_t
	return err == nil && unix.Stat(path, &there) == nil && unix.Stat("/proc/self/ns/net", &home) == nil && there.Ino == home.Ino && there.Dev == home.Dev
}

// visits bounds how many threads are away at a time. A visit is short, and more
// visits side by side would not be faster; but each takes a thread of its own,
// and Go keeps every thread that it has made.
var visits = make(chan struct{}, 8)

// lock takes a thread for the visit.
func lock(there journey, open func(control) error) error {
	visits <- struct{}{}
	runtime.LockOSThread()
	// The first thread stands for all of them in /proc/self, and has no end of
	// its own.
	if unix.Gettid() == unix.Getpid() {
		<-visits
		defer runtime.UnlockOSThread()
		return within(there, open) // on another, since this one is held
	}
	return visit(there, open)
}

// visit runs on a locked thread, and unlocks it once it is back home.
func visit(there journey, open func(control) error) error {
	v := visitor{thread: unix.Gettid()}
	if err := v.enter(there); err != nil {
		<-visits
		runtime.UnlockOSThread()
		return err
	}
	err := open(func(string, string, syscall.RawConn) error {
		if v.thread != unix.Gettid() || !v.away {
			return errElsewhere
		}
		return v.leave()
	})
	if v.away { // no socket was made
		if lerr := v.leave(); lerr != nil {
			return errors.Join(err, lerr)
		}
	}
	return err
}

// errElsewhere ends a socket that was not made in the namespace: where the
// kernel has no port to connect from, or connects a socket to itself, package
// net makes a second one.
var errElsewhere = errors.New("the socket is not of the namespace")

// A visitor is a thread that is in another namespace for a moment.
type visitor struct {
	thread int
	home   int // descriptor of its own namespace
	away   bool
}

func (v *visitor) enter(there journey) (err error) {
	if v.home, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return &os.PathError{Op: "open", Path: "/proc/thread-self/ns/net", Err: err}
	}
	if err := there(); err != nil {
		unix.Close(v.home)
		return err
	}
	v.away = true
	return nil
}

// leave takes the thread home and unlocks it. When it fails the thread stays
// locked, and ends with its goroutine. In a user namespace that is no failure: home
// is a namespace of the host's, in which the program has no rights.
func (v *visitor) leave() error {
	v.away = false
	err := setns(v.home)
	unix.Close(v.home)
	<-visits
	if errors.Is(err, unix.EPERM) && !userns.Own().Host() {
		return nil
	}
	if err != nil {
		return fmt.Errorf("back to the program's own namespace: %w", err)
	}
	runtime.UnlockOSThread()
	return nil
}

func setns(fd int) error {
	return os.NewSyscallError("setns", unix.Setns(fd, unix.CLONE_NEWNET))
}

// Within runs f on a thread that is in the namespace of process, for what is
// made there beside sockets of package net's own. f may be called with no other
// thread of the program in the namespace: it starts no goroutine that must be
// there, and looks up no names.
// What is the program's own namespace, as with a container that has the host's
// network, is ErrOwn.
func Within(process *os.File, f func() error) error {
	probe()
	return within(to(process), func(control) error {
		own, err := inOwn()
		if err == nil && own {
			err = ErrOwn
		}
		if err != nil {
			return err
		}
		return f()
	})
}

// ErrOwn is the error of a namespace that is the program's own.
var ErrOwn = errors.New("the network is the program's own")

// inOwn tells whether the calling thread is in the same namespace as the
// program's first one.
func inOwn() (bool, error) {
	var here, home unix.Stat_t
	for path, st := range map[string]*unix.Stat_t{"/proc/thread-self/ns/net": &here, "/proc/self/ns/net": &home} {
		if err := unix.Stat(path, st); err != nil {
			return false, &os.PathError{Op: "stat", Path: path, Err: err}
		}
	}
	return here.Ino == home.Ino && here.Dev == home.Dev, nil
}
