package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"slices"
	"syscall"
	"time"
	"unsafe"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// node is a file to be made.
type node struct {
	name     string // in the root
	mode     uint32 // as stat(2) has it, with the type
	uid, gid int
	mtime    time.Time // the zero time: now
	target   string    // of a symbolic link
	xattrs   map[string]string
	holes    bool // what is zero in it may be a hole
}

// maker makes a tree of files.
type maker struct {
	ctx  context.Context
	root *Root
	dirs []node // that were made, whose times change as long as there is more to come
	buf  []byte // of copy; nil: not made yet
}

var errDevice = &classed{errors.New("a device, which is not copied into a container"), []error{errdefs.ErrInvalidArgument}}

// add makes a file in the place of what is there. A directory that is there
// stays as it is.
func (m *maker) add(n node, content io.Reader) error {
	if err := m.ctx.Err(); err != nil {
		return err
	}
	err := m.try(n, content)
	if err == unix.ENOENT {
		// Not every tar lists the directories it needs.
		if err = m.root.mkdirAll(path.Dir(n.name), 0o755); err == nil {
			err = m.try(n, content)
		}
	}
	return err
}

func (m *maker) try(n node, content io.Reader) error {
	switch n.mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return m.dir(n)
	case unix.S_IFREG:
		return m.replace(n, func(dir int, base string) (handle, error) { return m.file(dir, base, n.holes, content) })
	case unix.S_IFLNK:
		return m.replace(n, func(dir int, base string) (handle, error) {
			return made(dir, base, unix.S_IFLNK, unix.Symlinkat(n.target, dir, base))
		})
	case unix.S_IFIFO:
		return m.replace(n, func(dir int, base string) (handle, error) {
			return made(dir, base, unix.S_IFIFO, unix.Mknodat(dir, base, unix.S_IFIFO|0o600, 0))
		})
	case unix.S_IFCHR, unix.S_IFBLK:
		return errDevice
	}
	return fmt.Errorf("mode %o is of no kind of file: %w", n.mode, errdefs.ErrInvalidArgument)
}

// replace makes something that must not be there yet.
func (m *maker) replace(n node, create func(dir int, base string) (handle, error)) error {
	return m.vacate(n.name, func(dir int, base string) error {
		h, err := create(dir, base)
		if err != nil {
			return err
		}
		defer h.close()
		if err := n.dress(h); err != nil {
			return err
		}
		return n.age(h)
	})
}

// vacate does something that needs a name to be free.
func (m *maker) vacate(name string, do func(dir int, base string) error) error {
	return m.root.inParent(name, func(dir int, base string) error {
		for range tries {
			if err := do(dir, base); err != unix.EEXIST {
				return err
			}
			if err := unix.Unlinkat(dir, base, 0); err != nil && err != unix.ENOENT {
				return err
			}
		}
		return unix.EEXIST
	})
}

// link makes a further name of a file that was made before.
func (m *maker) link(old, name string) error {
	return m.root.inParent(old, func(od int, ob string) error {
		return m.vacate(name, func(dir int, base string) error { return unix.Linkat(od, ob, dir, base, 0) })
	})
}

func (m *maker) dir(n node) error {
	err := m.root.inParent(n.name, func(dir int, base string) error {
		h, err := makeDir(dir, base)
		if err != nil {
			return err
		}
		defer h.close()
		return n.dress(h)
	})
	if err == unix.EEXIST {
		return m.root.onFile(n.name, unix.O_DIRECTORY, func(handle) error { return nil })
	}
	m.dirs = append(m.dirs, node{name: n.name, mtime: n.mtime})
	return err
}

// makeDir makes a directory that only the program can look into.
func makeDir(dir int, base string) (handle, error) {
	return made(dir, base, unix.S_IFDIR, unix.Mkdirat(dir, base, 0o700))
}

// made holds what was made just now, unless err says that it was not. Something else
// may be in its place already, which must not get its mode and owner: at least the
// type tells.
func made(dir int, base string, kind uint32, err error) (handle, error) {
	if err != nil {
		return -1, err
	}
	fd, err := unix.Openat(dir, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	h := handle(fd)
	if st, err := h.stat(); err != nil || st.Mode&unix.S_IFMT != kind {
		h.close()
		return -1, errors.Join(unix.EEXIST, err)
	}
	return h, nil
}

func (m *maker) file(dir int, base string, holes bool, content io.Reader) (handle, error) {
	fd, err := unix.Openat(dir, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return -1, err
	}
	f := os.NewFile(uintptr(fd), base)
	defer f.Close()
	if err := m.fill(f, holes, content); err != nil {
		return -1, err
	}
	fd, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	return handle(fd), err
}

// fill writes a new file. A sparse file stays sparse, and what the file system can share
// is not copied.
func (m *maker) fill(f *os.File, holes bool, content io.Reader) error {
	if src, ok := content.(*os.File); ok {
		if i, err := src.Stat(); err == nil && i.Mode().IsRegular() {
			if unix.IoctlFileClone(int(f.Fd()), int(src.Fd())) == nil {
				return nil
			}
			if st, ok := i.Sys().(*syscall.Stat_t); ok && sparse(st.Size, st.Blocks, leastHole) {
				return m.fillSparse(f, src, st.Size)
			}
		}
	}
	if !holes {
		return m.copy(f, content, math.MaxInt64)
	}
	var err error
	if cerr := withFD(f, func(h handle) { err = m.fillHoles(h, content) }); err == nil {
		err = cerr
	}
	return err
}

// fillHoles writes a new file, and leaves out what is zero.
func (m *maker) fillHoles(h handle, content io.Reader) error {
	w := &holeWriter{to: h}
	if err := m.copy(w, content, math.MaxInt64); err != nil {
		return err
	}
	return unix.Ftruncate(int(h), w.at)
}

func withFD(f *os.File, do func(handle)) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	return conn.Control(func(fd uintptr) { do(handle(fd)) })
}

