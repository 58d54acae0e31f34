package container

import (
	"context"
	"io/fs"
	"os"
	"time"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// OpenFile opens a regular file as os.OpenFile does, for reading, writing or
// both. Of flag it takes O_RDONLY, O_WRONLY or O_RDWR, and O_APPEND, O_CREATE,
// O_EXCL, O_SYNC and O_TRUNC. A file that it makes belongs to root and has the
// mode perm; the program's umask does not count in a container, here and below.
func (f *FS) OpenFile(name string, flag int, perm fs.FileMode) (file *os.File, err error) {
	err = f.do("open", name, func(r *rootfs.Root) error {
		file, err = r.OpenFile(name, flag, perm)
		return err
	})
	return file, err
}

// WriteFile writes data to a file, which is emptied before, or made with perm if
// it is missing. What runs in the container may see it half written; to have
// it see all or nothing, write to another name and Rename it.
func (f *FS) WriteFile(name string, data []byte, perm fs.FileMode) error {
	return f.do("open", name, func(r *rootfs.Root) error { return r.WriteFile(name, data, perm) })
}

// Mkdir makes a directory with the mode perm.
func (f *FS) Mkdir(name string, perm fs.FileMode) error {
	return f.do("mkdir", name, func(r *rootfs.Root) error { return r.Mkdir(name, perm) })
}

// MkdirAll makes a directory, and those above it that are missing, with the
// mode perm. One that is there is fine.
func (f *FS) MkdirAll(name string, perm fs.FileMode) error {
	return f.do("mkdir", name, func(r *rootfs.Root) error { return r.MkdirAll(name, perm) })
}

// Remove removes a file or an empty directory; of a symbolic link, the link.
func (f *FS) Remove(name string) error {
	return f.do("remove", name, func(r *rootfs.Root) error { return r.Remove(name) })
}

// RemoveAll removes a file or a directory with all that is in it. It removes as
// much as it can and returns the first error. A name that is not there is no error.
// What is mounted below name stays, with an error.
func (f *FS) RemoveAll(name string) error {
	return f.doContext(context.Background(), "removeall", name, func(ctx context.Context, r *rootfs.Root) error {
		return r.RemoveAll(ctx, name)
	})
}

// Symlink makes name a symbolic link that says target, whatever that is.
func (f *FS) Symlink(target, name string) error {
	return f.do("symlink", name, func(r *rootfs.Root) error { return r.Symlink(target, name) })
}

// Link makes name a further name of the file old; of a symbolic link, of the
// link.
func (f *FS) Link(old, name string) error { return f.both("link", old, name, (*rootfs.Root).Link) }

// Rename gives the file or directory old another name, in place of a file or
// empty directory that has it. A directory of the image can't be renamed where
// the kernel's overlay has no redirect_dir, as is usual: it fails with EXDEV,
// which makes mv copy.
func (f *FS) Rename(old, name string) error {
	return f.both("rename", old, name, (*rootfs.Root).Rename)
}

func (f *FS) both(op, old, name string, act func(r *rootfs.Root, old, name string) error) error {
	if err := rootfs.CheckName(op, old); err != nil {
		return err
	}
	return f.do(op, name, func(r *rootfs.Root) error { return act(r, old, name) })
}

// Chmod changes a file's permissions and its setuid, setgid and sticky bits.
func (f *FS) Chmod(name string, mode fs.FileMode) error {
	return f.do("chmod", name, func(r *rootfs.Root) error { return r.Chmod(name, mode) })
}

// Chown changes a file's owner and group, which are numbers in the container;
// -1 leaves what it is.
func (f *FS) Chown(name string, uid, gid int) error {
	return f.do("chown", name, func(r *rootfs.Root) error { return r.Chown(name, uid, gid) })
}

// Lchown is Chown that does not follow a symbolic link in the last place.
func (f *FS) Lchown(name string, uid, gid int) error {
	return f.do("lchown", name, func(r *rootfs.Root) error { return r.Lchown(name, uid, gid) })
}

// Chtimes changes a file's times of access and modification; the zero time
// leaves what it is.
func (f *FS) Chtimes(name string, atime, mtime time.Time) error {
	return f.do("chtimes", name, func(r *rootfs.Root) error { return r.Chtimes(name, atime, mtime) })
}
