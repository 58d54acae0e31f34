package netns

import (
	"os"

	"golang.org/x/sys/unix"
)

// New makes a namespace that nothing is in, and runs f on a thread that is there,
// as Within does. The file is the namespace, for the functions of this package:
// it lasts as long as that is open, or sockets that were made in there. No name of
// it is in a file system.
func New(f func() error) (namespace *os.File, err error) {
	probe()
	err = within(unshare, func(control) (err error) {
		if namespace, err = Here(); err != nil {
			return err
		}
		return f()
	})
	if err != nil {
		namespace.Close()
		return nil, err
	}
	return namespace, nil
}

func unshare() error { return os.NewSyscallError("unshare", unix.Unshare(unix.CLONE_NEWNET)) }

// Here opens the namespace of the calling thread, in a function that Within or New
// runs.
func Here() (*os.File, error) { return os.Open("/proc/thread-self/ns/net") }