// pour writes a new file, chunk by chunk.
func (m *maker) pour(to handle, content io.Reader) error {
	if m.buf == nil {
		m.buf = make([]byte, bufSize)
	}
	var at int64
	for {
		n, err := 0, error(nil)
		for n < len(m.buf) && err == nil {
			var some int
			some, err = content.Read(m.buf[n:])
			n += some
		}
		if err == nil {
			err = m.ctx.Err()
		}
		if err != nil && err != io.EOF {
			return err
		}
		if werr := writeAt(to, m.buf[:n], at); werr != nil || err == io.EOF {
			return werr
		}
		at += int64(n)
	}
}

const bufSize = 256 << 10

// copy copies up to size bytes as the kernel can do it best, but ends with ctx.
func (m *maker) copy(w io.Writer, content io.Reader, size int64) error {
	for size > 0 {
		n, err := m.some(w, content, min(size, 16<<20))
		size -= n
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = m.ctx.Err()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// some copies so many bytes; it is io.EOF if there were not as many.
func (m *maker) some(w io.Writer, content io.Reader, size int64) (int64, error) {
	if _, ok := content.(*os.File); ok {
		return io.CopyN(w, content, size) // in the kernel
	}
	if m.buf == nil {
		m.buf = make([]byte, bufSize)
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, io.LimitReader(content, size), m.buf)
	if err == nil && n < size {
		err = io.EOF
	}
	return n, err
}

// finish gives directories the times they are to have.
func (m *maker) finish() error {
	for _, n := range slices.Backward(m.dirs) {
		err := m.root.alter(n.name, unix.O_NOFOLLOW|unix.O_DIRECTORY, n.age)
		if err != nil && err != unix.ENOENT && err != unix.ENOTDIR { // it may be gone again
			return fmt.Errorf("%s: %w", n.name, err)
		}
	}
	return nil
}

// dress gives a new file its owner, mode and extended attributes, in an order
// in which the kernel takes none of them back.
func (n node) dress(h handle) error {
	if !isID(n.uid) || !isID(n.gid) {
		return errID
	}
	if err := unix.Chown(h.path(), n.uid, n.gid); err != nil {
		return err
	}
	if n.mode&unix.S_IFMT == unix.S_IFLNK {
		return nil // it has no others
	}
	if err := unix.Chmod(h.path(), n.mode&0o7777); err != nil {
		return err
	}
	return setXattrs(h.path(), n.xattrs)
}

// dressFile is dress and age for a regular file without extended attributes that
// was made in a directory just now, and is open.
func (n node) dressFile(h handle, dir *unix.Stat_t) error {
	if !isID(n.uid) || !isID(n.gid) {
		return errID
	}
	if n.uid != us.uid || n.gid != us.gid || dir.Mode&unix.S_ISGID != 0 {
		if err := unix.Fchown(int(h), n.uid, n.gid); err != nil {
			return err
		}
	}
	if err := unix.Fchmod(int(h), n.mode&0o7777); err != nil {
		return err
	}
	if n.mtime.IsZero() {
		return nil
	}
	t := timespec(n.mtime)
	return futimens(h, &[2]unix.Timespec{t, t})
}

// us are those that a new file belongs to.
var us = struct{ uid, gid int }{os.Geteuid(), os.Getegid()}

// futimens is futimens(3), which is a call that package unix does not have.
func futimens(h handle, t *[2]unix.Timespec) error {
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(h), 0, uintptr(unsafe.Pointer(t)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// errID is the error of a number that the kernel would take for another: it sees the
// lower 32 bits, and takes their greatest value for no change.
var errID = &classed{errors.New("its owner or group is no number from 0 to 4294967294"), []error{errdefs.ErrInvalidArgument, fs.ErrInvalid}}

func isID(id int) bool { return id >= 0 && int64(id) < 1<<32-1 }

func (n node) age(h handle) error {
	if n.mtime.IsZero() {
		return nil
	}
	t := timespec(n.mtime)
	return unix.UtimesNanoAt(unix.AT_FDCWD, h.path(), []unix.Timespec{t, t}, 0)
}
