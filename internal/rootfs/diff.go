package rootfs

import (
	"context"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Kind is what happened to a file.
type Kind int

// The kinds of changes.
const (
	Added Kind = iota + 1
	Modified
	Deleted
)

// Diff is what a container has written, beside what was there before.
type Diff struct {
	// Before is what was there; nil is nothing.
	Before *Root

	// After is all that there is now.
	After *Root

	// Upper is the upper directory of an overlay: it holds only what was
	// written, and marks for what was removed. Without it all files are
	// compared.
	Upper *Root

	// User tells that the marks are in the name space "user" of extended
	// attributes (userxattr), not in "trusted".
	User bool

	// Since is when the writing began. What was not touched since then has the
	// content it had, if it has the size and the time.
	Since time.Time

	// Made are the paths that the runtime has made, to mount on. They do not
	// count, nor do directories above that are there for them alone.
	Made []string

	// Aged gives the times that Pack writes of directories, where those on the disk
	// are not the ones that are meant; Walk then counts them as well. nil: they are.
	Aged func(name string) time.Time
}

// Walk calls yield for each change, with names that count from the root, in
// their order, and a directory before what is in it. A directory is modified
// if something below it has changed, as docker diff has it, or its mode, owner
// or extended attributes have; its time alone does not count. The root (".") is
// told of by those alone.
func (d *Diff) Walk(ctx context.Context, yield func(name string, kind Kind) error) error {
	w := differ{Diff: d, ctx: ctx, yield: yield, made: map[string]bool{}}
	for _, name := range d.Made {
		for name = d.Before.Real(name); name != "."; name = path.Dir(name) {
			w.made[name] = true
		}
	}
	root, whole := d.Upper, false
	if root == nil {
		root, whole = d.After, true
	}
	if err := w.root(); err != nil {
		return err
	}
	return w.dir(root, ".", d.Before != nil, whole)
}

// Close closes the roots.
func (d *Diff) Close() error {
	for _, r := range []*Root{d.Before, d.After, d.Upper} {
		if r != nil {
			r.Close()
		}
	}
	return nil
}

type differ struct {
	*Diff
	ctx   context.Context
	yield func(name string, kind Kind) error
	made  map[string]bool        // what the runtime may have made
	links [2]map[fileID][]string // names of files that have several, before and after; nil: not looked for
	above []pending              // directories on the way
}

// pending is a directory that is told of only if something in it has changed.
type pending struct {
	name string
	kind Kind
	told bool
}

// tell reports a change, after the directories that it is in.
func (w *differ) tell(name string, kind Kind) error {
	for i := range w.above {
		if p := &w.above[i]; !p.told {
			p.told = true
			if err := w.yield(p.name, p.kind); err != nil {
				return err
			}
		}
	}
	return w.yield(name, kind)
}

// root tells of the root directory itself, if it is another than it was.
func (w *differ) root() error {
	if w.Before == nil {
		return nil
	}
	was, err := w.Before.lookup(".")
	if err != nil {
		return err
	}
	defer was.close()
	is, err := w.After.lookup(".")
	if err != nil {
		return err
	}
	defer is.close()
	changed, err := w.changed(was, is)
	if err != nil || !changed {
		return err
	}
	return w.yield(".", Modified)
}

// dir compares what is in a directory of root. was tells whether there was such
// a directory before, and whole whether what is missing in root is gone.
func (w *differ) dir(root *Root, name string, was, whole bool) error {
	names, err := root.names(name)
	if err != nil {
		return skip(err)
	}
	if was && whole {
		old, err := w.Before.names(name)
		if skip(err) != nil {
			return err
		}
		names = append(names, old...)
		slices.Sort(names)
		names = slices.Compact(names)
	}
	for _, base := range names {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		child := path.Join(name, base)
		if err := w.entry(root, child, was, whole); err != nil {
			return wrap(child, err)
		}
	}
	return nil
}

// descent is what is to be compared below a directory.
type descent struct {
	root       *Root // in which it is
	was, whole bool  // as dir has them
	untold     Kind  // of the directory itself; 0: it was told of
}

// entry compares one file, and what is below it.
func (w *differ) entry(root *Root, name string, dirWas, whole bool) error {
	d, err := w.compare(root, name, dirWas, whole)
	if d == nil {
		return err
	}
	if d.untold != 0 {
		w.above = append(w.above, pending{name: name, kind: d.untold})
		defer func() { w.above = w.above[:len(w.above)-1] }()
	}
	return w.dir(d.root, name, d.was, d.whole)
}

// compare compares one file, and says what there is to do below it.
func (w *differ) compare(root *Root, name string, dirWas, whole bool) (*descent, error) {
	var was *file
	is, err := root.lookup(name)
	if err != nil {
		return nil, err
	}
	defer is.close()
	if dirWas {
		if was, err = w.Before.lookup(name); err != nil {
			return nil, err
		}
		defer was.close()
	}
	if is == nil && !whole {
		return nil, nil // it has gone meanwhile
	}
	if is == nil || root == w.Upper && is.kind() == unix.S_IFCHR && is.Rdev == 0 {
		if was == nil {
			return nil, nil
		}
		return nil, w.tell(name, Deleted)
	}
	d := &descent{root: root, whole: whole, was: was != nil && was.kind() == unix.S_IFDIR}
	if root == w.Upper && is.kind() == unix.S_IFDIR {
		if _, moved := w.mark(is, "redirect"); moved { // so it is not all here
			d.root, d.whole = w.After, true
		}
		if value, _ := w.mark(is, "opaque"); value == "y" {
			d.whole = true
		}
	}
	if d.untold, err = w.judge(root, name, was, is); err != nil || is.kind() != unix.S_IFDIR {
		return nil, err
	}
	return d, nil
}

// mark gives one of overlay's marks.
func (w *differ) mark(f *file, name string) (value string, ok bool) {
	space := "trusted"
	if w.User {
		space = "user"
	}
	b, err := grow(func(b []byte) (int, error) { return unix.Getxattr(f.path(), space+".overlay."+name, b) })
	return string(b), err == nil
}

// judge tells of a file that is there, or gives the kind that a directory has
// if something in it is told of.
func (w *differ) judge(root *Root, name string, was, is *file) (untold Kind, err error) {
	isDir := is.kind() == unix.S_IFDIR
	if was == nil {
		if w.made[name] && (isDir || is.Size == 0) {
			return Added, nil
		}
		return 0, w.tell(name, Added)
	}
	changed, err := w.changed(was, is)
	if err == nil && !changed && !isDir && is.Nlink > 1 {
		changed, err = w.linked(root, was, is)
	}
	if err != nil || !changed {
		return Modified, err
	}
	return 0, w.tell(name, Modified)
}
