package rootfs

import (
	"io"

	"golang.org/x/sys/unix"
)

// How what a layer has is put in the place of what is there.

// write makes a regular file in the place of what is there. Most of a layer is
// that, so it takes as few calls of the kernel's as it can.
func (l *layerer) write(p *place, base string, n node, content io.Reader) error {
	create := func() (int, error) {
		return unix.Openat(int(p.up), base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	}
	fd, err := create()
	if err == unix.EEXIST {
		if err = l.clear(p, base); err == nil {
			fd, err = create()
		}
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if n.holes {
		err = l.maker.fillHoles(handle(fd), content)
	} else {
		err = l.maker.pour(handle(fd), content)
	}
	if err != nil {
		return err
	}
	if p.acl || len(n.xattrs) > 0 {
		return p.dress(n, handle(fd))
	}
	return n.dressFile(handle(fd), &p.st)
}

// put makes a file that is no directory in the place of what is there.
func (t *tree) put(p *place, base string, n node, create func() (handle, error)) error {
	h, err := create()
	if err == unix.EEXIST {
		if err = t.clear(p, base); err == nil {
			h, err = create()
		}
	}
	if err != nil {
		return err
	}
	defer h.close()
	return p.dress(n, h)
}

// make makes a file without content.
func (n node) make(dir int, base string, dev uint64) (handle, error) {
	kind := n.mode & unix.S_IFMT
	if kind == unix.S_IFLNK {
		return made(dir, base, kind, unix.Symlinkat(n.target, dir, base))
	}
	return made(dir, base, kind, unix.Mknodat(dir, base, kind|0o600, int(dev)))
}

// mkdir makes a directory in the place of what is there, unless that is one: what
// shines through it still does.
func (t *tree) mkdir(p *place, base string, n node) error {
	h, err := makeDir(int(p.up), base)
	if err == nil {
		defer h.close()
		return p.dress(n, h)
	}
	if err != unix.EEXIST {
		return err
	}
	is, err := holdFile(p.up, base)
	if err != nil {
		return err
	}
	defer is.close()
	if is.is(unix.S_IFDIR) {
		return n.redress(is.handle)
	}
	if err := t.clear(p, base); err != nil {
		return err
	}
	if h, err = makeDir(int(p.up), base); err != nil {
		return err
	}
	defer h.close()
	if p.low != none { // what was there has hidden what would shine through now
		if err := t.conceal(h); err != nil {
			return err
		}
	}
	return p.dress(n, h)
}

// dress makes a new file in a directory what it is to be.
func (p *place) dress(n node, h handle) error {
	if p.acl && n.mode&unix.S_IFMT != unix.S_IFLNK {
		return n.redress(h)
	}
	if err := n.dress(h); err != nil {
		return err
	}
	return n.age(h)
}

// redress is dress and age for a file that has attributes already.
func (n node) redress(h handle) error {
	all, err := xattrs(h.path())
	if err != nil {
		return err
	}
	for name := range all {
		if _, stays := n.xattrs[name]; stays {
			continue
		}
		if err := unix.Removexattr(h.path(), name); err != nil && err != unix.ENODATA && !unsupported(err) {
			return err
		}
	}
	if err := n.dress(h); err != nil {
		return err
	}
	return n.age(h)
}
