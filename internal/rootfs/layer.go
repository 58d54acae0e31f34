package rootfs

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/userns"
)

// Applies tells whether mounts are what Apply takes: one that is written to, of a
// directory or an overlay.
func Applies(mounts []mount.Mount) bool {
	_, _, err := written(mounts)
	return err == nil
}

var errForeign = &classed{errors.New("the snapshot is neither a directory nor an overlay that can be written to"), []error{errdefs.ErrInvalidArgument}}

// Apply makes the changes of a layer, which is a tar (OCI image-spec, layer.md),
// in a writable snapshot that nothing else uses: in a directory, or in what an
// overlay writes to, with overlay's marks for what is removed. It reads the
// layer up to the end of its files.
//
// The order of a layer's entries does not matter, except that of two for one name
// the last counts: what a layer removes is what is below it. Names are resolved with
// the tree's root as the root, also those of links on the way.
//
// A layer is refused, with errdefs.ErrInvalidArgument, if it has more entries, or
// more bytes in its files, than [LimitsOf] ctx allow, or what a file system can't
// hold or an overlay would take for a mark of its own.
func Apply(ctx context.Context, mounts []mount.Mount, layer io.Reader) (err error) {
	t, err := openTree(mounts)
	if err != nil {
		return err
	}
	defer t.close()
	return t.apply(ctx, layer)
}

// apply makes the changes of a layer.
func (t *tree) apply(ctx context.Context, layer io.Reader) (err error) {
	t.ctx = ctx
	l := layerer{tree: t, maker: maker{ctx: ctx}, left: LimitsOf(ctx)}
	defer func() { err = errors.Join(err, l.leave()) }()
	return l.apply(layer)
}

// Sync has what mounts write to on the disk.
func Sync(mounts []mount.Mount) error {
	dir, _, err := written(mounts)
	if err != nil {
		return err
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(f.Fd())))
}

// written gives the directory that mounts write to, and the layers that shine
// through.
func written(mounts []mount.Mount) (dir string, l layers, err error) {
	if len(mounts) == 1 && mounts[0].Target == "" && !slices.Contains(mounts[0].Options, "ro") {
		switch m := mounts[0]; m.Type {
		case "bind":
			return m.Source, l, nil
		case "overlay":
			if l = layersOf(m, true); l.upper != "" {
				return l.upper, l, nil
			}
		}
	}
	return "", l, errForeign
}

func openTree(mounts []mount.Mount) (*tree, error) {
	dir, l, err := written(mounts)
	if err != nil {
		return nil, err
	}
	t := &tree{up: none, low: none, own: map[uint64]struct{}{}, seed: maphash.MakeSeed()}
	up, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	t.up = handle(up)
	if len(l.lower) == 0 {
		return t, nil
	}
	t.marks = trustedMarks
	if slices.Contains(l.options, "userxattr") {
		t.marks = userMarks
	}
	low, err := Open(mounts, dir)
	if err != nil {
		t.close()
		return nil, err
	}
	defer low.Close()
	if err := low.with(func(dir int) (err error) {
		t.low, err = handle(dir).dup()
		return err
	}); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *tree) close() {
	t.up.release()
	t.low.release()
}

// What the names of overlay's attributes begin with.
const (
	trustedMarks = "trusted.overlay."
	userMarks    = "user.overlay."
)

// layerer makes the files of a layer.
type layerer struct {
	*tree
	maker maker // of regular files
	left  Limits
	names map[fileID][]string // of files below that have several; nil: not looked for yet
}

func (l *layerer) apply(layer io.Reader) error {
	for in := tar.NewReader(layer); ; {
		hdr, err := in.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = l.count(hdr)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
		}
		if err := l.entry(hdr, in); err != nil {
			return Failure("unpack", fmt.Sprintf("%.300q", hdr.Name), err)
		}
	}
}

func (l *layerer) count(hdr *tar.Header) error {
	if l.left.Entries--; l.left.Entries < 0 {
		return fmt.Errorf("the layer has more than %d entries", LimitsOf(l.ctx).Entries)
	}
	if hdr.Size > l.left.Bytes {
		return fmt.Errorf("the layer has more than %d bytes in its files", LimitsOf(l.ctx).Bytes)
	}
	l.left.Bytes -= hdr.Size
	return nil
}

// Names in a layer that stand for something removed begin with this. Names that begin
// with it twice were aufs's own; one of them still has a meaning.
const (
	whiteout      = ".wh."
	whiteoutMeta  = whiteout + whiteout
	opaqueLiteral = whiteoutMeta + ".opq"
)

