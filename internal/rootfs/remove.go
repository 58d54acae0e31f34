package rootfs

import (
	"context"
	"errors"
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

// remover removes a tree on its way through it.
type remover struct {
	walker
	try func(dir int, base string, remove removal) error
	err error // the first
}

// A container may fill a tree as fast as it is removed. So no more is removed from a
// directory than about twice what was in it.
const someNames = 1000

var errGrows = &classed{errors.New("it grows as fast as it is removed"), []error{unix.ENOTEMPTY}}

// removeTree removes a directory, by way of try.
func removeTree(ctx context.Context, dir int, base string, limit int, try func(int, string, removal) error) error {
	var st unix.Stat_t
	if err := unix.Fstat(dir, &st); err != nil {
		return err
	}
	w := remover{walker: walker{ctx: ctx, limit: limit, above: []level{{id: idOf(&st)}}}, try: try}
	defer w.close()
	if err := w.enter(dir, base, 0); err != nil {
		return err
	}
	for len(w.above) > 1 {
		if err := ctx.Err(); err != nil {
			return err
		}
		if next, ok := w.next(); ok {
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
	_, err := w.walker.enter(dir, base, resolve)
	if err == unix.EXDEV {
		err = unix.EBUSY // something is mounted there
	}
	if err != nil {
		return err
	}
	n := 0
	err = w.names(func(names []string) error { n += len(names); return nil })
	w.here().names = 2*n + someNames
	if err == nil {
		err = w.sweep()
	}
	w.note(err)
	return nil
}

// sweep removes what is in the directory, but for directories that are not
// empty.
func (w *remover) sweep() error {
	if _, err := w.at.Seek(0, io.SeekStart); err != nil {
		return err
	}
	l := w.here()
	return w.names(func(names []string) error {
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
		return nil
	})
}

// leave goes up and removes the directory.
func (w *remover) leave() error {
	up, err := w.parent()
	if err != nil {
		return err
	}
	err = w.try(up, w.here().base, func(dir int, base string) error { return unix.Unlinkat(dir, base, unix.AT_REMOVEDIR) })
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
	w.walker.leave(up)
	return nil
}
