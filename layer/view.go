package layer

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/containerd/errdefs"
)

// FS returns a read-only view of what this layer alone adds, without the layers
// below it. It is an [fs.ReadLinkFS]; a FileInfo's Sys is a *[archive/tar.Header]
// with the owner. It is safe for use by several goroutines.
//
// FS reads the whole layer once, which checks DiffID, and keeps an index of names.
// The bytes stay where they are: a file's first Read opens the layer again and
// goes through the tar up to that file. That is right for a look at a few files;
// to read all of them, read the tar that [Layer.Open] gives. ctx holds for the
// view's whole life: once it ends, reads fail.
//
// Links are followed inside the layer, whose root no link can leave. Directories
// the tar implies but doesn't list have mode 0755. Not shown are whiteouts, which
// add nothing, and names that io/fs can't say because they aren't UTF-8. A hard
// link to a file of a layer below is shown, but its bytes aren't here: reading it
// fails with fs.ErrNotExist.
//
// The class of the error is ErrInvalidArgument for a tar that is none, or that
// puts files below a file; ErrResourceExhausted for one whose index would take
// more than half a gigabyte (about a million entries), or whose names are longer
// than Linux has; else it is Open's.
func (l Layer) FS(ctx context.Context) (fs.FS, error) {
	rc, err := l.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	t := newTree()
	if err := t.index(rc); err != nil {
		return nil, fmt.Errorf("layer: fs of %s: %w", l.DiffID, err)
	}
	return &view{ctx: ctx, layer: l, tree: t}, nil
}

// index adds all entries of a tar, and reads it to its very end.
func (t *tree) index(r io.Reader) error {
	br := bufio.NewReaderSize(r, 64<<10)
	tr := tar.NewReader(br)
	for seq := 0; ; seq++ {
		hdr, err := tr.Next()
		if err == io.EOF {
			_, err = io.Copy(io.Discard, br)
			return err
		}
		if errors.Is(err, tar.ErrHeader) {
			return fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
		}
		if err != nil {
			return err
		}
		if err := t.add(hdr, seq); err != nil {
			return fmt.Errorf("%.200q: %w", hdr.Name, err)
		}
	}
}

// view is the fs.FS over a tree. It keeps ctx, since io/fs has no other place for it.
type view struct {
	ctx   context.Context
	layer Layer
	tree  *tree
}

var _ fs.ReadLinkFS = (*view)(nil)

func (v *view) Open(name string) (fs.File, error) {
	n, err := v.find("open", name, true)
	if err != nil {
		return nil, err
	}
	if n.isDir() {
		return &dir{node: n, name: name, left: n.list()}, nil
	}
	return &file{node: n, view: v, name: name}, nil
}

func (v *view) Lstat(name string) (fs.FileInfo, error) {
	n, err := v.find("lstat", name, false)
	if err != nil {
		return nil, err
	}
	return n.info(), nil
}

func (v *view) ReadLink(name string) (string, error) {
	n, err := v.find("readlink", name, false)
	if err != nil {
		return "", err
	}
	if n.hdr.Typeflag != tar.TypeSymlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return n.hdr.Linkname, nil
}

func (v *view) find(op, name string, follow bool) (*node, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	n, err := v.tree.find(name, follow, false)
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return n, nil
}

// dir is an open directory.
type dir struct {
	*node
	name string
	left []fs.DirEntry // not read yet
}

func (d *dir) Stat() (fs.FileInfo, error) { return d.info(), nil }

func (d *dir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: errors.New("is a directory")}
}

func (d *dir) Close() error { return nil }

func (d *dir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		n = len(d.left)
	} else if len(d.left) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.left))
	list := d.left[:n]
	d.left = d.left[n:]
	return list, nil
}

// file is an open file that isn't a directory. The layer is opened by the first
// Read: most files are opened only for Stat.
type file struct {
	*node
	view *view
	name string
	rc   io.ReadCloser
	tr   *tar.Reader
	err  error
}

func (f *file) Stat() (fs.FileInfo, error) { return f.info(), nil }

func (f *file) Read(p []byte) (int, error) {
	if f.err == nil && f.rc == nil {
		f.err = f.open()
	}
	if f.err != nil {
		return 0, f.fail(f.err)
	}
	n, err := f.tr.Read(p)
	return n, f.fail(err)
}

// open goes through the tar up to the file.
func (f *file) open() error {
	if f.hdr.Typeflag == tar.TypeReg && f.hdr.Size == 0 {
		return io.EOF
	}
	if f.isLost() {
		return fmt.Errorf("hard link to %q, which this layer doesn't hold: %w", f.hdr.Linkname, fs.ErrNotExist)
	}
	if f.hdr.Typeflag != tar.TypeReg {
		return fmt.Errorf("%v is not a regular file: %w", f.info().Mode(), fs.ErrInvalid)
	}
	rc, err := f.view.layer.Open(f.view.ctx)
	if err != nil {
		return err
	}
	f.rc = rc
	f.tr = tar.NewReader(bufio.NewReaderSize(rc, 64<<10))
	for range f.seq {
		if _, err := f.tr.Next(); err != nil {
			return noEOF(err)
		}
	}
	hdr, err := f.tr.Next()
	if err != nil {
		return noEOF(err)
	}
	// DiffID is checked at the end of the tar, which a reader may never reach; so
	// at least see that this still is the file that was indexed.
	if hdr.Size != f.hdr.Size {
		return fmt.Errorf("the layer has changed: %w", errdefs.ErrDataLoss)
	}
	return nil
}

// noEOF keeps a tar that has become shorter from looking like the file's end.
func noEOF(err error) error {
	if err == io.EOF {
		return fmt.Errorf("the layer has changed: %w: %w", io.ErrUnexpectedEOF, errdefs.ErrDataLoss)
	}
	return err
}

func (f *file) fail(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &fs.PathError{Op: "read", Path: f.name, Err: err}
}

func (f *file) Close() error {
	f.err = fs.ErrClosed
	if f.rc == nil {
		return nil
	}
	return f.rc.Close()
}
