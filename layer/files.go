package layer

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"
)

// File is a file of a stack of layers, and where it is from.
type File struct {
	// Path is slash-separated, clean, and starts at the root: /etc/passwd.
	Path string

	// Layer is the layer that the file is from, counted from 0, the lowest: the
	// uppermost with an entry for it. Of a directory it is the one that says its mode
	// and owner; a directory without any entry is from the first layer with a file in it.
	// A hard link is from the layer that has the bytes.
	Layer int

	// Info says what the file is. Its Sys is a *[archive/tar.Header], with the
	// owner and, of a symbolic link, where that leads.
	Info fs.FileInfo
}

// Files lists the files that layers make together, base first: what a container
// finds, in the order of paths, a directory before what is in it, and the root (/)
// at first. What an upper layer removes or replaces is not listed (OCI image-spec,
// layer.md, "Applying Changesets").
//
// Files reads every layer once, to its end, which checks their DiffIDs, before it
// lists the first file; it unpacks nothing, and needs neither an engine nor root.
// An error ends the list: it comes with the zero File. Its class is that of
// [Layer.FS].
func Files(ctx context.Context, layers ...Layer) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		t := newTree()
		for n, l := range layers {
			if err := t.stack(ctx, n, l); err != nil {
				yield(File{}, err)
				return
			}
		}
		t.root.walk("/", func(name string, n *node) bool {
			return yield(File{Path: name, Layer: n.layer, Info: n.info()}, nil)
		})
	}
}

// stack adds a layer on top.
func (t *tree) stack(ctx context.Context, n int, l Layer) error {
	rc, err := l.Open(ctx)
	if err != nil {
		return err
	}
	defer rc.Close()
	t.layer = n
	if err := t.index(rc); err != nil {
		return fmt.Errorf("layer: files of %s: %w", l.DiffID, err)
	}
	return nil
}

// walk calls visit for a node and what is below it, until that gives false.
func (n *node) walk(name string, visit func(string, *node) bool) bool {
	if !visit(name, n) {
		return false
	}
	for _, base := range slices.Sorted(maps.Keys(n.children)) {
		if !n.children[base].walk(path.Join(name, base), visit) {
			return false
		}
	}
	return true
}

// Names of what a layer removes.
const (
	whiteoutPrefix = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
)

// whiteout removes from the layers below what an entry of the layer stands for.
func (t *tree) whiteout(name string) error {
	dir, base := path.Split(name)
	if isWhiteout(dir) || base != whiteoutOpaque && strings.HasPrefix(base, whiteoutPrefix+whiteoutPrefix) {
		return nil // aufs's own
	}
	at, err := t.find(dir, true, false)
	if err != nil || !at.isDir() {
		return nil // nothing is there that could be removed
	}
	if base == whiteoutOpaque {
		t.empty(at)
		return nil
	}
	if gone := at.children[strings.TrimPrefix(base, whiteoutPrefix)]; gone != nil && !t.clear(gone) {
		delete(at.children, gone.hdr.Name)
	}
	return nil
}

// clear removes what the layers below have at a node, and tells whether something
// of the layer itself keeps it.
func (t *tree) clear(n *node) (kept bool) {
	t.empty(n)
	if n.added < t.layer && len(n.children) > 0 { // as what is needed on the way to a file
		n.hdr, n.seq = implied(n.parent, n.hdr.Name).hdr, -1
		n.layer, n.added = t.layer, t.layer
	}
	return n.added == t.layer
}

// empty removes what the layers below have in a directory. What comes after that is
// the layer's own.
func (t *tree) empty(n *node) {
	if n.cleared == t.layer {
		return
	}
	n.cleared = t.layer
	for base, c := range n.children {
		if !t.clear(c) {
			delete(n.children, base)
		}
	}
}
