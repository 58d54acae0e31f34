package rootfs

import (
	"errors"
	"math"
	"slices"

	"golang.org/x/sys/unix"
)

// Of what a layer removes only what is below it goes, never what the layer itself
// has, and it does not matter which of the two comes first. In a plain directory
// the files are removed; in an overlay a mark hides those that shine through.

// hide removes what the layers below have of a name.
func (t *tree) hide(p *place, base string) error {
	if err := t.ctx.Err(); err != nil {
		return err
	}
	up, low, err := t.both(p, base)
	if err != nil {
		return err
	}
	defer low.close()
	own := t.owns(t.key(&p.st, base))
	if own && up.is(unix.S_IFDIR) {
		return t.hideIn(p, base, up, low)
	}
	up.close()
	if own && up != nil {
		return nil
	}
	// A mark where nothing shines through any more would be seen as a file.
	if up != nil || p.low == none {
		if err := t.clear(p, base); err != nil {
			return err
		}
	}
	if low == nil {
		return nil
	}
	if err := unix.Mknodat(int(p.up), base, unix.S_IFCHR, 0); err != nil || !low.isUnseen() {
		return err
	}
	return t.draft.marked(p, base)
}

// hideIn removes what the layers below have in a directory of the layer's, up,
// which it closes.
func (t *tree) hideIn(p *place, base string, up, low *file) error {
	in := &place{names: append(slices.Clip(p.names), base), up: up.handle, low: none, st: up.Stat_t}
	defer in.close()
	if low.mayShow() && !t.opaque(in.up) {
		var err error
		if in.low, err = low.handle.dup(); err != nil {
			return err
		}
	}
	return errors.Join(t.hideAll(in), in.rest())
}

// hideAll removes what the layers below have in a directory.
func (t *tree) hideAll(p *place) error {
	names, err := p.up.names("")
	if err != nil {
		return err
	}
	if p.low != none && len(p.names) > 0 {
		if err := t.conceal(p.up); err != nil {
			return err
		}
		p.low.release()
		p.low = none
	}
	if p.low == unseen {
		return ErrBelow
	}
	if p.low != none { // overlay does not look for the mark at its root
		more, err := p.low.names("")
		if err != nil {
			return err
		}
		names = append(names, more...)
		slices.Sort(names)
		names = slices.Compact(names)
	}
	for _, base := range names {
		if err := t.hide(p, base); err != nil {
			return wrap(base, err)
		}
	}
	return nil
}

// whiteout tells of a file whether it is the mark of one that was removed.
func (t *tree) whiteout(f *file) bool { return t.marks != "" && f.is(unix.S_IFCHR) && f.Rdev == 0 }

// opaque tells of a directory whether nothing shines through.
func (t *tree) opaque(dir handle) bool {
	if t.marks == "" {
		return false
	}
	var value [1]byte
	n, err := unix.Getxattr(dir.path(), t.marks+"opaque", value[:])
	return err == nil && n == 1 && value[0] == 'y'
}

// conceal lets nothing shine through a directory.
func (t *tree) conceal(dir handle) error {
	return unix.Setxattr(dir.path(), t.marks+"opaque", []byte("y"), 0)
}

// clear removes what is written under a name.
func (t *tree) clear(p *place, base string) error {
	err := remove(int(p.up), base)
	if full(err) {
		err = removeTree(t.ctx, int(p.up), base, math.MaxInt, attempt)
	}
	if err == unix.ENOENT {
		return nil
	}
	return err
}
