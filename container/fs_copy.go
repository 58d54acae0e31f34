package container

import (
	"context"
	"fmt"
	"io"
	"io/fs"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// CopyIn copies what a file system holds into the directory dst, which is made
// if it is missing: an embed.FS, an os.DirFS, the FS of another container or
// one that fs.Sub has cut out of it. Files are copied one after the other, none
// is held in memory.
//
// Modes and times are kept as src reports them (an embed.FS: 0444); owners, if
// the FileInfo's Sys is a *syscall.Stat_t or a *tar.Header, else root owns it;
// symbolic links as they are, if src is an [fs.ReadLinkFS]; hard links, if
// there is a Stat_t; extended attributes, if an open file is an *os.File, or as
// Sys has them in a tar.Header, as far as dst's file system takes them. The holes
// of a sparse file stay holes, if an open file is an *os.File.
//
// A file takes the place of one that is there, and of a link. A directory that
// is there stays what it is, with its mode and owner, also where a link leads
// to it. Named pipes are made, sockets are left out; a device is ctor.ErrInvalid.
// What was copied before an error stays.
func (f *FS) CopyIn(ctx context.Context, dst string, src fs.FS) error {
	return f.doContext(ctx, "copy", dst, func(ctx context.Context, r *rootfs.Root) error { return r.Copy(ctx, dst, src) })
}

// CopyOut reads the file or directory src as a tar, under its last element:
// srv/app becomes app and app/... ; of "." all is there but the root itself.
// The tar keeps modes, owners (as numbers), times to the nanosecond, symbolic
// and hard links and extended attributes (as SCHILY.xattr records). What is
// mounted below src is in it, other than the kernel's own, such as /proc;
// sockets are not. A file with holes of a mebibyte or more is in it without them,
// as GNU's sparse format 1.0 has it, which package archive/tar and GNU tar read.
// Untar brings it back, and layer.FromTar makes a layer of it.
// To copy out by means of io/fs, FS is an fs.FS itself: see fs.Sub and os.CopyFS.
//
// The tar is made as it is read, and not held in memory. A running container
// may change files meanwhile: a file that has gone is left out, one that grows is
// cut, and one that shrinks while it is read is an error, io.ErrUnexpectedEOF.
// Pause it for a copy of one moment.
//
// Close the reader; closing it before its end is fine. Reads fail when ctx
// ends, or the container or the engine is closed.
func (f *FS) CopyOut(ctx context.Context, src string) (io.ReadCloser, error) {
	// So that what is not there is told here.
	if _, err := f.Lstat(src); err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		w.CloseWithError(f.doContext(ctx, "copy", src, func(ctx context.Context, root *rootfs.Root) error {
			// The reader may be gone.
			defer context.AfterFunc(ctx, func() { w.CloseWithError(rootfs.Failure("copy", src, f.cause(ctx))) })()
			return root.Pack(ctx, src, w)
		}))
	}()
	return &packed{r, cancel}, nil
}

// cause says why a context of doContext's has ended.
func (f *FS) cause(ctx context.Context) error {
	if err := context.Cause(ctx); err != fs.ErrClosed {
		return err
	}
	return fmt.Errorf("%s: %w", f.what(), errClosed)
}

// packed is a tar that is being made.
type packed struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (p *packed) Close() error {
	p.cancel()
	return p.PipeReader.Close()
}

// Untar makes the files of a tar, uncompressed, in the directory dst, which is
// made if it is missing: one that CopyOut gave, or any other. All that a tar
// has of a file is kept, as CopyIn keeps it, and the same rules hold. A name
// counts from dst, out of which ".." does not lead; but links in the container,
// and in the tar, do: a tar that isn't trusted can write anywhere in the
// container, and nowhere else. A tar that is damaged, or names an owner that is no number from 0 to 4294967294,
// is ctor.ErrInvalid.
func (f *FS) Untar(ctx context.Context, dst string, src io.Reader) error {
	return f.doContext(ctx, "untar", dst, func(ctx context.Context, r *rootfs.Root) error { return r.Unpack(ctx, dst, src) })
}
