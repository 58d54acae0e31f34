package layer

import (
	"archive/tar"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/containerd/errdefs"
)

// A tar is small where the tree it describes is not, so what is indexed has bounds.
const (
	maxIndex = 512 << 20 // bytes of memory, roughly
	maxPath  = 4096      // bytes of a name: PATH_MAX of Linux
	maxHops  = 40        // links on the way to one file, as in the kernel
	nodeSize = 512       // bytes of memory, roughly
)

// tree is the index of a layer, or of several on top of each other: directories,
// and where in its layer's tar each file is.
type tree struct {
	root  *node
	left  int // bytes the index may still take
	layer int // that is being added, 0 the lowest
}

var (
	errBelowFile = fmt.Errorf("below a file: %w", errdefs.ErrInvalidArgument)
	errLoop      = fmt.Errorf("too many levels of symbolic links: %w", errdefs.ErrInvalidArgument)
)

// node is one name in the tree.
type node struct {
	hdr      *tar.Header // cut down to what is shown; Name is the base name
	seq      int         // of the entry with the bytes; -1 = none
	layer    int         // that has the bytes, or the directory's mode
	added    int         // the layer that put it here
	cleared  int         // the layer that removed what those below it had here; 0: none
	parent   *node       // the root's is the root
	children map[string]*node
}

func newTree() *tree {
	t := &tree{root: implied(nil, "."), left: maxIndex}
	t.root.parent = t.root
	return t
}

// implied is a directory that the tar doesn't list, as tools make it.
func implied(parent *node, name string) *node {
	return &node{
		hdr:      &tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, ModTime: time.Unix(0, 0)},
		seq:      -1,
		parent:   parent,
		children: map[string]*node{},
	}
}

func (n *node) isDir() bool       { return n.children != nil }
func (n *node) isLost() bool      { return n.hdr.Typeflag == tar.TypeLink }
func (n *node) info() fs.FileInfo { return n.hdr.FileInfo() }

func (n *node) list() []fs.DirEntry {
	list := make([]fs.DirEntry, 0, len(n.children))
	for name, c := range n.children {
		if utf8.ValidString(name) { // io/fs knows no others
			list = append(list, fs.FileInfoToDirEntry(c.info()))
		}
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list
}

// add puts an entry of the tar where unpacking would put it.
func (t *tree) add(hdr *tar.Header, seq int) error {
	switch hdr.Typeflag {
	case tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
	case tar.TypeCont, tar.TypeGNUSparse:
		hdr.Typeflag = tar.TypeReg
	default:
		return nil // no file, such as a pax header for the whole archive
	}
	if len(hdr.Name) > maxPath || len(hdr.Linkname) > maxPath {
		return fmt.Errorf("longer than %d bytes: %w", maxPath, errdefs.ErrResourceExhausted)
	}
	// Seen from the root, ".." can't climb out.
	name := path.Clean("/" + hdr.Name)[1:]
	if isWhiteout(name) {
		return t.whiteout(name)
	}
	if name == "" {
		if hdr.Typeflag == tar.TypeDir {
			t.root.hdr, t.root.layer = shown(hdr, "."), t.layer
		}
		return nil
	}
	parent, err := t.find(path.Dir(name), true, true)
	if err != nil {
		return err
	}
	return t.put(parent, path.Base(name), hdr, seq)
}

// put sets an entry in its directory. A directory over a directory keeps what is
// in it; anything else replaces: OCI image-spec, layer.md, "Changeset over
// existing files".
func (t *tree) put(parent *node, base string, hdr *tar.Header, seq int) error {
	if !parent.isDir() {
		return errBelowFile
	}
	n := &node{hdr: shown(hdr, base), seq: seq, layer: t.layer, added: t.layer, parent: parent}
	old := parent.children[base]
	switch {
	case hdr.Typeflag == tar.TypeDir && old != nil && old.isDir():
		old.hdr, old.seq, old.layer, old.added = n.hdr, seq, t.layer, t.layer
		return nil
	case hdr.Typeflag == tar.TypeDir:
		n.children = map[string]*node{}
	case hdr.Typeflag == tar.TypeLink:
		target, err := t.find(path.Clean("/" + hdr.Linkname)[1:], false, false)
		if err == nil && !target.isDir() {
			n.hdr, n.seq, n.layer = shown(target.hdr, base), target.seq, target.layer
		}
	}
	return t.attach(n)
}

// attach makes n a child of its parent, in place of what is there. What it takes is
// never given back, which bounds the work as well as the memory.
func (t *tree) attach(n *node) error {
	t.left -= nodeSize + len(n.hdr.Name) + len(n.hdr.Linkname)
	if t.left < 0 {
		return fmt.Errorf("too many entries to index: %w", errdefs.ErrResourceExhausted)
	}
	n.parent.children[n.hdr.Name] = n
	return nil
}

// shown copies what a FileInfo tells. Strings are cloned since the tar reader cuts
// them out of blocks of up to a megabyte, which they would keep alive.
func shown(hdr *tar.Header, base string) *tar.Header {
	return &tar.Header{
		Typeflag: hdr.Typeflag,
		Name:     strings.Clone(base),
		Linkname: strings.Clone(hdr.Linkname),
		Size:     hdr.Size,
		Mode:     hdr.Mode & 0o7777, // tars may repeat the type here, or contradict it
		Uid:      hdr.Uid,
		Gid:      hdr.Gid,
		ModTime:  hdr.ModTime,
		Devmajor: hdr.Devmajor,
		Devminor: hdr.Devminor,
	}
}

// find walks to a name, through symbolic links as the kernel would inside the
// layer; a link in the last place is followed if follow is set. With mkdir it
// makes the directories that are missing.
func (t *tree) find(name string, follow, mkdir bool) (*node, error) {
	at, hops := t.root, 0
	for rest := name; rest != ""; {
		var elem string
		elem, rest, _ = strings.Cut(rest, "/")
		switch elem {
		case "", ".":
			continue
		case "..":
			at = at.parent
			continue
		}
		if !at.isDir() {
			if mkdir {
				return nil, errBelowFile
			}
			return nil, fs.ErrNotExist
		}
		next := at.children[elem]
		if next == nil {
			if !mkdir {
				return nil, fs.ErrNotExist
			}
			next = implied(at, strings.Clone(elem))
			next.layer, next.added = t.layer, t.layer
			if err := t.attach(next); err != nil {
				return nil, err
			}
		}
		if next.hdr.Typeflag == tar.TypeSymlink && (follow || rest != "") {
			if hops++; hops > maxHops {
				return nil, errLoop
			}
			if strings.HasPrefix(next.hdr.Linkname, "/") {
				at = t.root
			}
			rest = next.hdr.Linkname + "/" + rest
			continue
		}
		at = next
	}
	return at, nil
}
