package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/reach"
	"github.com/ctorhq/ctor/internal/rootfs"
	"github.com/ctorhq/ctor/internal/volumes"
)

// Package volume gives one of these of a volume's files, by way of package volumes.
func init() {
	volumes.FS = func(what string, visit volumes.Visit) any {
		return &FS{func() string { return what }, func(ctx context.Context, act func(context.Context, *rootfs.Root) error) error {
			return asClosed(visit(ctx, act))
		}}
	}
}

// FS is a container's root file system, live: what the program writes the
// container has, and the other way round. Or it is a volume's: see
// volume.Volume.FS, which tells what is different there. It is a [fs.ReadFileFS],
// [fs.ReadDirFS], [fs.StatFS] and [fs.ReadLinkFS], and has the writing
// functions of package os as methods. It works on a container in any state,
// attached or detached, and never executes anything of it. It is safe for use
// by any number of goroutines, and needs no closing.
//
// As long as the container's first process is there, from New to its end, FS
// shows what that process sees, with all that is mounted there: /proc, /dev,
// Config.Mounts. Afterwards it shows what stays: the image and what the
// container has changed, without what was mounted.
//
// Names are those of io/fs ([fs.ValidPath]): "etc/passwd", and "." for the
// root; others are fs.ErrInvalid. Names that are not UTF-8 can't be said, and
// are not listed. Links are followed inside the container, also absolute ones,
// and nothing leads out of it, whatever the container does to its links
// meanwhile; the links below /proc that stand for something open, such as
// /proc/1/root, lead nowhere. A name is looked up for each call: by the next one,
// a hostile or busy program may have put another file there.
//
// Only regular files and directories are opened. A device, a named pipe or a
// socket is fs.ErrInvalid, at once, and is not touched. So is a file of the
// kernel's own, in /proc, /sys and the like, to which any link may lead: it can
// be listed and described, but to read it here would tell what the container
// must not know. Run a command in the container to read one.
//
// Errors are *fs.PathError, as those of package os: errors.Is finds
// fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, and the classes of package
// ctor, such as ctor.ErrNotFound. After Close of the container, or the engine's,
// they are fs.ErrClosed; a file that was opened before stays open, and is the
// caller's to close.
//
// [fs.ValidPath]: https://pkg.go.dev/io/fs#ValidPath
type FS struct {
	what  func() string // whose files they are, for errors
	visit volumes.Visit // its own errors name them
}

var (
	_ fs.ReadFileFS = (*FS)(nil)
	_ fs.ReadDirFS  = (*FS)(nil)
	_ fs.StatFS     = (*FS)(nil)
	_ fs.ReadLinkFS = (*FS)(nil)
)

// FS gives the container's files.
func (c *Container) FS() *FS { return &FS{c.quoted, c.visit} }

// Open opens a regular file or a directory for reading.
func (f *FS) Open(name string) (fs.File, error) { return get(f, "open", name, (*rootfs.Root).Open) }

// ReadFile gives what a file holds. The container chooses how much that is: if it
// isn't trusted, Open the file and read as much as is expected.
func (f *FS) ReadFile(name string) ([]byte, error) {
	return get(f, "open", name, (*rootfs.Root).ReadFile)
}

// ReadDir lists a directory in the order of names.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	return get(f, "open", name, (*rootfs.Root).ReadDir)
}

// Stat tells what a file is. Its Sys is a *syscall.Stat_t.
func (f *FS) Stat(name string) (fs.FileInfo, error) { return get(f, "stat", name, (*rootfs.Root).Stat) }

// Lstat is Stat that does not follow a symbolic link in the last place.
func (f *FS) Lstat(name string) (fs.FileInfo, error) {
	return get(f, "lstat", name, (*rootfs.Root).Lstat)
}

// ReadLink gives what a symbolic link says, as it stands there: it may begin
// with a slash, which is the container's root.
func (f *FS) ReadLink(name string) (string, error) {
	return get(f, "readlink", name, (*rootfs.Root).ReadLink)
}

func get[T any](f *FS, op, name string, read func(*rootfs.Root, string) (T, error)) (v T, err error) {
	err = f.do(op, name, func(r *rootfs.Root) error {
		v, err = read(r, name)
		return err
	})
	return v, err
}

// do does something with the root, for a call without a context.
func (f *FS) do(op, name string, act func(*rootfs.Root) error) error {
	return f.doContext(context.Background(), op, name, func(_ context.Context, r *rootfs.Root) error { return act(r) })
}

func (f *FS) doContext(ctx context.Context, op, name string, act func(context.Context, *rootfs.Root) error) error {
	if err := rootfs.CheckName(op, name); err != nil {
		return err
	}
	return rootfs.Failure(op, name, f.visit(ctx, act))
}

// visit is a use of the container's files.
func (c *Container) visit(ctx context.Context, act func(context.Context, *rootfs.Root) error) error {
	inside, leave, err := c.enter(ctx)
	if err != nil && ctx.Err() == nil {
		err = &closedError{err}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.quoted(), err)
	}
	defer leave()
	v, err := c.door.Visit(inside)
	if errors.Is(err, reach.ErrClosed) || errors.Is(err, fs.ErrClosed) {
		return fmt.Errorf("%s: %w", c.quoted(), errClosed)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.quoted(), engine.Cause(inside, err))
	}
	defer v.End()
	if err = act(v.Context, v.Root); err != nil && v.Over() {
		return fmt.Errorf("%s: %w: %w", c.quoted(), errClosed, err)
	}
	return engine.Cause(inside, err)
}

// quoted is the container in an error.
func (c *Container) quoted() string { return fmt.Sprintf("container %q", c.Name()) }

var errClosed = &closedError{reach.ErrClosed}

// closedError is the error of calls after the end: fs.ErrClosed as well as what
// other calls give then.
type closedError struct{ error }

// asClosed makes the error of a call on an engine that is closed one of these.
func asClosed(err error) error {
	if errors.Is(err, engine.ErrClosed) {
		return &closedError{err}
	}
	return err
}

func (e *closedError) Unwrap() error   { return e.error }
func (*closedError) Is(err error) bool { return err == fs.ErrClosed }
