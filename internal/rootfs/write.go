package rootfs

import (
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// flags are those that OpenFile takes.
const flags = unix.O_ACCMODE | os.O_APPEND | os.O_CREATE | os.O_EXCL | os.O_SYNC | os.O_TRUNC

// OpenFile opens a regular file as os.OpenFile does; anything else is
// ErrNotRegular, and not touched.
func (r *Root) OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	f, err := r.openFile(name, flag, perm)
	return f, Failure("open", name, err)
}

func (r *Root) openFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	if flag&^flags != 0 {
		return nil, unix.EINVAL
	}
	if flag&os.O_CREATE == 0 {
		return r.openOld(name, name, flag)
	}
	at := name
	for links := 0; links < maxLinks; {
		// What is there is opened, what is missing is made, and each only if
		// it is still so: nothing is followed that was put there meanwhile.
		if flag&os.O_EXCL == 0 {
			f, err := r.openOld(at, name, flag)
			if err != unix.ENOENT {
				return f, err
			}
		}
		f, err := r.create(at, name, flag, perm)
		if err != unix.EEXIST || flag&os.O_EXCL != 0 {
			return f, err
		}
		// It was just made by another process, or is a link to nothing, which is
		// where the file goes.
		links++
		if target, err := r.ReadLink(at); err == nil {
			if !path.IsAbs(target) {
				target = at[:strings.LastIndexByte(at, '/')+1] + target // it may begin with ..
			}
			at = target
		}
	}
	return nil, unix.ELOOP
}

// maxLinks is how many links the kernel follows on the way to one file.
const maxLinks = 40

func (r *Root) openOld(at, name string, flag int) (f *os.File, err error) {
	h, err := r.find(at, 0, 0)
	if err != nil {
		return nil, err
	}
	defer h.close()
	return h.reopen(name, flag&^(os.O_CREATE|os.O_EXCL))
}

// create makes a file that is not there.
func (r *Root) create(at, name string, flag int, perm fs.FileMode) (f *os.File, err error) {
	err = r.inParent(at, func(dir int, base string) error {
		fd, err := unix.Openat(dir, base, flag|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return err
		}
		// The umask is the program's, and no business of the container's.
		if err := unix.Fchmod(fd, mode(perm)); err != nil {
			unix.Close(fd)
			return err
		}
		f, err = newFile(fd, name)
		return err
	})
	return f, err
}

// WriteFile writes data to a file, which is made with perm if it is missing.
func (r *Root) WriteFile(name string, data []byte, perm fs.FileMode) error {
	f, err := r.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return Failure("write", name, err)
}

// Mkdir makes a directory.
func (r *Root) Mkdir(name string, perm fs.FileMode) error {
	return Failure("mkdir", name, r.mkdir(name, perm))
}

func (r *Root) mkdir(name string, perm fs.FileMode) error {
	return r.inParent(name, func(dir int, base string) error {
		h, err := makeDir(dir, base)
		if err != nil {
			return err
		}
		defer h.close()
		st, err := h.stat()
		if err != nil {
			return err
		}
		return unix.Chmod(h.path(), mode(perm)|st.Mode&unix.S_ISGID) // which it inherits from its parent
	})
}

// MkdirAll makes a directory and those above it that are missing.
func (r *Root) MkdirAll(name string, perm fs.FileMode) error {
	return Failure("mkdir", name, r.mkdirAll(name, perm))
}

func (r *Root) mkdirAll(name string, perm fs.FileMode) error {
	isDir := func(name string) error { return r.onFile(name, unix.O_DIRECTORY, func(handle) error { return nil }) }
	if err := isDir(name); err != unix.ENOENT {
		return err
	}
	for i := 1; i <= len(name); i++ {
		if i < len(name) && name[i] != '/' {
			continue
		}
		at := name[:i]
		if err := r.mkdir(at, perm); err != nil && err != unix.EEXIST {
			return err
		}
		if err := isDir(at); err != nil {
			return err
		}
	}
	return nil
}

// Remove removes a file or an empty directory.
func (r *Root) Remove(name string) error {
	return Failure("remove", name, r.inParent(name, remove))
}

func remove(dir int, base string) error {
	err := unix.Unlinkat(dir, base, 0)
	if err == nil || err == unix.ENOENT {
		return err
	}
	if rerr := unix.Unlinkat(dir, base, unix.AT_REMOVEDIR); rerr != unix.ENOTDIR {
		err = rerr
	}
	return err
}

// Symlink makes name a symbolic link that says target.
func (r *Root) Symlink(target, name string) error {
	return Failure("symlink", name, r.inParent(name, func(dir int, base string) error {
		return unix.Symlinkat(target, dir, base)
	}))
}

// Link gives a file a further name. Of a symbolic link it is the link.
func (r *Root) Link(old, name string) error {
	return Failure("link", name, r.both(old, name, func(od int, ob string, nd int, nb string) error {
		return unix.Linkat(od, ob, nd, nb, 0)
	}))
}

// Rename gives a file another name, in the place of what has it.
func (r *Root) Rename(old, name string) error {
	return Failure("rename", name, r.both(old, name, unix.Renameat))
}

func (r *Root) both(old, name string, f func(od int, ob string, nd int, nb string) error) error {
	return r.inParent(old, func(od int, ob string) error {
		return r.inParent(name, func(nd int, nb string) error { return f(od, ob, nd, nb) })
	})
}

// Chmod changes a file's mode.
func (r *Root) Chmod(name string, perm fs.FileMode) error {
	return Failure("chmod", name, r.alter(name, 0, func(h handle) error {
		return unix.Fchmodat(unix.AT_FDCWD, h.path(), mode(perm), 0)
	}))
}

// Chown changes a file's owner and group; -1 leaves the one it has.
func (r *Root) Chown(name string, uid, gid int) error {
	return Failure("chown", name, r.chown(name, 0, uid, gid))
}

// Lchown is Chown that does not follow a link.
func (r *Root) Lchown(name string, uid, gid int) error {
	return Failure("lchown", name, r.chown(name, unix.O_NOFOLLOW, uid, gid))
}

func (r *Root) chown(name string, flags uint64, uid, gid int) error {
	if uid != -1 && !isID(uid) || gid != -1 && !isID(gid) {
		return errID
	}
	return r.alter(name, flags, func(h handle) error {
		return unix.Fchownat(int(h), "", uid, gid, unix.AT_EMPTY_PATH)
	})
}

// Chtimes changes a file's times; the zero time leaves the one it has.
func (r *Root) Chtimes(name string, atime, mtime time.Time) error {
	return Failure("chtimes", name, r.alter(name, 0, func(h handle) error {
		return unix.UtimesNanoAt(unix.AT_FDCWD, h.path(), []unix.Timespec{timespec(atime), timespec(mtime)}, 0)
	}))
}

func timespec(t time.Time) unix.Timespec {
	if t.IsZero() {
		return unix.Timespec{Nsec: unix.UTIME_OMIT}
	}
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}

// special are the bits of a mode that Go keeps elsewhere than the kernel.
var special = map[fs.FileMode]uint32{fs.ModeSetuid: unix.S_ISUID, fs.ModeSetgid: unix.S_ISGID, fs.ModeSticky: unix.S_ISVTX}

// mode is a mode as the kernel has it.
func mode(m fs.FileMode) uint32 {
	bits := uint32(m.Perm())
	for is, bit := range special {
		if m&is != 0 {
			bits |= bit
		}
	}
	return bits
}
