package rootfs

import (
	"context"
	"errors"
	"io"
	"maps"
	"path"
	"slices"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/userns"
)

// ErrBelow is the error of a draft that can't be made, or joined, since what its
// layer says depends on the layers below: Apply can do it.
var ErrBelow = errors.New("what the layer says depends on the layers below it")

// Draft is a layer of an overlay that was unpacked before the layers below it
// were there. Most of what a layer says is the same whatever is below; the rest
// is noted, and settled by Join. A draft that was joined is what Apply makes of
// the same layer.
type Draft struct {
	dir string

	// through are the directories that the layer has files in without listing
	// them, by name, with their inodes. If one is there below, this one is like
	// it; if a link is, the files belong elsewhere. 0 is of one that was listed,
	// or replaced, later.
	through map[string]uint64
	marks   []string // the names at which something was removed, if there was something
	root    bool     // the layer lists the root
}

// maxNotes is how much is noted of a draft; a layer with more waits for those
// below.
const maxNotes = 100_000

// NewDraft unpacks a layer into an empty directory, for which it may be applied
// to nothing else. It refuses what Apply refuses, and with ErrBelow what it
// can't tell.
func NewDraft(ctx context.Context, dir string, layer io.Reader) (*Draft, error) {
	t, err := openTree([]mount.Mount{{Type: "bind", Source: dir}})
	if err != nil {
		return nil, err
	}
	defer t.close()
	d := &Draft{dir: dir, through: map[string]uint64{}}
	t.low, t.marks, t.draft = unseen, trustedMarks, d
	if !userns.Own().Host() {
		t.marks = userMarks
	}
	if err := t.apply(ctx, layer); err != nil {
		return nil, err
	}
	return d, nil
}

// listed notes that a layer has an entry for a directory, or something in its
// place.
func (d *Draft) listed(name string) {
	if d == nil {
		return
	}
	if name == "" {
		d.root = true
	}
	if _, ok := d.through[name]; ok {
		d.through[name] = 0
	}
}

// passed notes that a directory was made on the way to a file. unseen tells that
// there may be one below.
func (d *Draft) passed(p *place, base string, unseen bool) error {
	name := p.join(base)
	if d == nil || !unseen {
		d.listed(name)
		return nil
	}
	made, err := holdFile(p.up, base)
	if err != nil {
		return err
	}
	defer made.close()
	d.through[name] = made.Ino
	return d.bound()
}

// marked notes a mark of something that was removed.
func (d *Draft) marked(p *place, base string) error {
	d.marks = append(d.marks, p.join(base))
	return d.bound()
}

func (d *Draft) bound() error {
	if len(d.through)+len(d.marks) > maxNotes {
		return ErrBelow
	}
	return nil
}

// join is the name of what is in a directory.
func (p *place) join(base string) string {
	return path.Join(append(p.names[:len(p.names):len(p.names)], base)...)
}

// Join makes a draft a layer on others, whose directories are given with the
// uppermost first. With ErrBelow it has changed nothing that matters: the draft
// has to be made again by Apply.
func (d *Draft) Join(ctx context.Context, below []string) error {
	dir, err := openDir(d.dir)
	if err != nil {
		return err
	}
	up, err := newRoot(dir)
	if err != nil {
		return err
	}
	defer up.Close()
	if len(d.through)+len(d.marks) > 0 {
		m := mount.Mount{Type: "overlay", Source: "overlay", Options: []string{lowerOption(below)}}
		if !userns.Own().Host() {
			m.Options = append(m.Options, "userxattr")
		}
		low, err := Open([]mount.Mount{m}, d.dir)
		if err != nil {
			return err
		}
		defer low.Close()
		if err := d.settle(up.In(ctx), low.In(ctx)); err != nil {
			return err
		}
	}
	if d.root {
		return nil
	}
	top, err := openDir(below[0])
	if err != nil {
		return err
	}
	defer top.Close()
	f := file{handle: handle(top.Fd())}
	if f.Stat_t, err = f.stat(); err != nil {
		return err
	}
	return f.lend(handle(dir.Fd()))
}

// settle settles what was noted.
func (d *Draft) settle(up, low *Root) error {
	names := slices.Sorted(maps.Keys(d.through))
	for _, name := range names {
		is, err := low.lookup(name)
		link := is.is(unix.S_IFLNK)
		is.close()
		if err != nil {
			return wrap(name, err)
		}
		if link {
			return ErrBelow
		}
	}
	for _, name := range d.marks {
		if err := unmark(up, low, name); err != nil {
			return wrap(name, err)
		}
	}
	for _, name := range names {
		if ino := d.through[name]; ino != 0 {
			if err := liken(up, low, name, ino); err != nil {
				return wrap(name, err)
			}
		}
	}
	return nil
}

// unmark removes the mark of something that was not there: it would be seen as a
// file where nothing shines through.
func unmark(up, low *Root, name string) error {
	hidden, err := low.lookup(name)
	if err != nil || hidden != nil {
		hidden.close()
		return err
	}
	mark, err := up.lookup(name)
	if err != nil || !mark.is(unix.S_IFCHR) || mark.Rdev != 0 {
		mark.close()
		return err
	}
	mark.close()
	dir, err := up.lookup(path.Dir(name))
	if err != nil || dir == nil {
		return err
	}
	defer dir.close()
	if err := unix.Unlinkat(int(dir.handle), path.Base(name), 0); err != nil {
		return err
	}
	return (&place{up: dir.handle, st: dir.Stat_t}).rest()
}

// liken gives a directory the attributes of the one below, unless something else
// has its name by now.
func liken(up, low *Root, name string, ino uint64) error {
	is, err := low.lookup(name)
	if err != nil || !is.is(unix.S_IFDIR) {
		is.close()
		return err
	}
	defer is.close()
	to, err := up.lookup(name)
	if err != nil || !to.is(unix.S_IFDIR) || to.Ino != ino {
		to.close()
		return err
	}
	defer to.close()
	return is.lend(to.handle)
}

// lend gives another directory a directory's attributes.
func (f *file) lend(to handle) error {
	n, err := f.node()
	if err != nil {
		return err
	}
	return n.redress(to)
}
