package image

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"sync"

	"github.com/containerd/containerd/v2/core/snapshots"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/rootfs"
	"github.com/ctorhq/ctor/internal/unwind"
)

// FS is what an image's containers find as their root file system, read-only.
// It is a [fs.ReadFileFS], [fs.ReadDirFS], [fs.StatFS] and [fs.ReadLinkFS], safe
// for use by any number of goroutines. The Sys of a FileInfo is a
// *syscall.Stat_t.
//
// Names are those of io/fs ([fs.ValidPath]): "etc/passwd", and "." for the root.
// Names that are not UTF-8 can't be said, and are not listed. Links are
// followed inside the image, also absolute ones, and nothing leads out of it.
// Only regular files and directories are opened: a device or a named pipe is
// fs.ErrInvalid, at once, and is not touched.
//
// Errors are *fs.PathError, as those of package os; after Close, of the FS or
// of the engine, they are fs.ErrClosed.
//
// [fs.ValidPath]: https://pkg.go.dev/io/fs#ValidPath
type FS struct{ v *view }

// view is what an FS holds. It lives on until it is closed, also when the program
// can't reach the FS any more.
type view struct {
	e     *engine.Engine
	key   string // of the snapshot
	root  *rootfs.Root
	close func() error
}

var (
	_ fs.ReadFileFS = (*FS)(nil)
	_ fs.ReadDirFS  = (*FS)(nil)
	_ fs.StatFS     = (*FS)(nil)
	_ fs.ReadLinkFS = (*FS)(nil)
)

// FS gives the image's files, without running anything. Its layers are unpacked
// for that, as they are for the first container, unless they are already. Also
// an image for another platform can be looked at.
//
// The FS keeps the layers in the store, whatever becomes of the image's name,
// until it is closed: by Close, by the garbage collector when nothing refers to
// it any more, or with the engine. ctx is for the call alone.
//
// An image whose layers are neither unpacked nor in the store is
// ctor.ErrNotFound.
func (i *Image) FS(ctx context.Context) (_ *FS, err error) {
	defer wrap(&err, "files of image", i.Ref())
	ctx, end, err := begin(ctx, i.e)
	if err != nil {
		return nil, err
	}
	defer end(&err)
	var v *view
	err = i.e.WithLayers(ctx, i.source(), i.config.RootFS.DiffIDs, func(ctx context.Context, chain string) error {
		v, err = open(ctx, i.e, chain)
		return err
	})
	if err != nil {
		return nil, err
	}
	f := &FS{v}
	// Not at once: it is asked by the collector, and takes a while.
	runtime.AddCleanup(f, func(v *view) { go v.Close() }, v)
	return f, nil
}

// open makes a view of a snapshot.
func open(ctx context.Context, e *engine.Engine, chain string) (_ *view, err error) {
	v := &view{e: e, key: "files-" + rand.Text()}
	var undo unwind.Stack
	defer undo.OnError(&err)
	mounts, err := e.Client.SnapshotService(e.Snapshotter).View(ctx, v.key, chain, snapshots.WithLabels(engine.OwnRoot()))
	if err != nil {
		return nil, err
	}
	remove := func() error { return e.RemoveSnapshot(v.key) }
	undo.Push(remove)
	if v.root, err = e.Doors.Snapshot(mounts, e.Root); err != nil {
		return nil, err
	}
	undo.Close(v.root)
	v.close = sync.OnceValue(func() error {
		e.Forget(v.key, v)
		return errors.Join(v.root.Close(), remove())
	})
	return v, e.Attach(v.key, v)
}

// Close is for the engine, and for the collector.
func (v *view) Close() error { return v.close() }

// Close lets the image's layers go. Files that are open stay open. A second
// Close does nothing, and returns what the first did.
func (f *FS) Close() error { return f.v.close() }

// Open opens a regular file or a directory.
func (f *FS) Open(name string) (fs.File, error) { return read(f, "open", name, (*rootfs.Root).Open) }

// ReadFile gives what a file holds. How much that is, the image says: of one
// that isn't trusted, Open the file and read as much as is expected.
func (f *FS) ReadFile(name string) ([]byte, error) {
	return read(f, "open", name, (*rootfs.Root).ReadFile)
}

// ReadDir lists a directory in the order of names.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	return read(f, "open", name, (*rootfs.Root).ReadDir)
}

// Stat tells what a file is.
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	return read(f, "stat", name, (*rootfs.Root).Stat)
}

// Lstat is Stat that does not follow a symbolic link in the last place.
func (f *FS) Lstat(name string) (fs.FileInfo, error) {
	return read(f, "lstat", name, (*rootfs.Root).Lstat)
}

// ReadLink gives what a symbolic link says, as it stands there: it may begin
// with a slash, which is the image's root.
func (f *FS) ReadLink(name string) (string, error) {
	return read(f, "readlink", name, (*rootfs.Root).ReadLink)
}

func read[T any](f *FS, op, name string, do func(*rootfs.Root, string) (T, error)) (v T, err error) {
	if err := rootfs.CheckName(op, name); err != nil {
		return v, err
	}
	defer runtime.KeepAlive(f)
	v, err = do(f.v.root, name)
	if errors.Is(err, fs.ErrClosed) && f.v.e.Closed() {
		err = rootfs.Failure(op, name, fmt.Errorf("%w: %w", engine.ErrClosed, fs.ErrClosed))
	}
	return v, err
}
