package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// RemoveAll removes name and what is below it, as os.RemoveAll does: as much as
// it can, and it gives the first error. It does not go into what is mounted
// below name, nor, however the container moves things meanwhile, into any
// directory that it did not reach through name.
func (r *Root) RemoveAll(ctx context.Context, name string) error {
	err := r.inParent(name, func(dir int, base string) error {
		err := remove(dir, base)
		if err == nil || !full(err) {
			return err
		}
		return removeTree(ctx, dir, base, maxDepth, attempt)
	})
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return Failure("removeall", name, err)
}

// Discard removes a directory of the host that a container has written to and does
// not use any more. os.RemoveAll has as many files open as a tree is deep: a container
// could make one for which the program has not enough. Discard also removes files that
// the container has made immutable: see chattr(1).
func Discard(dir string) error {
	at, err := openDir(filepath.Dir(dir))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer at.Close()
	base := filepath.Base(dir)
	if err = free(int(at.Fd()), base, remove); full(err) {
		err = removeTree(context.Background(), int(at.Fd()), base, math.MaxInt, free)
	}
	if err == unix.ENOENT {
		return nil
	}
	return Failure("removeall", dir, err)
}

// full tells of the error of a removal that it was of a directory with
// something in it.
func full(err error) bool { return err == unix.ENOTEMPTY || err == unix.EEXIST }

// remover walks through a tree with one directory open, the one it is in: a tree may
// be deeper than the program can have files open, and a name longer than a path may
// be. It goes up by "..", and makes sure that this is the directory it came from: the
// container could have moved it.
type remover struct {
	ctx   context.Context
	limit int // of levels
	try   func(dir int, base string, remove removal) error
	at    *os.File // the directory it is in
	above []level
	err   error // the first
}

// level is a directory on the way.
type level struct {
	id    fileID
	base  string   // in the one above
	dirs  []string // in it, still to be removed
	names int      // that may still be removed from it
}

// A container may fill a tree, and make it deeper, as fast as it is removed. So no
// more is removed from a directory than about twice what was in it, and only down to
// a depth that is of any use.
const (
	someNames = 1000
	maxDepth  = 100_000
)

var (
	errGrows = &classed{errors.New("it grows as fast as it is removed"), []error{unix.ENOTEMPTY}}
	errDeep  = &classed{fmt.Errorf("deeper than %d directories", maxDepth), []error{unix.ENAMETOOLONG}}
	errMoved = errors.New("a directory in it was moved meanwhile")
)

// fileID tells files apart.
type fileID struct{ dev, ino uint64 }

func idOf(st *unix.Stat_t) fileID { return fileID{st.Dev, st.Ino} }

// removeTree removes a directory, by way of try.
func removeTree(ctx context.Context, dir int, base string, limit int, try func(int, string, removal) error) error {
	var st unix.Stat_t
	if err := unix.Fstat(dir, &st); err != nil {
		return err
	}
	w := remover{ctx: ctx, limit: limit, try: try, above: []level{{id: idOf(&st)}}}
	if err := w.enter(dir, base, 0); err != nil {
		return err
	}
	defer func() { w.at.Close() }()
	for len(w.above) > 1 {
		if err := ctx.Err(); err != nil {
			return err
		}
		l := &w.above[len(w.above)-1]
		if n := len(l.dirs); n > 0 {
			next := l.dirs[n-1]
			l.dirs = l.dirs[:n-1]
			w.note(w.enter(int(w.at.Fd()), next, unix.RESOLVE_NO_XDEV))
			continue
		}
		if err := w.leave(); err != nil {
			return err
		}
	}
	return w.err
}

// note keeps the first error. What is gone, or no directory any more, is seen
// when the directory it was in can't be removed.
func (w *remover) note(err error) {
	if w.err == nil && !gone(err) {
		w.err = err
	}
}

// enter goes into a directory and removes what is in it, other than
// directories.
func (w *remover) enter(dir int, base string, resolve uint64) error {
	if len(w.above) > w.limit {
		return errDeep
	}
	fd, err := unix.Openat2(dir, base, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | resolve,
	})
	if err == unix.EXDEV {
		err = unix.EBUSY // something is mounted there
	}
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return err
	}
	w.move(fd)
	n, err := w.count()
	w.above = append(w.above, level{id: idOf(&st), base: base, names: 2*n + someNames})
	if err == nil {
		err = w.sweep()
	}
	w.note(err)
	return nil
}

func (w *remover) move(fd int) {
	if w.at != nil {
		w.at.Close()
	}
	w.at = os.NewFile(uintptr(fd), "removed")
}

// count tells how many names the directory has. They are not kept: there may
// be more than there is memory for.
func (w *remover) count() (n int, err error) {
	for {
		names, err := w.at.Readdirnames(1024)
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		n += len(names)
	}
}

// sweep removes what is in the directory, but for directories that are not
// empty.
func (w *remover) sweep() error {
	if _, err := w.at.Seek(0, io.SeekStart); err != nil {
		return err
	}
	l := &w.above[len(w.above)-1]
	for {
		names, err := w.at.Readdirnames(1024)
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = w.ctx.Err()
		}
		if err != nil {
			return err
		}
		if l.names -= len(names); l.names < 0 {
			return errGrows
		}
		for _, name := range names {
			switch err := w.try(int(w.at.Fd()), name, remove); {
			case err == nil:
			case full(err):
				l.dirs = append(l.dirs, name)
			default:
				w.note(err)
			}
		}
	}
}

// leave goes up and removes the directory.
func (w *remover) leave() error {
	top := len(w.above) - 1
	l := &w.above[top]
	up, err := unix.Openat(int(w.at.Fd()), "..", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(up, &st); err != nil || idOf(&st) != w.above[top-1].id {
		unix.Close(up)
		return errors.Join(errMoved, err)
	}
	err = w.try(up, l.base, func(dir int, base string) error { return unix.Unlinkat(dir, base, unix.AT_REMOVEDIR) })
	// Something was overlooked, since what is read was changed, or was put
	// there just now.
	if full(err) && w.err == nil {
		unix.Close(up)
		w.note(w.sweep())
		return nil
	}
	if err != nil && w.err == nil && err != unix.ENOENT {
		w.err = err
	}
	w.move(up)
	w.above = w.above[:top]
	return nil
}
