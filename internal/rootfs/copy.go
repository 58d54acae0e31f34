package rootfs

import (
	"archive/tar"
	"context"
	"fmt"
	"io/fs"
	"path"
	"syscall"

	"golang.org/x/sys/unix"
)

// Copy makes the files of a file system below dst.
func (r *Root) Copy(ctx context.Context, dst string, src fs.FS) error {
	c := copier{maker: maker{ctx: ctx, root: r}, src: src, dst: dst, linked: map[fileID]string{}}
	return Failure("copy", dst, c.copy())
}

type copier struct {
	maker
	src    fs.FS
	dst    string
	linked map[fileID]string // where a file of several names was put
}

func (c *copier) copy() error {
	if err := c.root.mkdirAll(c.dst, 0o755); err != nil {
		return err
	}
	err := fs.WalkDir(c.src, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && name != "." {
			err = c.one(name, d)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.finish()
}

func (c *copier) one(name string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	n := node{name: path.Join(c.dst, name), mode: mode(info.Mode()), mtime: info.ModTime()}
	var id fileID
	switch sys := info.Sys().(type) {
	case *syscall.Stat_t:
		n.uid, n.gid = int(sys.Uid), int(sys.Gid)
		if sys.Nlink > 1 && !info.IsDir() {
			id = fileID{uint64(sys.Dev), sys.Ino}
		}
	case *tar.Header:
		n.uid, n.gid = sys.Uid, sys.Gid
	}
	if first, ok := c.linked[id]; ok && id != (fileID{}) {
		return c.link(first, n.name)
	}
	if err := c.content(name, n, info); err != nil {
		return err
	}
	if id != (fileID{}) {
		c.linked[id] = n.name
	}
	return nil
}

// content adds a file with what only the open file tells.
func (c *copier) content(name string, n node, info fs.FileInfo) (err error) {
	switch info.Mode().Type() {
	case fs.ModeSymlink:
		n.mode |= unix.S_IFLNK
		if n.target, err = fs.ReadLink(c.src, name); err != nil {
			return err
		}
		return c.add(n, nil)
	case fs.ModeNamedPipe:
		n.mode |= unix.S_IFIFO
		return c.add(n, nil)
	case fs.ModeSocket:
		return nil // it means nothing without the process that listens
	case fs.ModeDir:
		n.mode |= unix.S_IFDIR
	case 0:
		n.mode |= unix.S_IFREG
	default:
		return errDevice
	}
	f, err := c.src.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if n.xattrs, err = xattrsOf(f); err != nil {
		return err
	}
	return c.add(n, f)
}

// xattrsOf gives the extended attributes of a file, where its kind has any.
func xattrsOf(f fs.File) (all map[string]string, err error) {
	if i, err := f.Stat(); err == nil {
		if hdr, ok := i.Sys().(*tar.Header); ok {
			return recorded(hdr), nil
		}
	}
	file, ok := f.(syscall.Conn)
	if !ok {
		return nil, nil
	}
	conn, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	if cerr := conn.Control(func(fd uintptr) { all, err = xattrs(handle(fd).path()) }); err == nil {
		err = cerr
	}
	return all, err
}
