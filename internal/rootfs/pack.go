package rootfs

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// Pack writes name, and if it is a directory what is below it, to w as a tar,
// under its last element: srv/app becomes app and app/... ; the root itself is
// no entry. A link is an entry, and is not followed.
func (r *Root) Pack(ctx context.Context, name string, w io.Writer) error {
	return Failure("pack", name, r.pack(ctx, name, w))
}

func (r *Root) pack(ctx context.Context, name string, w io.Writer) error {
	dir, base := path.Split(path.Clean("/" + name))
	if base == "" {
		base = "."
	}
	root, err := r.sub(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.with(func(dir int) error { return handle(dir).notKernels() }); err != nil {
		return err
	}
	p := newPacker(ctx, root, w)
	p.least = leastHole
	if err := p.add(base, 0); err != nil {
		return err
	}
	return p.tar.Close()
}

type packer struct {
	ctx    context.Context
	root   *Root // the directory that the first entry is in
	out    io.Writer
	tar    *tar.Writer // to out
	linked map[fileID]link
	least  int64                       // holes of a file that are not written out
	holed  int                         // files that were written without their holes
	whole  bool                        // the root is an entry as well
	aged   func(name string) time.Time // gives the times of directories; nil: they are what they are
}

func newPacker(ctx context.Context, root *Root, w io.Writer) *packer {
	return &packer{ctx: ctx, root: root, out: w, tar: tar.NewWriter(w), linked: map[fileID]link{}}
}

// layerHoles is from where on a layer has a file without its holes. Not every
// tool that hands on layers can (OCI image-spec, layer.md, advises against it),
// but no tool could handle some sparse files otherwise: lastlog may have 292 GB.
const layerHoles = 1 << 30

// link is a file of several names.
type link struct {
	name string // the first
	left uint64 // further ones
}

// add writes a file and what is below it. dev is the device of the directory
// it is in.
func (p *packer) add(name string, dev uint64) error {
	h, err := p.root.find(name, unix.O_NOFOLLOW, unix.RESOLVE_NO_SYMLINKS)
	if gone(err) {
		return err
	}
	if err != nil {
		return wrap(name, err)
	}
	children, dev, err := p.one(name, h, dev)
	h.close() // a deep tree is not held open all the way down
	if err != nil {
		return err
	}
	for _, base := range children {
		if err := p.add(path.Join(name, base), dev); err != nil && !gone(err) {
			return err
		}
	}
	return nil
}

// one writes a file that is held, and gives what is in it, if it is a
// directory, and its device.
func (p *packer) one(name string, h handle, dev uint64) (children []string, _ uint64, err error) {
	st, err := h.stat()
	if err != nil {
		return nil, 0, err
	}
	if err := p.entry(name, h, &st); err != nil {
		return nil, 0, wrap(name, err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR && (st.Dev == dev || h.notKernels() == nil) {
		children, err = h.names(name)
	}
	return children, st.Dev, wrap(name, err)
}

// entry writes a file that is held.
func (p *packer) entry(name string, h handle, st *unix.Stat_t) error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	hdr, err := p.header(name, h, st)
	if err != nil || hdr == nil || name == "." && !p.whole {
		return err
	}
	if hdr.Size == 0 {
		return p.tar.WriteHeader(hdr)
	}
	f, err := h.reopen(name, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	if sparse(st.Size, st.Blocks, p.least) {
		list, err := extents(p.ctx, f, hdr.Size)
		if err != nil {
			return err
		}
		return p.sparse(hdr, f, list)
	}
	if err := p.tar.WriteHeader(hdr); err != nil {
		return err
	}
	return p.copy(p.tar, f, hdr.Size)
}

// gone tells of a file that was listed whether it, or a directory on the way,
// is there no more.
func gone(err error) bool { return err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP }

// wrap says where in a tree an error comes from, which is then not taken for
// that of a file that has gone.
func wrap(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}

// Pack writes the changes to w as a layer: what is new or changed, and a
// whiteout for what is gone (OCI image-spec, layer.md, "Whiteouts"). Where there
// was nothing before, the root is new as well.
func (d *Diff) Pack(ctx context.Context, w io.Writer) error {
	p := newPacker(ctx, d.After, w)
	p.least, p.whole, p.aged = layerHoles, true, d.Aged
	if d.Before == nil {
		if err := p.top(); err != nil {
			return err
		}
	}
	err := d.Walk(ctx, func(name string, kind Kind) error {
		dir, base := path.Split(name)
		if strings.HasPrefix(base, whiteout) {
			return wrap(name, fmt.Errorf("a name that begins with %s stands for what is gone in a layer: %w", whiteout, errdefs.ErrInvalidArgument))
		}
		if kind == Deleted {
			return p.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: dir + whiteout + base, Format: tar.FormatPAX})
		}
		f, err := d.After.lookup(name)
		if f == nil {
			return err
		}
		defer f.close()
		return wrap(name, p.entry(name, f.handle, &f.Stat_t))
	})
	if err != nil {
		return err
	}
	return p.tar.Close()
}

// top writes the root directory's own entry.
func (p *packer) top() error {
	f, err := p.root.lookup(".")
	if f == nil {
		return err
	}
	defer f.close()
	return p.entry(".", f.handle, &f.Stat_t)
}

// header describes a file; nil leaves it out.
func (p *packer) header(name string, h handle, st *unix.Stat_t) (_ *tar.Header, err error) {
	hdr := &tar.Header{
		Name: name, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid),
		ModTime: time.Unix(st.Mtim.Unix()), Format: tar.FormatPAX,
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		hdr.Typeflag, hdr.Size = tar.TypeReg, st.Size
	case unix.S_IFDIR:
		hdr.Typeflag, hdr.Name = tar.TypeDir, name+"/"
		if p.aged != nil {
			hdr.ModTime = p.aged(name)
		}
	case unix.S_IFLNK:
		hdr.Typeflag = tar.TypeSymlink
		if hdr.Linkname, err = h.readLink(); err != nil {
			return nil, err
		}
	case unix.S_IFIFO:
		hdr.Typeflag = tar.TypeFifo
	case unix.S_IFCHR, unix.S_IFBLK:
		hdr.Typeflag = tar.TypeChar
		if st.Mode&unix.S_IFMT == unix.S_IFBLK {
			hdr.Typeflag = tar.TypeBlock
		}
		hdr.Devmajor, hdr.Devminor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	default:
		return nil, nil // a socket, which no tar has
	}
	if hdr.Typeflag != tar.TypeDir && st.Nlink > 1 {
		id := idOf(st)
		if l, ok := p.linked[id]; ok {
			if l.left--; l.left == 0 {
				delete(p.linked, id)
			} else {
				p.linked[id] = l
			}
			hdr.Typeflag, hdr.Linkname, hdr.Size = tar.TypeLink, l.name, 0
			return hdr, nil
		}
		p.linked[id] = link{name, uint64(st.Nlink) - 1} // 32 bits on some processors
	}
	if hdr.Typeflag == tar.TypeReg || hdr.Typeflag == tar.TypeDir {
		err = record(hdr, h)
	}
	return hdr, err
}

// record adds a file's extended attributes.
func record(hdr *tar.Header, h handle) error {
	all, err := xattrs(h.path())
	for name, value := range all {
		if hdr.PAXRecords == nil {
			hdr.PAXRecords = map[string]string{}
		}
		hdr.PAXRecords[xattrRecord+name] = value
	}
	return err
}

// copy writes as much of a file as the header says. It may grow meanwhile, as
// logs do; one that has shrunk is an error.
func (p *packer) copy(w io.Writer, r io.Reader, size int64) error {
	for size > 0 {
		n, err := io.CopyN(w, r, min(size, 16<<20))
		size -= n
		if err == io.EOF {
			return fmt.Errorf("it became shorter by %d bytes while it was read: %w", size, io.ErrUnexpectedEOF)
		}
		if err == nil {
			err = p.ctx.Err()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// names lists a directory that is held, in order.
func (h handle) names(name string) ([]string, error) {
	d, err := h.openDir(name)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}
