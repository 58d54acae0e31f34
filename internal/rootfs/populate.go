package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// OpenDir is a directory of the host as a root.
func OpenDir(path string) (*Root, error) {
	dir, err := openDir(path)
	if err != nil {
		return nil, err
	}
	return newRoot(dir)
}

// Empty tells whether there is nothing in the root directory.
func (r *Root) Empty() (bool, error) {
	d, err := r.Open(".")
	if err != nil {
		return false, err
	}
	defer d.Close()
	list, err := d.(fs.ReadDirFile).ReadDir(1)
	if err == io.EOF {
		err = nil
	}
	return len(list) == 0, err
}

// Populate makes what src has in the directory name in the root, which is empty,
// and gives the root the owner, mode, time and attributes of that directory. Where
// src has nothing of that name the root stays as it is.
func (r *Root) Populate(ctx context.Context, src *Root, name string) error {
	from, err := src.In(ctx).sub(name)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if errors.Is(err, unix.ENOTDIR) {
		err = fmt.Errorf("it is no directory: %w", errdefs.ErrInvalidArgument)
	}
	if err != nil {
		return Failure("copy", name, err)
	}
	defer from.Close()
	return Failure("copy", name, errors.Join(r.pour(ctx, from), r.resemble(from)))
}

// pour copies by way of a tar, which can say all that a file is.
func (r *Root) pour(ctx context.Context, from *Root) error {
	return piped(func(w io.Writer) error { return from.pack(ctx, ".", w) }, func(in io.Reader) error { return r.unpack(ctx, ".", in) })
}

// Apply makes the same changes in a writable snapshot that nothing else uses. They are of
// any size.
func (d *Diff) Apply(ctx context.Context, to []mount.Mount) error {
	ctx = Limit(ctx, Limits{Bytes: math.MaxInt64, Entries: math.MaxInt64})
	return piped(func(w io.Writer) error { return d.Pack(ctx, w) }, func(in io.Reader) error { return Apply(ctx, to, in) })
}

// piped gives what one function writes to another, and the error of the first that failed.
func piped(write func(io.Writer) error, read func(io.Reader) error) error {
	out, in := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := write(in)
		in.CloseWithError(err)
		written <- err
	}()
	err := read(out)
	out.CloseWithError(err)
	if werr := <-written; werr != nil {
		return werr // which is read's as well, or its cause
	}
	return err
}

// resemble gives the root what another root directory has beside its files.
func (r *Root) resemble(from *Root) error {
	return from.with(func(dir int) error {
		f := file{handle: handle(dir)}
		var err error
		if f.Stat_t, err = f.stat(); err != nil {
			return err
		}
		n, err := f.node()
		if err != nil {
			return err
		}
		return r.with(func(dir int) error { return n.redress(handle(dir)) })
	})
}
