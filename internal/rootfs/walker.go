package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// walker walks through a tree with one directory open, the one it is in: a tree
// may be deeper than the program can have files open, and a name longer than a path may
// be. It goes up by "..", and makes sure that this is the directory it came from: the
// container could have moved it.
type walker struct {
	ctx   context.Context
	limit int      // of levels
	at    *os.File // the directory it is in; nil: it has not begun
	above []level
}

// level is a directory on the way.
type level struct {
	id    fileID
	base  string   // in the one above
	dirs  []string // in it, still to be entered
	names int      // that may still be removed from it
}

// maxDepth is how deep a tree is of any use. A container may make one deeper, as fast
// as it is walked through.
const maxDepth = 100_000

var (
	errDeep  = &classed{fmt.Errorf("deeper than %d directories", maxDepth), []error{unix.ENAMETOOLONG}}
	errMoved = errors.New("a directory in it was moved meanwhile")
)

// fileID tells files apart.
type fileID struct{ dev, ino uint64 }

func idOf(st *unix.Stat_t) fileID { return fileID{st.Dev, st.Ino} }

// here is the level of the directory that the walk is in.
func (w *walker) here() *level { return &w.above[len(w.above)-1] }

// next takes the next directory to enter.
func (w *walker) next() (base string, ok bool) {
	l := w.here()
	n := len(l.dirs)
	if n == 0 {
		return "", false
	}
	base, l.dirs = l.dirs[n-1], l.dirs[:n-1]
	return base, true
}

// enter goes from a directory into one of its own.
func (w *walker) enter(dir int, base string, resolve uint64) (st unix.Stat_t, err error) {
	if len(w.above) > w.limit {
		return st, errDeep
	}
	fd, err := unix.Openat2(dir, base, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | resolve,
	})
	if err != nil {
		return st, err
	}
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return st, err
	}
	w.move(fd)
	w.above = append(w.above, level{id: idOf(&st), base: base})
	return st, nil
}

// parent opens the directory above.
func (w *walker) parent() (int, error) {
	up, err := unix.Openat(int(w.at.Fd()), "..", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(up, &st); err != nil || idOf(&st) != w.above[len(w.above)-2].id {
		unix.Close(up)
		return -1, errors.Join(errMoved, err)
	}
	return up, nil
}

// leave goes up, to what parent has opened.
func (w *walker) leave(up int) {
	w.move(up)
	w.above = w.above[:len(w.above)-1]
}

func (w *walker) move(fd int) {
	w.close()
	w.at = os.NewFile(uintptr(fd), "walked")
}

func (w *walker) close() {
	if w.at != nil {
		w.at.Close()
	}
}

// names hands over the names in the directory, some at a time: there may be more than
// there is memory for.
func (w *walker) names(do func([]string) error) error {
	for {
		names, err := w.at.Readdirnames(1024)
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = w.ctx.Err()
		}
		if err == nil {
			err = do(names)
		}
		if err != nil {
			return err
		}
	}
}
