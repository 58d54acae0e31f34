package rootfs

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// xattrRecord is the prefix of the records in which a tar has extended
// attributes, as star, GNU tar, bsdtar and Docker write them.
const xattrRecord = "SCHILY.xattr."

// Unpack makes the files of a tar below dst.
func (r *Root) Unpack(ctx context.Context, dst string, src io.Reader) error {
	return Failure("unpack", dst, r.unpack(ctx, dst, src))
}

func (r *Root) unpack(ctx context.Context, dst string, src io.Reader) error {
	if err := r.mkdirAll(dst, 0o755); err != nil {
		return err
	}
	m := maker{ctx: ctx, root: r}
	for in := tar.NewReader(src); ; {
		hdr, err := in.Next()
		if err == io.EOF {
			return m.finish()
		}
		if err != nil {
			return fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
		}
		if err := m.entry(dst, hdr, in); err != nil {
			return fmt.Errorf("%.300q: %w", hdr.Name, err)
		}
	}
}

// kinds are the types of files that a tar has.
var kinds = map[byte]uint32{
	tar.TypeReg: unix.S_IFREG, tar.TypeCont: unix.S_IFREG, tar.TypeGNUSparse: unix.S_IFREG, tar.TypeDir: unix.S_IFDIR,
	tar.TypeSymlink: unix.S_IFLNK, tar.TypeFifo: unix.S_IFIFO, tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK,
}

func (m *maker) entry(dst string, hdr *tar.Header, content io.Reader) error {
	name := within(dst, hdr.Name)
	if hdr.Typeflag == tar.TypeLink {
		return m.link(within(dst, hdr.Linkname), name)
	}
	kind, ok := kinds[hdr.Typeflag]
	if !ok || name == within(dst, "") {
		return nil // no file, such as a pax header for the whole archive
	}
	n := node{
		name: name, mode: kind | uint32(hdr.Mode)&0o7777, uid: hdr.Uid, gid: hdr.Gid,
		mtime: hdr.ModTime, target: hdr.Linkname, xattrs: recorded(hdr), holes: isSparse(hdr),
	}
	return m.add(n, content)
}

// within puts a name below dst, which ".." can't lead out of.
func within(dst, name string) string { return path.Join(dst, path.Clean("/"+name)) }

// recorded gives the extended attributes that a tar has of a file.
func recorded(hdr *tar.Header) map[string]string {
	all := map[string]string{}
	for key, value := range hdr.PAXRecords {
		if name, ok := strings.CutPrefix(key, xattrRecord); ok {
			all[name] = value
		}
	}
	return all
}
