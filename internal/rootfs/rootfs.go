// Package rootfs reads and writes the files of an image or a container the way
// a process in the container would see them, without trusting either, without
// running anything of them, and without showing the host a mount.
//
// A [Root] is a directory that is held open. Every name is resolved by the
// kernel with that directory as the root (openat2(2), RESOLVE_IN_ROOT), so a
// link leads to where it does in the container, and nothing leads out of it,
// however a running container changes its links meanwhile. What is found is
// held as a path first (O_PATH), which does nothing to it, and is opened only
// if it is a regular file or a directory: the open of a fifo would wait, that
// of a device may do things to the host. A file of the kernel's, as in /proc, is
// regular by its mode alone: it can be seen, but is neither opened nor changed.
package rootfs

import (
	"context"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Root is the root directory of an image or a container. It may be used by any
// number of goroutines, also while it is closed: they get fs.ErrClosed.
//
// Names are slash-separated, and count from the root with a slash in front or
// without.
type Root struct {
	dir     *os.File
	conn    syscall.RawConn // of dir
	process *os.File        // a pidfd, the caller's: whose root it is; nil: no process's
	ctx     context.Context // no name is looked up after its end; nil: at any time
}

// At is the root that a descriptor of its directory names, which stays the caller's.
func At(dir int) (*Root, error) {
	fd, err := unix.FcntlInt(uintptr(dir), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return newRoot(os.NewFile(uintptr(fd), "root"))
}

func newRoot(dir *os.File) (*Root, error) {
	conn, err := dir.SyscallConn()
	if err != nil {
		dir.Close()
		return nil, err
	}
	return &Root{dir: dir, conn: conn}, nil
}

// In is the same root for the calls that belong to ctx: when ctx ends they look
// up no further name. There may be many to look up, each with many links on its
// way: how many is the image's choice. It needs no closing.
func (r *Root) In(ctx context.Context) *Root {
	in := *r
	in.ctx = ctx
	return &in
}

// Err is ctx's of In, once it has ended.
func (r *Root) Err() error {
	if r.ctx == nil {
		return nil
	}
	return r.ctx.Err()
}

// Close ends the root, and the mount with it, if it has one of its own.
func (r *Root) Close() error { return r.dir.Close() }

// with calls f with the root's descriptor, which stays open as long.
func (r *Root) with(f func(dir int) error) error {
	var err error
	if r.conn.Control(func(fd uintptr) { err = f(int(fd)) }) != nil {
		return fs.ErrClosed // the only way that this fails
	}
	return err
}

// sub is the directory at name as a root of its own.
func (r *Root) sub(name string) (*Root, error) {
	h, err := r.find(name, unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return newRoot(os.NewFile(uintptr(h), name))
}
