package rootfs

import (
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// handle is a file held as a path (O_PATH): it says what the file is, and does
// nothing to it.
type handle int

func (h handle) close() { unix.Close(int(h)) }

// path is a name for the file that can't come to mean another file.
func (h handle) path() string { return "/proc/self/fd/" + strconv.Itoa(int(h)) }

func (h handle) stat() (st unix.Stat_t, err error) {
	err = retry(func() error { return unix.Fstat(int(h), &st) })
	return st, err
}

// find holds what name leads to. Links are followed as they would be with r as
// the root: also absolute ones lead to places below it, and nothing leads out.
// The links of /proc that lead wherever a process is (magic ones) lead nowhere.
func (r *Root) find(name string, flags, resolve uint64) (handle, error) {
	fd, err := r.openat2(name, unix.O_PATH|flags, resolve)
	return handle(fd), err
}

// tries bounds what has to be done again when a container interferes, which it may
// do without end.
const tries = 1000

func (r *Root) openat2(name string, flags, resolve uint64) (fd int, err error) {
	how := unix.OpenHow{
		Flags:   unix.O_CLOEXEC | flags,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | resolve,
	}
	if err := r.Err(); err != nil {
		return -1, err
	}
	err = r.with(func(dir int) error {
		for range tries {
			fd, err = unix.Openat2(dir, name, &how)
			if err != unix.EAGAIN && err != unix.EINTR {
				break
			}
			// Something was renamed or mounted meanwhile, somewhere.
		}
		return err
	})
	if err == unix.ENOSYS {
		err = fmt.Errorf("the kernel has no openat2(2), which came with Linux 5.6 (%w): update the kernel", errdefs.ErrUnavailable)
	}
	return fd, err
}

// parent holds the directory that name's last element is in, for changes in
// it, and gives that element, which is not looked at.
func (r *Root) parent(name string) (dir handle, base string, err error) {
	name = strings.TrimRight(name, "/")
	at, base := path.Split(name)
	switch base {
	case "", ".", "..":
		return -1, "", unix.EINVAL
	}
	if at == "" {
		at = "."
	}
	if dir, err = r.find(at, unix.O_DIRECTORY, 0); err != nil {
		return -1, "", err
	}
	if err := dir.notKernels(); err != nil {
		dir.close()
		return -1, "", err
	}
	return dir, base, nil
}

// inParent calls f with the directory that name's last element is in.
func (r *Root) inParent(name string, f func(dir int, base string) error) error {
	dir, base, err := r.parent(name)
	if err != nil {
		return err
	}
	defer dir.close()
	return retry(func() error { return f(int(dir), base) })
}

// onFile calls f with a path that stands for what name leads to.
func (r *Root) onFile(name string, flags uint64, f func(h handle) error) error {
	h, err := r.find(name, flags, 0)
	if err != nil {
		return err
	}
	defer h.close()
	return retry(func() error { return f(h) })
}

// alter calls f with a path that stands for what name leads to, which f changes.
func (r *Root) alter(name string, flags uint64, f func(h handle) error) error {
	return r.onFile(name, flags, func(h handle) error {
		if err := h.notKernels(); err != nil {
			return err
		}
		return f(h)
	})
}

// retry does what a signal has interrupted again.
func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

// reopen opens a file that is held for reading or writing, if it is a regular
// one.
func (h handle) reopen(name string, flag int) (*os.File, error) {
	st, err := h.stat()
	if err != nil {
		return nil, err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		return nil, unix.EISDIR
	default:
		return nil, notRegular(st.Mode)
	}
	if err := h.notKernels(); err != nil {
		return nil, err
	}
	var fd int
	err = retry(func() error {
		// Not waiting for another process's lease on it.
		fd, err = unix.Open(h.path(), flag|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		return err
	})
	if err == unix.EAGAIN {
		err = fmt.Errorf("a process has a lease on it (fcntl(2), F_SETLEASE): %w", err)
	}
	if err != nil {
		return nil, err
	}
	return newFile(fd, name)
}

// newFile makes a File of a descriptor of a regular file.
func newFile(fd int, name string) (*os.File, error) {
	if err := unix.SetNonblock(fd, false); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}