func (l *layerer) entry(hdr *tar.Header, content io.Reader) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	name := within("", hdr.Name)[1:]
	dir, base := path.Split(name)
	switch gone, removed := strings.CutPrefix(base, whiteout); {
	case strings.HasPrefix(dir, whiteoutMeta) || strings.Contains(dir, "/"+whiteoutMeta):
		return nil
	case removed && base != opaqueLiteral && strings.HasPrefix(base, whiteoutMeta):
		return nil
	case removed:
		return l.remove(name, gone)
	case hdr.Typeflag == tar.TypeXGlobalHeader:
		return nil
	case hdr.Typeflag == tar.TypeLink:
		return l.link(within("", hdr.Linkname)[1:], name)
	}
	kind, ok := kinds[hdr.Typeflag]
	if !ok {
		return fmt.Errorf("type %q is of no kind of file: %w", hdr.Typeflag, errdefs.ErrInvalidArgument)
	}
	n := node{
		name: name, mode: kind | uint32(hdr.Mode)&0o7777, uid: hdr.Uid, gid: hdr.Gid,
		mtime: hdr.ModTime, target: hdr.Linkname, xattrs: recorded(hdr), holes: isSparse(hdr),
	}
	if name == "" {
		return l.dressRoot(n)
	}
	return l.add(n, hdr, content)
}

// remove makes what one of the names for it stands for.
func (l *layerer) remove(name, gone string) error {
	p, base, err := l.place(name, false)
	switch {
	case lost(err):
		return nil
	case err != nil:
		return err
	case base == opaqueLiteral:
		return l.hideAll(p)
	case gone == "" || gone == "." || gone == "..":
		return fmt.Errorf("it removes no file: %w", errdefs.ErrInvalidArgument)
	}
	return l.hide(p, gone)
}

// place goes to the directory that a name is in, as tree.enter does.
func (l *layerer) place(name string, create bool) (p *place, base string, err error) {
	dir, base := path.Split(name)
	if base == "" {
		return nil, "", fmt.Errorf("it is the root: %w", errdefs.ErrInvalidArgument)
	}
	p, err = l.enter(strings.TrimSuffix(dir, "/"), create)
	return p, base, err
}

// lost tells of the error of place that there is no such directory.
func lost(err error) bool { return errors.Is(err, errLost) }

// dressRoot gives the root what its entry says.
func (l *layerer) dressRoot(n node) error {
	if n.mode&unix.S_IFMT != unix.S_IFDIR {
		return fmt.Errorf("the root is a directory: %w", errdefs.ErrInvalidArgument)
	}
	if err := l.leave(); err != nil {
		return err
	}
	l.draft.listed("")
	return n.redress(l.up)
}

// add makes a file that is no hard link.
func (l *layerer) add(n node, hdr *tar.Header, content io.Reader) error {
	p, base, err := l.place(n.name, true)
	if err != nil {
		return err
	}
	kind := n.mode & unix.S_IFMT
	if kind != unix.S_IFREG && kind != unix.S_IFDIR { // attributes for users are of files with content alone
		for name := range n.xattrs {
			if strings.HasPrefix(name, "user.") {
				delete(n.xattrs, name)
			}
		}
	}
	switch kind {
	case unix.S_IFDIR:
		if err = l.mkdir(p, base, n); err == nil {
			l.draft.listed(path.Join(append(p.names[:len(p.names):len(p.names)], base)...))
		}
	case unix.S_IFREG:
		err = l.write(p, base, n, content)
	case unix.S_IFCHR, unix.S_IFBLK:
		if hdr.Devmajor < 0 || hdr.Devmajor > 1<<12-1 || hdr.Devminor < 0 || hdr.Devminor > 1<<20-1 {
			return fmt.Errorf("there is no device %d:%d: %w", hdr.Devmajor, hdr.Devminor, errdefs.ErrInvalidArgument)
		}
		if kind == unix.S_IFCHR && hdr.Devmajor == 0 && hdr.Devminor == 0 {
			return fmt.Errorf("device 0:0 is overlay's mark of a file that was removed: %w", errdefs.ErrInvalidArgument)
		}
		fallthrough
	default:
		dev := unix.Mkdev(uint32(hdr.Devmajor), uint32(hdr.Devminor))
		err = l.put(p, base, n, func() (handle, error) { return n.make(int(p.up), base, dev) })
	}
	if err == unix.EPERM && (kind == unix.S_IFCHR || kind == unix.S_IFBLK) && !userns.Own().Host() {
		return nil // a user namespace has no devices, but as a container gets them
	}
	if err == nil {
		l.own[l.key(&p.st, base)] = struct{}{}
	}
	return err
}
