// Package thread runs a function on a thread of its own. Much of what a process
// hands on to its children, and some of what a system call does, depends on the
// thread: so it can be changed for one function, and the program keeps its own.
package thread

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Apart runs f on a thread that ends with it, and so does what f changes of
// the thread. The process's first thread never ends, and stands for all of them
// in /proc/self, so it is not taken.
//
// A panic in f ends the program, as one in any goroutine does.
func Apart(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			Apart(f) // on another one, since this one is held
			runtime.UnlockOSThread()
			return
		}
		f()
	}()
	<-done
}

// Umask is the usual one: what is made for all to read is readable.
const Umask = 0o022

// WithUmask runs f on a thread of its own with the usual umask: what f makes has
// the same mode in every program. Goroutines that f starts have the program's.
func WithUmask(f func() error) error {
	var err error
	Apart(func() {
		// A process's threads share the umask, and with it the working directory.
		if err = unix.Unshare(unix.CLONE_FS); err == nil {
			unix.Umask(Umask)
			err = f()
		}
	})
	return err
}
