package rootfs

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// link makes a further name of a file, which may be one of a layer below. The
// header of a hard link says nothing of the file.
func (l *layerer) link(old, name string) error {
	h, err := l.target(old)
	if err != nil {
		return fmt.Errorf("hard link to %.300q: %w", old, err)
	}
	defer h.close()
	p, base, err := l.place(name, true)
	if err != nil {
		return err
	}
	add := func() error { return unix.Linkat(unix.AT_FDCWD, h.path(), int(p.up), base, unix.AT_SYMLINK_FOLLOW) }
	if err = add(); err == unix.EEXIST {
		is, herr := holdFile(p.up, base)
		if herr != nil {
			return herr
		}
		st, herr := h.stat()
		same := is != nil && herr == nil && idOf(&st) == idOf(&is.Stat_t)
		is.close()
		if same {
			err = nil
		} else if err = l.clear(p, base); err == nil {
			err = add()
		}
	}
	if err == nil {
		l.own[l.key(&p.st, base)] = struct{}{}
	}
	return err
}

// target holds the file that a hard link is to. One of a layer below is copied
// up, with all its names: else it would be another file under each.
func (l *layerer) target(name string) (handle, error) {
	p, base, err := l.place(name, false)
	if err != nil {
		return none, err
	}
	up, low, err := l.both(p, base)
	if err != nil {
		return none, err
	}
	defer low.close()
	switch {
	case up.is(unix.S_IFDIR) || up == nil && low.is(unix.S_IFDIR):
		up.close()
		return none, fmt.Errorf("it is a directory: %w", errdefs.ErrInvalidArgument)
	case up != nil:
		return up.handle, nil
	case low.isUnseen():
		return none, ErrBelow
	case low == nil:
		return none, errLost
	}
	h, err := l.copyUp(p, base, low)
	if err != nil || low.Nlink == 1 {
		return h, err
	}
	if err := l.copyNames(h, low); err != nil {
		h.close()
		return none, err
	}
	return h, nil
}

// copyUp makes a copy of a file that shines through, which is not a directory.
func (l *layerer) copyUp(p *place, base string, low *file) (h handle, err error) {
	n, err := low.node()
	if err != nil {
		return none, err
	}
	if low.is(unix.S_IFREG) {
		var f *os.File
		if f, err = low.reopen(base, os.O_RDONLY); err != nil {
			return none, err
		}
		defer f.Close()
		h, err = l.maker.file(int(p.up), base, false, f)
	} else {
		h, err = n.make(int(p.up), base, uint64(low.Rdev))
	}
	if err != nil {
		return none, err
	}
	if err = p.dress(n, h); err != nil {
		h.close()
		return none, err
	}
	return h, nil
}

// copyDir makes a copy of a directory that shines through, without what is in it.
func (t *tree) copyDir(p *place, base string, low *file) error {
	n, err := low.node()
	if err != nil {
		return err
	}
	h, err := makeDir(int(p.up), base)
	if err != nil {
		return err
	}
	defer h.close()
	return p.dress(n, h)
}

// node is what there is to make for the same file once more.
func (f *file) node() (n node, err error) {
	n = node{mode: f.Mode, uid: int(f.Uid), gid: int(f.Gid), mtime: time.Unix(f.Mtim.Unix())}
	if f.is(unix.S_IFLNK) {
		n.target, err = f.readLink()
	} else {
		n.xattrs, err = xattrs(f.path())
	}
	return n, err
}

// copyNames gives a file that was copied up the further names of the one below.
func (l *layerer) copyNames(h handle, low *file) error {
	if l.names == nil {
		l.names = map[fileID][]string{}
		if err := findLinks(l.ctx, l.low, "", l.names); err != nil {
			return err
		}
	}
	for _, name := range l.names[idOf(&low.Stat_t)] {
		p, base, err := l.place(name, false)
		if lost(err) || errors.Is(err, unix.ELOOP) {
			continue // what is on the way is something else by now
		}
		if err != nil {
			return err
		}
		if strings.Join(p.names, "/") != strings.TrimSuffix(name[:len(name)-len(base)], "/") {
			continue // or a link
		}
		up, is, err := l.both(p, base)
		if err != nil {
			return err
		}
		if up == nil && is != nil && idOf(&is.Stat_t) == idOf(&low.Stat_t) {
			err = unix.Linkat(unix.AT_FDCWD, h.path(), int(p.up), base, unix.AT_SYMLINK_FOLLOW)
		}
		up.close()
		is.close()
		if err != nil {
			return err
		}
	}
	return nil
}
