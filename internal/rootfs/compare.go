package rootfs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// skip drops the error of a file that is not there, or no more.
func skip(err error) error {
	if gone(err) {
		return nil
	}
	return err
}

// names lists a directory of a tree, to which no link leads.
func (r *Root) names(name string) ([]string, error) {
	f, err := r.lookup(name)
	if f == nil {
		return nil, err
	}
	defer f.close()
	return f.names(name)
}

// file is one that is held, with what is known of it.
type file struct {
	handle
	unix.Stat_t
}

// lookup holds a file to which no link leads. If there is none it gives nil,
// on which close does nothing.
func (r *Root) lookup(name string) (*file, error) {
	if r == nil {
		return nil, nil
	}
	h, err := r.find(name, unix.O_NOFOLLOW, unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return nil, skip(err)
	}
	st, err := h.stat()
	if err != nil {
		h.close()
		return nil, err
	}
	return &file{h, st}, nil
}

func (f *file) close() {
	if f != nil {
		f.handle.release()
	}
}

func (f *file) kind() uint32 { return f.Mode & unix.S_IFMT }

// linked tells whether a file has got another name. Then all names must be in
// one layer, or they would be of two files.
func (w *differ) linked(root *Root, was, is *file) (bool, error) {
	if root == w.Upper {
		return true, nil // where overlay has made a copy, of one name
	}
	for i, r := range []*Root{w.Before, w.After} {
		if w.links[i] != nil {
			continue
		}
		w.links[i] = map[fileID][]string{}
		if err := r.with(func(dir int) error { return findLinks(w.ctx, handle(dir), "", w.links[i]) }); err != nil {
			return false, err
		}
	}
	before := w.links[0][idOf(&was.Stat_t)]
	for _, name := range w.links[1][idOf(&is.Stat_t)] {
		if !slices.Contains(before, name) {
			return true, nil
		}
	}
	return false, nil
}

// findLinks finds the names of files that have several.
func findLinks(ctx context.Context, dir handle, at string, found map[fileID][]string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	names, err := dir.names("")
	if err != nil {
		return skip(err)
	}
	for _, base := range names {
		f, err := holdFile(dir, base)
		if err != nil {
			return err
		}
		name := path.Join(at, base)
		switch {
		case f.is(unix.S_IFDIR):
			err = findLinks(ctx, f.handle, name, found)
		case f != nil && f.Nlink > 1:
			found[idOf(&f.Stat_t)] = append(found[idOf(&f.Stat_t)], name)
		}
		f.close()
		if err != nil {
			return err
		}
	}
	return nil
}

// changed compares all of a file but, of a directory, what is in it.
func (w *differ) changed(was, is *file) (bool, error) {
	if w.Upper == nil && was.Ino == is.Ino && was.Ctim == is.Ctim && is.kind() != unix.S_IFDIR {
		return false, nil // an overlay shows the inode of the layer that has the file
	}
	if was.Mode != is.Mode || was.Uid != is.Uid || was.Gid != is.Gid {
		return true, nil
	}
	switch is.kind() {
	case unix.S_IFLNK:
		a, aerr := was.readLink()
		b, berr := is.readLink()
		return a != b, errors.Join(aerr, berr)
	case unix.S_IFCHR, unix.S_IFBLK:
		return was.Rdev != is.Rdev, nil
	case unix.S_IFREG:
		if was.Size != is.Size || was.Mtim != is.Mtim {
			return true, nil
		}
	case unix.S_IFDIR:
		if w.Aged != nil && was.Mtim != is.Mtim {
			return true, nil
		}
	default:
		return false, nil
	}
	a, aerr := xattrs(was.path())
	b, berr := xattrs(is.path())
	if err := errors.Join(aerr, berr); err != nil || !maps.Equal(a, b) {
		return true, err
	}
	if is.kind() == unix.S_IFDIR || time.Unix(is.Ctim.Unix()).Before(w.Since) {
		return false, nil
	}
	if _, meta := w.mark(is, "metacopy"); meta {
		return false, nil // its content is the lower one
	}
	return w.rewritten(was, is)
}

// rewritten compares contents, of files of the same size.
func (w *differ) rewritten(was, is *file) (bool, error) {
	a, err := was.reopen("", unix.O_RDONLY)
	if err != nil {
		return false, err
	}
	defer a.Close()
	b, err := is.reopen("", unix.O_RDONLY)
	if err != nil {
		return false, err
	}
	defer b.Close()
	all := []extent{{0, is.Size}}
	if sparse(was.Size, was.Blocks, leastHole) && sparse(is.Size, is.Blocks, leastHole) {
		aext, aerr := extents(w.ctx, a, was.Size)
		bext, berr := extents(w.ctx, b, is.Size)
		if err := errors.Join(aerr, berr); err != nil {
			return false, err
		}
		all = union(aext, bext)
	}
	for _, e := range all {
		differ, err := w.differ(io.NewSectionReader(a, e.start, e.end-e.start), io.NewSectionReader(b, e.start, e.end-e.start))
		if differ || err != nil {
			return differ, err
		}
	}
	return false, nil
}

// differ compares what two readers give.
func (w *differ) differ(a, b io.Reader) (bool, error) {
	abuf, bbuf := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		if err := w.ctx.Err(); err != nil {
			return false, err
		}
		n, aerr := io.ReadFull(a, abuf)
		m, berr := io.ReadFull(b, bbuf)
		if !bytes.Equal(abuf[:n], bbuf[:m]) {
			return true, nil
		}
		for _, err := range []error{aerr, berr} {
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				return false, nil
			}
			if err != nil {
				return false, err
			}
		}
	}
}
