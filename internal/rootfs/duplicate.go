package rootfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"
)

// Duplicate copies what is written in a snapshot, of mounts from, into a new one as it is:
// with overlay's own marks, so that over the same layers both show the same. Files that the file system can share are not copied. What is changed meanwhile is
// copied as it was or as it is; no link leads out of the layer, whenever it was made.
func Duplicate(ctx context.Context, to, from []mount.Mount) (err error) {
	upper, _, err := written(to)
	if err != nil {
		return err
	}
	theirs, _, err := written(from)
	if err != nil {
		return err
	}
	links, err := os.MkdirTemp(filepath.Dir(upper), "links-") // on the same file system
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, Discard(links)) }()
	d := duplicator{
		maker: maker{ctx: ctx},
		from:  walker{ctx: ctx, limit: maxDepth}, to: walker{ctx: ctx, limit: maxDepth},
		linked: map[fileID]struct{}{},
	}
	var dirs [3]*os.File
	for n, dir := range []string{theirs, upper, links} {
		if dirs[n], err = openDir(dir); err != nil {
			return err
		}
		defer dirs[n].Close()
	}
	defer d.from.close()
	defer d.to.close()
	d.links = int(dirs[2].Fd())
	if err = d.enter(int(dirs[0].Fd()), int(dirs[1].Fd()), ".", 0); err == nil {
		err = d.walk()
	}
	return wrap(d.where(), err)
}

// duplicator is in a directory and in its copy.
type duplicator struct {
	maker
	from, to walker
	links    int                 // a directory with a name, its inode's number, of each file that has several
	linked   map[fileID]struct{} // the files that are there
}

// where names the directory that it is in.
func (d *duplicator) where() string {
	var names []string
	for _, l := range d.from.above {
		names = append(names, l.base)
	}
	return fmt.Sprintf("%.300s", path.Join("/", strings.Join(names, "/")))
}

func (d *duplicator) walk() error {
	for {
		if err := d.ctx.Err(); err != nil {
			return err
		}
		if base, ok := d.from.next(); ok {
			if err := d.enter(int(d.from.at.Fd()), int(d.to.at.Fd()), base, unix.RESOLVE_NO_XDEV); err != nil {
				return err
			}
			continue
		}
		if err := d.finish(); err != nil {
			return err
		}
		if len(d.from.above) == 1 {
			return nil
		}
		for _, w := range []*walker{&d.from, &d.to} {
			up, err := w.parent()
			if err != nil {
				return err
			}
			w.leave(up)
		}
	}
}

// enter goes into a directory, and copies what is in it, other than directories.
func (d *duplicator) enter(from, to int, base string, resolve uint64) error {
	if _, err := d.from.enter(from, base, resolve); err != nil {
		if base != "." {
			err = skip(err) // it is gone
		}
		return err
	}
	if base != "." {
		if err := unix.Mkdirat(to, base, 0o700); err != nil {
			return err
		}
	}
	if _, err := d.to.enter(to, base, resolve); err != nil {
		return err
	}
	return d.from.names(func(names []string) error {
		for _, base := range names {
			if err := d.one(base); err != nil {
				return wrap(base, err)
			}
		}
		return nil
	})
}

// finish makes the copy of the directory, in which nothing is made any more, the same.
func (d *duplicator) finish() error {
	is := &file{handle: handle(d.from.at.Fd())}
	var err error
	if is.Stat_t, err = is.stat(); err != nil {
		return err
	}
	return is.equal(handle(d.to.at.Fd()))
}

// one copies a file, or notes a directory.
func (d *duplicator) one(base string) error {
	f, err := holdFile(handle(d.from.at.Fd()), base)
	if f == nil {
		return err // it is gone
	}
	defer f.close()
	if f.is(unix.S_IFDIR) {
		l := d.from.here()
		l.dirs = append(l.dirs, base)
		return nil
	}
	dir, id, known := int(d.to.at.Fd()), idOf(&f.Stat_t), strconv.FormatUint(f.Ino, 10)
	if _, ok := d.linked[id]; ok {
		return unix.Linkat(d.links, known, dir, base, 0)
	}
	h, err := d.copy(f, dir, base)
	if err != nil {
		return err
	}
	defer h.close()
	if f.Nlink > 1 {
		d.linked[id] = struct{}{}
		if err := unix.Linkat(dir, base, d.links, known, 0); err != nil {
			return err
		}
	}
	return f.equal(h)
}

// copy makes a file of the same kind and content.
func (d *duplicator) copy(f *file, dir int, base string) (handle, error) {
	if f.is(unix.S_IFREG) {
		src, err := f.reopen(base, unix.O_RDONLY)
		if err != nil {
			return none, err
		}
		defer src.Close()
		return d.file(dir, base, false, src)
	}
	n := node{mode: f.Mode}
	if f.is(unix.S_IFLNK) {
		var err error
		if n.target, err = f.readLink(); err != nil {
			return none, err
		}
	}
	return n.make(dir, base, uint64(f.Rdev))
}

// equal gives another file all of a file's attributes and times.
func (f *file) equal(to handle) error {
	n := node{mode: f.Mode, uid: int(f.Uid), gid: int(f.Gid)}
	if err := n.dress(to); err != nil {
		return err
	}
	if !f.is(unix.S_IFLNK) {
		all, err := attributes(f.path(), func(string) bool { return true })
		if err != nil {
			return err
		}
		for name, value := range all {
			if err := unix.Setxattr(to.path(), name, []byte(value), 0); err != nil && !unsupported(err) {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, to.path(), []unix.Timespec{f.Atim, f.Mtim}, 0)
}
